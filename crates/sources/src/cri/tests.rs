//! Unit tests of the CRI source.

use super::*;
use crate::socket::fake::{Answer as Said, Fake};
use gpu_session_core::sample::{Allocations, ContainerDevices, Process};
use prost::Message as _;

const A: &str = "aaaaaaaa-0000-4000-8000-000000000001";
const B: &str = "bbbbbbbb-0000-4000-8000-000000000002";

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

const RUNS: i32 = 0;
const ENDED: i32 = 1;

fn sandbox(id: &str, uid: &str, created_at: i64, state: i32) -> proto::Sandbox {
    let name = format!("pod-{}", &uid[..1]);
    let labels = [(POD_UID, uid), (POD_NAME, &*name), (POD_NAMESPACE, "ns"), ("owner", id)];
    let annotations = map(&[("creator", "kim\n"), ("other", "x")]);
    proto::Sandbox { id: id.to_owned(), state, created_at, labels: map(&labels), annotations }
}

fn container(id: &str, sandbox: &str, name: &str) -> proto::Container {
    let labels = map(&[(CONTAINER_NAME, name)]);
    proto::Container { id: id.to_owned(), pod_sandbox_id: sandbox.to_owned(), labels }
}

fn pods_of(sandboxes: &proto::SandboxList, containers: &proto::ContainerList) -> Pods {
    let mut pods = Pods::default();
    pods.take_sandboxes(&sandboxes.encode_to_vec(), &wanted()).unwrap();
    pods.take_containers(&containers.encode_to_vec()).unwrap();
    pods
}

fn wanted() -> Wanted {
    Wanted {
        pod_labels: ["owner".into(), POD_UID.into()].into(),
        pod_annotations: ["creator".into()].into(),
        ..Wanted::default()
    }
}

struct Bench {
    folder: tempfile::TempDir,
    cri: Cri,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = folder.path().join("clock");
        std::fs::write(&clock, "1000000000").unwrap();
        let socket = folder.path().join("cri.sock");
        let cri = Cri::new(socket, wanted(), Clock::file(&clock).unwrap());
        Self { folder, cri }
    }

    fn fake(&self) -> Fake {
        let fake = Fake::at(&self.folder.path().join("cri.sock"));
        fake.says(SANDBOXES, &proto::SandboxList { items: vec![sandbox("sa", A, 1, RUNS)] });
        fake.says(CONTAINERS, &proto::ContainerList { containers: vec![container("c1", "sa", "main")] });
        fake
    }

    fn later(&self, seconds: u64) {
        self.cri.clock.sleep(Duration::from_secs(seconds));
    }

    fn read(&mut self, mut sample: Sample) -> (Vec<PodList>, Vec<SourceError>) {
        let errors = self.cri.read(&Request::default(), &mut sample);
        (sample.pods, errors)
    }

    fn now_us(&self) -> i64 {
        self.cri.clock.now_us()
    }
}

/// A sample with a new process in each of these pods.
fn processes(uids: &[&str]) -> Sample {
    let process = |uid: &&str| Process {
        cgroup: Some(format!("0::/kubepods/burstable/pod{uid}/{}\n", "c".repeat(64)).into()),
        ..Process::default()
    };
    Sample { processes: Some((1..).zip(uids.iter().map(process)).collect()), ..Sample::default() }
}

/// A sample in which a container of this pod holds a device.
fn allocated(pod: &str) -> Sample {
    let container = ContainerDevices {
        namespace: "ns".into(),
        pod: pod.into(),
        container: "main".into(),
        devices: vec!["GPU-a".into()],
    };
    let allocations = Some(Allocations { containers: vec![container], allocatable: None });
    Sample { allocations, ..Sample::default() }
}

