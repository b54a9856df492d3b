//! Sessions that began and ended between two samples, and those whose user comes late: each counts once.

use crate::model::{Job, Model, S};
use crate::samples::{monitor, plain_device};
use gpu_session_core::monitor::Monitor;
use gpu_session_core::sample::{Accounting, AccountingRecord, Metadata, Pod, PodList, Sample};
use gpu_session_core::state::{End, Seen, Session};
use std::collections::BTreeMap;
use std::sync::Arc;

const EVERY_5: std::ops::RangeInclusive<i64> = 0..=12;

fn fives() -> impl Iterator<Item = i64> {
    EVERY_5.map(|n| n * 5)
}

fn sessions(model: &Model) -> Vec<&Session> {
    model.state.devices.values().flat_map(|device| device.sessions.values()).collect()
}

fn ended(model: &Model) -> f64 {
    model.state.gpus.values().filter_map(|totals| totals.ended).map(|counter| counter.value).sum()
}

fn started(model: &Model) -> f64 {
    model.state.gpus.values().filter_map(|totals| totals.started).map(|counter| counter.value).sum()
}

#[test]
fn one_that_came_and_went_between_two_samples_is_found_by_its_use_and_placed() {
    let mut model = Model { remembers: true, ..Model::new(&[Job::new(7, 11, 14, 50)]) };
    model.run(&monitor(), fives());
    let [session] = sessions(&model)[..] else { panic!("{:?}", sessions(&model)) };
    assert_eq!((session.seen, session.end), (Seen::Utilization, Some(End::Exited(None))));
    assert_eq!(session.attribution.user.as_deref(), Some("alice"));
    assert!((model.user("alice", |u| u.sm_seconds) - 1.5).abs() < 1e-9);
    assert!((model.user("alice", |u| u.session_seconds) - 3.0).abs() < 1e-9);
    assert!((model.user("alice", |u| u.measured_seconds) - 3.0).abs() < 1e-9);
    assert_eq!((model.user("alice", |u| u.sessions_ended), started(&model), ended(&model)), (1.0, 1.0, 1.0));
    let durations = &model.state.gpus.values().next().unwrap().durations;
    assert_eq!((durations.counts[1], durations.sum_seconds.round()), (1, 3.0));
}

#[test]
fn one_of_which_nothing_is_known_is_nobodys_and_counts_all_the_same() {
    let mut model = Model::new(&[Job::new(7, 11, 14, 50), Job::new(8, 1, 60, 10)]);
    model.run(&monitor(), fives());
    assert!((model.user("", |u| u.sm_seconds) - 1.5).abs() < 1e-9);
    assert_eq!((model.user("", |u| u.sessions_ended), started(&model), ended(&model)), (1.0, 2.0, 2.0));
    let strange = sessions(&model).into_iter().find(|s| s.seen == Seen::Utilization).unwrap();
    assert_eq!(strange.attribution.unattributed.as_deref(), Some("ended_unseen"));
}

#[test]
fn one_whose_last_use_is_told_a_sample_later_is_one_session() {
    // Two answers have a part of it each: the first reading comes while it works and is not listed.
    let mut model = Model::new(&[Job::new(7, 11, 19, 50)]);
    let monitor = monitor();
    model.run(&monitor, [0, 5, 10]);
    let mut unlisted = model.sample(15);
    let device = &mut unlisted.driver.as_mut().unwrap().devices[0];
    device.processes = Some(Vec::new());
    unlisted.processes = Some(BTreeMap::new());
    monitor.step(&mut model.state, &unlisted);
    monitor.settle(&mut model.state);
    model.run(&monitor, [20, 25, 30]);
    assert_eq!(sessions(&model).len(), 1, "{:?}", sessions(&model));
    assert!((model.user("", |u| u.sm_seconds) - 4.0).abs() < 1e-9);
    assert_eq!((model.user("", |u| u.sessions_ended), ended(&model)), (1.0, 1.0));
}

