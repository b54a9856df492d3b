//! The watch, while all is well.

use super::bench::{Bench, Reading, pod};
use gpu_session_core::sample::Phase;
use gpu_session_sources::kubernetes::Mode;
use gpu_session_sources::pods::Wanted;
use kube_sim::{Container, ContainerKind, Pod, Token};
use std::sync::Arc;

#[test]
fn the_first_reading_knows_the_pods_of_this_node() {
    let mut bench = Bench::watching();
    let reading = bench.read();
    assert_eq!((reading.kind(), reading.names()), ("", vec!["one".to_owned(), "two".to_owned()]));
    assert!(reading.is_fresh());
    assert!(reading.sample.namespaces.is_none());
    let list = reading.list().unwrap();
    assert_eq!(&*list.source, "kubernetes");
    let one = list.pods.values().find(|pod| &*pod.name == "one").unwrap();
    assert_eq!(
        (&*one.namespace, one.phase, one.start_us),
        ("team-a", Some(Phase::Running), Some(1_780_000_000_000_000))
    );
    assert_eq!(one.containers, [("id-of-one".into(), "main".into())].into());
    assert!(one.metadata.labels.is_empty() && one.metadata.annotations.is_empty(), "nothing is wanted");
}

#[test]
fn only_lists_and_watches_of_this_nodes_pods_are_requested() {
    let mut bench = Bench::synced();
    bench.cluster.put_pod(&pod("three"));
    bench.until("the new pod", |reading| reading.names().len() == 3);
    assert_eq!(bench.requests(), ["list pods", "watch pods"]);
    let requests = bench.cluster.requests();
    assert!(requests.iter().all(|request| request.token == Token::Accepted));
    assert_eq!(requests[0].query["resourceVersion"], "0", "what the server has in memory is good enough");
    assert_eq!(requests[1].query["timeoutSeconds"], "120");
    assert!(requests.iter().all(|request| request.user_agent.starts_with("gpu-session-monitor/")));
}

#[test]
fn readings_of_an_unchanged_cluster_share_one_list_and_make_no_request() {
    let mut bench = Bench::synced();
    let first = bench.read();
    let requests = bench.requests().len();
    for _ in 0..100 {
        assert!(Arc::ptr_eq(&first.list().unwrap().pods, &bench.read().list().unwrap().pods));
    }
    assert!(bench.requests().len() <= requests.max(2), "{:?}", bench.requests());
}

#[test]
fn pods_come_change_and_go() {
    let mut bench = Bench::synced();
    bench.cluster.put_pod(&pod("three"));
    bench.until("added", |reading| reading.names() == ["one", "three", "two"]);
    bench.cluster.set_phase("team-a", "three", kube_sim::Phase::Succeeded);
    let phase = |reading: &Reading| {
        let pods = &reading.list().unwrap().pods;
        pods.values().find(|pod| &*pod.name == "three").and_then(|pod| pod.phase)
    };
    bench.until("changed", |reading| phase(reading) == Some(Phase::Succeeded));
    bench.cluster.terminate_pod("team-a", "two");
    bench.cluster.delete_pod("team-a", "two");
    bench.until("deleted", |reading| reading.names() == ["-two", "one", "three"] && reading.is_fresh());
}

#[test]
fn a_mirror_pod_is_known_by_its_hash() {
    let hash = "0123456789abcdef0123456789abcdef";
    let mut bench = Bench::watching();
    bench.cluster.put_pod(&pod("static-node-a").static_pod(hash));
    let reading = bench.until("the first list", Reading::is_fresh);
    let pods = &reading.list().unwrap().pods;
    assert_eq!(pods.get(hash).map(|pod| &*pod.name), Some("static-node-a"));
    assert_eq!(pods.len(), 3, "and by nothing else");
}

#[test]
fn wanted_labels_and_annotations_and_all_kinds_of_containers_are_kept() {
    let keys = |keys: &[&str]| keys.iter().map(|key| (*key).into()).collect();
    let wanted = Wanted {
        pod_labels: keys(&["creator-id", "absent"]),
        pod_annotations: keys(&["creator-user-name"]),
        ..Wanted::default()
    };
    let mut bench = Bench::new(Mode::Watch, wanted);
    let full = Pod::new("team-b", "full")
        .on(super::bench::NODE)
        .label("creator-id", "kim")
        .label("app", "x")
        .annotation("creator-user-name", "Kim\u{202e}")
        .annotation("other", "y")
        .container(Container::new("main").id("c1"))
        .container(Container::new("init").id("c2").kind(ContainerKind::Init))
        .container(Container::new("debug").id("c3").kind(ContainerKind::Ephemeral));
    bench.cluster.put_pod(&full);
    let reading = bench.until("the pod", |reading| reading.names().contains(&"full".to_owned()));
    let list = reading.list().unwrap();
    let pod = list.pods.values().find(|pod| &*pod.name == "full").unwrap();
    assert_eq!(pod.metadata.labels, [("creator-id".into(), "kim".into())].into());
    assert_eq!(pod.metadata.annotations, [("creator-user-name".into(), "Kim\u{fffd}".into())].into());
    let names = [("c1", "main"), ("c2", "init"), ("c3", "debug")];
    assert_eq!(pod.containers, names.map(|(id, name)| (id.into(), name.into())).into());
}

#[test]
fn namespaces_are_watched_where_a_rule_reads_them() {
    let wanted = Wanted { namespace_labels: ["team".into()].into(), ..Wanted::default() };
    let mut bench = Bench::new(Mode::Watch, wanted);
    bench.cluster.put_namespace("team-a", [("team", "vision"), ("other", "x")], []);
    let team = |reading: &Reading| {
        let namespaces = reading.sample.namespaces.as_ref()?;
        namespaces.get("team-a")?.labels.get("team").cloned()
    };
    bench.until("listed", |reading| team(reading).as_deref() == Some("vision") && reading.is_fresh());
    bench.cluster.put_namespace("team-a", [("team", "speech")], []);
    bench.until("changed", |reading| team(reading).as_deref() == Some("speech"));
    bench.cluster.delete_namespace("team-a");
    bench.until("deleted", |reading| team(reading).is_none() && reading.sample.namespaces.is_some());
    let mut requests = bench.requests();
    requests.sort();
    assert_eq!(requests, ["list namespaces", "list pods", "watch namespaces", "watch pods"]);
}