#[test]
fn sandboxes_of_one_pod_are_one_pod_and_the_ready_one_speaks() {
    let items = vec![
        sandbox("old", A, 1000, ENDED),
        sandbox("new", A, 2000, RUNS),
        sandbox("later", A, 3000, ENDED),
        sandbox("ended", B, 1000, ENDED),
        proto::Sandbox { id: "foreign".to_owned(), ..proto::Sandbox::default() },
    ];
    let containers = vec![
        container("1", "old", "init"),
        container("containerd://2", "new", "main\n"),
        container("3", "foreign", "x"),
        proto::Container { id: "4".to_owned(), pod_sandbox_id: "new".to_owned(), ..Default::default() },
    ];
    let pods = pods_of(&proto::SandboxList { items }, &proto::ContainerList { containers });
    assert_eq!(pods.by_uid.keys().map(|uid| &**uid).collect::<Vec<_>>(), [A, B]);
    let a = &pods.by_uid[A].pod;
    assert_eq!((&*a.namespace, &*a.name, a.phase), ("ns", "pod-a", Some(Phase::Running)));
    assert_eq!(a.start_us, Some(1), "the pod is as old as its first sandbox");
    assert_eq!(a.metadata.labels, [("owner".into(), "new".into())].into(), "no label of the kubelet's");
    assert_eq!(a.metadata.annotations, [("creator".into(), "kim\u{fffd}".into())].into());
    let names = [("1".into(), "init".into()), ("2".into(), "main\u{fffd}".into())];
    assert_eq!(a.containers, names.into());
    assert_eq!(pods.by_uid[B].pod.phase, None, "what is not ready may be anything");
}

#[test]
fn more_pods_or_containers_than_are_kept_are_cut_and_said() {
    let items = (0..=MAX_PODS).map(|i| sandbox(&i.to_string(), &format!("{i}"), 1, RUNS)).collect();
    let empty = proto::ContainerList::default();
    let pods = pods_of(&proto::SandboxList { items }, &empty);
    assert!(pods.cut && pods.by_uid.len() == MAX_PODS);
    let containers = (0..=MAX_CONTAINERS).map(|i| container(&i.to_string(), "sa", "main")).collect();
    let bench = &mut Bench::new();
    let fake = bench.fake();
    fake.says(CONTAINERS, &proto::ContainerList { containers });
    let (pods, errors) = bench.read(processes(&[A]));
    assert!(errors.len() == 1 && &*errors[0].kind == "too_large", "{errors:?}");
    assert_eq!(pods[0].pods[A].containers.len(), MAX_CONTAINERS);
}

#[test]
fn pods_that_run_are_kept_before_those_that_have_ended() {
    let ended = (0..MAX_PODS).map(|i| sandbox(&i.to_string(), &format!("{i}"), 1, ENDED));
    let items = ended.chain([sandbox("runs", A, 1, RUNS)]).collect();
    let pods = pods_of(&proto::SandboxList { items }, &proto::ContainerList::default());
    assert!(pods.cut && pods.by_uid.contains_key(A));
}

#[test]
fn a_pod_made_again_under_its_name_has_a_new_start_and_one_of_no_time_none() {
    let items = vec![
        sandbox("first", A, 1_700_000_000_123_456_789, ENDED),
        sandbox("second", B, 1_700_000_001_123_456_789, RUNS),
        sandbox("timeless", "c", 0, RUNS),
    ];
    let pods = pods_of(&proto::SandboxList { items }, &proto::ContainerList::default());
    let starts = [A, B, "c"].map(|uid| pods.by_uid[uid].pod.start_us);
    assert_eq!(starts, [Some(1_700_000_000_123_456), Some(1_700_000_001_123_456), None]);
}

#[test]
fn it_is_not_asked_for_what_an_earlier_source_knows() {
    let mut bench = Bench::new();
    let fake = bench.fake();
    let earlier = PodList {
        source: "kubernetes".into(),
        as_of_us: 1,
        pods: Arc::new([(A.into(), Arc::new(Pod::default()))].into()),
    };
    let samples = [Sample::default(), processes(&[A]), allocated("pod-b")];
    for mut sample in samples {
        sample.pods.push(earlier.clone());
        assert_eq!(bench.read(sample), (vec![earlier.clone()], vec![]));
    }
    assert_eq!(fake.calls(SANDBOXES), 0);
    let mut sample = processes(&[A, B]);
    sample.pods.push(earlier);
    assert_eq!(bench.read(sample).0.len(), 2);
    assert_eq!(fake.calls(SANDBOXES), 1);
}

