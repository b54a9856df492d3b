//! Sums over periods.

use super::*;
use crate::report::{By, Line};

fn at(hours: f64) -> i64 {
    NOW + (hours * HOUR as f64) as i64
}

fn of(id: u64, user: Option<&str>, from: f64, to: f64) -> SessionRow {
    let mut row = past(id, at(from), at(to));
    row.session.attribution.user = user.map(Into::into);
    row
}

fn line(lines: &[Line], key: &[&str]) -> Line {
    let found: Vec<_> = lines.iter().filter(|line| line.key == key).collect();
    assert_eq!(found.len(), 1, "{key:?} in {lines:?}");
    found[0].clone()
}

fn near(have: Option<f64>, want: f64) {
    assert!(have.is_some_and(|have| (have - want).abs() < 1e-9 * want.max(1.0)), "{have:?}, not {want}");
}

#[test]
fn a_line_has_all_sums() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    let mut row = of(1, Some("alice"), 0.0, 2.0);
    row.session.measured_seconds = 3600.0;
    row.session.sm_seconds = counter(900.0);
    row.session.memory_byte_seconds = counter(3.0 * 3600.0 * (1_u64 << 30) as f64);
    row.session.energy_joules = [counter(3.6e6), counter(1.8e6)];
    let mut held = allocation("a", at(0.0), at(4.0));
    held.allocation.user = Some("alice".into());
    ledger.write(&Rows { sessions: vec![row], allocations: vec![held] }, at(4.0)).unwrap();
    let lines = ledger.usage(at(0.0), at(5.0), By::User).unwrap();
    let whole = Line {
        key: vec!["alice".into()],
        sessions: 1,
        session_hours: Some(2.0),
        sm_hours: Some(0.25),
        mean_utilization: Some(0.25),
        memory_gib_hours: Some(3.0),
        energy_kwh: Some(1.5),
        allocated_hours: Some(4.0),
        idle_allocated_hours: Some(1.0),
    };
    assert_eq!(lines, [whole]);
}

#[test]
fn a_slice_counts_by_the_part_that_lies_in_the_period() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    ledger.write(&sessions([of(1, Some("alice"), 1.0, 5.0)]), at(5.0)).unwrap();
    let sums = |from: f64, to: f64| {
        let lines = ledger.usage(at(from), at(to), By::User).unwrap();
        lines.first().map(|line| (line.session_hours, line.sm_hours, line.sessions))
    };
    assert_eq!(sums(0.0, 10.0), Some((Some(4.0), Some(2.0), 1)));
    assert_eq!(sums(2.0, 3.0), Some((Some(1.0), Some(0.5), 0)), "both edges inside");
    assert_eq!(sums(0.0, 2.0), Some((Some(1.0), Some(0.5), 0)), "its begin");
    assert_eq!(sums(4.0, 9.0), Some((Some(1.0), Some(0.5), 1)), "its end");
    assert_eq!(sums(1.0, 5.0), Some((Some(4.0), Some(2.0), 0)), "the end is the next period's");
    assert_eq!(sums(5.0, 6.0), Some((None, None, 1)), "and nothing but the end is");
    assert_eq!(sums(0.0, 1.0), None);
    assert_eq!(sums(5.001, 6.0), None);
    assert_eq!(sums(3.0, 3.0), None, "an empty period");
    assert_eq!(sums(4.0, 2.0), None, "an inverted one");
}

#[test]
fn a_slice_without_length_counts_where_it_lies() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    let mut row = of(1, Some("alice"), 1.0, 1.0);
    row.session.sm_seconds = counter(36.0);
    row.session.session_seconds = 72.0;
    ledger.write(&sessions([row]), at(2.0)).unwrap();
    let sums = |from: f64, to: f64| {
        let lines = ledger.usage(at(from), at(to), By::User).unwrap();
        lines.first().map(|line| (line.session_hours, line.sm_hours, line.sessions))
    };
    assert_eq!(sums(1.0, 2.0), Some((Some(0.02), Some(0.01), 1)));
    assert_eq!(sums(0.0, 1.0), None);
}

#[test]
fn periods_add_up() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    for step in 1..=40_u32 {
        let rows = (0..20_u64).map(|id| {
            let (from, to) = (id as f64 / 7.0, f64::from(step) / 3.0 + id as f64 / 7.0);
            let row = session(id, at(from), at(to));
            if step == 40 { ended(row) } else { row }
        });
        ledger.write(&sessions(rows), at(f64::from(step) / 3.0)).unwrap();
    }
    let whole = ledger.usage(at(0.0), at(20.0), By::User).unwrap().remove(0);
    let parts: Vec<_> = (0..80)
        .flat_map(|n| ledger.usage(at(f64::from(n) / 4.0), at(f64::from(n + 1) / 4.0), By::User).unwrap())
        .collect();
    near(whole.session_hours, 20.0 * 40.0 / 3.0);
    near(whole.sm_hours, parts.iter().filter_map(|line| line.sm_hours).sum());
    near(whole.session_hours, parts.iter().filter_map(|line| line.session_hours).sum());
    assert_eq!((whole.sessions, parts.iter().map(|line| line.sessions).sum()), (20, 20));
}

