//! The kubelet source against a kubelet.

use gpu_session_core::sample::{Allocations, Request, Sample, SourceError};
use gpu_session_sources::Source;
use gpu_session_sources::kubelet::Kubelet;
use kube_sim::kubelet::Fault;
use kube_sim::{Claim, ClaimDevice, Cluster, Container, Holdings, Pod};
use std::time::{Duration, Instant};

const NODE: &str = "node-a";
const GPU: &str = "GPU-5a3c0b12-0000-4000-8000-000000000001";
const MIG: &str = "MIG-5a3c0b12-0000-4000-8000-000000000002";

struct Bench {
    cluster: Cluster,
    kubelet: kube_sim::Kubelet,
    source: Kubelet,
    _folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let cluster = Cluster::new();
        let main =
            Container::new("main").devices("nvidia.com/gpu", [format!("{GPU}::1"), format!("{GPU}::0")]);
        let side = Container::new("side").devices("example.com/nic", ["eth1"]);
        cluster.put_pod(&Pod::new("team-a", "train").on(NODE).container(main).container(side));
        cluster.put_pod(
            &Pod::new("team-a", "away")
                .on("node-b")
                .container(Container::new("main").devices("nvidia.com/gpu", ["GPU-b"])),
        );
        cluster.set_allocatable(
            NODE,
            Holdings::of("nvidia.com/gpu", [GPU]).and("nvidia.com/mig-1g.10gb", [MIG]),
        );
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("kubelet.sock");
        let kubelet = kube_sim::Kubelet::start(&cluster, NODE, &socket).unwrap();
        Self { cluster, kubelet, source: Kubelet::new(socket), _folder: folder }
    }

    fn read(&mut self) -> (Option<Allocations>, Vec<SourceError>) {
        let mut sample = Sample::default();
        let errors = self.source.read(&Request::default(), &mut sample);
        (sample.allocations, errors)
    }

    fn allocations(&mut self) -> Allocations {
        let (allocations, errors) = self.read();
        assert_eq!(errors, []);
        allocations.unwrap()
    }

    /// Reads until it is well, for the source pauses after failures.
    fn recovers(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            let (allocations, errors) = self.read();
            if allocations.is_some() {
                return;
            }
            assert!(Instant::now() < deadline, "never: {errors:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn lines(allocations: &Allocations) -> Vec<String> {
    let line = |c: &gpu_session_core::sample::ContainerDevices| {
        format!("{}/{}/{} {}", c.namespace, c.pod, c.container, c.devices.join(" "))
    };
    allocations.containers.iter().map(line).collect()
}

#[test]
fn what_the_kubelet_gave_and_can_give_is_told() {
    let mut bench = Bench::new();
    let allocations = bench.allocations();
    assert_eq!(lines(&allocations), [format!("team-a/train/main {GPU}::0 {GPU}::1")]);
    let allocatable: Vec<&str> =
        allocations.allocatable.iter().flat_map(|ids| ids.iter()).map(|id| &**id).collect();
    assert_eq!(allocatable, [GPU, MIG]);
    bench.allocations();
    let calls: Vec<String> = bench.kubelet.calls().into_iter().map(|call| call.method).collect();
    assert_eq!(calls, ["List", "GetAllocatableResources", "List"]);
}

#[test]
fn a_finished_pod_stays_listed_until_the_kubelet_forgets_it() {
    let mut bench = Bench::new();
    bench.cluster.set_phase("team-a", "train", kube_sim::Phase::Succeeded);
    assert_eq!(bench.allocations().containers.len(), 1);
    bench.cluster.forget_allocations("team-a", "train");
    assert_eq!(bench.allocations().containers, []);
}

#[test]
fn claims_of_the_dra_driver_are_told() {
    let mut bench = Bench::new();
    let device = |name: &str| ClaimDevice {
        driver: "gpu.nvidia.com".to_owned(),
        pool: NODE.to_owned(),
        device: name.to_owned(),
        cdi: vec![format!("k8s.gpu.nvidia.com/device={name}")],
        share: None,
    };
    let claim = |name: &str| Claim {
        name: "claim".to_owned(),
        namespace: "team-b".to_owned(),
        devices: vec![device(name)],
    };
    let holdings = Holdings { claims: vec![claim("gpu-1")], ..Holdings::default() };
    bench
        .cluster
        .put_pod(&Pod::new("team-b", "dra").on(NODE).container(Container::new("main").holdings(holdings)));
    assert!(lines(&bench.allocations()).contains(&"team-b/dra/main gpu-1".to_owned()));
    let holdings = Holdings { claims: vec![claim("gpu-1-mig-1g10gb-19-0")], ..Holdings::default() };
    bench.cluster.set_allocations("team-b", "dra", "main", holdings);
    assert!(lines(&bench.allocations()).contains(&"team-b/dra/main gpu-1-mig-1g10gb-19-0".to_owned()));
}

#[test]
fn each_fault_is_said_and_passes() {
    for (fault, kind) in [
        (Fault::Deaf, "timeout"),
        (Fault::Unavailable, "grpc_status"),
        (Fault::RateLimited, "grpc_status"),
        (Fault::Half, ""),
        (Fault::Garbage, "malformed"),
        (Fault::NoGrpc, "io"),
        (Fault::Huge(17 << 20), "too_large"),
    ] {
        let mut bench = Bench::new();
        bench.kubelet.set_fault(fault.clone());
        let (allocations, errors) = bench.read();
        assert!(allocations.is_none() && errors.len() == 1, "{fault:?}: {errors:?}");
        assert!(kind.is_empty() || &*errors[0].kind == kind, "{fault:?}: {errors:?}");
        bench.kubelet.set_fault(Fault::None);
        bench.recovers();
    }
}

#[test]
fn a_large_answer_is_read_and_a_slow_one_waited_for() {
    for fault in [Fault::Huge(8 << 20), Fault::Slow(Duration::from_millis(100)), Fault::NoAllocatable] {
        let mut bench = Bench::new();
        bench.kubelet.set_fault(fault.clone());
        let (allocations, errors) = bench.read();
        assert_eq!(errors, [], "{fault:?}");
        let allocations = allocations.unwrap();
        assert!(lines(&allocations).contains(&format!("team-a/train/main {GPU}::0 {GPU}::1")), "{fault:?}");
        assert_eq!(allocations.allocatable.is_none(), fault == Fault::NoAllocatable);
    }
}

#[test]
fn a_kubelet_that_was_killed_or_is_gone_is_found_when_it_is_back() {
    let mut bench = Bench::new();
    bench.allocations();
    bench.kubelet.kill();
    let (allocations, errors) = bench.read();
    assert!(allocations.is_none() && &*errors[0].kind == "io", "{errors:?}");
    bench.kubelet.restart().unwrap();
    bench.recovers();
    bench.kubelet.stop();
    let (_, errors) = bench.read();
    assert!(&*errors[0].kind == "socket_missing" && errors[0].message.contains("mount"), "{errors:?}");
    bench.kubelet.restart().unwrap();
    bench.recovers();
}
