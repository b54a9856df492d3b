//! Tokens and RBAC.

use super::{TOKEN, USER, client, client_with, cluster, pod};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::Api;
use kube::api::{ListParams, WatchParams};
use kube::core::Status;
use kube_sim::Token;
use kube_sim::api::Rule;
use std::pin::pin;
use tokio_stream::StreamExt;

fn refused<T: std::fmt::Debug>(result: kube::Result<T>) -> Status {
    match result {
        Err(kube::Error::Api(status)) => *status,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_token_that_is_not_valid_is_unauthorized() {
    let (cluster, server) = cluster();
    let pods = Api::<Pod>::all(client(&server).await);
    let version = cluster.version().to_string();
    let mut events = pin!(pods.watch(&WatchParams::default(), &version).await.unwrap());
    server.revoke_token(TOKEN);
    let status = refused(pods.list(&ListParams::default()).await);
    assert_eq!(
        (status.code, status.reason.as_str(), status.message.as_str()),
        (401, "Unauthorized", "Unauthorized")
    );
    assert_eq!(cluster.requests().pop().unwrap().token, Token::Rejected);
    // A watch that runs is not asked again.
    cluster.put_pod(&pod("team-a", "train-1"));
    assert!(events.next().await.unwrap().is_ok());
    server.accept_token(TOKEN, USER);
    assert_eq!(pods.list(&ListParams::default()).await.unwrap().items.len(), 3);
}

#[tokio::test]
async fn without_a_token_there_is_next_to_nothing_to_read() {
    let (cluster, server) = cluster();
    let mut config = kube::Config::new(server.url().parse().unwrap());
    config.accept_invalid_certs = true;
    let client = kube::Client::try_from(config).unwrap();
    assert!(client.apiserver_version().await.is_ok());
    let status = refused(Api::<Pod>::all(client.clone()).list(&ListParams::default()).await);
    assert_eq!(status.code, 403);
    assert!(
        status.message.contains("User \"system:anonymous\" cannot list resource \"pods\""),
        "{}",
        status.message
    );
    assert_eq!(cluster.requests().pop().unwrap().token, Token::None);
    assert_eq!(refused(client.list_core_api_versions().await).code, 403);
}

#[tokio::test]
async fn a_role_is_the_limit() {
    let (cluster, server) = cluster();
    server.accept_token_with(
        "limited",
        USER,
        [
            Rule::new(&["list"], &["pods"]),
            Rule::new(&["get"], &["pods"]).within("team-a"),
            Rule { names: vec!["team-a".to_owned()], ..Rule::new(&["get", "watch"], &["namespaces"]) },
            Rule { verbs: vec!["get".to_owned()], paths: vec!["/healthz/*".to_owned()], ..Rule::default() },
        ],
    );
    let client = client_with(&server, "limited").await;
    let pods = Api::<Pod>::all(client.clone());
    assert_eq!(pods.list(&ListParams::default()).await.unwrap().items.len(), 2);
    let watch = pods.watch(&WatchParams::default(), "0").await.map(drop);
    let forbidden = format!(
        "pods is forbidden: User \"{USER}\" cannot watch resource \"pods\" in API group \"\" at the cluster scope"
    );
    let status = refused(watch);
    assert_eq!((status.code, status.reason.as_str(), status.message), (403, "Forbidden", forbidden));
    assert!(Api::<Pod>::namespaced(client.clone(), "team-a").get("train-0").await.is_ok());
    let status = refused(Api::<Pod>::namespaced(client.clone(), "team-b").get("train-0").await);
    let forbidden = format!(
        "pods \"train-0\" is forbidden: User \"{USER}\" cannot get resource \"pods\" in API group \"\" in the namespace \
         \"team-b\""
    );
    assert_eq!(status.message, forbidden);
    let namespaces = Api::<Namespace>::all(client.clone());
    assert!(namespaces.get("team-a").await.is_ok());
    assert_eq!(refused(namespaces.get("team-b").await).code, 403);
    let one = WatchParams::default().fields("metadata.name=team-a");
    assert!(namespaces.watch(&one, "0").await.is_ok(), "a selector of one name is a name");
    assert!(client.list_core_api_versions().await.is_ok(), "discovery is everybody's");
    let text = async |path: &str| {
        let request = axum::http::Request::get(path).body(Vec::new()).unwrap();
        client.request_text(request).await
    };
    assert_eq!(
        refused(text("/logs").await).message,
        format!("forbidden: User \"{USER}\" cannot get path \"/logs\"")
    );
    assert_eq!(refused(text("/healthz/etcd").await).code, 404, "allowed, but not there");
    let verbs: Vec<_> = cluster.requests().iter().map(|request| request.verb.clone()).collect();
    assert_eq!(&verbs[..4], ["list", "watch", "get", "get"]);
}
