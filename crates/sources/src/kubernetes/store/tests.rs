//! Unit tests of the stores.

use super::*;
use crate::kubernetes::slim;
use serde_json::{Value, json};

const A: &str = "aaaaaaaa-0000-4000-8000-000000000001";
const B: &str = "bbbbbbbb-0000-4000-8000-000000000002";
const HASH: &str = "0123456789abcdef0123456789abcdef";

fn wanted() -> Wanted {
    Wanted { pod_labels: ["owner".into()].into(), pod_annotations: ["dn".into()].into(), ..Wanted::default() }
}

fn pod(uid: &str, name: &str, more: &Value) -> SlimPod {
    slim::keep(&wanted());
    let mut pod = json!({
        "metadata": { "uid": uid, "name": name, "namespace": "ns", "resourceVersion": "1" },
        "status": { "phase": "Running" },
    });
    merge(&mut pod, more);
    serde_json::from_value(pod).unwrap()
}

fn merge(base: &mut Value, more: &Value) {
    match (base, more) {
        (Value::Object(base), Value::Object(more)) => {
            for (key, value) in more {
                merge(base.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (base, more) => *base = more.clone(),
    }
}

fn mirror(uid: &str, name: &str, hash: &str) -> SlimPod {
    let annotations = json!({ "kubernetes.io/config.mirror": hash, "kubernetes.io/config.hash": hash });
    pod(uid, name, &json!({ "metadata": { "annotations": annotations } }))
}

struct Bench {
    _folder: tempfile::TempDir,
    clock: Clock,
    store: Store<Pods>,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clock");
        std::fs::write(&path, "1700000000000000").unwrap();
        let clock = Clock::file(&path).unwrap();
        Self { _folder: folder, store: Store::new(clock.clone(), wanted()), clock }
    }

    fn list(&self, pods: Vec<SlimPod>) {
        self.store.event(Event::Init);
        for pod in pods {
            self.store.event(Event::InitApply(pod));
        }
        self.store.event(Event::InitDone);
    }

    fn map(&self) -> Arc<BTreeMap<Arc<str>, Arc<Pod>>> {
        self.store.view().map.unwrap()
    }

    /// `key=name`, with a `-` before those that were deleted.
    fn shown(&self) -> Vec<String> {
        let line = |(key, pod): (&Arc<str>, &Arc<Pod>)| {
            format!("{}{}={}", if pod.deleted { "-" } else { "" }, &key[..1], pod.name)
        };
        self.map().iter().map(line).collect()
    }
}

fn broken() -> Problem {
    Problem::new("io", "https://api: it is away", "see that it runs")
}

#[test]
fn a_pod_is_stripped_to_what_is_used() {
    let status = json!({
        "startTime": "2023-11-14T22:13:20Z",
        "containerStatuses": [{ "name": "main\n", "containerID": "containerd://c1" }, { "name": "waiting" }],
        "initContainerStatuses": [{ "name": "init", "containerID": "cri-o://c2" }],
        "ephemeralContainerStatuses": [{ "name": "debug", "containerID": "c3" }],
    });
    let labels = json!({ "owner": "kim\u{202e}", "other": "x" });
    let full = pod(
        A,
        "train",
        &json!({ "metadata": { "labels": labels, "managedFields": [{}] }, "status": status }),
    );
    assert!(kube::Resource::meta(&full).managed_fields.is_none());
    let bench = Bench::new();
    bench.list(vec![full]);
    let pod = &bench.map()[A];
    let names = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    let wanted = Pod {
        namespace: "ns".into(),
        name: "train".into(),
        phase: Some(gpu_session_core::sample::Phase::Running),
        deleted: false,
        start_us: Some(1_700_000_000_000_000),
        metadata: Metadata { labels: names(&[("owner", "kim\u{fffd}")]), annotations: BTreeMap::new() },
        containers: names(&[("c1", "main\u{fffd}"), ("c2", "init"), ("c3", "debug")]),
    };
    assert_eq!(**pod, wanted);
}

#[test]
fn what_cannot_be_read_of_a_pod_is_absent_and_one_without_a_uid_is_none() {
    let bench = Bench::new();
    let status = json!({ "phase": "Unknown", "startTime": "soon", "containerStatuses": null });
    let nameless: SlimPod = serde_json::from_value(json!({ "metadata": { "name": "x" } })).unwrap();
    bench.list(vec![pod(A, "a", &json!({ "status": status })), nameless]);
    let map = bench.map();
    assert_eq!((map.len(), map[A].phase, map[A].start_us), (1, None, None));
    let error = bench.store.view().error.unwrap();
    assert!(&*error.kind == "malformed" && error.message.contains("without a name"), "{error:?}");
    bench.list(vec![pod(A, "a", &json!({}))]);
    assert_eq!(bench.store.view().error, None);
}

#[test]
fn of_labels_and_annotations_only_what_rules_read_is_ever_held_and_long_values_are_cut() {
    let long = "x".repeat(100_000);
    let annotations =
        json!({ "kubectl.kubernetes.io/last-applied-configuration": long, "dn": long, "other": "y" });
    let labels = json!({ "owner": "kim", "app": "x" });
    let pod = pod(A, "a", &json!({ "metadata": { "labels": labels, "annotations": annotations } }));
    let meta = kube::Resource::meta(&pod);
    let annotations: Vec<_> =
        meta.annotations.iter().flatten().map(|(key, value)| (key.as_str(), value.len())).collect();
    assert_eq!(annotations, [("dn", gpu_session_core::text::MAX_VALUE_BYTES)]);
    assert_eq!(meta.labels, Some([("owner".to_owned(), "kim".to_owned())].into()));
}

#[test]
fn a_static_pod_is_known_by_its_configurations_hash_and_only_by_that() {
    let bench = Bench::new();
    bench.list(vec![mirror(A, "static", HASH), mirror(B, "liar", A)]);
    assert_eq!(bench.shown(), ["0=static", "b=liar"], "a UID of another pod is no hash");
    let unmarked = json!({ "metadata": { "annotations": { "kubernetes.io/config.hash": HASH } } });
    bench.list(vec![pod(A, "a", &unmarked)]);
    assert!(bench.map().contains_key(A), "only the copy of a static pod has the mark");
}

#[test]
fn two_pods_that_claim_one_hash_are_none_until_one_is_gone() {
    let bench = Bench::new();
    bench.list(vec![mirror(A, "static", HASH)]);
    bench.store.event(Event::Apply(mirror(B, "liar", HASH)));
    assert_eq!(bench.shown(), [""; 0]);
    bench.store.event(Event::Delete(mirror(B, "liar", HASH)));
    assert_eq!(bench.shown(), ["0=static"]);
    // The API's copy is made anew: the same pod.
    bench.store.event(Event::Apply(mirror(B, "static", HASH)));
    bench.store.event(Event::Delete(mirror(A, "static", HASH)));
    assert_eq!(bench.shown(), ["0=static"]);
}

#[test]
fn a_deleted_pod_is_kept_ten_minutes_and_marked() {
    let bench = Bench::new();
    bench.list(vec![pod(A, "a", &json!({})), pod(B, "b", &json!({}))]);
    bench.store.event(Event::Delete(pod(A, "a", &json!({}))));
    assert_eq!(bench.shown(), ["-a=a", "b=b"]);
    bench.clock.sleep(Duration::from_secs(300));
    bench.list(vec![]);
    assert_eq!(bench.shown(), ["-a=a", "-b=b"], "a list without it says the same");
    bench.clock.sleep(Duration::from_secs(299));
    assert_eq!(bench.shown().len(), 2);
    bench.clock.sleep(Duration::from_secs(1));
    assert_eq!(bench.shown(), ["-b=b"], "each has its own ten minutes");
    bench.clock.sleep(Duration::from_secs(300));
    assert_eq!(bench.shown(), [""; 0]);
}

#[test]
fn a_pod_that_is_back_is_not_deleted() {
    let bench = Bench::new();
    bench.list(vec![mirror(A, "static", HASH), pod(B, "b", &json!({}))]);
    bench.list(vec![]);
    bench.list(vec![mirror(A, "static", HASH)]);
    bench.store.event(Event::Apply(pod(B, "b", &json!({}))));
    assert_eq!(bench.shown(), ["0=static", "b=b"]);
    bench.clock.sleep(Duration::from_secs(3600));
    assert_eq!(bench.shown(), ["0=static", "b=b"]);
}

#[test]
fn deleted_pods_are_bounded_and_the_oldest_goes_first() {
    let bench = Bench::new();
    let uid = |i: usize| format!("{i:08}-0000-4000-8000-000000000000");
    bench.list((0..=MAX_DELETED).map(|i| pod(&uid(i), "p", &json!({}))).collect());
    for i in 0..=MAX_DELETED {
        bench.clock.sleep(Duration::from_micros(1));
        bench.store.event(Event::Delete(pod(&uid(i), "p", &json!({}))));
    }
    let map = bench.map();
    assert!(map.len() == MAX_DELETED && !map.contains_key(&*uid(0)) && map.contains_key(&*uid(1)));
}

#[test]
fn more_pods_than_are_kept_are_cut_and_said() {
    let bench = Bench::new();
    bench.list((0..=MAX_PODS).map(|i| pod(&i.to_string(), "p", &json!({}))).collect());
    let view = bench.store.view();
    assert_eq!(view.map.unwrap().len(), MAX_PODS);
    assert_eq!(&*view.error.unwrap().kind, "too_large");
    // The last one is left out still when another one goes.
    bench.store.event(Event::Delete(pod("0", "p", &json!({}))));
    assert_eq!(&*bench.store.view().error.unwrap().kind, "too_large");
    bench.store.event(Event::Delete(pod(&MAX_PODS.to_string(), "p", &json!({}))));
    assert_eq!(bench.store.view().error, None, "now all that there are are known");
}

#[test]
fn containers_that_are_too_many_are_said_while_their_pod_is_there() {
    let containers: Vec<_> = (0..=crate::pods::MAX_CONTAINERS)
        .map(|i| json!({ "name": "main", "containerID": format!("containerd://{i}") }))
        .collect();
    let many = || pod(A, "a", &json!({ "status": { "containerStatuses": containers } }));
    let bench = Bench::new();
    bench.list(vec![many()]);
    assert_eq!(bench.map()[A].containers.len(), crate::pods::MAX_CONTAINERS);
    assert_eq!(&*bench.store.view().error.unwrap().kind, "too_large");
    bench.store.event(Event::Apply(pod(A, "a", &json!({}))));
    assert_eq!(bench.store.view().error, None);
    bench.store.event(Event::Apply(many()));
    assert!(bench.store.view().error.is_some());
    bench.store.event(Event::Delete(many()));
    assert_eq!(bench.store.view().error, None);
}

#[test]
fn an_unchanged_store_hands_out_the_same_map() {
    let bench = Bench::new();
    let pods = || vec![pod(A, "a", &json!({})), mirror(B, "static", HASH)];
    bench.list(pods());
    let first = bench.map();
    bench.list(pods());
    for same in pods() {
        bench.store.event(Event::Apply(same));
    }
    assert!(Arc::ptr_eq(&first, &bench.map()));
    bench.store.event(Event::Apply(pod(A, "a", &json!({ "status": { "phase": "Failed" } }))));
    let changed = bench.map();
    assert!(first[A].phase != changed[A].phase && Arc::ptr_eq(&first[HASH], &changed[HASH]));
}

#[test]
fn a_list_that_is_not_whole_changes_nothing() {
    let bench = Bench::new();
    bench.store.event(Event::Init);
    bench.store.event(Event::InitApply(pod(A, "a", &json!({}))));
    let view = bench.store.view();
    assert!(view.map.is_none() && &*view.error.unwrap().kind == "timeout");
    bench.store.event(Event::InitDone);
    bench.store.event(Event::Init);
    assert_eq!(bench.shown(), ["a=a"]);
    // It is begun again: what was half there does not stay.
    bench.store.event(Event::InitApply(pod(B, "b", &json!({}))));
    bench.list(vec![pod(A, "a", &json!({}))]);
    assert_eq!(bench.shown(), ["a=a"]);
}

#[test]
fn a_broken_watch_ages_and_says_since_when_until_something_is_heard() {
    let bench = Bench::new();
    bench.store.broke(broken());
    assert!(bench.store.view().error.unwrap().message.contains("none are known yet"));
    bench.list(vec![pod(A, "a", &json!({}))]);
    let view = bench.store.view();
    assert!(view.as_of_us.is_none() && view.error.is_none());
    bench.store.broke(broken());
    bench.clock.sleep(Duration::from_secs(60));
    bench.store.resumed();
    bench.store.broke(broken());
    let view = bench.store.view();
    assert_eq!(view.as_of_us, Some(1_700_000_000_000_000), "it was broken all the time");
    let message = view.error.unwrap().message;
    let wanted = "https://api: it is away; so since 2023-11-14T22:13:20Z, the last known pods are used; see that it runs";
    assert_eq!(message, wanted);
    bench.store.event(Event::Apply(pod(A, "a", &json!({}))));
    let view = bench.store.view();
    assert!(view.as_of_us.is_none() && view.error.is_none());
}

#[test]
fn a_watch_that_is_open_again_and_stays_so_is_whole_though_nothing_changes() {
    let bench = Bench::new();
    bench.list(vec![]);
    bench.store.broke(broken());
    bench.store.resumed();
    let deadline = Instant::now() + Duration::from_secs(60);
    while bench.store.view().error.is_some() {
        assert!(Instant::now() < deadline, "it stays broken");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn waiting_ends_with_a_list_or_with_what_waiting_does_not_mend() {
    let soon = || Instant::now() + Duration::from_millis(10);
    let far = || Instant::now() + Duration::from_secs(3600);
    let bench = Bench::new();
    bench.store.wait(soon());
    bench.store.broke(broken());
    bench.store.wait(soon());
    bench.store.broke(Problem::new("forbidden", "", ""));
    bench.store.wait(far());
    let bench = Bench::new();
    std::thread::scope(|scope| {
        scope.spawn(|| bench.list(vec![]));
        bench.store.wait(far());
    });
    assert!(bench.store.view().map.is_some());
}

#[test]
fn namespaces_come_and_go() {
    let wanted = Wanted { namespace_labels: ["team".into()].into(), ..Wanted::default() };
    slim::keep(&wanted);
    let store: Store<Namespaces> = Store::new(Clock::Real, wanted);
    let namespace = |name: &str| -> SlimNamespace {
        let labels = json!({ "team": "vision", "other": "x" });
        serde_json::from_value(json!({ "metadata": { "name": name, "labels": labels } })).unwrap()
    };
    store.event(Event::Init);
    store.event(Event::InitApply(namespace("a")));
    store.event(Event::InitDone);
    store.event(Event::Apply(namespace("b")));
    store.event(Event::Delete(namespace("a")));
    let map = store.view().map.unwrap();
    let labels = [("team".into(), "vision".into())].into();
    assert_eq!(*map, [("b".into(), Metadata { labels, annotations: BTreeMap::new() })].into());
}

#[test]
fn a_pod_that_changes_its_hash_leaves_nothing_behind() {
    let bench = Bench::new();
    bench.list(vec![]);
    for n in 0..5_000_u32 {
        bench.store.event(Event::Apply(mirror(A, "forger", &format!("{n:032x}"))));
    }
    let live = bench.map().values().filter(|pod| !pod.deleted).count();
    assert_eq!(live, 1, "one pod is one entry");
    assert!(bench.map().len() <= 1 + MAX_DELETED, "{}", bench.map().len());
}

#[test]
fn what_a_dead_watch_left_is_as_old_as_its_last_word() {
    let bench = Bench::new();
    bench.list(vec![pod(A, "a", &json!({}))]);
    bench.clock.sleep(Duration::from_secs(50));
    bench.store.resumed();
    let heard_us = bench.clock.now_us();
    bench.clock.sleep(Duration::from_secs(130));
    bench.store.lost(broken());
    assert_eq!(bench.store.view().as_of_us, Some(heard_us));
}
