//! Counters over time: whatever the clock, the driver and MIG do, they lose nothing, count nothing twice and never go
//! down.

use crate::model::{Job, Model, S};
use crate::samples::{BOOT_US, bare, monitor, plain_device};
use gpu_session_core::accounting::{Counter, Method, Usage};
use gpu_session_core::ids::GpuLabel;
use gpu_session_core::ledger;
use gpu_session_core::monitor::Monitor;
use gpu_session_core::sample::{Activity, Device, Driver, Process};
use gpu_session_core::select::Selection;
use gpu_session_core::state::{End, State};
use std::sync::Arc;

fn sole(usage: &Usage) -> Option<Counter> {
    usage.energy_joules[Method::Sole as usize]
}

fn shared(usage: &Usage) -> Option<Counter> {
    usage.energy_joules[Method::SmShare as usize]
}

#[test]
fn energy_is_the_only_sessions_or_shared_by_sm_time() {
    let bob = Job { uid: 1001, ..Job::new(8, 100, 200, 20) };
    let mut model = Model::new(&[Job::new(7, 1, 300, 60), bob]);
    // 100 W.
    model.energy = Some(|second| (100_000 * second) as u64);
    model.run(&monitor(), (0..=60).map(|n| n * 5));
    // From the first reading after the one that showed it.
    assert!((model.user("alice", sole) - 100.0 * (95.0 + 95.0)).abs() < 501.0);
    let (alice, bob) = (model.user("alice", shared), model.user("bob", shared));
    assert!((bob - 0.25 * 100.0 * 100.0).abs() < 126.0, "{bob}");
    assert!((7_499.0..=9_001.0).contains(&alice), "{alice}");
    assert_eq!(model.user("bob", sole), 0.0);
    let all = alice + bob + model.user("alice", sole);
    assert!(all <= 100.0 * 300.0 + 1e-6, "never more than the board used: {all}");
}

#[test]
fn energy_while_nobody_works_among_several_is_nobodys_and_a_reload_gives_none() {
    let mut model = Model::new(&[Job::new(7, 1, 300, 0), Job { uid: 1001, ..Job::new(8, 1, 300, 0) }]);
    model.energy = Some(|second| (50_000 * (second % 150)) as u64);
    model.run(&monitor(), (0..=60).map(|n| n * 5));
    let given = ["alice", "bob"].map(|user| (model.user(user, sole), model.user(user, shared)));
    assert_eq!(given, [(0.0, 0.0); 2]);

    let mut model = Model::new(&[Job::new(7, 1, 300, 50)]);
    model.energy = Some(|second| (50_000 * (second % 150)) as u64);
    model.run(&monitor(), (1..=60).map(|n| n * 5));
    let used = model.user("alice", sole);
    // 295 s of 50 W, without the five that the reload lies in, and those since.
    assert!((used - 50.0 * (295.0 - 10.0)).abs() < 501.0, "{used}");
}

fn is_not_less(before: &State, after: &State) {
    let of = |usage: &Usage| {
        let Usage {
            sm_seconds, memory_byte_seconds, session_seconds, measured_seconds, sessions_ended, ..
        } = *usage;
        [sm_seconds, memory_byte_seconds, session_seconds, measured_seconds, sessions_ended]
            .map(|c| c.map(|c| c.value))
    };
    for (key, usage) in &before.users {
        for (before, after) in of(usage).into_iter().zip(of(&after.users[key])) {
            assert!(after >= before, "{key:?}: {before:?} {after:?}");
        }
    }
    for (label, totals) in &before.gpus {
        let after = &after.gpus[label];
        for (before, after) in [
            (totals.ended, after.ended),
            (totals.started, after.started),
            (totals.unobserved, after.unobserved),
        ] {
            assert!(after.map(|c| c.value) >= before.map(|c| c.value), "{label}");
        }
    }
}

#[test]
fn a_clock_that_is_set_takes_and_gives_no_time() {
    for by in [3600 * S, -3600 * S, 20 * S, -20 * S, 3 * 86_400 * S] {
        let mut model = Model::new(&[Job::new(7, 1, 400, 50), Job::new(8, 1, 390, 0)]);
        model.clock_set = Some((202, by));
        for second in (0..=100).map(|n| n * 5) {
            let before = model.state.clone();
            model.run(&monitor(), [second]);
            is_not_less(&before, &model.state);
        }
        let used = model.user("alice", |u| u.sm_seconds);
        let unobserved = model.state.gpus.values().next().unwrap().unobserved.unwrap().value;
        // Entries of before that come near cannot be told from others: while the ring keeps them nothing is read.
        let most = if by.abs() > 200 * S || by > 0 { 0.3 } else { 40.0 };
        assert!(unobserved <= most, "{by}: {unobserved}");
        assert!(used <= 199.5 + 1e-6 && used >= 199.5 - 0.5 * unobserved - 0.2, "{by}: {used} {unobserved}");
        let seconds = model.user("alice", |u| u.session_seconds);
        assert!((seconds - (399.0 + 389.0)).abs() < 11.0, "{by}: {seconds}");
        let ended = model.state.gpus.values().next().unwrap().ended.unwrap().value;
        assert_eq!(ended, 2.0, "{by}");
    }
}

