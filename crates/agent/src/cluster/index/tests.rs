use super::*;
use crate::cluster::Idle;
use gpu_session_api::{Device, Session, Source};
use serde_json::{Value, json};
use std::time::Duration;

const NOW: f64 = 1_748_736_000.0;
const ALL: Page = Page { offset: 0, limit: usize::MAX };

fn device(gpu: &str, more: &Value) -> Device {
    let mut document = json!({ "gpu": gpu, "uuid": format!("GPU-{gpu}"), "model": "NVIDIA L40S" });
    document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(document).unwrap()
}

fn session(gpu: &str, pid: u32, more: &Value) -> Session {
    let mut document = json!({
        "session": format!("{pid:016x}"), "gpu": gpu, "device_uuid": format!("GPU-{gpu}"), "pid": pid,
        "start_time": NOW - 3_600.0,
    });
    document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(document).unwrap()
}

fn held(gpu: &str, pod: &str, sessions: Option<u64>, idle: Option<f64>) -> Allocation {
    let document = json!({
        "gpu": gpu, "device_uuid": format!("GPU-{gpu}"), "namespace": "ml", "pod": pod, "container": "main",
        "user": "carol", "sessions": sessions, "idle_seconds": idle,
    });
    serde_json::from_value(document).unwrap()
}

fn node(name: &str, age: f64) -> NodeView {
    let up = Source { source: "nvml".to_owned(), up: true, duration_seconds: 0.1, errors: Vec::new() };
    NodeView {
        node: Some(name.to_owned()),
        timestamp: Some(NOW - age),
        sources: vec![up],
        ..NodeView::default()
    }
}

/// Three nodes: one whose alice and carol are known, one that was last heard of an hour ago, and one that could not read its
/// devices.
fn cluster() -> View {
    let users = json!({ "sessions": 2, "allocations": 2, "utilization_ratio": 0.5, "memory_total_bytes": 100,
        "memory_used_bytes": 40, "users": [{ "user": "alice", "sessions": 1 }],
        "unattributed": [{ "reason": "no_pod", "sessions": 1 }] });
    let free =
        json!({ "sessions": 0, "users": [], "unattributed": [], "allocations": 1, "utilization_ratio": 0.0 });
    let busy = NodeView {
        devices: vec![device("2", &users), device("10", &free)],
        sessions: vec![
            session(
                "2",
                7,
                &json!({ "user": "alice", "namespace": "ml", "pod": "train-0", "command": "python3",
                "memory_used_bytes": 30, "sm_utilization_ratio": 0.9 }),
            ),
            session(
                "2",
                8,
                &json!({ "command": "sh", "sm_utilization_ratio": 0.0, "last_active_time": NOW - 1_800.0 }),
            ),
        ],
        allocations: vec![
            held("2", "train-0", Some(1), None),
            held("2", "other", None, None),
            held("10", "idle", Some(0), Some(7_200.0)),
        ],
        ..node("gpu-1", 10.0)
    };
    let old = NodeView {
        devices: vec![device("0", &json!({ "sessions": 5, "users": [{ "user": "old", "sessions": 5 }] }))],
        sessions: vec![session("0", 9, &json!({ "user": "old", "namespace": "gone" }))],
        ..node("gpu-2", 3_600.0)
    };
    let mut incomplete = NodeView { devices: vec![device("0", &json!({}))], ..node("gpu-3", 10.0) };
    incomplete.sources[0].up = false;
    View { nodes: vec![busy, old, incomplete] }
}

fn index() -> Index {
    Index::of(cluster(), NOW, vec!["partial".to_owned()])
}

#[test]
fn totals_are_of_now_and_an_old_node_counts_as_old() {
    let found = index().cluster();
    let counts = [found.nodes, found.nodes_old, found.nodes_incomplete, found.devices];
    assert_eq!(counts, [3, 1, 1, 3]);
    let counts = [found.devices_in_use, found.devices_held_idle, found.sessions, found.users];
    assert_eq!(counts, [1, 1, 2, 1]);
    assert_eq!(
        [found.nodes_unknown, found.devices_unknown],
        [0, 1],
        "nobody tells what gpu-3 has on its device"
    );
    assert_eq!((found.namespaces, found.warnings), (vec!["ml".to_owned()], vec!["partial".to_owned()]));
    assert_eq!(found.timestamp.to_bits(), NOW.to_bits());
}

