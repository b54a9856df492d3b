//! What may not go wrong, by hand.

use crate::samples::{BOOT_US, HZ, bare, monitor, plain_device, taken};
use gpu_session_core::rules::{Origin, Rule, Rules};
use gpu_session_core::sample::{
    Allocations, ContainerDevices, DeviceProcess, Metadata, Phase, Pod, PodList, Process, Sample,
};
use gpu_session_core::snapshot::Snapshot;
use gpu_session_core::state::{BadState, State};
use std::collections::BTreeMap;
use std::sync::Arc;

const MINUTE: i64 = 60_000_000;

fn uid(n: u32) -> String {
    format!("0000000{n}-0000-4000-8000-000000000000")
}

fn cgroup(pod: u32, container: u32) -> String {
    let pod = uid(pod).replace('-', "_");
    format!("0::/kubepods.slice/kubepods-pod{pod}.slice/cri-containerd-{container:064x}.scope\n")
}

fn process(pid: u32, cgroup: &str, command: &str) -> (u32, Process) {
    let process = Process {
        start_ticks: Some(u64::from(pid) * HZ as u64),
        command: Some(command.into()),
        uid: Some(1000),
        cgroup: Some(cgroup.into()),
    };
    (pid, process)
}

fn held(pod: &str, container: &str, device: &str) -> ContainerDevices {
    ContainerDevices {
        namespace: "team".into(),
        pod: pod.into(),
        container: container.into(),
        devices: vec![device.into()],
    }
}

fn known(name: &str, containers: &[u32], user: &str) -> Pod {
    Pod {
        namespace: "team".into(),
        name: name.into(),
        phase: Some(Phase::Running),
        metadata: Metadata {
            annotations: BTreeMap::from([("creator-user-name".into(), user.into())]),
            ..Metadata::default()
        },
        containers: containers.iter().map(|c| (format!("{c:064x}").into(), "main".into())).collect(),
        ..Pod::default()
    }
}

fn list(source: &str, now: i64, pods: &[(u32, Pod)]) -> PodList {
    let pods: BTreeMap<Arc<str>, Arc<Pod>> =
        pods.iter().map(|(n, pod)| (uid(*n).into(), Arc::new(pod.clone()))).collect();
    PodList { source: source.into(), as_of_us: now, pods: pods.into() }
}

fn sample(
    now: i64,
    processes: &[(u32, Process)],
    containers: &[ContainerDevices],
    pods: Vec<PodList>,
) -> Sample {
    let listed = processes.iter().map(|(pid, _)| DeviceProcess { pid: *pid, memory_bytes: Some(1 << 30) });
    Sample {
        processes: Some(processes.iter().cloned().collect()),
        users: BTreeMap::from([(1000, "alice".into())]),
        pods,
        allocations: Some(Allocations { containers: containers.to_vec(), allocatable: None }),
        ..bare(now, vec![plain_device(0, listed.collect())])
    }
}

fn step(state: &mut State, sample: &Sample, hold: i64) -> Snapshot {
    taken(&monitor(), state, sample, hold)
}

fn at(minute: i64) -> i64 {
    BOOT_US + (minute + 600) * MINUTE
}

#[test]
fn work_that_could_not_be_measured_is_no_idle_time_after_it_ended() {
    // Two processes on a MIG instance: nobody says which of them works.
    let mut state = State::default();
    let two = [process(10, &cgroup(1, 1), "a"), process(11, &cgroup(1, 1), "b")];
    for minute in 0..10 {
        let pods = vec![list("kubernetes", at(minute), &[(1, known("pod-1", &[1], "x"))])];
        let snapshot =
            step(&mut state, &sample(at(minute), &two, &[held("pod-1", "main", "GPU-0")], pods), i64::MAX);
        assert_eq!(snapshot.allocations[0].idle_us, None);
    }
    let pods = vec![list("kubernetes", at(10), &[(1, known("pod-1", &[1], "x"))])];
    let snapshot = step(&mut state, &sample(at(10), &[], &[held("pod-1", "main", "GPU-0")], pods), i64::MAX);
    let idle = snapshot.allocations[0].idle_us;
    assert_eq!(idle, Some(0), "it may have worked all the time");
}

