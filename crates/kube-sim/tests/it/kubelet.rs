//! The kubelet's socket.

use super::pod;
use hyper_util::rt::TokioIo;
use kube_sim::kubelet::messages::{
    AllocatableRequest, AllocatableResponse, GetRequest, GetResponse, ListRequest, ListResponse, PodResources,
};
use kube_sim::kubelet::{Call, Fault};
use kube_sim::{
    Claim, ClaimDevice, Cluster, Container, ContainerKind, Devices, Holdings, Kubelet, Memory, Phase,
};
use prost::Message;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

async fn connect(socket: &Path) -> Result<Channel, tonic::transport::Error> {
    let socket = socket.to_owned();
    let connector = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://kubelet").connect_with_connector(connector).await
}

async fn call<Q, A>(socket: &Path, method: &str, request: Q) -> Result<A, Status>
where
    Q: Message + 'static,
    A: Message + Default + 'static,
{
    let channel = connect(socket).await.map_err(|e| Status::aborted(e.to_string()))?;
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|e| Status::aborted(e.to_string()))?;
    let path = format!("/v1.PodResourcesLister/{method}").parse().unwrap();
    let answer = client.unary(tonic::Request::new(request), path, ProstCodec::<Q, A>::default()).await?;
    Ok(answer.into_inner())
}

async fn list(kubelet: &Kubelet) -> Result<Vec<PodResources>, Status> {
    let answer: ListResponse = call(kubelet.socket(), "List", ListRequest {}).await?;
    Ok(answer.pod_resources)
}

/// Ids of all devices that are listed, with their pods.
async fn ids(kubelet: &Kubelet) -> Vec<(String, Vec<String>)> {
    let pods = list(kubelet).await.unwrap().into_iter();
    pods.map(|pod| {
        let devices = pod.containers.into_iter().flat_map(|container| container.devices);
        (format!("{}/{}", pod.namespace, pod.name), devices.flat_map(|devices| devices.device_ids).collect())
    })
    .collect()
}

fn started(cluster: &Cluster) -> (TempDir, Kubelet) {
    let folder = tempfile::tempdir().unwrap();
    let kubelet = Kubelet::start(cluster, "node-a", folder.path().join("kubelet.sock")).unwrap();
    (folder, kubelet)
}

fn one(pod: &str, ids: &[&str]) -> (String, Vec<String>) {
    (pod.to_owned(), ids.iter().map(|id| (*id).to_owned()).collect())
}

#[tokio::test]
async fn a_kubelet_lists_its_nodes_pods_also_those_that_have_ended() {
    let cluster = Cluster::new();
    let holding = |name: &str, node: &str, id: &str| {
        pod("team-a", name).container(Container::new("gpu").devices("nvidia.com/gpu", [id])).on(node)
    };
    cluster.put_pod(&holding("here", "node-a", "GPU-1::2"));
    cluster.put_pod(&holding("there", "node-b", "GPU-2"));
    cluster.put_pod(&holding("nowhere", "", "GPU-3"));
    let (_folder, kubelet) = started(&cluster);
    assert_eq!(ids(&kubelet).await, [one("team-a/here", &["GPU-1::2"])]);
    cluster.set_phase("team-a", "here", Phase::Succeeded);
    assert_eq!(ids(&kubelet).await, [one("team-a/here", &["GPU-1::2"])]);
    kubelet.list_only_active(true);
    assert_eq!(ids(&kubelet).await, [], "a newer kubelet");
    kubelet.list_only_active(false);
    cluster.delete_pod_object("team-a", "here");
    assert_eq!(ids(&kubelet).await, [one("team-a/here", &["GPU-1::2"])], "it has not heard of it");
    assert!(cluster.forget_allocations("team-a", "here"));
    assert_eq!(ids(&kubelet).await, []);
    cluster.set_allocations("team-a", "unknown", "main", Holdings::of("nvidia.com/gpu", ["nvidia0/vgpu1"]));
    assert_eq!(ids(&kubelet).await, [one("team-a/unknown", &["nvidia0/vgpu1"])]);
    cluster.put_pod(&holding("here", "node-a", "GPU-1"));
    cluster.delete_pod("team-a", "here");
    assert_eq!(ids(&kubelet).await.len(), 1);
}

