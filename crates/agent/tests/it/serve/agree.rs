//! What a real Prometheus makes of the scrapes of `serve`, and what the ledger has: both are the truth.

use super::Serve;
use super::scrapes::Scrapes;
use crate::node::{EPOCH, Node, Run};
use crate::report::truth::Known;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Seconds between two scrapes.
const SCRAPE: u32 = 15;
/// Seconds of the node's time.
const LENGTH: u32 = 2_400;

/// A pod that is there all the time, and when its process works.
struct Pod {
    name: &'static str,
    user: &'static str,
    gpu: u32,
    work: Option<(u32, u32, u32)>,
}

const PODS: [Pod; 5] = [
    // The whole time, at 40 %.
    Pod { name: "long", user: "alice", gpu: 0, work: Some((0, 100_000, 40)) },
    // Beside it for ten minutes: they share its energy.
    Pod { name: "beside", user: "erin", gpu: 0, work: Some((900, 1_500, 20)) },
    // 90 s, at 60 %.
    Pod { name: "short", user: "bob", gpu: 1, work: Some((601, 691, 60)) },
    // 3 s between two samples: nobody met the process, so nobody knows whose it was.
    Pod { name: "blink", user: "carol", gpu: 1, work: Some((1_201, 1_204, 80)) },
    Pod { name: "idle", user: "dave", gpu: 2, work: None },
];

impl Pod {
    fn is_met(&self) -> bool {
        self.name != "blink"
    }

    /// Seconds of SM time until the end.
    fn sm_seconds(&self) -> f64 {
        self.work.map_or(0.0, |(from, until, sm)| {
            f64::from(until.min(LENGTH).saturating_sub(from)) * f64::from(sm) / 100.0
        })
    }
}

fn scenario() -> String {
    let (mut processes, mut pods) = (String::new(), String::new());
    for (n, Pod { name, user, gpu, work }) in PODS.iter().enumerate() {
        let (uid, id) = (format!("6f1a2b3c-0000-4000-8000-00000000000{n}"), format!("{n:064}"));
        let (slice, device) =
            (uid.replace('-', "_"), format!("GPU-5e550000-0000-4000-8000-00000000000{gpu}"));
        if let Some((from, until, sm)) = work {
            let _ = writeln!(
                processes,
                "  - {{ pid: {}, name: job, start: {from}s, end: {until}s, cgroup: \"0::/kubepods.slice/kubepods-pod{slice}.slice/cri-containerd-{id}.scope\\n\", devices: [{{ gpu: {gpu}, memory: 2GiB, sm: {sm} }}] }}",
                100 + n
            );
        }
        let _ = writeln!(
            pods,
            "  - {{ uid: {uid}, namespace: team-{user}, name: {name}, annotations: {{ creator-user-name: {user} }}, containers: [{{ name: main, id: \"{id}\", devices: [{device}] }}] }}"
        );
    }
    format!(
        "version: 1\ngpus: [{{ profile: L40S }}, {{ profile: L40S }}, {{ profile: L40S }}]\nprocesses:\n{processes}pods:\n{pods}"
    )
}

fn lines(node: &Node, by: &str, args: &[&str]) -> BTreeMap<String, Value> {
    let until = humantime_of(EPOCH + i64::from(LENGTH));
    let period = ["report", "--since", "2400s", "--until", &until, "--by", by, "--format", "json"];
    let run = Run::of(node.command(&[&period[..], args].concat()).output().unwrap());
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    let all = document["lines"].as_array().unwrap().clone();
    all.into_iter().map(|line| (line[by].as_str().unwrap_or("").to_owned(), line)).collect()
}

fn humantime_of(seconds: i64) -> String {
    let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds.unsigned_abs());
    humantime::format_rfc3339_seconds(at).to_string()
}

/// Hours of a column, as seconds; `None` where they are not known.
fn seconds(line: &Value, column: &str) -> Option<f64> {
    line[column].as_f64().map(|hours| hours * 3_600.0)
}

