//! Unit tests of the kubelet source.

use super::*;
use crate::socket::fake::{Answer, Fake};
use prost::Message as _;

fn devices(ids: &[&str]) -> proto::Devices {
    proto::Devices { device_ids: ids.iter().map(|id| (*id).to_owned()).collect() }
}

fn claim(driver: &str, device: &str, cdi: &[&str]) -> proto::DynamicResource {
    let cdi_devices = cdi.iter().map(|name| proto::CdiDevice { name: (*name).to_owned() }).collect();
    let claim =
        proto::ClaimResource { cdi_devices, driver_name: driver.to_owned(), device_name: device.to_owned() };
    proto::DynamicResource { claim_resources: vec![claim] }
}

fn container(name: &str, ids: &[&[&str]], claims: Vec<proto::DynamicResource>) -> proto::Container {
    let devices = ids.iter().map(|ids| devices(ids)).collect();
    proto::Container { name: name.to_owned(), devices, dynamic_resources: claims }
}

fn pod(namespace: &str, name: &str, containers: Vec<proto::Container>) -> proto::PodResources {
    proto::PodResources { namespace: namespace.to_owned(), name: name.to_owned(), containers }
}

/// `namespace/pod/container=ids` of what is kept.
fn kept(pods: Vec<proto::PodResources>) -> Vec<String> {
    kept_of(&proto::ListResponse { pod_resources: pods }.encode_to_vec())
}

fn kept_of(answer: &[u8]) -> Vec<String> {
    let list = Containers::from_answer(answer).unwrap().into_list();
    let line =
        |c: &ContainerDevices| format!("{}/{}/{}={}", c.namespace, c.pod, c.container, c.devices.join(","));
    list.iter().map(line).collect()
}

struct Bench {
    folder: tempfile::TempDir,
    kubelet: Kubelet,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut kubelet = Kubelet::new(folder.path().join("kubelet.sock"));
        let clock = folder.path().join("clock");
        std::fs::write(&clock, "1000000000").unwrap();
        kubelet.clock = Clock::file(&clock).unwrap();
        Self { folder, kubelet }
    }

    fn fake(&self) -> Fake {
        let fake = Fake::at(&self.folder.path().join("kubelet.sock"));
        let gpu = container("main", &[&["GPU-a"]], Vec::new());
        fake.says(LIST, &proto::ListResponse { pod_resources: vec![pod("ns", "p", vec![gpu])] });
        fake.says(
            ALLOCATABLE,
            &proto::AllocatableResponse { devices: vec![devices(&["GPU-b", "GPU-a", "nic"])] },
        );
        fake
    }

    fn later(&self, seconds: u64) {
        self.kubelet.clock.sleep(Duration::from_secs(seconds));
    }

    fn read(&mut self) -> (Option<Allocations>, Vec<SourceError>) {
        let mut sample = Sample::default();
        let errors = self.kubelet.read(&Request::default(), &mut sample);
        (sample.allocations, errors)
    }

    /// The kinds of the errors of a read that gave nothing.
    fn failed(&mut self) -> (String, String) {
        let (allocations, errors) = self.read();
        assert_eq!((allocations, errors.len()), (None, 1), "{errors:?}");
        (errors[0].kind.to_string(), errors[0].message.clone())
    }
}

#[test]
fn a_containers_resources_are_one_sorted_list_of_gpus() {
    let ids: [&[&str]; 3] = [&["MIG-b", "eth0"], &["GPU-c::1", "nvidia0/gi1"], &["MIG-b"]];
    let pods = vec![
        pod("z", "p", vec![container("main", &ids, Vec::new()), container("side", &[&["eth1"]], Vec::new())]),
        pod("a\n", "p", vec![container("main", &[&["GPU-a"]], Vec::new())]),
    ];
    assert_eq!(kept(pods), ["a\u{fffd}/p/main=GPU-a", "z/p/main=GPU-c::1,MIG-b,nvidia0/gi1"]);
}

/// What Kubernetes' own types wrote: see the README there.
fn witness(name: &str) -> Vec<u8> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/podresources"));
    std::fs::read(folder.join(name)).unwrap()
}

