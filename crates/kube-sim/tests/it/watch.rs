//! Watches.

use super::{client, cluster, pod};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{WatchEvent, WatchParams};
use kube::runtime::watcher;
use std::pin::pin;
use tokio_stream::{Stream, StreamExt};

/// The next event, in short.
async fn next(events: &mut (impl Stream<Item = kube::Result<WatchEvent<Pod>>> + Unpin)) -> String {
    let name = |pod: Pod| pod.metadata.name.unwrap();
    match events.next().await {
        Some(Ok(WatchEvent::Added(pod))) => format!("added {}", name(pod)),
        Some(Ok(WatchEvent::Modified(pod))) => format!("modified {}", name(pod)),
        Some(Ok(WatchEvent::Deleted(pod))) => format!("deleted {}", name(pod)),
        Some(Ok(WatchEvent::Bookmark(mark))) => {
            let end = mark.metadata.annotations.contains_key("k8s.io/initial-events-end");
            format!("bookmark {}{}", mark.metadata.resource_version, if end { " end" } else { "" })
        }
        Some(Ok(WatchEvent::Error(status))) => format!("error {} {}", status.code, status.reason),
        Some(Err(error)) => format!("failed: {error}"),
        None => "end".to_owned(),
    }
}

fn on_node_a() -> WatchParams {
    WatchParams::default().fields("spec.nodeName=node-a")
}

#[tokio::test]
async fn a_watch_tells_what_happens_to_what_it_selects() {
    let (cluster, server) = cluster();
    let api = Api::<Pod>::all(client(&server).await);
    let version = cluster.version().to_string();
    cluster.put_pod(&pod("team-a", "train-1"));
    let mut events = pin!(api.watch(&on_node_a(), &version).await.unwrap());
    // Scheduled: it begins to match.
    cluster.put_pod(&pod("team-a", "train-1").on("node-a"));
    assert_eq!(next(&mut events).await, "added train-1");
    cluster.set_phase("team-a", "train-1", kube_sim::Phase::Succeeded);
    assert_eq!(next(&mut events).await, "modified train-1");
    cluster.set_phase("team-b", "train-0", kube_sim::Phase::Succeeded);
    cluster.terminate_pod("team-a", "train-1");
    assert_eq!(next(&mut events).await, "modified train-1");
    cluster.delete_pod("team-a", "train-1");
    assert_eq!(next(&mut events).await, "deleted train-1");
    // It ceases to match without being gone.
    cluster.edit_pod("team-a", "train-0", |pod| pod["spec"]["nodeName"] = "node-b".into());
    let Some(Ok(WatchEvent::Deleted(gone))) = events.next().await else { panic!("no deletion") };
    assert_eq!(gone.spec.unwrap().node_name.unwrap(), "node-a", "the last state that it saw");
    assert_eq!(gone.metadata.resource_version.unwrap(), cluster.version().to_string());
}

#[tokio::test]
async fn a_watch_without_a_version_begins_with_what_is_there() {
    let (cluster, server) = cluster();
    let api = Api::<Pod>::all(client(&server).await);
    let mut events = pin!(api.watch(&on_node_a(), "0").await.unwrap());
    assert_eq!(next(&mut events).await, "added train-0");
    cluster.put_pod(&pod("team-a", "train-1").on("node-a"));
    assert_eq!(next(&mut events).await, "added train-1");
}

#[tokio::test]
async fn a_watch_from_a_forgotten_version_is_an_error_event() {
    let (cluster, server) = cluster();
    let api = Api::<Pod>::all(client(&server).await);
    let old = cluster.version().to_string();
    let mut running = pin!(api.watch(&on_node_a(), &old).await.unwrap());
    cluster.compact();
    let mut late = pin!(api.watch(&on_node_a(), &old).await.unwrap());
    assert_eq!(next(&mut late).await, "error 410 Expired");
    assert_eq!(next(&mut late).await, "end");
    // One that runs has missed nothing.
    cluster.put_pod(&pod("team-a", "train-1").on("node-a"));
    assert_eq!(next(&mut running).await, "added train-1");
    cluster.expire_watches();
    assert_eq!(next(&mut running).await, "error 410 Expired");
    assert_eq!(next(&mut running).await, "end");
}

#[tokio::test]
async fn bookmarks_come_to_those_who_asked_for_them() {
    let (cluster, server) = cluster();
    let api = Api::<Pod>::all(client(&server).await);
    let version = cluster.version().to_string();
    let without = WatchParams { bookmarks: false, ..on_node_a() };
    let mut without = pin!(api.watch(&without, &version).await.unwrap());
    let mut with = pin!(api.watch(&on_node_a(), &version).await.unwrap());
    // Nothing that it selects, but the version moves on.
    cluster.put_pod(&pod("team-b", "train-1").on("node-b"));
    let newest = cluster.version();
    cluster.send_bookmarks();
    assert_eq!(next(&mut with).await, format!("bookmark {newest}"));
    cluster.put_pod(&pod("team-a", "train-1").on("node-a"));
    assert_eq!(next(&mut without).await, "added train-1");
}

