//! Lists and objects.

use super::{client, cluster, pod};
use k8s_openapi::api::core::v1::{ContainerStatus, Namespace, Pod};
use kube::api::ListParams;
use kube::{Api, Client};
use kube_sim::{ApiServer, Cluster, Container, ContainerKind, Phase, Token};
use serde_json::json;

async fn names(client: &Client, params: &ListParams) -> Vec<String> {
    let pods = Api::<Pod>::all(client.clone()).list(params).await.unwrap();
    pods.into_iter()
        .map(|pod| format!("{}/{}", pod.metadata.namespace.unwrap(), pod.metadata.name.unwrap()))
        .collect()
}

#[tokio::test]
async fn a_list_has_the_pods_that_the_selectors_choose() {
    let (cluster, server) = cluster();
    let client = client(&server).await;
    cluster.put_pod(&pod("team-a", "waits"));
    for (params, wanted) in [
        (ListParams::default(), vec!["team-a/train-0", "team-a/waits", "team-b/train-0"]),
        (ListParams::default().fields("spec.nodeName=node-a"), vec!["team-a/train-0"]),
        (ListParams::default().fields("spec.nodeName="), vec!["team-a/waits"]),
        (ListParams::default().fields("metadata.name=train-0"), vec!["team-a/train-0", "team-b/train-0"]),
        (ListParams::default().labels("creator-id=kim"), vec!["team-a/train-0"]),
    ] {
        assert_eq!(names(&client, &params).await, wanted, "{params:?}");
    }
    let one = Api::<Pod>::namespaced(client.clone(), "team-b").list(&ListParams::default()).await.unwrap();
    assert_eq!(one.items.len(), 1);
    let bad = ListParams::default().fields("spec.image=x");
    let error = Api::<Pod>::all(client).list(&bad).await.unwrap_err();
    assert!(error.to_string().contains("field label not supported"), "{error}");
}

#[tokio::test]
async fn a_pod_reads_as_the_types_of_kubernetes_and_is_of_a_real_ones_size() {
    let cluster = Cluster::new();
    let containers = [
        Container::new("main").id("a".repeat(64)).devices("nvidia.com/gpu", ["GPU-1", "GPU-2"]),
        Container::new("prepare").id("b".repeat(64)).kind(ContainerKind::Init),
        Container::new("proxy").id("c".repeat(64)).kind(ContainerKind::Sidecar),
        Container::new("debug").id("d".repeat(64)).kind(ContainerKind::Ephemeral),
    ];
    let pod = containers.into_iter().fold(pod("team-a", "train-0"), kube_sim::Pod::container);
    cluster
        .put_pod(&pod.on("node-a").owned_by("StatefulSet", "train").annotation("creator-user-name", "Kim"));
    let object = cluster.pod("team-a", "train-0").unwrap();
    let size = object.to_string().len();
    assert!((4_000..20_000).contains(&size), "{size}");
    let pod: Pod = serde_json::from_value(object).unwrap();
    let status = pod.status.unwrap();
    let ids = |list: &Option<Vec<ContainerStatus>>| -> Vec<String> {
        list.iter().flatten().map(|one| one.container_id.as_ref().unwrap()[..14].to_owned()).collect()
    };
    assert_eq!(ids(&status.container_statuses), ["containerd://c", "containerd://a"]);
    assert_eq!(ids(&status.init_container_statuses), ["containerd://b", "containerd://c"]);
    assert_eq!(ids(&status.ephemeral_container_statuses), ["containerd://d"]);
    let runs = |one: &ContainerStatus| one.state.as_ref().unwrap().running.is_some();
    let init: Vec<_> = status.init_container_statuses.iter().flatten().map(runs).collect();
    assert_eq!(init, [false, true], "the sidecar runs on");
    let limits = pod.spec.unwrap().containers[1].resources.clone().unwrap().limits.unwrap();
    assert_eq!(limits["nvidia.com/gpu"].0, "2");
    assert_eq!(pod.metadata.owner_references.unwrap()[0].kind, "StatefulSet");
    assert!(cluster.set_phase("team-a", "train-0", Phase::Failed));
    let failed: Pod = serde_json::from_value(cluster.pod("team-a", "train-0").unwrap()).unwrap();
    let status = failed.status.unwrap();
    assert_eq!(status.phase.as_deref(), Some("Failed"));
    let state = status.container_statuses.unwrap()[0].state.clone().unwrap();
    assert_eq!(state.terminated.unwrap().exit_code, 1);
}