#[test]
fn one_that_the_lists_have_a_sample_later_is_the_same_session() {
    let mut model = Model::new(&[Job::new(7, 11, 29, 50)]);
    let monitor = monitor();
    model.run(&monitor, [0, 5, 10]);
    // It came between the reading of the lists and that of use: /proc has it, the lists do not.
    let mut early = model.sample(15);
    early.driver.as_mut().unwrap().devices[0].processes = Some(Vec::new());
    monitor.step(&mut model.state, &early);
    monitor.settle(&mut model.state);
    assert_eq!(ended(&model), 0.0, "it may be listed yet");
    model.run(&monitor, [20]);
    assert!(sessions(&model)[0].is_live());
    model.run(&monitor, [25, 30, 35]);
    assert_eq!((sessions(&model).len(), ended(&model), started(&model)), (1, 1.0, 1.0));
    assert!((model.user("alice", |u| u.sm_seconds) - 9.0).abs() < 1e-9);
    let seconds = model.user("alice", |u| u.session_seconds);
    assert!((seconds - 18.0).abs() < 0.5, "{seconds}");
}

#[test]
fn a_pid_that_was_used_again_unseen_is_two_sessions() {
    let jobs = [Job::new(7, 11, 12, 80), Job { uid: 1001, ..Job::new(7, 13, 14, 40) }];
    let mut model = Model { remembers: true, ..Model::new(&jobs) };
    model.run(&monitor(), fives());
    assert_eq!((sessions(&model).len(), ended(&model)), (2, 2.0));
    assert!((model.user("alice", |u| u.sm_seconds) - 0.8).abs() < 0.01);
    assert!((model.user("bob", |u| u.sm_seconds) - 0.4).abs() < 0.01);
}

#[test]
fn the_use_of_one_that_is_listed_goes_to_it_to_its_last_moment() {
    let mut model = Model::new(&[Job::new(7, 2, 14, 50)]);
    model.run(&monitor(), fives());
    assert!((model.user("alice", |u| u.sm_seconds) - 6.0).abs() < 1e-9);
    assert!((model.user("alice", |u| u.session_seconds) - 12.0).abs() < 1e-9);
    assert!((model.user("alice", |u| u.measured_seconds) - 12.0).abs() < 1e-9);
    assert_eq!(sessions(&model)[0].end, Some(End::Exited(None)));
}

fn with_record(mut sample: Sample, record: AccountingRecord) -> Sample {
    let accounting = Accounting { pids: [record.pid].into(), ended: vec![record] };
    sample.driver.as_mut().unwrap().devices[0].accounting = Some(accounting);
    sample
}

#[test]
fn accounting_completes_what_use_has_shown_and_counts_it_no_second_time() {
    let monitor = monitor();
    let mut model = Model::new(&[Job::new(7, 12, 14, 50)]);
    model.run(&monitor, [0, 5, 10, 15]);
    let start_us = model.wall(11 * S);
    let record = AccountingRecord {
        pid: 7,
        start_us,
        duration_us: 3 * S,
        sm: Some(33),
        max_memory_bytes: Some(5 << 30),
    };
    let sample = with_record(model.sample(20), record);
    monitor.step(&mut model.state, &sample);
    monitor.settle(&mut model.state);
    let [session] = sessions(&model)[..] else { panic!("{:?}", sessions(&model)) };
    assert_eq!(session.memory_peak_bytes, Some(5 << 30));
    assert_eq!(session.first_seen_us, start_us, "the driver knows when it came");
    assert!((model.user("", |u| u.sm_seconds) - 1.0).abs() < 1e-9);
    assert_eq!((ended(&model), started(&model)), (1.0, 1.0));
}

#[test]
fn accounting_alone_shows_what_never_worked() {
    let monitor = monitor();
    let mut model = Model { remembers: true, ..Model::new(&[Job::new(7, 11, 14, 0)]) };
    model.run(&monitor, [0, 5, 10]);
    let start_us = model.wall(11 * S);
    let record = AccountingRecord {
        pid: 7,
        start_us,
        duration_us: 3 * S,
        sm: Some(0),
        max_memory_bytes: Some(5 << 30),
    };
    let sample = with_record(model.sample(15), record);
    monitor.step(&mut model.state, &sample);
    monitor.settle(&mut model.state);
    let [session] = sessions(&model)[..] else { panic!("{:?}", sessions(&model)) };
    assert_eq!((session.seen, session.attribution.user.as_deref()), (Seen::Accounting, Some("alice")));
    assert!((model.user("alice", |u| u.session_seconds) - 3.0).abs() < 1e-9);
    assert_eq!(model.user("alice", |u| u.sm_seconds), 0.0);
    assert_eq!((ended(&model), started(&model)), (1.0, 1.0));
}