#[test]
fn the_same_unknown_pod_is_asked_for_every_ten_seconds_and_another_at_once() {
    let mut bench = Bench::new();
    let fake = bench.fake();
    let begin = bench.now_us();
    for (after, uids, calls, as_of) in [
        (0, &[B][..], 1, 0),
        (5, &[B], 1, 0),
        (1, &[A], 1, 0),
        (5, &[B], 2, 11),
        (1, &[B, "c".repeat(32).as_str()], 3, 12),
    ] {
        bench.later(after);
        let (pods, errors) = bench.read(processes(uids));
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(fake.calls(SANDBOXES), calls, "{after} {uids:?}");
        assert_eq!(
            (pods.len(), pods[0].as_of_us - begin),
            (1, as_of * 1_000_000),
            "the last answer, and its age"
        );
        assert!(pods[0].pods.contains_key(A));
    }
}

#[test]
fn unplaced_sessions_are_asked_for_too() {
    let mut bench = Bench::new();
    let fake = bench.fake();
    let mut sample = Sample::default();
    let request = Request { unplaced: [A.into()].into(), ..Request::default() };
    assert!(bench.cri.read(&request, &mut sample).is_empty());
    assert_eq!((fake.calls(SANDBOXES), &*sample.pods[0].source), (1, "cri"));
}

#[test]
fn pods_that_hold_devices_are_asked_for_where_no_other_source_is() {
    let mut bench = Bench::new();
    let fake = bench.fake();
    for (after, pod, calls) in
        [(0, "pod-a", 1), (20, "pod-a", 1), (0, "pod-x", 2), (1, "pod-x", 2), (61, "pod-a", 3)]
    {
        bench.later(after);
        assert_eq!(bench.read(allocated(pod)).1, []);
        assert_eq!(fake.calls(SANDBOXES), calls, "{after} {pod}");
    }
}

#[test]
fn each_fault_has_its_kind_and_remedy_and_the_last_answer_stays() {
    let mut bench = Bench::new();
    let (pods, errors) = bench.read(processes(&[A]));
    assert!(pods.is_empty() && errors[0].message.contains("/run/crio/crio.sock"), "{errors:?}");
    let fake = bench.fake();
    bench.later(100);
    let begin = bench.now_us();
    assert_eq!(bench.read(processes(&[A])).1, []);
    let faults = [
        (Said::Never, "timeout", "overloaded"),
        (Said::Half(vec![0; 100]), "malformed", "the container runtime"),
        (Said::Message(vec![0xff; 100]), "malformed", "the container runtime"),
        // Labels that are longer than what they belong to.
        (Said::Message(b"\x0a\x04\x2a\x05\x42\x05".to_vec()), "malformed", "the container runtime"),
        (
            Said::Status(12, "unknown service runtime.v1.RuntimeService"),
            "unimplemented",
            "plugin cri enabled",
        ),
        (Said::Status(2, "a b"), "grpc_status", "Unknown: a b"),
    ];
    for (answer, kind, remedy) in faults {
        for method in [SANDBOXES, CONTAINERS] {
            let good = if method == SANDBOXES { CONTAINERS } else { SANDBOXES };
            fake.answers(good, Said::Message(Vec::new()));
            fake.answers(method, answer.clone());
            bench.later(100);
            for _ in 0..2 {
                let (pods, errors) = bench.read(processes(&[B]));
                assert!(errors.len() == 1 && &*errors[0].kind == kind, "{kind}: {errors:?}");
                assert!(errors[0].message.contains(remedy), "{remedy}: {errors:?}");
                assert_eq!(pods[0].as_of_us, begin, "its age grows");
            }
        }
    }
    assert_eq!(bench.read(Sample::default()).1, [], "nothing is needed: nothing failed");
}