#[test]
fn kubernetes_own_bytes_are_read() {
    let list = |name| kept_of(&witness(name));
    let gpu = "GPU-5a3c0b12-0000-4000-8000-000000000001";
    let migs = ["MIG-7d1d5a2e-2222-4333-8444-555555555555", "MIG-7d1d5a2e-2222-4333-8444-666666666666"];
    let train = format!("team-a/train-0/main={gpu},{gpu}::2,{}", migs.join(","));
    assert_eq!(list("list-plugins.bin"), [&train, "team-b/web-0/web=nvidia0/gi1/vgpu1"]);
    assert_eq!(list("list-claims.bin"), ["team-c/infer-0/main=gpu-0,gpu-1-mig-1g.10gb-0"]);
    let ids = [gpu.into(), "GPU-5a3c0b12-0000-4000-8000-000000000002".into()];
    assert_eq!(allocatable(&witness("allocatable.bin")), Ok(ids.into()));
}

#[test]
fn claims_are_mapped_by_their_device_or_by_a_uuid_in_a_cdi_name() {
    let claims = vec![
        claim("gpu.nvidia.com", "gpu-3", &["k8s.gpu.nvidia.com/device=gpu-3"]),
        claim("gpu.example.com", "gpu-7", &["nvidia.com/gpu=GPU-d", "nvidia.com/gpu=0", "GPU-none"]),
        claim("gpu.nvidia.com", "gpu-vfio-1", &[]),
    ];
    assert_eq!(kept(vec![pod("n", "p", vec![container("c", &[], claims)])]), ["n/p/c=GPU-d,gpu-3"]);
}