#[test]
fn a_clock_set_back_takes_no_counter_down() {
    let mut state = State::default();
    let one = [process(10, "0::/system.slice/x.service\n", "a")];
    let value = |snapshot: &Snapshot| {
        let (_, _, usage) = snapshot.counters.users.iter().find(|(_, user, _)| &**user == "alice").unwrap();
        usage.memory_byte_seconds.unwrap().exposed(snapshot.hold_since_us)
    };
    let run = |state: &mut State, wall: i64, boot: i64| {
        let mut sample = sample(wall, &one, &[], vec![]);
        sample.monotonic_us = boot;
        step(state, &sample, wall - 1)
    };
    run(&mut state, at(0), at(0) - BOOT_US);
    run(&mut state, at(1), at(1) - BOOT_US);
    let before = value(&run(&mut state, at(2), at(2) - BOOT_US));
    assert!(before > 0.0);
    // An hour back; the boot clock goes on.
    let after = value(&run(&mut state, at(3) - 60 * MINUTE, at(3) - BOOT_US));
    assert!(after >= before, "{before} fell to {after}");
}

#[test]
fn a_pod_of_the_same_name_begins_its_idle_time_anew_by_the_runtime_alone() {
    // CRI only: no status.startTime.
    let mut state = State::default();
    let step_at = |state: &mut State, minute: i64, n: u32| {
        let pods = vec![list("cri", at(minute), &[(n, known("train-0", &[n], "x"))])];
        step(state, &sample(at(minute), &[], &[held("train-0", "main", "GPU-0")], pods), i64::MAX)
    };
    for minute in 0..10 {
        step_at(&mut state, minute, 1);
    }
    let idle = step_at(&mut state, 10, 2).allocations[0].idle_us;
    assert_eq!(idle, Some(0), "the pod is new");
}

#[test]
fn a_process_is_not_the_holders_where_a_source_knows_the_holder_by_another_uid() {
    // pod-1 holds the GPU and rests; a pod that the API does not know yet took all GPUs by its environment.
    let mut state = State::default();
    let stranger = [process(20, &cgroup(2, 2), "miner")];
    let pods = vec![list("kubernetes", at(0), &[(1, known("pod-1", &[1], "alice"))])];
    let snapshot =
        step(&mut state, &sample(at(0), &stranger, &[held("pod-1", "main", "GPU-0")], pods), i64::MAX);
    assert_eq!(snapshot.sessions[0].session.attribution.pod, None);
}

#[test]
fn a_second_container_on_the_device_takes_back_what_the_kubelet_alone_said() {
    let mut state = State::default();
    let stranger = process(20, &cgroup(2, 2), "miner");
    let holder = [held("pod-1", "main", "GPU-0")];
    step(&mut state, &sample(at(0), std::slice::from_ref(&stranger), &holder, vec![]), i64::MAX);
    let both = [process(10, &cgroup(1, 1), "train"), stranger];
    let snapshot = step(&mut state, &sample(at(1), &both, &holder, vec![]), i64::MAX);
    let pods: Vec<_> =
        snapshot.sessions.iter().map(|v| (v.pid, v.session.attribution.pod.as_deref())).collect();
    assert_eq!(pods, [(10, None), (20, None)], "one of two containers is the holder, nobody knows which");
}

#[test]
fn processes_of_which_only_the_kind_is_known_are_not_one_container() {
    let mut state = State::default();
    // A v1 node on which hierarchies disagree, twice.
    let disputed = |a: u32, b: u32| {
        let path = |n| cgroup(n, n).replace("0::", "");
        format!("2:pids:{}1:cpu:{}", path(a), path(b))
    };
    let two = [process(20, &disputed(2, 3), "a"), process(21, &disputed(4, 5), "b")];
    let snapshot =
        step(&mut state, &sample(at(0), &two, &[held("pod-1", "main", "GPU-0")], vec![]), i64::MAX);
    assert!(
        snapshot.sessions.iter().all(|v| v.session.attribution.pod.is_none()),
        "{:?}",
        snapshot.sessions[0].session
    );
}

#[test]
fn pods_whose_names_are_cut_to_the_same_text_do_not_get_each_others_user() {
    let long = |end: &str| -> String { gpu_session_core::text::clean(&format!("{}{end}", "w".repeat(128))) };
    let mut state = State::default();
    let pods = vec![list(
        "kubernetes",
        at(0),
        &[(1, known(&long("-mallory"), &[1], "mallory")), (2, known(&long("-alice"), &[2], "alice"))],
    )];
    // Only alice's holds a GPU.
    let two = [process(20, &cgroup(2, 2), "train")];
    let snapshot =
        step(&mut state, &sample(at(0), &two, &[held(&long("-alice"), "main", "GPU-0")], pods), i64::MAX);
    let user = snapshot.allocations[0].user.as_deref();
    assert_eq!(user, Some("alice"));
}