#[test]
fn what_is_saved_between_two_steps_changes_nothing() {
    let jobs: Vec<Job> = (0..40)
        .map(|n| Job {
            uid: 1000 + n % 2,
            ..Job::new(100 + n, i64::from(n) * 7, i64::from(n) * 7 + 3 + i64::from(n % 5) * 9, 30)
        })
        .collect();
    let mut plain = Model { remembers: true, ..Model::new(&jobs) };
    let mut saved = Model { remembers: true, ..Model::new(&jobs) };
    let patient = Monitor { hold_us: 30 * S, ledger: true, ..monitor() };
    for (n, second) in (0..=80).map(|n| n * 5).enumerate() {
        plain.step(&patient, second);
        saved.step(&patient, second);
        saved.state = State::from_json(&saved.state.to_json().unwrap()).unwrap();
        if n % 3 == 0 {
            patient.settle(&mut plain.state);
            patient.settle(&mut saved.state);
        }
    }
    assert_eq!(plain.state, saved.state);
    let truth: f64 = jobs.iter().map(|job| 0.3 * (job.until - job.from) as f64).sum();
    let used = plain.user("alice", |u| u.sm_seconds) + plain.user("bob", |u| u.sm_seconds);
    assert!((used - truth).abs() < 1e-6, "{used} {truth}");
}

fn instance(uuid: &str, pid: Option<u32>) -> Device {
    let listed = pid.map(|pid| gpu_session_core::sample::DeviceProcess { pid, memory_bytes: Some(1) });
    let mut device = plain_device(0, listed.into_iter().collect());
    let facts = Arc::make_mut(&mut device.facts);
    facts.label = GpuLabel { gpu: 0, instance: Some((1, 0)) };
    facts.uuid = uuid.into();
    facts.compute_fraction = Some(1.0 / 7.0);
    device
}

#[test]
fn a_label_that_is_given_to_a_new_instance_goes_on_counting() {
    let job = Job::new(7, 1, 1_000, 0);
    let model = Model::new(&[job]);
    let mut state = State::default();
    let label = GpuLabel { gpu: 0, instance: Some((1, 0)) };
    for second in (0..120).map(|n| n * 5) {
        let mut sample = model.sample(second);
        let uuid = if second < 300 { "MIG-a" } else { "MIG-b" };
        sample.driver =
            Some(Driver { devices: vec![instance(uuid, (second > 0).then_some(7))], ..Driver::default() });
        let before = state.clone();
        monitor().step(&mut state, &sample);
        monitor().settle(&mut state);
        is_not_less(&before, &state);
    }
    let totals = &state.gpus[&label];
    let value = |counter: Option<Counter>| counter.unwrap().value;
    assert_eq!((value(totals.started), value(totals.ended)), (2.0, 1.0));
    assert!((value(totals.unobserved) - 590.0).abs() < 6.0, "{:?}", totals.unobserved);
    let ends: Vec<_> =
        state.devices.values().flat_map(|d| d.sessions.values()).filter_map(|s| s.end).collect();
    assert_eq!(ends, [End::DeviceGone]);
    let alice = &state.users[&(label, "alice".into())];
    assert!((value(alice.session_seconds) - 585.0 / 7.0).abs() < 1.0, "{:?}", alice.session_seconds);
    assert_eq!(alice.sm_seconds, None, "what nobody measured is not 0");
    assert_eq!(value(alice.measured_seconds), 0.0);
}

#[test]
fn a_session_that_comes_back_ends_once_and_its_row_is_written_again() {
    let keeps = Monitor { ledger: true, ..monitor() };
    let mut model = Model::new(&[Job::new(7, 1, 20, 50), Job::new(7, 1, 20, 50)]);
    model.jobs.pop();
    model.run(&keeps, [0, 5, 10, 15, 20, 25]);
    let rows = ledger::rows(&model.state, false);
    assert_eq!((rows.sessions.len(), rows.sessions[0].has_ended()), (1, true));
    let first = rows.sessions[0].clone();
    ledger::written(&mut model.state);
    assert!(ledger::rows(&model.state, true).is_empty(), "nothing goes on, and what ended is written");
    // The same process opens the device again.
    model.jobs[0].until = 60;
    model.run(&keeps, [30, 35]);
    assert!(ledger::rows(&model.state, false).is_empty());
    let running = ledger::rows(&model.state, true).sessions;
    assert_eq!((running[0].id, running[0].opened_us), (first.id, first.opened_us), "it is the same row");
    model.run(&keeps, [40, 45, 50, 55, 60, 65]);
    // From 1 to 20, as its use shows, and from 30, when the lists had it again, to 60.
    let seconds = model.user("alice", |u| u.session_seconds);
    assert!((seconds - (19.0 + 30.0)).abs() < 1.5, "the time between is nobody's: {seconds}");
    let ended = model.state.gpus.values().next().unwrap().ended.unwrap().value;
    assert_eq!(ended, 1.0);
    assert_eq!(ledger::rows(&model.state, false).sessions.len(), 1, "with its new end");
}

