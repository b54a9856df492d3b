//! SM time, sessions and users against the truth that the scenario states. `make accuracy` plays every case
//! (`benches/accuracy.rs`); here are two of them by the same means.

#[allow(dead_code, reason = "the measurement plays all of it")]
mod corpus;
#[allow(dead_code, reason = "the measurement plays it in all ways")]
mod play;
mod truth;
mod verdict;

use crate::node::Node;
use corpus::{Case, Kind};
use play::Way;
use truth::Style;
use verdict::Verdict;

/// Ten minutes of a load that changes, read every minute at odd moments.
fn ten_minutes(style: &str, step_seconds: f64) -> (f64, f64) {
    let text = format!(
        "version: 1
utilization: {{ style: {style}, period: 200ms, keep: 120s }}
gpus: [{{ model: NVIDIA L40S, memory: 48GiB }}]
processes:
  - pid: 7
    name: train
    uid: 1000
    devices:
      - gpu: 0
        memory: 8GiB
        sm: 75
        steps: [{{ at: 100s, sm: 20 }}, {{ at: 200s, sm: 90 }}, {{ at: 340s, sm: 5 }}, {{ at: 345s, sm: 60 }}, {{ at: 500s, sm: 0 }}, {{ at: 530s, sm: 100 }}]
passwd: [{{ name: alice, uid: 1000 }}]
"
    );
    let mut node = Node::new(&text);
    node.at(1.0);
    node.collected();
    let from = node.now();
    let mut at = from;
    let mut metrics = node.metrics();
    while at + step_seconds <= from + 600.0 {
        at += step_seconds;
        node.at(at + if (at as u64).is_multiple_of(4) { 0.13 } else { 0.0 });
        metrics = node.collected();
    }
    let used = metrics.get("gpu_session_sm_seconds_total", &[("user", "alice")]).unwrap();
    (used, truth(1.0, node.now()))
}

/// The integral of the load above, by hand.
fn truth(from: f64, to: f64) -> f64 {
    let steps = [
        (0.0, 0.75),
        (100.0, 0.20),
        (200.0, 0.90),
        (340.0, 0.05),
        (345.0, 0.60),
        (500.0, 0.0),
        (530.0, 1.0),
        (f64::MAX, 0.0),
    ];
    steps.windows(2).map(|pair| pair[0].1 * (pair[1].0.min(to) - pair[0].0.max(from)).max(0.0)).sum()
}

#[test]
fn a_driver_that_gives_every_sample_is_within_one_percent() {
    let (used, truth) = ten_minutes("ring", 60.0);
    assert!((used / truth - 1.0).abs() < 0.01, "{used} {truth}");
}

#[test]
fn an_average_since_the_last_reading_is_within_one_percent() {
    // Whole percents of a minute's average: the rounding is the error.
    let (used, truth) = ten_minutes("average", 60.0);
    assert!((used / truth - 1.0).abs() < 0.01, "{used} {truth}");
}

#[test]
fn the_last_period_alone_misses_what_happened_before_it() {
    // One look a minute at 200 ms: the error is large and is stated in the documentation; short intervals mend it.
    let (rare, truth) = ten_minutes("last", 60.0);
    let (often, truth_often) = ten_minutes("last", 5.0);
    let error = |used: f64, truth: f64| (used / truth - 1.0).abs();
    assert!(error(rare, truth) > 0.05, "were it exact, the documentation would be wrong: {rare} {truth}");
    assert!(error(often, truth_often) < 0.03, "{often} {truth_often}");
}

/// Plays a case; nothing may be invented, no session another user's.
fn sound(kind: Kind, style: Style, way: Way) -> Verdict {
    let case = Case::new(kind, style, false);
    let verdict = verdict::verdict(&case, &play::play(&case, way));
    let faults = (verdict.invented, verdict.users_wrong);
    assert_eq!(faults, (0, 0), "{}, {}: {verdict:?}", case.name(), way.name());
    verdict
}

const EACH_MINUTE: Way = Way::Collect { every_s: 60, window_s: None };

#[test]
fn fifty_short_jobs_a_minute_are_all_found() {
    for way in [Way::Serve, EACH_MINUTE] {
        let Verdict { long, short, sm, .. } = sound(Kind::ShortJobs, Style::Ring, way);
        assert_eq!((long.of + short.of, long.missed, short.missed), (479, 0, 0), "{}", way.name());
        assert!(sm.unwrap().abs() < 0.01, "{sm:?}");
    }
}

#[test]
fn clients_of_an_mps_server_that_was_not_there_before_are_sessions_of_their_users() {
    // A driver with one sample per process names clients that no list had; they did not work since the last reading.
    let verdict = sound(Kind::Mps, Style::Last, EACH_MINUTE);
    assert_eq!((verdict.long.told, verdict.users_unknown), (0, 0), "{verdict:?}");
    assert!(verdict.sm.unwrap() < 0.0, "what the driver does not tell is not made up: {verdict:?}");
}

#[test]
fn processes_of_one_pid_are_told_apart_while_others_come_and_go() {
    let Verdict { long, sm, memory, .. } = sound(Kind::PidReuse, Style::Ring, Way::Serve);
    // Nobody listed these: they are counted with the session of their pid that was there before.
    assert_eq!(long.missed, 4, "{long:?}");
    assert!(sm.unwrap().abs() < 0.01, "{sm:?}");
    // Held from the start of a process to its last work: the time between two lists alone is three quarters of that.
    assert!(memory.unwrap().abs() < 0.1, "{memory:?}");
}