#[test]
fn a_node_that_tells_of_no_device_is_unknown_and_not_idle() {
    let mut view = cluster();
    // The driver is down: the node has no device in its sample.
    view.nodes[2].devices.clear();
    let mut silent = node("gpu-4", 10.0);
    silent.sources.clear();
    silent.devices = vec![device("0", &json!({ "sessions": 0, "users": [], "unattributed": [] }))];
    let old = NodeView { sources: Vec::new(), ..node("gpu-5", 3_600.0) };
    view.nodes.extend([silent, old]);
    let index = Index::of(view, NOW, Vec::new());
    let found = index.cluster();
    assert_eq!([found.nodes, found.nodes_old, found.nodes_unknown, found.devices_unknown], [5, 2, 2, 0]);
    assert_eq!(names(&index, "", Some(State::Idle), None), ["gpu-4"]);
    assert_eq!(names(&index, "", Some(State::Incomplete), None), ["gpu-3"]);
}

fn names(index: &Index, search: &str, state: Option<State>, sort: Option<&str>) -> Vec<String> {
    let (nodes, total) = index.nodes(&Words::of(search), None, state, sort, ALL).unwrap();
    assert_eq!(nodes.len(), total);
    nodes.into_iter().map(|node| node.node).collect()
}

#[test]
fn nodes_by_state_by_what_is_on_them_and_by_their_figures() {
    let index = index();
    assert_eq!(names(&index, "", None, None), ["gpu-1", "gpu-2", "gpu-3"]);
    assert_eq!(names(&index, "", Some(State::Old), None), ["gpu-2"]);
    assert_eq!(names(&index, "", Some(State::Incomplete), None), ["gpu-3"]);
    assert_eq!(names(&index, "", Some(State::Busy), None), ["gpu-1"]);
    assert!(names(&index, "", Some(State::Idle), None).is_empty(), "what is not known is not idle");
    assert_eq!(names(&index, "ALICE l40s", None, None), ["gpu-1"]);
    assert_eq!(names(&index, "old", None, None), ["gpu-2"]);
    assert_eq!(names(&index, "", None, Some("sessions")), ["gpu-1", "gpu-2", "gpu-3"]);
    assert_eq!(names(&index, "", None, Some("-sessions")), ["gpu-2", "gpu-1", "gpu-3"], "unknown is last");
    assert_eq!(names(&index, "", None, Some("-utilization_ratio")), ["gpu-1", "gpu-2", "gpu-3"]);
    assert_eq!(names(&index, "", None, Some("timestamp")), ["gpu-2", "gpu-1", "gpu-3"]);
    assert!(
        index
            .nodes(&Words::default(), None, None, Some("pid"), ALL)
            .unwrap_err()
            .contains("memory_used_ratio")
    );
}

#[test]
fn held_idle_is_null_where_it_is_not_sure() {
    let (nodes, _) = index().nodes(&Words::default(), None, None, None, ALL).unwrap();
    let held: Vec<Option<u64>> =
        nodes.iter().flat_map(|node| node.devices.iter().map(|device| device.held_idle)).collect();
    // One of two holders is not sure; one is idle; nobody says who holds these.
    assert_eq!(held, [None, Some(1), None, None]);
    let mut view = cluster();
    // The kubelet names one more than there are series of.
    view.nodes[0].devices[1].allocations = Some(2);
    let (nodes, _) =
        Index::of(view, NOW, Vec::new()).nodes(&Words::default(), None, None, None, ALL).unwrap();
    assert_eq!(nodes[0].devices[1].held_idle, None);
}

fn pids(index: &Index, filter: &Filter, sort: Option<&str>) -> Vec<u32> {
    index.sessions(filter, sort, ALL).unwrap().0.into_iter().map(|on| on.session.pid).collect()
}