#[tokio::test]
async fn all_that_a_container_holds_is_told() {
    let cluster = Cluster::new();
    let device = ClaimDevice {
        driver: "gpu.nvidia.com".to_owned(),
        pool: "node-a".to_owned(),
        device: "gpu-0".to_owned(),
        cdi: vec!["k8s.gpu.nvidia.com/claim=x-gpu-0".to_owned()],
        share: Some("s".to_owned()),
    };
    let gpus = Devices {
        resource: "nvidia.com/gpu".to_owned(),
        ids: vec!["GPU-1".to_owned(), "GPU-2".to_owned()],
        numa: vec![1],
    };
    let holdings = Holdings {
        devices: vec![gpus.clone()],
        cpu_ids: vec![4, 5],
        memory: vec![Memory { kind: "memory".to_owned(), size: 1 << 30, numa: vec![0] }],
        claims: vec![Claim { name: "c".to_owned(), namespace: "team-a".to_owned(), devices: vec![device] }],
    };
    let init = Container::new("prepare").kind(ContainerKind::Init).devices("nvidia.com/gpu", ["GPU-1"]);
    let sidecar = Container::new("proxy").kind(ContainerKind::Sidecar);
    let main = Container::new("main").holdings(holdings);
    let pod = kube_sim::Pod::new("team-a", "train-0")
        .on("node-a")
        .container(init)
        .container(sidecar)
        .container(main);
    cluster.put_pod(&pod);
    cluster.set_allocatable("node-a", Holdings { devices: vec![gpus], ..Holdings::default() });
    let (_folder, kubelet) = started(&cluster);
    let pod = list(&kubelet).await.unwrap().pop().unwrap();
    let names: Vec<_> = pod.containers.iter().map(|container| container.name.as_str()).collect();
    assert_eq!(names, ["proxy", "main"], "init containers have ended");
    let main = &pod.containers[1];
    let devices: Vec<_> = main.devices.iter().map(|devices| devices.device_ids.as_slice()).collect();
    assert_eq!(devices, [["GPU-1".to_owned()], ["GPU-2".to_owned()]], "one entry each");
    assert_eq!(main.devices[0].topology.as_ref().unwrap().nodes[0].id, 1);
    assert_eq!((main.cpu_ids.as_slice(), main.memory[0].size), (&[4, 5][..], 1 << 30));
    let claim = &main.dynamic_resources[0];
    let device = &claim.claim_resources[0];
    assert_eq!((claim.claim_name.as_str(), device.device_name.as_str()), ("c", "gpu-0"));
    assert_eq!(device.cdi_devices[0].name, "k8s.gpu.nvidia.com/claim=x-gpu-0");
    let all: AllocatableResponse =
        call(kubelet.socket(), "GetAllocatableResources", AllocatableRequest {}).await.unwrap();
    assert_eq!(all.devices.len(), 2);
    let ask = |name: &str| GetRequest { pod_name: name.to_owned(), pod_namespace: "team-a".to_owned() };
    let one: GetResponse = call(kubelet.socket(), "Get", ask("train-0")).await.unwrap();
    assert_eq!(one.pod_resources.unwrap(), pod);
    let missing = call::<_, GetResponse>(kubelet.socket(), "Get", ask("train-1")).await.unwrap_err();
    assert!(missing.message().contains("not found"), "{missing}");
    let calls = kubelet.calls();
    assert_eq!(calls[0], Call { method: "List".to_owned(), pod: None });
    assert_eq!(calls[2].pod, Some(("team-a".to_owned(), "train-0".to_owned())));
    kubelet.clear_calls();
    assert!(kubelet.calls().is_empty());
}

#[tokio::test]
async fn every_fault_shows_and_passes() {
    let cluster = Cluster::new();
    cluster.put_pod(&pod("team-a", "train-0").on("node-a"));
    let (_folder, kubelet) = started(&cluster);
    for (fault, wanted) in [
        (Fault::Unavailable, Code::Unavailable),
        (Fault::RateLimited, Code::ResourceExhausted),
        (Fault::Half, Code::Internal),
        (Fault::Garbage, Code::Internal),
        (Fault::Huge(5 << 20), Code::OutOfRange),
    ] {
        kubelet.set_fault(fault.clone());
        let error = list(&kubelet).await.unwrap_err();
        assert_eq!(error.code(), wanted, "{fault:?}: {error}");
        kubelet.set_fault(Fault::None);
        assert_eq!(list(&kubelet).await.unwrap().len(), 1, "{fault:?}");
    }
    kubelet.set_fault(Fault::NoGrpc);
    assert!(list(&kubelet).await.is_err(), "at the connection or at the call, whichever sees it first");
    for (fault, wanted) in
        [(Fault::NoAllocatable, Code::Unimplemented), (Fault::AllocatableDisabled, Code::Unknown)]
    {
        kubelet.set_fault(fault.clone());
        let all = call::<_, AllocatableResponse>(
            kubelet.socket(),
            "GetAllocatableResources",
            AllocatableRequest {},
        );
        assert_eq!(all.await.unwrap_err().code(), wanted, "{fault:?}");
        assert_eq!(list(&kubelet).await.unwrap().len(), 1, "{fault:?}");
    }
    kubelet.set_fault(Fault::GetDisabled);
    let error = call::<_, GetResponse>(kubelet.socket(), "Get", GetRequest::default()).await.unwrap_err();
    assert!(error.code() == Code::Unknown && error.message().contains("disabled"), "{error}");
    let error = call::<_, GetResponse>(kubelet.socket(), "Watch", GetRequest::default()).await;
    assert_eq!(error.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
async fn a_slow_kubelet_is_slow_and_a_deaf_one_answers_when_it_hears_again() {
    let cluster = Cluster::new();
    let (_folder, kubelet) = started(&cluster);
    kubelet.set_fault(Fault::Slow(Duration::from_secs(100_000)));
    let slow = tokio::time::timeout(Duration::from_millis(100), list(&kubelet)).await;
    assert!(slow.is_err(), "{slow:?}");
    kubelet.clear_calls();
    kubelet.set_fault(Fault::Deaf);
    let (pods, ()) = tokio::join!(list(&kubelet), async {
        while kubelet.calls().is_empty() {
            tokio::task::yield_now().await;
        }
        kubelet.set_fault(Fault::None);
    });
    assert_eq!(pods.unwrap(), []);
}

#[tokio::test]
async fn a_kubelet_can_die_go_and_come_back() {
    let cluster = Cluster::new();
    let (folder, mut kubelet) = started(&cluster);
    kubelet.kill();
    let refused = UnixStream::connect(kubelet.socket()).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    kubelet.restart().unwrap();
    assert_eq!(list(&kubelet).await.unwrap(), []);
    kubelet.stop();
    let gone = UnixStream::connect(kubelet.socket()).await.unwrap_err();
    assert_eq!(gone.kind(), std::io::ErrorKind::NotFound);
    kubelet.restart().unwrap();
    assert_eq!(list(&kubelet).await.unwrap(), []);
    drop(kubelet);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    let error = Kubelet::start(&cluster, "node-a", folder.path().join("no/kubelet.sock")).unwrap_err();
    assert!(error.to_string().contains("no/kubelet.sock"), "{error}");
}