#[test]
fn times_count_by_the_share_of_a_gpu_and_memory_and_energy_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    let slice = |id, fraction, user| {
        let mut row = of(id, Some(user), 0.0, 2.0);
        row.device.compute_fraction = fraction;
        row.session.memory_byte_seconds = counter(3600.0 * (1_u64 << 30) as f64);
        row.session.energy_joules = [None, counter(3.6e6)];
        row
    };
    let mut held = allocation("a", at(0.0), at(4.0));
    held.device.compute_fraction = Some(0.25);
    held.allocation.user = Some("alice".into());
    let rows = vec![slice(1, Some(0.25), "alice"), slice(2, Some(1.0), "alice"), slice(3, None, "bob")];
    ledger.write(&Rows { sessions: rows, allocations: vec![held] }, at(4.0)).unwrap();
    let lines = ledger.usage(at(0.0), at(4.0), By::User).unwrap();
    let alice = line(&lines, &["alice"]);
    assert_eq!(
        (alice.session_hours, alice.sm_hours, alice.mean_utilization),
        (Some(2.5), Some(1.25), Some(0.5))
    );
    assert_eq!((alice.memory_gib_hours, alice.energy_kwh), (Some(2.0), Some(2.0)));
    assert_eq!((alice.allocated_hours, alice.idle_allocated_hours), (Some(1.0), Some(0.25)));
    let bob = line(&lines, &["bob"]);
    assert_eq!((bob.session_hours, bob.sm_hours, bob.mean_utilization), (None, None, None));
    assert_eq!((bob.memory_gib_hours, bob.energy_kwh, bob.sessions), (Some(1.0), Some(1.0), 1));
}

#[test]
fn unknown_is_none_and_never_zero() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    let mut row = of(1, None, 0.0, 2.0);
    row.session.sm_seconds = None;
    row.session.measured_seconds = 0.0;
    let mut idle = of(2, Some("idle"), 0.0, 2.0);
    idle.session.sm_seconds = counter(0.0);
    ledger.write(&sessions([row, idle]), at(2.0)).unwrap();
    let lines = ledger.usage(at(0.0), at(2.0), By::User).unwrap();
    assert_eq!(
        lines[1],
        Line { key: vec![String::new()], session_hours: Some(2.0), ..Line::default() },
        "nobody's is the empty key, and comes after what is known to be 0"
    );
    assert_eq!((lines[0].sm_hours, lines[0].mean_utilization), (Some(0.0), Some(0.0)));
}

#[test]
fn by_each_of_what_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    let placed = |id: u64, gpu: u32, namespace: &str, pod: &str, command: &str, hours: f64| {
        let mut row = of(id, Some("alice"), 0.0, hours);
        row.device.gpu.gpu = gpu;
        row.session.attribution.namespace = Some(namespace.into());
        row.session.attribution.pod = Some(pod.into());
        row.session.command = Some(command.into());
        row
    };
    let rows = vec![
        placed(1, 0, "blue", "a", "python3", 2.0),
        placed(2, 1, "red", "a", "python3", 4.0),
        placed(3, 1, "red", "b", "namd", 8.0),
    ];
    ledger
        .write(&Rows { sessions: rows, allocations: vec![allocation("a", at(0.0), at(1.0))] }, at(8.0))
        .unwrap();
    let lines = |by| {
        let lines = ledger.usage(at(0.0), at(9.0), by).unwrap();
        let text =
            |line: &Line| format!("{} {:?} {:?}", line.key.join("/"), line.sm_hours, line.allocated_hours);
        lines.iter().map(text).collect::<Vec<_>>()
    };
    assert_eq!(lines(By::User), ["alice Some(7.0) None", " None Some(1.0)"]);
    assert_eq!(lines(By::Namespace), ["red Some(6.0) None", "blue Some(1.0) None", "team None Some(1.0)"]);
    assert_eq!(
        lines(By::Pod),
        ["red/b Some(4.0) None", "red/a Some(2.0) None", "blue/a Some(1.0) None", "team/a None Some(1.0)"]
    );
    assert_eq!(lines(By::Device), ["1 Some(6.0) None", "0 Some(1.0) None", "3 None Some(1.0)"]);
    assert_eq!(lines(By::Command), ["namd Some(4.0) None", "python3 Some(3.0) None"]);
}

#[test]
fn lines_of_as_much_time_are_by_key() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    let users = ["zoe", "bob", "alice", "mia"];
    let rows = users
        .iter()
        .enumerate()
        .map(|(id, user)| of(id as u64, Some(*user), 0.0, if *user == "mia" { 2.0 } else { 1.0 }));
    ledger.write(&sessions(rows), at(2.0)).unwrap();
    let lines = ledger.usage(at(0.0), at(3.0), By::User).unwrap();
    assert_eq!(lines.iter().map(|line| &*line.key[0]).collect::<Vec<_>>(), ["mia", "alice", "bob", "zoe"]);
}