#[test]
fn what_ended_waits_for_the_ledger_and_without_one_it_goes() {
    for keeps in [true, false] {
        let monitor = Monitor { ledger: keeps, ..monitor() };
        let mut model = Model::new(&[Job::new(7, 1, 20, 50)]);
        model.run(&monitor, (0..=200).map(|n| n * 5));
        let kept = model.state.devices.values().map(|d| d.sessions.len()).sum::<usize>();
        assert_eq!(kept, usize::from(keeps));
        ledger::written(&mut model.state);
        model.run(&monitor, [1_010]);
        assert_eq!(model.state.devices.values().map(|d| d.sessions.len()).sum::<usize>(), 0);
    }
}

#[test]
fn a_boot_ends_all_sessions_and_takes_no_counter_down() {
    let mut model = Model::new(&[Job::new(7, 1, 400, 50)]);
    model.run(&monitor(), (0..=10).map(|n| n * 5));
    let before = model.state.clone();
    let mut sample = bare(model.wall(90 * S), vec![plain_device(0, Vec::new())]);
    sample.boot_id = Some("another".into());
    sample.monotonic_us = 5 * S;
    sample.processes = Some(std::collections::BTreeMap::new());
    monitor().step(&mut model.state, &sample);
    monitor().settle(&mut model.state);
    is_not_less(&before, &model.state);
    let ends: Vec<_> =
        model.state.devices.values().flat_map(|d| d.sessions.values()).map(|s| s.end).collect();
    assert_eq!(ends, [Some(End::Reboot)]);
}

#[test]
fn how_a_session_ended_is_not_known_where_its_process_or_device_says_nothing() {
    let unmeasured = Monitor { selection: Selection::new(vec!["5".parse().unwrap()], None), ..monitor() };
    for (measures, readable, wanted) in
        [(monitor(), true, Some(End::Exited(None))), (monitor(), false, None), (unmeasured, true, None)]
    {
        let mut model = Model::new(&[Job::new(7, 1, 12, 50)]);
        model.run(&monitor(), [0, 5, 10]);
        let mut sample = model.sample(15);
        if !readable {
            sample.processes = Some([(7, Process::default())].into());
        }
        measures.step(&mut model.state, &sample);
        let ends: Vec<_> = model.state.devices.values().flat_map(|d| d.sessions.values()).collect();
        assert_eq!((ends[0].is_live(), ends[0].end), (false, wanted));
    }
}

#[test]
fn time_for_which_the_driver_owed_its_answer_is_not_measured_when_none_can_be_read() {
    let mut model = Model::new(&[Job::new(7, 1, 400, 50)]);
    model.run(&monitor(), (0..=10).map(|n| n * 5));
    // The call fails twice, then the clock is set so little that old and new entries cannot be told apart.
    for second in [55, 60] {
        let mut sample = model.sample(second);
        sample.driver.as_mut().unwrap().devices[0].activity = Activity::Failed;
        monitor().step(&mut model.state, &sample);
        monitor().settle(&mut model.state);
    }
    model.clock_set = Some((61, -3 * S));
    model.run(&monitor(), [65, 70, 75]);
    let (there, measured) =
        (model.user("alice", |u| u.session_seconds), model.user("alice", |u| u.measured_seconds));
    let unobserved = model.state.gpus.values().next().unwrap().unobserved.unwrap().value;
    assert!(unobserved > 10.0, "{unobserved}");
    assert!(measured <= there - unobserved + 1.0, "{measured} of {there}, {unobserved} unobserved");
}

#[test]
fn who_was_not_measured_for_a_while_is_not_known_to_have_been_idle() {
    let mut model = Model::new(&[Job::new(7, 1, 10_000, 0)]);
    let since = |state: &State| {
        let session = state.devices.values().flat_map(|d| d.sessions.values()).next().unwrap();
        session.measured_since_us.map(|us| (us - BOOT_US) / S - 3600)
    };
    model.run(&monitor(), (0..=10).map(|n| n * 5));
    let from_the_start = since(&model.state).unwrap();
    assert!((0..=10).contains(&from_the_start), "{from_the_start}");
    model.run(&monitor(), (11..=60).map(|n| n * 5));
    assert_eq!(since(&model.state), Some(from_the_start), "nothing was missed");

    let mut failed = model.sample(305);
    failed.driver.as_mut().unwrap().devices[0].activity = Activity::Failed;
    monitor().step(&mut model.state, &failed);
    assert_eq!(since(&model.state), None, "nobody knows now");
    model.run(&monitor(), [310, 315]);
    assert_eq!(since(&model.state), Some(310));
    // More than one answer reaches back over.
    model.run(&monitor(), [315 + 1_200, 315 + 1_205]);
    assert_eq!(since(&model.state), Some(315 + 1_200));
}
