//! Nothing is lost and nothing counts twice, whatever the node does.

use crate::node::{Metrics, Node};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// A process of a random scenario.
#[derive(Clone, Debug)]
struct Job {
    user: u32,
    container: bool,
    start: u32,
    length: u32,
    devices: Vec<(usize, u32)>,
}

const USERS: [&str; 4] = ["alice", "bob", "carol", "dave"];
/// Labels of the devices of the scenarios, by the index that jobs use.
const DEVICES: [&str; 5] = ["0", "1", "2_1_0", "2_2_0", "2_9_0"];
const MINUTES: u32 = 6;

fn job() -> impl Strategy<Value = Job> {
    let device = (0..DEVICES.len(), 0_u32..=100);
    (0..4_u32, any::<bool>(), 0..200_u32, 5..200_u32, prop::collection::vec(device, 1..3)).prop_map(
        |(user, container, start, length, mut devices)| {
            devices.sort_unstable();
            devices.dedup_by_key(|(device, _)| *device);
            Job { user, container, start, length, devices }
        },
    )
}

fn scenario(jobs: &[Job], style: &str) -> String {
    let mut text = format!(
        "version: 1\nutilization: {{ style: {style} }}\ngpus:
  - {{ model: NVIDIA L40S, memory: 48GiB }}
  - {{ model: NVIDIA L40S, memory: 48GiB }}
  - model: NVIDIA H100 80GB HBM3
    memory: 80GiB
    gpm: true
    mig:
      - {{ profile: 3g.40gb, gpu_instance: 1, compute_instance: 0, memory: 40GiB, slices: 3 }}
      - {{ profile: 3g.40gb, gpu_instance: 2, compute_instance: 0, memory: 40GiB, slices: 3 }}
      - {{ profile: 1g.10gb, gpu_instance: 9, compute_instance: 0, memory: 10GiB, slices: 1 }}
passwd: [{{ name: alice, uid: 1000 }}, {{ name: bob, uid: 1001 }}, {{ name: carol, uid: 1002 }}, {{ name: dave, uid: 1003 }}]
processes:\n"
    );
    let id = "0123456789abcdef".repeat(4);
    for (i, job) in jobs.iter().enumerate() {
        let cgroup = if job.container { format!("0::/docker/{id}") } else { "0::/user.slice".to_owned() };
        let devices: Vec<String> = job
            .devices
            .iter()
            .map(|(device, sm)| {
                let place = match DEVICES[*device].split_once('_') {
                    Some((gpu, instance)) => format!("gpu: {gpu}, instance: {}", instance.replace('_', "/")),
                    None => format!("gpu: {device}"),
                };
                format!("{{ {place}, memory: {}MiB, sm: {sm} }}", 100 + i)
            })
            .collect();
        let _ = writeln!(
            text,
            "  - {{ pid: {}, name: job{i}, uid: {}, cgroup: \"{cgroup}\\n\", start: {}s, end: {}s, devices: [{}] }}",
            100 + i,
            1000 + job.user,
            job.start,
            job.start + job.length,
            devices.join(", ")
        );
    }
    text
}

/// Sessions on a device at a moment, by the scenario's own words: (pid, user).
fn truth(jobs: &[Job], device: usize, at: f64) -> Vec<(usize, Option<&'static str>)> {
    let on = |job: &Job| f64::from(job.start) <= at && at < f64::from(job.start + job.length);
    let here = |job: &Job| job.devices.iter().any(|(d, _)| *d == device);
    let user = |job: &Job| (!job.container).then_some(USERS[job.user as usize]);
    jobs.iter()
        .enumerate()
        .filter(|(_, job)| on(job) && here(job))
        .map(|(i, job)| (100 + i, user(job)))
        .collect()
}

fn check_now(metrics: &Metrics, jobs: &[Job], at: f64) {
    let mut total = 0;
    for (device, label) in DEVICES.iter().enumerate() {
        let wanted = truth(jobs, device, at);
        total += wanted.len();
        let gpu = [("gpu", *label)];
        assert_eq!(metrics.get("gpu_session_count", &gpu), Some(wanted.len() as f64), "{label} at {at}");
        assert_eq!(metrics.values("gpu_process_info", &gpu).len(), wanted.len());
        let users: BTreeSet<_> = wanted.iter().filter_map(|(_, user)| *user).collect();
        assert_eq!(metrics.get("gpu_session_users", &gpu), Some(users.len() as f64), "{label} at {at}");
        let unplaced = wanted.iter().filter(|(_, user)| user.is_none()).count();
        let known = metrics.sum("gpu_user_sessions", &gpu) + metrics.sum("gpu_sessions_unattributed", &gpu);
        assert_eq!(
            (known, metrics.sum("gpu_sessions_unattributed", &gpu)),
            (wanted.len() as f64, unplaced as f64)
        );
    }
    assert_eq!(metrics.get("gpu_total_sessions", &[]), Some(total as f64));
}