#[test]
fn a_process_that_comes_back_unseen_adds_to_its_session() {
    let monitor = monitor();
    let mut model = Model { remembers: true, ..Model::new(&[Job::new(7, 1, 19, 50)]) };
    model.run(&monitor, [0, 5, 10, 15, 20, 25, 30]);
    let start_us = model.wall(31 * S);
    let record =
        AccountingRecord { pid: 7, start_us, duration_us: 3 * S, sm: Some(50), max_memory_bytes: None };
    let sample = with_record(model.sample(35), record);
    monitor.step(&mut model.state, &sample);
    monitor.settle(&mut model.state);
    assert_eq!((sessions(&model).len(), ended(&model), started(&model)), (1, 1.0, 1.0));
    assert!((model.user("alice", |u| u.sm_seconds) - (9.0 + 1.5)).abs() < 1e-9);
    assert!((sessions(&model)[0].sm_seconds.unwrap().value - 10.5).abs() < 1e-9, "its own counter too");
}

const POD: &str = "0::/kubepods.slice/kubepods-pod00000001_0000_4000_8000_000000000000.slice/cri-containerd-0000000000000000000000000000000000000000000000000000000000000001.scope\n";

/// As [`Model::step`], with the pod of [`POD`] as the API knows it.
fn step(model: &mut Model, monitor: &Monitor, second: i64, known: bool) {
    let mut sample = model.sample(second);
    let metadata = Metadata {
        annotations: BTreeMap::from([("creator-user-name".into(), "carol".into())]),
        ..Metadata::default()
    };
    let containers = BTreeMap::from([(format!("{:064x}", 1).into(), "main".into())]);
    let pod = Pod { namespace: "team".into(), name: "train".into(), metadata, containers, ..Pod::default() };
    let pods: BTreeMap<Arc<str>, Arc<Pod>> =
        known.then(|| ("00000001-0000-4000-8000-000000000000".into(), pod.into())).into_iter().collect();
    sample.pods = vec![PodList { source: "kubernetes".into(), as_of_us: sample.time_us, pods: pods.into() }];
    monitor.step(&mut model.state, &sample);
    monitor.settle(&mut model.state);
}

#[test]
fn counters_wait_for_a_user_that_comes_late_and_no_longer() {
    let patient = Monitor { hold_us: 30 * S, ..monitor() };
    let job = Job { cgroup: POD, ..Job::new(7, 1, 300, 50) };
    let mut model = Model::new(std::slice::from_ref(&job));
    for second in [0, 5, 10, 15] {
        step(&mut model, &patient, second, false);
        assert!(model.state.users.is_empty(), "nothing is counted yet");
    }
    step(&mut model, &patient, 20, true);
    assert!((model.user("carol", |u| u.sm_seconds) - 9.5).abs() < 0.2);
    assert_eq!(model.user("", |u| u.sm_seconds), 0.0);

    let mut model = Model::new(&[job]);
    for second in [0, 5, 10, 20, 30, 40] {
        step(&mut model, &patient, second, false);
    }
    assert!((model.user("", |u| u.sm_seconds) - 19.5).abs() < 0.2, "30 s are over");
    step(&mut model, &patient, 45, true);
    assert!((model.user("carol", |u| u.sm_seconds) - 2.5).abs() < 0.2, "and what comes then is the user's");
}

#[test]
fn one_that_ended_before_its_pod_was_known_is_its_users() {
    let patient = Monitor { hold_us: 30 * S, ..monitor() };
    let mut model = Model::new(&[Job { cgroup: POD, ..Job::new(7, 1, 9, 50) }]);
    for second in [0, 5, 10, 15] {
        step(&mut model, &patient, second, false);
    }
    assert_eq!((ended(&model), model.state.users.len()), (0.0, 0));
    step(&mut model, &patient, 20, true);
    assert_eq!((ended(&model), model.user("carol", |u| u.sessions_ended)), (1.0, 1.0));
    assert!((model.user("carol", |u| u.sm_seconds) - 4.0).abs() < 0.01);
}

#[test]
fn a_device_that_says_nothing_of_use_shows_no_unlisted_session() {
    let monitor = monitor();
    let mut model = Model::new(&[Job::new(7, 11, 14, 50)]);
    for second in fives() {
        let mut sample = model.sample(second);
        sample.driver.as_mut().unwrap().devices = vec![plain_device(0, Vec::new())];
        monitor.step(&mut model.state, &sample);
        monitor.settle(&mut model.state);
    }
    assert!(sessions(&model).is_empty());
    let unobserved = model.state.gpus.values().next().unwrap().unobserved.unwrap().value;
    assert!((unobserved - 60.0).abs() < 1e-9, "but the time is told: {unobserved}");
}
