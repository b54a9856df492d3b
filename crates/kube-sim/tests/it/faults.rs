//! What a server does wrong when told to.

use super::{client, cluster, pod};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, Error};
use kube_sim::api::Fault;
use kube_sim::{ApiServer, Cluster};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::pin::pin;
use std::time::Duration;
use tokio_stream::{Stream, StreamExt};

/// Name of the pod that is added next.
async fn added(events: &mut (impl Stream<Item = kube::Result<WatchEvent<Pod>>> + Unpin)) -> String {
    match events.next().await {
        Some(Ok(WatchEvent::Added(pod))) => pod.metadata.name.unwrap(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn lists_fail_as_told_and_are_well_again() {
    let (_cluster, server) = cluster();
    let pods = Api::<Pod>::all(client(&server).await);
    let all = ListParams::default();
    let size = pods.list(&all).await.unwrap().items.len();
    for fault in [Fault::Garbage, Fault::CutList(0), Fault::CutList(100), Fault::CutList(3000)] {
        server.set_fault(fault.clone());
        let error = pods.list(&all).await.unwrap_err();
        assert!(!matches!(error, Error::Api(_)), "{fault:?}: {error}");
        server.set_fault(Fault::None);
        assert_eq!(pods.list(&all).await.unwrap().items.len(), size, "{fault:?}");
    }
    for fault in [Fault::Slow(Duration::from_millis(1)), Fault::Dribble(100, Duration::ZERO), Fault::CutWatch]
    {
        server.set_fault(fault.clone());
        assert_eq!(pods.list(&all).await.unwrap().items.len(), size, "{fault:?}");
    }
}

#[tokio::test]
async fn the_next_requests_fail_with_a_status() {
    let (_cluster, server) = cluster();
    let pods = Api::<Pod>::all(client(&server).await);
    for (code, retry_after) in [(500, None), (429, Some(7)), (503, Some(1))] {
        server.set_fault(Fault::Fail { code, retry_after, times: 2 });
        for _ in 0..2 {
            match pods.list(&ListParams::default()).await {
                Err(Error::Api(status)) => {
                    let after = status.details.map_or(0, |details| details.retry_after_seconds);
                    assert_eq!((status.code, after), (code, retry_after.unwrap_or(0)));
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(server.fault(), Fault::None);
        assert!(pods.list(&ListParams::default()).await.is_ok());
    }
}

#[tokio::test]
async fn a_watch_is_cut_or_tells_garbage() {
    let (cluster, server) = cluster();
    let pods = Api::<Pod>::all(client(&server).await);
    for (fault, wanted) in [(Fault::CutWatch, false), (Fault::Garbage, true)] {
        let version = cluster.version().to_string();
        let mut events = pin!(pods.watch(&WatchParams::default(), &version).await.unwrap());
        cluster.put_pod(&pod("team-a", "train-1"));
        assert_eq!(added(&mut events).await, "train-1");
        server.set_fault(fault.clone());
        cluster.put_pod(&pod("team-a", "train-2"));
        let next = events.next().await;
        // To the client a body that is cut is one that ends.
        assert_eq!(matches!(next, Some(Err(_))), wanted, "{fault:?}: {next:?}");
        assert_eq!(next.is_none(), !wanted, "{fault:?}: {next:?}");
        server.set_fault(Fault::None);
        cluster.delete_pod("team-a", "train-1");
        cluster.delete_pod("team-a", "train-2");
    }
}

#[test]
fn what_is_cut_is_half_an_event_of_a_body_that_does_not_end() {
    let cluster = Cluster::new();
    let server = ApiServer::start_plain(&cluster, 0).unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    server.set_fault(Fault::CutWatch);
    cluster.put_pod(&pod("team-a", "train-0"));
    stream.write_all(b"GET /api/v1/pods?watch=1 HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    // Closed or reset, it is over.
    drop(stream.read_to_string(&mut answer));
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let (size, event) = body.split_once("\r\n").unwrap();
    let event = event.strip_suffix("\r\n").unwrap();
    assert_eq!(usize::from_str_radix(size, 16).unwrap(), event.len());
    assert!(event.starts_with("{\"object\":{") && !event.contains('\n'), "{event}");
}

#[tokio::test]
async fn watches_can_be_cut_between_events() {
    let (cluster, server) = cluster();
    let pods = Api::<Pod>::all(client(&server).await);
    let version = cluster.version().to_string();
    let mut events = pin!(pods.watch(&WatchParams::default(), &version).await.unwrap());
    cluster.cut_watches();
    // How the client words it is its business.
    assert!(matches!(events.next().await, None | Some(Err(_))));
}

#[tokio::test]
async fn a_silent_watch_tells_later_what_it_kept_back() {
    let (cluster, server) = cluster();
    let pods = Api::<Pod>::all(client(&server).await);
    let version = cluster.version().to_string();
    let mut events = pin!(pods.watch(&WatchParams::default(), &version).await.unwrap());
    server.set_fault(Fault::Silent);
    cluster.put_pod(&pod("team-a", "train-1"));
    assert_eq!(pods.list(&ListParams::default()).await.unwrap().items.len(), 3, "the rest works");
    let silent = tokio::time::timeout(Duration::from_millis(100), events.next()).await;
    assert!(silent.is_err(), "{silent:?}");
    server.set_fault(Fault::None);
    assert_eq!(added(&mut events).await, "train-1");
}

#[tokio::test]
async fn a_deaf_server_answers_when_it_hears_again() {
    let (_cluster, server) = cluster();
    let pods = Api::<Pod>::all(client(&server).await);
    for fault in [Fault::Deaf, Fault::DeafTo("pods")] {
        server.set_fault(fault);
        let all = ListParams::default();
        let mut list = pin!(pods.list(&all));
        let deaf = tokio::time::timeout(Duration::from_millis(100), &mut list).await;
        assert!(deaf.is_err(), "{deaf:?}");
        server.set_fault(Fault::None);
        assert_eq!(list.await.unwrap().items.len(), 2);
    }
    server.set_fault(Fault::DeafTo("namespaces"));
    assert_eq!(pods.list(&ListParams::default()).await.unwrap().items.len(), 2, "it hears the rest");
}

#[tokio::test]
async fn slow_is_slow() {
    let (_cluster, server) = cluster();
    let pods = Api::<Pod>::all(client(&server).await);
    let ages = Duration::from_secs(100_000);
    for fault in [Fault::Slow(ages), Fault::Dribble(1, ages)] {
        server.set_fault(fault.clone());
        let list = tokio::time::timeout(Duration::from_millis(100), pods.list(&ListParams::default())).await;
        assert!(list.is_err(), "{fault:?}");
    }
}

#[tokio::test]
async fn a_stopped_server_refuses_and_comes_back_on_its_port() {
    let (cluster, mut server) = cluster();
    let pods = Api::<Pod>::all(client(&server).await);
    let port = server.port();
    let version = cluster.version().to_string();
    let mut events = pin!(pods.watch(&WatchParams::default(), &version).await.unwrap());
    server.stop();
    assert!(matches!(events.next().await, None | Some(Err(_))));
    let refused = TcpStream::connect(("127.0.0.1", port)).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    server.restart().unwrap();
    assert_eq!(server.port(), port);
    assert_eq!(pods.list(&ListParams::default()).await.unwrap().items.len(), 2);
    let taken = ApiServer::start_on(&cluster, port).unwrap_err();
    assert!(taken.to_string().contains(&port.to_string()), "{taken}");
}