#[test]
fn a_name_that_a_process_gives_itself_hides_no_other_containers_allocation() {
    let mut state = State::default();
    let pods = |m| {
        vec![list(
            "kubernetes",
            at(m),
            &[(1, known("pod-1", &[1], "alice")), (2, known("pod-2", &[2], "mallory"))],
        )]
    };
    let holders = [held("pod-1", "main", "GPU-0::0"), held("pod-2", "main", "GPU-0::1")];
    let two = [process(10, &cgroup(1, 1), "train"), process(20, &cgroup(2, 2), "nvidia-cuda-mps")];
    let snapshot = step(&mut state, &sample(at(0), &two, &holders, pods(0)), i64::MAX);
    let alices = snapshot.allocations.iter().find(|a| &*a.pod == "pod-1").unwrap();
    assert_eq!(alices.sessions, Some(1));
}

#[test]
fn a_user_of_the_host_does_not_leave_his_account_by_a_cgroup_of_his_own() {
    let mut state = State::default();
    let path =
        format!("0::/user.slice/user-1000.slice/user@1000.service/app.slice/docker-{:064x}.scope\n", 7);
    let one = [process(10, &path, "python3")];
    let snapshot = step(&mut state, &sample(at(0), &one, &[], vec![]), i64::MAX);
    assert_eq!(snapshot.sessions[0].session.attribution.user.as_deref(), Some("alice"));
}

#[test]
fn sessions_of_a_state_without_places_are_looked_at_anew() {
    let mut state = State::default();
    let one = [process(10, &cgroup(1, 1), "train")];
    step(&mut state, &sample(at(0), &one, &[], vec![]), i64::MAX);
    // As the version before wrote it: no place, nothing open.
    let mut json: serde_json::Value = serde_json::from_slice(&state.to_json().unwrap()).unwrap();
    let session = &mut json["state"]["devices"]["GPU-0"]["sessions"][0][1];
    session.as_object_mut().unwrap().remove("place");
    session["attribution"] = serde_json::json!({"unattributed": "container_unknown"});
    for gone in ["namespaces", "pods", "allocations"] {
        json["state"].as_object_mut().unwrap().remove(gone);
    }
    let mut state = State::from_json(&serde_json::to_vec(&json).unwrap()).expect("it loads");
    let asked = gpu_session_core::monitor::Monitor::request(&state).known;
    let mut one = one.to_vec();
    if asked.contains_key(&10) {
        one[0].1 = Process { start_ticks: one[0].1.start_ticks, ..Process::default() };
    }
    let pods = vec![list("kubernetes", at(1), &[(1, known("pod-1", &[1], "bob"))])];
    let snapshot = step(&mut state, &sample(at(1), &one, &[held("pod-1", "main", "GPU-0")], pods), i64::MAX);
    assert_eq!(snapshot.sessions[0].session.attribution.pod.as_deref(), Some("pod-1"));
}

#[test]
fn a_stamp_of_a_clock_that_was_ahead_does_not_hold_idle_time_at_zero() {
    let mut state = State::default();
    let run = |state: &mut State, wall: i64, minute: i64| {
        let pods = vec![list("kubernetes", wall, &[(1, known("pod-1", &[1], "x"))])];
        let mut sample = sample(wall, &[], &[held("pod-1", "main", "GPU-0")], pods);
        sample.monotonic_us = at(minute) - BOOT_US;
        step(state, &sample, i64::MAX).allocations[0].idle_us
    };
    run(&mut state, at(600), 0);
    for minute in 1..20 {
        run(&mut state, at(minute), minute);
    }
    let idle = run(&mut state, at(20), 20);
    assert_eq!(idle, Some(20 * MINUTE));
}

#[test]
fn a_group_that_took_no_part_is_not_the_whole_value() {
    let rule = Rule {
        pattern: Some(regex_lite::Regex::new("^(?:user-(.+)|shared-.*)$").unwrap()),
        ..Rule::plain(Origin::Namespace)
    };
    let users = BTreeMap::new();
    let pending = std::collections::BTreeSet::new();
    let subject = gpu_session_core::rules::Subject { namespace: Some("shared-x"), ..Default::default() };
    let verdict = Rules::new(vec![rule])
        .verdict(&subject, gpu_session_core::rules::HostUsers { names: &users, pending: &pending });
    assert_eq!(verdict, gpu_session_core::rules::Verdict::Nobody);
}

#[test]
fn a_driver_that_is_down_for_a_while_takes_no_pods_counter_down() {
    let mut state = State::default();
    let one = [process(10, &cgroup(1, 1), "train")];
    let run = |state: &mut State, minute: i64, up: bool| {
        let pods = vec![list("kubernetes", at(minute), &[(1, known("pod-1", &[1], "x"))])];
        let mut sample = sample(at(minute), &one, &[], pods);
        if !up {
            (sample.driver, sample.processes) = (None, Some(BTreeMap::new()));
        }
        let pods = step(state, &sample, i64::MAX).counters.pods.clone();
        pods.iter().find_map(|(_, _, _, usage)| usage.memory_byte_seconds).map(|counter| counter.value)
    };
    for minute in 0..60 {
        run(&mut state, minute, true);
    }
    let before = run(&mut state, 60, true).unwrap();
    for minute in 61..72 {
        run(&mut state, minute, false);
    }
    let after = run(&mut state, 72, true).unwrap();
    assert!(after >= before, "{before} fell to {after}, and the session lives");
}