/// Counters by series, for those that the file writes as they are (not held at 0 for a run).
fn counters(metrics: &Metrics, name: &str) -> BTreeMap<(String, String), f64> {
    let (gpus, users) = (metrics.label(name, "gpu"), metrics.label(name, "user"));
    gpus.iter()
        .zip(users)
        .zip(metrics.values(name, &[]))
        .map(|((g, u), v)| (((*g).to_owned(), u.to_owned()), v))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, failure_persistence: None, max_shrink_iters: 40, ..ProptestConfig::default() })]

    #[test]
    fn counts_users_and_sums_agree(jobs in prop::collection::vec(job(), 1..14), style in prop::sample::select(vec!["ring", "last", "average"])) {
        let mut node = Node::new(&scenario(&jobs, style));
        let mut before = BTreeMap::new();
                for minute in 0..MINUTES {
            let at = f64::from(minute) * 60.0 + 0.5;
            node.at(at);
            let run = node.collect();
            prop_assert_eq!(run.code, 0, "{}", run.stderr);
            let metrics = node.metrics();
            // The lists are read where the run's window ends; /proc of the test stands where it began.
            let read = node.now();
            let moved = jobs.iter().any(|job| {
                let turns = [f64::from(job.start), f64::from(job.start + job.length)];
                turns.iter().any(|turn| at < *turn && *turn <= read)
            });
            if !moved {
                check_now(&metrics, &jobs, read);
            }
            let sums = counters(&metrics, "gpu_user_sm_seconds_total");
            for (key, value) in &before {
                prop_assert!(sums.get(key).is_some_and(|now| now >= value), "{:?} went down", key);
            }
            before = sums;
        }
        // Every session's series still stands (ended ones stay ten minutes): users add up to them.
        // All are over by now; the second run also writes what came to be in the first.
        for at in [420.0, 425.0] {
            node.at(at);
            let run = node.collect();
            prop_assert_eq!(run.code, 0, "{}", run.stderr);
        }
        let metrics = node.metrics();
        for (label, fraction) in DEVICES.iter().zip([1.0, 1.0, 3.0 / 7.0, 3.0 / 7.0, 1.0 / 7.0]) {
            for user in USERS.iter().copied().chain([""]) {
                let of = [("gpu", *label), ("user", user)];
                let sessions = metrics.sum("gpu_session_sm_seconds_total", &of) * fraction;
                let sum = metrics.sum("gpu_user_sm_seconds_total", &of);
                prop_assert!((sessions - sum).abs() < 1e-6, "{} {}: sessions {} user {}", label, user, sessions, sum);
                let sessions = metrics.sum("gpu_session_memory_byte_seconds_total", &of);
                let sum = metrics.sum("gpu_user_memory_byte_seconds_total", &of);
                prop_assert!((sessions - sum).abs() <= 1e-9 * sum.abs(), "{} {}", label, user);
            }
        }
    }
}

/// One life of a pid: seconds since the life before ended, its length, percent of SM time, user.
type Life = (u32, u32, u32, usize);

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, max_shrink_iters: 40, ..ProptestConfig::default() })]

    #[test]
    fn lives_of_one_pid_never_merge(lives in prop::collection::vec((1_u32..40, 5_u32..80, 1_u32..=100, 0_usize..4), 2..7)) {
        let (text, spans) = reused_pid(&lives);
        let mut node = Node::new(&text);
        node.at(1.0);
        prop_assert_eq!(node.collect().code, 0);
        let end = spans.last().map_or(0, |span| span.1);
        let mut ids = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut at = 20_u32;
        while at < end + 40 {
            node.at(f64::from(at));
            let run = node.collect();
            prop_assert_eq!(run.code, 0, "{}", run.stderr);
            let metrics = node.metrics();
            ids.extend(metrics.label("gpu_session_info", "session").into_iter().map(str::to_owned));
            seen.extend(spans.iter().position(|(from, to)| (*from..*to).contains(&at)));
            at += 20;
        }
        node.at(f64::from(at));
        prop_assert_eq!(node.collect().code, 0);
        prop_assert_eq!(ids.len(), seen.len(), "each life that was seen is one session");
        let metrics = node.metrics();
        // The driver remembers what a life did before it was first listed. One that was never listed is nobody's, or,
        // between the last look at another and the look that found that over, the other's: nobody can tell.
        let seconds = |life: usize| f64::from(lives[life].1) * f64::from(lives[life].2) / 100.0;
        let unseen: f64 = (0..lives.len()).filter(|life| !seen.contains(life)).map(seconds).sum();
        let mut surplus = 0.0;
        for (index, user) in USERS.iter().enumerate() {
            let truth: f64 = seen.iter().copied().filter(|life| lives[*life].3 == index).map(seconds).sum();
            let used = metrics.sum("gpu_user_sm_seconds_total", &[("user", user)]);
            prop_assert!(used >= truth - 0.01, "{}: {} {}", user, used, truth);
            surplus += used - truth;
        }
        prop_assert!(surplus <= unseen + 0.01, "{} more than was used", surplus - unseen);
    }
}

/// A scenario in which one pid lives several times, and when it does.
fn reused_pid(lives: &[Life]) -> (String, Vec<(u32, u32)>) {
    let mut text = "version: 1
gpus: [{ model: NVIDIA L40S, memory: 48GiB }]
passwd: [{ name: alice, uid: 1000 }, { name: bob, uid: 1001 }, { name: carol, uid: 1002 }, { name: dave, uid: 1003 }]
processes:\n"
        .to_owned();
    let mut spans = Vec::new();
    let mut clock = 4;
    for (pause, length, sm, user) in lives {
        let (from, to) = (clock + pause, clock + pause + length);
        clock = to;
        spans.push((from, to));
        let uid = 1000 + user;
        let _ = writeln!(
            text,
            "  - {{ pid: 77, name: p, uid: {uid}, start: {from}s, end: {to}s, devices: [{{ gpu: 0, memory: 1GiB, sm: {sm} }}] }}"
        );
    }
    (text, spans)
}
