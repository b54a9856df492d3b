//! What the kubelet and the container runtime answer on their sockets: protobuf.

use super::is_clean;
use crate::servers::Grpc;
use crate::{Target, corpus};
use gpu_session_core::sample::{Process, Request, Sample, SourceError};
use gpu_session_sources::Source;
use gpu_session_sources::clock::Clock;
use gpu_session_sources::cri::Cri;
use gpu_session_sources::kubelet::Kubelet;
use gpu_session_sources::pods::Wanted;
use std::sync::{LazyLock, Mutex};

/// PodResources: the list of containers, and all devices.
pub(super) const KUBELET: Target = Target {
    name: "kubelet",
    cases: 600,
    words: &[
        "GPU-5a3c0b12-0000-4000-8000-000000000001",
        "MIG-",
        "::1",
        "nvidia0/gi1",
        "gpu-0",
        "gpu.nvidia.com",
        "nvidia.com/gpu=GPU-a",
        "\n",
        "\u{12}",
        "\u{1a}",
    ],
    seeds: kubelet_seeds,
    run: kubelet,
};

/// The CRI: pods' sandboxes, and containers.
pub(super) const CRI: Target = Target {
    name: "cri",
    cases: 500,
    words: &[
        "io.kubernetes.pod.uid",
        "io.kubernetes.pod.name",
        "io.kubernetes.pod.namespace",
        "io.kubernetes.container.name",
        "creator-id",
        "\n",
        "\u{12}",
        "*",
        "2",
        "containerd://",
    ],
    seeds: cri_seeds,
    run: cri,
};

static SERVER: LazyLock<Mutex<Grpc>> = LazyLock::new(|| Mutex::new(Grpc::start()));

/// Two messages: how long the first is, in two bytes, and both.
fn two(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    Some(rest.split_at(usize::from(u16::from_be_bytes(*length)).min(rest.len())))
}

fn of_two(first: &[u8], second: &[u8]) -> Vec<u8> {
    [&u16::try_from(first.len()).unwrap().to_be_bytes()[..], first, second].concat()
}

/// A machine that is busy may be late.
fn is_expected(error: &SourceError) -> bool {
    matches!(&*error.kind, "malformed" | "too_large" | "timeout") && error.message.contains("/socket: ")
}

fn kubelet_seeds() -> Vec<Vec<u8>> {
    let file = |name: &str| corpus::file(&format!("testdata/podresources/{name}"));
    ["list-plugins.bin", "list-claims.bin"].map(|list| of_two(&file(list), &file("allocatable.bin"))).into()
}

fn kubelet(bytes: &[u8]) {
    let Some((list, all)) = two(bytes) else { return };
    let server = SERVER.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    server.says([
        ("/v1.PodResourcesLister/List", list),
        ("/v1.PodResourcesLister/GetAllocatableResources", all),
    ]);
    let mut sample = Sample::default();
    let errors = Kubelet::new(server.socket()).read(&Request::default(), &mut sample);
    assert!(errors.iter().all(is_expected), "{errors:?}");
    let Some(allocations) = sample.allocations else { return assert!(!errors.is_empty()) };
    let mut devices = 0;
    for container in &allocations.containers {
        let names = [&container.namespace, &container.pod, &container.container];
        assert!(names.into_iter().chain(&container.devices).all(|name| is_clean(name)), "{container:?}");
        assert!(!container.devices.is_empty() && container.devices.is_sorted(), "{container:?}");
        devices += container.devices.len();
    }
    let all = allocations.allocatable.map_or(0, |all| all.len());
    assert!(devices <= list.len() && all <= bytes.len(), "{devices} of {}", list.len());
}

/// A field that holds bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()][..], bytes].concat()
}

fn entry(number: u8, key: &str, value: &str) -> Vec<u8> {
    field(number, &[field(1, key.as_bytes()), field(2, value.as_bytes())].concat())
}

const UID: &str = "1f0a8f5e-3c1d-4b86-9a57-0c8e64d2b913";

fn cri_seeds() -> Vec<Vec<u8>> {
    let sandbox = |id: &str, extra: Vec<u8>| {
        let names = [("uid", UID), ("name", "p"), ("namespace", "ns")];
        let labels = names.map(|(key, value)| entry(5, &format!("io.kubernetes.pod.{key}"), value)).concat();
        [field(1, id.as_bytes()), vec![0x20, 0x80, 0x80, 0x80, 0x80, 0x10], labels, extra].concat()
    };
    // Field 1 of the answer is longer than a byte can say.
    let long = |message: Vec<u8>| {
        let length = message.len();
        [
            &[0x0a, u8::try_from(length & 0x7f).unwrap() | 0x80, u8::try_from(length >> 7).unwrap()][..],
            &message,
        ]
        .concat()
    };
    let annotation = entry(6, "creator-user-name", "alice");
    let sandboxes = [long(sandbox("s1", annotation)), long(sandbox("s2", vec![0x18, 0x01]))].concat();
    let container =
        [field(1, b"c1"), field(2, b"s1"), entry(8, "io.kubernetes.container.name", "main")].concat();
    vec![of_two(&sandboxes, &field(1, &container))]
}

fn cri(bytes: &[u8]) {
    let Some((sandboxes, containers)) = two(bytes) else { return };
    let server = SERVER.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    server.says([
        ("/runtime.v1.RuntimeService/ListPodSandbox", sandboxes),
        ("/runtime.v1.RuntimeService/ListContainers", containers),
    ]);
    let wanted = Wanted {
        pod_labels: ["creator-id".into()].into(),
        pod_annotations: ["creator-user-name".into()].into(),
        ..Wanted::default()
    };
    let cgroup = format!("0::/kubepods/pod{UID}/c1\n");
    let process = Process { cgroup: Some(cgroup.into()), ..Process::default() };
    let mut sample = Sample { processes: Some([(1, process)].into()), ..Sample::default() };
    let errors = Cri::new(server.socket(), wanted, Clock::Real).read(&Request::default(), &mut sample);
    assert!(errors.iter().all(is_expected), "{errors:?}");
    let Some(list) = sample.pods.first() else { return assert!(!errors.is_empty()) };
    assert!(list.pods.len() <= bytes.len());
    for (uid, pod) in &*list.pods {
        assert!(
            [uid, &pod.namespace, &pod.name].into_iter().all(|name| is_clean(name) && !name.is_empty()),
            "{pod:?}"
        );
        assert!(
            pod.containers.iter().all(|(id, name)| is_clean(id) && is_clean(name) && !id.is_empty()),
            "{pod:?}"
        );
        assert!(pod.start_us.is_none_or(|at| at >= 0), "{pod:?}");
    }
}