#[tokio::test]
async fn a_watch_ends_after_its_time_with_a_bookmark() {
    let (cluster, server) = cluster();
    let api = Api::<Pod>::all(client(&server).await);
    let version = cluster.version();
    let mut events = pin!(api.watch(&on_node_a().timeout(1), &version.to_string()).await.unwrap());
    assert_eq!(next(&mut events).await, format!("bookmark {version}"));
    assert_eq!(next(&mut events).await, "end");
}

#[tokio::test]
async fn a_watch_list_marks_where_what_is_there_ends() {
    let (cluster, server) = cluster();
    let api = Api::<Pod>::all(client(&server).await);
    let params = on_node_a().initial_events();
    let mut events = pin!(api.watch(&params, "0").await.unwrap());
    assert_eq!(next(&mut events).await, "added train-0");
    assert_eq!(next(&mut events).await, format!("bookmark {} end", cluster.version()));
    cluster.delete_pod("team-a", "train-0");
    assert_eq!(next(&mut events).await, "deleted train-0");
}

#[tokio::test]
async fn a_watch_can_begin_now_without_what_is_there() {
    let (cluster, server) = cluster();
    let client = client(&server).await;
    let path = "/api/v1/pods?watch=1&resourceVersionMatch=NotOlderThan&sendInitialEvents=false";
    let request = axum::http::Request::get(path).body(Vec::new()).unwrap();
    let events = client.request_events::<Pod>(request).await.unwrap();
    let mut events = pin!(events);
    cluster.put_pod(&pod("team-a", "train-1"));
    assert_eq!(next(&mut events).await, "added train-1");
}

#[tokio::test]
async fn a_watch_may_ask_for_what_no_watch_can_have() {
    let (_cluster, server) = cluster();
    let client = client(&server).await;
    for query in [
        "watch=1&resourceVersion=x",
        "watch=1&sendInitialEvents=true",
        "watch=1&resourceVersion=5&resourceVersionMatch=NotOlderThan",
        "watch=1&fieldSelector=spec.image%3Dx",
        "resourceVersionMatch=Exact",
        "resourceVersion=0&resourceVersionMatch=Exact",
        "limit=-1",
        "continue=x",
    ] {
        let request = axum::http::Request::get(format!("/api/v1/pods?{query}")).body(Vec::new()).unwrap();
        let error = client.request::<serde_json::Value>(request).await.unwrap_err();
        assert!(
            matches!(&error, kube::Error::Api(status) if [400, 422].contains(&status.code)),
            "{query}: {error}"
        );
    }
}

/// What a watcher sees, in short, up to the end of a list.
async fn listed(
    events: &mut (impl Stream<Item = watcher::Result<watcher::Event<Pod>>> + Unpin),
) -> Vec<String> {
    let mut names = Vec::new();
    loop {
        match events.next().await.unwrap() {
            Ok(watcher::Event::Init) => names.clear(),
            Ok(watcher::Event::InitApply(pod)) => names.push(pod.metadata.name.unwrap()),
            Ok(watcher::Event::InitDone) => return names,
            other => panic!("{other:?}"),
        }
    }
}

async fn follows(config: watcher::Config) {
    let (cluster, server) = cluster();
    let api = Api::<Pod>::all(client(&server).await);
    let mut events = pin!(watcher(api, config.fields("spec.nodeName=node-a")));
    assert_eq!(listed(&mut events).await, ["train-0"]);
    cluster.put_pod(&pod("team-a", "train-1").on("node-a"));
    let event = events.next().await.unwrap().unwrap();
    assert!(matches!(event, watcher::Event::Apply(pod) if pod.metadata.name.as_deref() == Some("train-1")));
    cluster.delete_pod("team-a", "train-0");
    let event = events.next().await.unwrap().unwrap();
    assert!(matches!(event, watcher::Event::Delete(pod) if pod.metadata.name.as_deref() == Some("train-0")));
    cluster.expire_watches();
    let expired = events.next().await.unwrap();
    assert!(matches!(&expired, Err(watcher::Error::WatchError(status)) if status.code == 410), "{expired:?}");
    assert_eq!(listed(&mut events).await, ["train-1"], "listed again");
    cluster.delete_pod("team-a", "train-1");
    let event = events.next().await.unwrap().unwrap();
    assert!(matches!(event, watcher::Event::Delete(_)));
}

#[tokio::test]
async fn a_watcher_follows_and_lists_again_when_it_is_too_old() {
    follows(watcher::Config::default()).await;
    follows(watcher::Config::default().any_semantic().page_size(1)).await;
}

#[tokio::test]
async fn a_watcher_can_stream_its_list() {
    follows(watcher::Config::default().streaming_lists()).await;
}