#[test]
fn a_state_of_the_version_before_loads() {
    let text = include_str!("data/state-1.json");
    let state = State::from_json(text.as_bytes()).unwrap();
    assert_eq!(state.users.len(), 1);
    assert!(State::from_json(&state.to_json().unwrap()).is_ok());
}

#[test]
fn a_pod_that_was_deleted_and_still_works_holds_its_device() {
    let mut state = State::default();
    let one = [process(10, &cgroup(1, 1), "train")];
    let gone = Pod { deleted: true, ..known("pod-1", &[1], "x") };
    let pods = vec![list("kubernetes", at(0), &[(1, gone)])];
    let snapshot = step(&mut state, &sample(at(0), &one, &[held("pod-1", "main", "GPU-0")], pods), i64::MAX);
    assert_ne!(snapshot.devices[0].allocations, Some(0), "it is not free");
    assert_ne!(snapshot.sessions[0].allocated, Some(false));
}

#[test]
fn a_process_whose_cgroup_could_not_be_read_once_is_read_again() {
    let mut state = State::default();
    let mut one = process(10, &cgroup(1, 1), "train");
    one.1.cgroup = None;
    step(&mut state, &sample(at(0), &[one], &[], vec![]), i64::MAX);
    assert!(!gpu_session_core::monitor::Monitor::request(&state).known.contains_key(&10));
}

#[test]
fn place_is_cut_as_every_label_is() {
    let place =
        gpu_session_core::cgroup::Place::of(&format!("0::/system.slice/{}.service\n", "x".repeat(200)));
    assert!(place.to_string().len() <= gpu_session_core::text::MAX_LABEL_BYTES);
}

#[test]
fn a_process_that_outlives_its_pod_is_not_its_namesakes() {
    // A StatefulSet's pod was deleted by force and is there again; the old process still runs.
    let mut state = State::default();
    let old = Pod { deleted: true, ..known("train-0", &[1], "x") };
    let new = Pod { start_us: Some(at(0) - 1), ..known("train-0", &[2], "x") };
    let pods = vec![list("kubernetes", at(0), &[(1, old), (2, new)])];
    let one = [process(10, &cgroup(1, 1), "train")];
    let snapshot =
        step(&mut state, &sample(at(0), &one, &[held("train-0", "main", "GPU-0")], pods), i64::MAX);
    assert_eq!(snapshot.allocations[0].sessions, Some(0));
}

#[test]
fn a_process_of_this_boot_is_not_taken_for_one_of_the_last() {
    let mut state = State::default();
    step(&mut state, &sample(at(0), &[process(10, &cgroup(1, 1), "a")], &[], vec![]), i64::MAX);
    // Booted again: the same pid began as many ticks after the boot.
    let request = gpu_session_core::monitor::Monitor::request(&state);
    let mut again = process(10, &cgroup(2, 2), "b");
    if *request.boot_id == *"another" && request.known.get(&10) == again.1.start_ticks.as_ref() {
        again.1 = Process { start_ticks: again.1.start_ticks, ..Process::default() };
    }
    let mut sample = sample(at(30), &[again], &[], vec![list("kubernetes", at(30), &[(2, known_pod())])]);
    sample.boot_id = Some("another".into());
    let snapshot = step(&mut state, &sample, i64::MAX);
    let live = snapshot.sessions.iter().find(|view| view.live).unwrap();
    assert_eq!(live.session.attribution.pod.as_deref(), Some("pod-2"));
}

fn known_pod() -> Pod {
    known("pod-2", &[2], "x")
}

#[test]
fn a_state_of_impossible_times_is_refused() {
    let mut state = State::default();
    let pods = |m| vec![list("kubernetes", at(m), &[(1, known("pod-1", &[1], "x"))])];
    step(
        &mut state,
        &sample(at(0), &[process(10, &cgroup(1, 1), "a")], &[held("pod-1", "main", "GPU-0")], pods(0)),
        i64::MAX,
    );
    let text = String::from_utf8(state.to_json().unwrap()).unwrap();
    let min = i64::MIN.to_string();
    let text = text.replace(&at(0).to_string(), &min).replace(&(at(0) - BOOT_US).to_string(), &min);
    assert!(matches!(State::from_json(text.as_bytes()), Err(BadState::Impossible(_))));
}