#[test]
fn sessions_are_filtered_by_what_is_known() {
    let index = index();
    let some = |text: &str| Some(text.to_owned());
    let gpu = |text: &str| Some(crate::view::filter::label(text));
    for (filter, wanted) in [
        (Filter::default(), &[7, 8][..]),
        (Filter { words: Words::of("python TRAIN"), ..Filter::default() }, &[7]),
        (Filter { user: some(""), ..Filter::default() }, &[8]),
        (Filter { user: some("alice"), ..Filter::default() }, &[7]),
        (Filter { namespace: some(""), ..Filter::default() }, &[8]),
        (Filter { node: some("gpu-2"), ..Filter::default() }, &[]),
        (Filter { gpu: gpu("2"), ..Filter::default() }, &[7, 8]),
        (Filter { gpu: gpu("2_1_0"), ..Filter::default() }, &[]),
        (Filter { idle_for: Some(Idle(Duration::from_secs(1_700))), ..Filter::default() }, &[8]),
        (Filter { idle_for: Some(Idle(Duration::from_secs(1_900))), ..Filter::default() }, &[]),
    ] {
        assert_eq!(pids(&index, &filter, None), wanted, "{filter:?}");
    }
    assert_eq!(pids(&index, &Filter::default(), Some("-sm_utilization_ratio")), [7, 8]);
    assert_eq!(pids(&index, &Filter::default(), Some("memory_used_bytes")), [7, 8]);
    assert_eq!(pids(&index, &Filter::default(), Some("-pid")), [8, 7]);
    // For one of them it is not known: it is last either way.
    assert_eq!(pids(&index, &Filter::default(), Some("idle_seconds")), [8, 7]);
    assert_eq!(pids(&index, &Filter::default(), Some("-idle_seconds")), [8, 7]);
    let idle: Vec<Option<f64>> = index
        .sessions(&Filter::default(), None, ALL)
        .unwrap()
        .0
        .into_iter()
        .map(|on| on.idle_seconds)
        .collect();
    assert_eq!(idle, [None, Some(1_790.0)], "at the last sample of the node");
    // Of when it is nobody knows: it does not stand for now.
    let mut view = cluster();
    view.nodes[0].timestamp = None;
    let index = Index::of(view, NOW, Vec::new());
    assert!(pids(&index, &Filter::default(), None).is_empty());
}

#[test]
fn who_runs_for_long_began_early() {
    let mut view = cluster();
    view.nodes[0].sessions[1].start_time = NOW - 60.0;
    let index = Index::of(view, NOW, Vec::new());
    assert_eq!(pids(&index, &Filter::default(), Some("running_seconds")), [8, 7]);
    assert_eq!(pids(&index, &Filter::default(), Some("-running_seconds")), [7, 8]);
}

#[test]
fn every_scalar_field_of_a_session_is_an_order() {
    let index = index();
    let document =
        serde_json::to_value(&index.sessions(&Filter::default(), None, ALL).unwrap().0[0]).unwrap();
    for field in document.as_object().unwrap().keys() {
        assert!(index.sessions(&Filter::default(), Some(field), ALL).is_ok(), "{field}");
    }
}

#[test]
fn allocations_that_are_idle() {
    let index = index();
    let pods = |filter: &Filter, sort: Option<&str>| -> Vec<String> {
        index.allocations(filter, sort, ALL).unwrap().0.into_iter().map(|on| on.it.pod).collect()
    };
    assert_eq!(pods(&Filter { idle: Some(true), ..Filter::default() }, None), ["idle"]);
    assert_eq!(pods(&Filter { idle: Some(false), ..Filter::default() }, None), ["train-0"]);
    assert_eq!(pods(&Filter::default(), Some("-idle_seconds")), ["idle", "train-0", "other"]);
    assert_eq!(pods(&Filter::default(), Some("-gpu")), ["idle", "train-0", "other"], "10 is after 2");
}

fn line(user: &str, allocated: Option<f64>, sessions: f64) -> Line {
    Line {
        key: vec![user.to_owned()],
        session_hours: Some(sessions),
        allocated_hours: allocated,
        ..Line::default()
    }
}