/// A pod's lines from the two sources, and the truth.
fn agree(pod: &Pod, ledger: &Value, counters: &Value) {
    assert_eq!(ledger["sessions"], counters["sessions"], "{}", pod.name);
    let over = pod.is_met() && pod.work.is_some_and(|(_, until, _)| until < LENGTH);
    assert_eq!(ledger["sessions"], Value::from(u64::from(over)), "{}", pod.name);
    let busy = pod.work.map_or(0.0, |(.., sm)| f64::from(sm) / 100.0);
    // How much of each a second holds at most. An L40S draws 350 W.
    let rates = [
        ("sm_hours", busy),
        ("session_hours", 1.0),
        ("memory_gib_hours", 2.0),
        ("allocated_hours", 1.0),
        ("idle_allocated_hours", 1.0),
        ("energy_kwh", 350.0 / 3.6e6 * 3_600.0),
    ];
    for (column, rate) in rates {
        let (ledger, counters) = (seconds(ledger, column), seconds(counters, column));
        assert_eq!(ledger.is_some(), counters.is_some(), "{column} of {}", pod.name);
        let (ledger, counters) = (ledger.unwrap_or(0.0), counters.unwrap_or(0.0));
        let held = column.ends_with("allocated_hours");
        let tolerance = if over && !held {
            // Half an interval at the mean slope: the series goes on for ten minutes.
            0.05 * ledger
        } else {
            // A scrape interval at each edge, and what waits to be counted.
            (2.0 * f64::from(SCRAPE) + 15.0) * rate
        };
        assert!((ledger - counters).abs() <= tolerance, "{column} of {}: {ledger} {counters}", pod.name);
    }
    let (used, truth) = (seconds(ledger, "sm_hours"), pod.sm_seconds());
    let truth = (truth > 0.0 && pod.is_met()).then_some(truth);
    assert_eq!(used.is_some(), truth.is_some(), "{}: {used:?}", pod.name);
    if let Some((used, truth)) = used.zip(truth) {
        assert!((used - truth).abs() <= 0.01 * truth, "{}: {used} {truth}", pod.name);
        for line in [ledger, counters] {
            let mean = line["mean_utilization"].as_f64().unwrap();
            assert!((mean - busy).abs() <= 0.05 * busy, "mean of {}: {mean} {busy}", pod.name);
        }
    }
}

#[test]
fn prometheus_and_the_ledger_tell_the_truth_of_what_was_used() {
    let mut node = Node::in_cluster(&scenario());
    let serve = &mut Serve::start(&node, &["--interval", "5s", "--scrape-interval", "15s"]);
    serve.sampled(&node);
    // The API's watch does not wait for the node's clock: the pods are to be known before the clock runs.
    let mut at = 0;
    while serve.metrics().values("gpu_allocation_sessions", &[("user", "dave")]).is_empty() {
        at += 5;
        serve.samples(&mut node, [at]);
    }
    assert!(at < 500, "the pods are known at {at} s only");
    let mut scrapes = Scrapes::default();
    while at < LENGTH {
        at += 5;
        serve.samples(&mut node, [at]);
        if at % SCRAPE == 0 {
            scrapes.add(serve, at);
        }
    }
    assert!(serve.terminate().success());
    let prometheus = Known::of(&scrapes.openmetrics());
    let from_prometheus = |by: &str| lines(&node, by, &["--prometheus", &prometheus.url]);
    for by in ["user", "namespace", "pod"] {
        let (of_ledger, of_counters) = (lines(&node, by, &[]), from_prometheus(by));
        for pod in &PODS {
            let key = match by {
                "user" => pod.user.to_owned(),
                "namespace" => format!("team-{}", pod.user),
                _ => pod.name.to_owned(),
            };
            agree(pod, &of_ledger[&key], &of_counters[&key]);
        }
    }
    let (of_ledger, of_counters) = (lines(&node, "user", &[]), from_prometheus("user"));
    let short = seconds(&from_prometheus("pod")["short"], "sm_hours").unwrap();
    assert!((short - 54.0).abs() <= 0.05 * 54.0, "a pod that lived for 90 s: {short}");
    for nobody in [&of_ledger[""], &of_counters[""]] {
        let blink = seconds(nobody, "sm_hours").unwrap();
        assert!((blink - 2.4).abs() <= 0.05 * 2.4, "3 s of work between two samples: {blink}");
        assert_eq!(nobody["sessions"], Value::from(1_u64));
    }
    let idle = seconds(&of_ledger["dave"], "idle_allocated_hours").unwrap();
    assert!((idle - f64::from(LENGTH)).abs() < 30.0, "held for nothing: {idle}");
}