#[tokio::test]
async fn a_static_pods_mirror_has_the_hash_of_its_file() {
    let cluster = Cluster::new();
    let hash = "0123456789abcdef0123456789abcdef";
    cluster.put_pod(&pod("kube-system", "etcd-node-a").on("node-a").static_pod(hash));
    let object = cluster.pod("kube-system", "etcd-node-a").unwrap();
    let annotations = &object["metadata"]["annotations"];
    assert_eq!(annotations["kubernetes.io/config.hash"], hash);
    assert_eq!(annotations["kubernetes.io/config.mirror"], hash);
    assert_eq!(annotations["kubernetes.io/config.source"], "file");
    assert_eq!(object["metadata"]["ownerReferences"][0]["kind"], "Node");
    assert_ne!(object["metadata"]["uid"], hash);
}

#[tokio::test]
async fn a_list_comes_in_pages_of_one_moment() {
    let cluster = Cluster::new();
    for index in 0..5 {
        cluster.put_pod(&pod("team-a", &format!("pod-{index}")).on("node-a"));
    }
    let server = ApiServer::start(&cluster).unwrap();
    let client = client(&server).await;
    let api = Api::<Pod>::all(client.clone());
    let first = api.list(&ListParams::default().limit(2)).await.unwrap();
    assert_eq!((first.items.len(), first.metadata.remaining_item_count), (2, Some(3)));
    // What happens between two pages is in none of them.
    cluster.delete_pod("team-a", "pod-0");
    cluster.put_pod(&pod("team-a", "pod-2a"));
    let token = first.metadata.continue_.clone().unwrap();
    let second = api.list(&ListParams::default().limit(2).continue_token(&token)).await.unwrap();
    let names: Vec<_> = second.items.iter().map(|pod| pod.metadata.name.clone().unwrap()).collect();
    assert_eq!(names, ["pod-2", "pod-3"]);
    assert_eq!(second.metadata.resource_version, first.metadata.resource_version);
    let token = second.metadata.continue_.unwrap();
    let last = api.list(&ListParams::default().limit(2).continue_token(&token)).await.unwrap();
    assert_eq!((last.items.len(), last.metadata.continue_.unwrap_or_default()), (1, String::new()));
    cluster.compact();
    let error = api.list(&ListParams::default().limit(2).continue_token(&token)).await.unwrap_err();
    assert!(
        matches!(&error, kube::Error::Api(status) if status.code == 410 && status.reason == "Expired"),
        "{error}"
    );
    // From the watch cache there are no pages.
    let request =
        axum::http::Request::get("/api/v1/pods?limit=2&resourceVersion=0").body(Vec::new()).unwrap();
    let cached = client.request::<serde_json::Value>(request).await.unwrap();
    assert_eq!(cached["items"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn a_list_is_of_the_version_that_was_asked_for() {
    let (cluster, server) = cluster();
    let client = client(&server).await;
    let api = Api::<Pod>::all(client);
    let old = cluster.version().to_string();
    cluster.delete_pod("team-b", "train-0");
    let exactly =
        api.list(&ListParams::default().at(&old).matching(kube::api::VersionMatch::Exact)).await.unwrap();
    assert_eq!((exactly.items.len(), exactly.metadata.resource_version), (2, Some(old.clone())));
    let newer = ListParams::default().at(&old).matching(kube::api::VersionMatch::NotOlderThan);
    assert_eq!(api.list(&newer).await.unwrap().items.len(), 1);
    cluster.compact();
    let exactly = ListParams::default().at(&old).matching(kube::api::VersionMatch::Exact);
    let error = api.list(&exactly).await.unwrap_err();
    assert!(matches!(&error, kube::Error::Api(status) if status.code == 410), "{error}");
    let future = ListParams::default().at("99999999").matching(kube::api::VersionMatch::NotOlderThan);
    let error = api.list(&future).await.unwrap_err();
    assert!(matches!(&error, kube::Error::Api(status) if status.code == 504), "{error}");
}

#[tokio::test]
async fn objects_are_found_by_name_or_are_not_found() {
    let (cluster, server) = cluster();
    cluster.put_namespace("team-a", [("tier", "gold")], [("openshift.io/requester", "kim")]);
    let client = client(&server).await;
    let namespace = Api::<Namespace>::all(client.clone()).get("team-a").await.unwrap();
    assert_eq!(namespace.metadata.labels.unwrap()["tier"], "gold");
    assert_eq!(namespace.metadata.annotations.unwrap()["openshift.io/requester"], "kim");
    let all = Api::<Namespace>::all(client.clone()).list(&ListParams::default()).await.unwrap();
    assert_eq!(all.items.len(), 6);
    let pods = Api::<Pod>::namespaced(client.clone(), "team-a");
    assert_eq!(pods.get("train-0").await.unwrap().spec.unwrap().node_name.unwrap(), "node-a");
    let error = pods.get("train-1").await.unwrap_err();
    assert!(
        matches!(&error, kube::Error::Api(status) if status.code == 404 && status.message == "pods \"train-1\" not found"),
        "{error}"
    );
    let request = axum::http::Request::get("/apis/apps/v1/deployments").body(Vec::new()).unwrap();
    let error = client.request::<serde_json::Value>(request).await.unwrap_err();
    assert!(matches!(&error, kube::Error::Api(status) if status.code == 404), "{error}");
}

#[tokio::test]
async fn discovery_says_what_there_is() {
    let (_cluster, server) = cluster();
    let client = client(&server).await;
    assert_eq!(client.apiserver_version().await.unwrap().major, "1");
    let resources = client.list_core_api_resources("v1").await.unwrap();
    let names: Vec<_> = resources.resources.iter().map(|one| (one.name.as_str(), one.namespaced)).collect();
    assert_eq!(names, [("namespaces", false), ("nodes", false), ("pods", true)]);
    assert!(client.list_api_groups().await.unwrap().groups.is_empty());
}

#[tokio::test]
async fn every_request_is_recorded() {
    let (cluster, server) = cluster();
    let client = client(&server).await;
    names(&client, &ListParams::default().fields("spec.nodeName=node-a").limit(500)).await;
    let request = cluster.requests().pop().unwrap();
    assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/api/v1/pods"));
    assert_eq!((request.verb.as_str(), request.resource.as_str()), ("list", "pods"));
    assert_eq!(
        (request.query["fieldSelector"].as_str(), request.query["limit"].as_str()),
        ("spec.nodeName=node-a", "500")
    );
    assert_eq!(request.token, Token::Accepted);
    cluster.clear_requests();
    assert!(cluster.requests().is_empty());
}

#[tokio::test]
async fn who_prefers_tables_gets_tables() {
    let (cluster, server) = cluster();
    let client = client(&server).await;
    let ask = async |path: &str, accept: &str| {
        let request = axum::http::Request::get(path).header("Accept", accept).body(Vec::new()).unwrap();
        client.request::<serde_json::Value>(request).await.unwrap()
    };
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let table = ask("/api/v1/pods?fieldSelector=spec.nodeName=node-b", accept).await;
    assert_eq!(table["kind"], "Table");
    let cells = table["rows"][0]["cells"].as_array().unwrap();
    assert_eq!(cells[..4], ["train-0", "1/1", "Running", "0"]);
    assert_eq!(cells[5..], ["10.244.1.17", "node-b"]);
    assert_eq!(cells.len(), table["columnDefinitions"].as_array().unwrap().len());
    assert_eq!(table["rows"][0]["object"]["metadata"]["namespace"], "team-b");
    cluster.set_phase("team-b", "train-0", Phase::Failed);
    let one = ask("/api/v1/namespaces/team-b/pods/train-0", accept).await;
    assert_eq!(one["rows"][0]["cells"].as_array().unwrap()[1..3], ["0/1", "Error"]);
    let namespace = ask("/api/v1/namespaces/team-a", accept).await;
    assert_eq!(namespace["rows"][0]["cells"].as_array().unwrap()[..2], ["team-a", "Active"]);
    let path = "/api/v1/namespaces/team-b/pods?watch=1&timeoutSeconds=1";
    let watch = axum::http::Request::get(path).header("Accept", accept).body(Vec::new()).unwrap();
    let event: serde_json::Value = serde_json::from_str(&client.request_text(watch).await.unwrap()).unwrap();
    assert_eq!((&event["type"], &event["object"]["kind"]), (&json!("ADDED"), &json!("Table")));
    assert_eq!(event["object"]["rows"].as_array().unwrap().len(), 1);
    let list = ask("/api/v1/pods", "application/json,application/json;as=Table").await;
    assert_eq!(list["kind"], "PodList");
}

#[tokio::test]
async fn without_tls_it_speaks_plain_http() {
    let cluster = Cluster::new();
    let server = ApiServer::start_plain(&cluster, 0).unwrap();
    assert!(server.url().starts_with("http://127.0.0.1:"));
    assert_eq!(client(&server).await.apiserver_version().await.unwrap().minor, "34");
}

#[tokio::test]
async fn an_object_is_told_as_it_is_whatever_is_in_it() {
    let (cluster, server) = cluster();
    cluster.put_pod_object("team-a", "odd", json!({ "kind": "Pod", "metadata": { "name": 7 } }));
    let odd = [json!([]), json!("text"), json!({ "metadata": 5, "status": { "containerStatuses": [5] } })];
    for (index, object) in odd.into_iter().enumerate() {
        let name = index.to_string();
        cluster.put_pod_object("team-a", &name, object.clone());
        cluster.terminate_pod("team-a", &name);
        cluster.set_phase("team-a", &name, Phase::Failed);
        assert_eq!(cluster.pod("team-a", &name).unwrap()["metadata"], object["metadata"]);
    }
    let client = client(&server).await;
    let request = axum::http::Request::get("/api/v1/namespaces/team-a/pods/odd").body(Vec::new()).unwrap();
    let object = client.request::<serde_json::Value>(request).await.unwrap();
    assert_eq!(object["metadata"]["name"], 7);
}