#[test]
fn users_of_now_and_of_the_period_are_one_list() {
    let index = index();
    let lines = [line("alice", Some(1.0), 5.0), line("bob", Some(3.0), 1.0), line("", None, 2.0)];
    let asked = |search: &str, user: Option<&str>, sort: Option<&str>| {
        let (words, user, sort) = (Words::of(search), user.map(str::to_owned), sort.map(str::to_owned));
        index.users(&lines, &Asked { words, user, sort, page: ALL }).unwrap().0
    };
    let all = asked("", None, None);
    let names: Vec<Option<&str>> = all.iter().map(|user| user.user.as_deref()).collect();
    assert_eq!(names, [Some("bob"), Some("alice"), None]);
    let counts: Vec<[u64; 3]> = all.iter().map(|user| [user.sessions, user.devices, user.nodes]).collect();
    assert_eq!(counts, [[0, 0, 0], [1, 1, 1], [1, 1, 1]]);
    let memory: Vec<Option<u64>> = all.iter().map(|user| user.memory_used_bytes).collect();
    assert_eq!(memory, [Some(0), Some(30), None], "that of one session is not known");
    assert_eq!(asked("BO", None, None).len(), 1);
    assert_eq!(asked("", Some(""), None)[0].used.as_ref().unwrap().session_hours, Some(2.0));
    let by_name: Vec<_> = asked("", None, Some("-user")).into_iter().map(|user| user.user).collect();
    assert_eq!(by_name, [Some("bob".to_owned()), Some("alice".to_owned()), None]);
}

#[test]
fn names_that_a_workload_chose_are_searched_as_they_are() {
    let mut view = cluster();
    let evil = "a\"} or <script>\u{fffd}\\n.*";
    view.nodes[0].sessions[1].command = Some(evil.to_owned());
    let index = Index::of(view, NOW, Vec::new());
    assert_eq!(pids(&index, &Filter { words: Words::of(evil), ..Filter::default() }, None), [8]);
    assert_eq!(pids(&index, &Filter { words: Words::of(".*"), ..Filter::default() }, None), [8]);
}

/// So many nodes of eight devices, with sessions on them in turn.
fn large(nodes: u32, sessions: u32) -> View {
    let mut view = View::default();
    for n in 0..nodes {
        let devices =
            (0..8).map(|gpu| device(&gpu.to_string(), &json!({ "sessions": 2, "users": [] }))).collect();
        view.nodes.push(NodeView { devices, ..node(&format!("gpu-{n:04}"), 10.0) });
    }
    for pid in 0..sessions {
        let user = format!("user-{}", pid % 97);
        let memory = (pid % 3 > 0).then_some(u64::from(pid.wrapping_mul(2_654_435_761) % 1_000));
        let more = json!({ "user": user, "memory_used_bytes": memory, "command": "python3" });
        let on = &mut view.nodes[(pid % nodes) as usize];
        on.sessions.push(session(&(pid / nodes % 8).to_string(), pid, &more));
    }
    view
}

#[test]
fn a_thousand_nodes_with_twenty_thousand_sessions() {
    let index = Index::of(large(1_000, 20_000), NOW, Vec::new());
    let found = index.cluster();
    assert_eq!(
        [found.nodes, found.devices, found.devices_in_use, found.sessions],
        [1_000, 8_000, 8_000, 16_000]
    );
    for sort in [None, Some("-memory_used_bytes"), Some("user"), Some("gpu"), Some("-node")] {
        let (whole, total) = index.sessions(&Filter::default(), sort, ALL).unwrap();
        assert_eq!((whole.len(), total), (20_000, 20_000));
        let mut pages = Vec::new();
        for offset in (0..20_000).step_by(1_000) {
            let (page, total) =
                index.sessions(&Filter::default(), sort, Page { offset, limit: 1_000 }).unwrap();
            assert_eq!((page.len(), total), (1_000, 20_000));
            pages.extend(page);
        }
        assert!(pages == whole, "{sort:?}: pages have each session once, in order");
        let bytes = |on: &ClusterSession| on.session.memory_used_bytes.map_or(-1, |bytes| bytes as i64);
        if sort == Some("-memory_used_bytes") {
            assert!(whole.windows(2).all(|pair| bytes(&pair[0]) >= bytes(&pair[1])));
        }
    }
    let filter = Filter { words: Words::of("USER-96 gpu-0"), ..Filter::default() };
    let (page, total) = index.sessions(&filter, Some("-start_time"), Page { offset: 0, limit: 10 }).unwrap();
    assert_eq!((page.len(), total), (10, (0..20_000).filter(|pid| pid % 97 == 96).count()));
}