#[test]
fn more_containers_or_devices_than_are_kept_are_cut_and_said() {
    let gpu = |name: String| container(&name, &[&["GPU-a"]], Vec::new());
    let many = (0..=MAX_CONTAINERS).map(|i| gpu(i.to_string())).collect();
    let ids: Vec<String> = (0..=MAX_DEVICES).map(|i| format!("GPU-{i}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let one = vec![container("main", &[&ids], Vec::new())];
    let full = |i: usize| container(&i.to_string(), &[&ids[..MAX_DEVICES]], Vec::new());
    let all = (0..=MAX_HELD / MAX_DEVICES).map(full).collect();
    let cdi: Vec<String> = ids.iter().map(|id| format!("nvidia.com/gpu={id}")).collect();
    let cdi: Vec<&str> = cdi.iter().map(String::as_str).collect();
    let claimed = vec![container("main", &[], vec![claim("gpu.example.com", "gpu-7", &cdi)])];
    for containers in [many, one, all, claimed] {
        let list = proto::ListResponse { pod_resources: vec![pod("n", "p", containers)] };
        let containers = Containers::from_answer(&list.encode_to_vec()).unwrap();
        let errors = containers.errors(Path::new("/s"));
        assert!(errors.len() == 1 && &*errors[0].kind == "too_large", "{errors:?}");
        let list = containers.into_list();
        assert!(list.len() <= MAX_CONTAINERS && list.iter().all(|c| c.devices.len() <= MAX_DEVICES));
        assert!(list.iter().map(|c| c.devices.len()).sum::<usize>() <= MAX_HELD);
    }
}

#[test]
fn all_devices_are_asked_for_at_the_first_read_and_then_every_five_minutes() {
    let mut bench = Bench::new();
    let fake = bench.fake();
    for (after, asked) in [(0, 1), (10, 1), (280, 1), (10, 2)] {
        bench.later(after);
        let (allocations, errors) = bench.read();
        assert!(errors.is_empty(), "{errors:?}");
        let allocations = allocations.unwrap();
        assert_eq!(allocations.containers.len(), 1);
        assert_eq!(allocations.allocatable.as_deref(), Some(&["GPU-a".into(), "GPU-b".into()][..]));
        assert_eq!(fake.calls(ALLOCATABLE), asked);
    }
    assert_eq!(fake.calls(LIST), 4);
}

#[test]
fn a_kubelet_that_does_not_know_all_devices_is_no_failure_and_one_that_fails_says_so() {
    let mut bench = Bench::new();
    let fake = bench.fake();
    fake.answers(ALLOCATABLE, Answer::Status(12, "unknown method"));
    let (allocations, errors) = bench.read();
    assert!(errors.is_empty() && allocations.unwrap().allocatable.is_none(), "{errors:?}");
    fake.answers(ALLOCATABLE, Answer::Status(13, "broken"));
    bench.later(300);
    for _ in 0..2 {
        let (allocations, errors) = bench.read();
        assert_eq!(errors.len(), 1, "said until it is asked again");
        assert_eq!(&*errors[0].kind, "grpc_status");
        assert_eq!(allocations.unwrap().containers.len(), 1, "the list itself is good");
    }
}

#[test]
fn each_fault_has_its_kind_and_its_remedy() {
    let huge = proto::ListResponse { pod_resources: vec![pod(&"n".repeat(MAX_HUGE), "p", Vec::new())] };
    let faults = [
        (Answer::Never, "timeout", "overloaded"),
        (Answer::Half(vec![0; 100]), "malformed", "kubelet"),
        (Answer::Message(vec![0xff; 100]), "malformed", "kubelet"),
        // A pod whose name is longer than the pod.
        (Answer::Message(b"\x0a\x02\x0a\x05".to_vec()), "malformed", "kubelet"),
        (Answer::Message(prost::Message::encode_to_vec(&huge)), "too_large", "16 MiB"),
        (Answer::Status(12, "unknown service"), "unimplemented", "unknown service"),
        (Answer::Status(7, "no"), "permission", "root"),
        (Answer::Status(8, "rate limit"), "grpc_status", "ResourceExhausted: rate limit"),
    ];
    let mut bench = Bench::new();
    let fake = bench.fake();
    for (answer, kind, remedy) in faults {
        fake.answers(LIST, answer);
        bench.later(100);
        let (got, message) = bench.failed();
        assert!(got == kind && message.contains(remedy), "{kind}: {got}: {message}");
    }
}

/// More than is read.
const MAX_HUGE: usize = crate::socket::MAX_BYTES + 1;

#[test]
fn a_kubelet_that_is_gone_is_asked_again_after_a_pause_and_found_when_it_is_back() {
    let mut bench = Bench::new();
    let (kind, message) = bench.failed();
    assert!(kind == "socket_missing" && message.contains("/var/lib/kubelet/pod-resources"), "{message}");
    let fake = bench.fake();
    assert_eq!(bench.failed(), (kind, message), "within the pause nothing is asked");
    assert_eq!(fake.calls(LIST), 0);
    bench.later(2);
    assert!(bench.read().0.is_some());
    drop(fake);
    bench.later(2);
    bench.failed();
}

#[test]
fn what_is_no_kubelet_is_an_error() {
    let mut bench = Bench::new();
    let path = bench.folder.path().join("kubelet.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let garbage = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        let _ = stream.read(&mut [0; 1024]);
    });
    let (kind, message) = bench.failed();
    garbage.join().unwrap();
    assert!(kind == "io" && message.contains("see that the kubelet runs there"), "{kind}: {message}");
    // The listener is gone, its socket is not.
    bench.later(100);
    let (kind, message) = bench.failed();
    assert!(kind == "io" && message.contains("nobody listens"), "{kind}: {message}");
}

#[test]
fn a_kubelet_that_takes_no_more_connections_is_not_called_missing() {
    let mut bench = Bench::new();
    let path = bench.folder.path().join("kubelet.sock");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let _listener = {
        let _inside = runtime.enter();
        let socket = tokio::net::UnixSocket::new_stream().unwrap();
        socket.bind(&path).unwrap();
        socket.listen(0).unwrap()
    };
    // A queue of length 0 takes one.
    let _waiting = std::os::unix::net::UnixStream::connect(&path).unwrap();
    let (kind, message) = bench.failed();
    assert!(
        kind == "io" && message.contains("overloaded") && !message.contains("mount"),
        "{kind}: {message}"
    );
}
