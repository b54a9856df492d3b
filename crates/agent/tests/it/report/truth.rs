//! The figures against a real Prometheus, whose counters are made up and therefore known.

use super::{BEGIN, LENGTH, Run, command};
use crate::chain::{Server, await_answer, free_port, start};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;

/// Seconds between two scrapes, and by how much they miss the full minute.
const INTERVAL: i64 = 60;
const PHASE: i64 = 17;
/// From when to when it is scraped, in seconds after the begin of the period.
const SCRAPED: std::ops::Range<i64> = -3_600..LENGTH + 3_600;

const GIB: f64 = (1_u64 << 30) as f64;

/// The counters of a kind, and how much of each there is for a second of SM time.
const FACTORS: [(&str, f64); 8] = [
    ("sessions_ended", 0.01),
    ("session_seconds", 4.0),
    ("sm_seconds", 1.0),
    ("measured_session_seconds", 2.0),
    ("memory_byte_seconds", 8.0 * GIB),
    ("energy_joules", 300.0),
    ("allocation_seconds", 5.0),
    ("idle_allocation_seconds", 0.5),
];

/// A counter of SM time, by seconds after the begin of the period; `None` where it has no series.
type Count = fn(f64) -> Option<f64>;

struct Case {
    kind: &'static str,
    labels: &'static str,
    value: Count,
}

/// Prometheus with these counters in it.
pub(crate) struct Known {
    dir: tempfile::TempDir,
    /// Base of its API.
    pub(crate) url: String,
    args: Vec<String>,
    port: u16,
    server: Option<Server>,
}

impl Known {
    fn start(cases: &[Case]) -> Self {
        Self::of(&openmetrics(cases))
    }

    /// With these series, in OpenMetrics with their times.
    pub(crate) fn of(openmetrics: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (input, tsdb) = (dir.path().join("input.om"), dir.path().join("tsdb"));
        std::fs::write(&input, openmetrics).unwrap();
        let made = Command::new("promtool")
            .args(["tsdb", "create-blocks-from", "openmetrics"])
            .args([&input, &tsdb])
            .output()
            .expect("promtool; `make test` installs it (scripts/setup.sh)");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let config = dir.path().join("prometheus.yml");
        std::fs::write(&config, "global: {}\n").unwrap();
        let port = free_port();
        let args = [
            format!("--config.file={}", config.display()),
            format!("--storage.tsdb.path={}", tsdb.display()),
            "--storage.tsdb.retention.time=100y".to_owned(),
            format!("--web.listen-address=127.0.0.1:{port}"),
            "--web.route-prefix=/base".to_owned(),
        ];
        let url = format!("http://127.0.0.1:{port}/base");
        let mut known = Self { dir, url, args: args.into(), port, server: None };
        known.begin();
        known
    }

    /// Begins it where it had ended.
    pub(crate) fn begin(&mut self) {
        let log = self.dir.path().join("log");
        self.server = Some(start("prometheus", &self.args, &log));
        await_answer(self.port, "/base/-/ready", |text| text.contains("Ready"), &log);
    }

    /// Ends it.
    pub(crate) fn end(&mut self) {
        self.server = None;
    }

    fn run(&self, args: &[&str]) -> Run {
        let period = ["--since", "2025-06-01", "--until", "2025-06-01T15:00+09:00"];
        let asked = [&["--prometheus", &self.url], &period[..], args].concat();
        Run::of(command(self.dir.path(), &asked).output().unwrap())
    }

    /// The lines by this column.
    fn lines(&self, column: &str, args: &[&str]) -> BTreeMap<String, Value> {
        let run = self.run(&[args, &["--format", "json"]].concat());
        assert_eq!((run.code, run.stderr.as_str()), (0, ""));
        let document: Value = serde_json::from_str(&run.stdout).unwrap();
        let lines = document["lines"].as_array().unwrap().clone();
        lines.into_iter().map(|line| (line[column].as_str().unwrap_or("").to_owned(), line)).collect()
    }
}

fn openmetrics(cases: &[Case]) -> String {
    let mut text = String::new();
    let mut kinds: Vec<&str> = cases.iter().map(|case| case.kind).collect();
    kinds.dedup();
    for kind in kinds {
        for (name, factor) in FACTORS {
            let _ = writeln!(text, "# TYPE gpu_{kind}_{name} counter");
            for case in cases.iter().filter(|case| case.kind == kind) {
                let method = if name == "energy_joules" { ",method=\"sole\"" } else { "" };
                for (at, value) in scraped(case.value) {
                    let (labels, value) = (case.labels, value * factor);
                    let _ =
                        writeln!(text, "gpu_{kind}_{name}_total{{{labels}{method}}} {value} {}", BEGIN + at);
                }
            }
        }
    }
    text + "# EOF\n"
}

fn scraped(value: Count) -> impl Iterator<Item = (i64, f64)> {
    let times = SCRAPED.filter(|at| at.rem_euclid(INTERVAL) == PHASE);
    times.filter_map(move |at| value(at as f64).map(|value| (at, value)))
}

/// A device that is busy for ten minutes of every thirty.
fn bursts(at: f64) -> f64 {
    let whole = at.div_euclid(1_800.0);
    600.0 * whole + at.rem_euclid(1_800.0).min(600.0)
}

/// A counter that comes to be at `begin`: at its first scrape it is 0, whatever it has counted by then.
fn begun(at: f64, begin: f64, counted: f64) -> Option<f64> {
    let first = at - begin < INTERVAL as f64;
    (at >= begin).then_some(if first { 0.0 } else { counted })
}

const LONG_AGO: f64 = 1_000_000.0;

/// The time of a series that goes on to the end of the period is known to within a scrape interval at either end: its
/// mean slope stands there for the true one, and both are at most `slope`.
const fn edges(slope: f64) -> f64 {
    2.0 * INTERVAL as f64 * slope
}

#[test]
fn use_by_user_is_the_truth_within_the_scrape_interval() {
    let cases = [
        ("steady", (|t| Some(LONG_AGO + 0.5 * t)) as Count),
        ("bursts", |t| Some(LONG_AGO + bursts(t))),
        ("began", |t| begun(t, 7_230.0, t - 7_230.0)),
        ("ended", |t| (t < 15_000.0).then_some(LONG_AGO + 0.8 * t)),
        ("reset", |t| Some(if t < 9_000.0 { LONG_AGO + t } else { t - 9_000.0 })),
        ("short", |t| begun(t, 10_000.0, (t - 10_000.0).min(90.0)).filter(|_| t < 10_690.0)),
        ("before", |t| (t < -100.0).then_some(LONG_AGO + t)),
        ("after", |t| begun(t, LENGTH as f64 + 60.0, 100.0)),
        ("idle", |_| Some(LONG_AGO)),
    ];
    let labels = cases.map(|(name, _)| &*format!("user=\"{name}\",gpu=\"0\",node=\"n\"").leak());
    let cases: Vec<Case> = cases
        .iter()
        .zip(labels)
        .map(|((_, value), labels)| Case { kind: "user", labels, value: *value })
        .collect();
    let lines = Known::start(&cases).lines("user", &["--by", "user"]);
    let half = INTERVAL as f64 / 2.0;
    let expected = [
        // Of a straight line all is known.
        ("steady", 0.5 * LENGTH as f64, 1e-6),
        ("bursts", bursts(LENGTH as f64), edges(1.0)),
        // Nothing is guessed before the first value, which is 0.
        ("began", LENGTH as f64 - 7_230.0, edges(1.0) / 2.0),
        // Half an interval too much after the last value, up to a whole one that was not seen.
        ("ended", 0.8 * 15_000.0, INTERVAL as f64 * 0.8),
        // What came between the last scrape and the loss of the state is lost.
        ("reset", LENGTH as f64, edges(1.0) + INTERVAL as f64),
        // Half an interval of its mean slope over the eleven scrapes for which it was there.
        ("short", 90.0, half * 90.0 / (10.0 * INTERVAL as f64) + 1e-6),
    ];
    let names: Vec<&str> = lines.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["began", "bursts", "ended", "reset", "short", "steady"],
        "who used nothing has no line"
    );
    for (user, truth, tolerance) in expected {
        let line = &lines[user];
        let figure = |column: &str| line[column].as_f64().unwrap_or_else(|| panic!("{user}: {column}"));
        for (column, factor) in [
            ("sm_hours", 1.0 / 3_600.0),
            ("session_hours", 4.0 / 3_600.0),
            ("memory_gib_hours", 8.0 / 3_600.0),
            ("energy_kwh", 300.0 / 3.6e6),
            ("allocated_hours", 5.0 / 3_600.0),
            ("idle_allocated_hours", 0.5 / 3_600.0),
        ] {
            let off = (figure(column) - truth * factor).abs();
            assert!(off <= tolerance * factor, "{user} {column}: {} for {}", figure(column), truth * factor);
        }
        assert!((figure("mean_utilization") - 0.5).abs() < 1e-9, "{user}: {line}");
        let off = (figure("sessions") - truth * 0.01).abs();
        assert!(
            off <= tolerance * 0.01 + 0.5,
            "{user}: {} sessions for {}",
            figure("sessions"),
            truth * 0.01
        );
    }
}

#[test]
fn keys_are_those_of_the_labels() {
    let case = |kind, labels| Case { kind, labels, value: |t| Some(LONG_AGO + t) };
    let known = Known::start(&[
        case("namespace", "namespace=\"ml\",gpu=\"0\",node=\"n1\",cluster=\"a\""),
        case("namespace", "namespace=\"ml\",gpu=\"0\",node=\"n2\",cluster=\"b\""),
        case("namespace", "gpu=\"1\",node=\"n2\",cluster=\"b\""),
        case("pod", "namespace=\"ml\",pod=\"train-0\",gpu=\"0\",instance=\"a:1\""),
        case("pod", "namespace=\"dev\",pod=\"train-0\",gpu=\"1\",instance=\"a:1\""),
        case(
            "pod",
            "namespace=\"gpu-operator\",pod=\"c\",exported_namespace=\"ml\",exported_pod=\"train-0\",gpu=\"2\"",
        ),
        case("user", "user=\"a\\nb\\\"\",gpu=\"0\",node=\"n1\",instance=\"a:1\""),
        case("user", "gpu=\"0\",node=\"n1\",instance=\"a:2\""),
        case("user", "user=\"c\",gpu=\"1_7_0\",instance=\"b:1\""),
    ]);
    let hours = |lines: &BTreeMap<String, Value>| -> Vec<(String, i64)> {
        // Six hours each; a straight line is known to the microsecond.
        let figure = |line: &Value| (line["sm_hours"].as_f64().unwrap() * 1e6).round() as i64 / 6_000_000;
        lines.iter().map(|(key, line)| (key.clone(), figure(line))).collect()
    };
    let own = |pairs: &[(&str, i64)]| pairs.iter().map(|(k, n)| ((*k).to_owned(), *n)).collect::<Vec<_>>();
    assert_eq!(hours(&known.lines("namespace", &["--by", "namespace"])), own(&[("", 1), ("ml", 2)]));
    let one = known.lines("namespace", &["--by", "namespace", "--prometheus-matcher", "cluster=\"a\""]);
    assert_eq!(hours(&one), own(&[("ml", 1)]));
    assert_eq!(hours(&known.lines("user", &[])), own(&[("", 1), ("a\nb\"", 1), ("c", 1)]));
    let devices = known.lines("device", &["--by", "device"]);
    assert_eq!(hours(&devices), own(&[("b:1/1_7_0", 1), ("n1/0", 2)]));

    let pods = known.run(&["--by", "pod", "--format", "csv"]);
    assert_eq!(pods.code, 0, "{}", pods.stderr);
    let rows: Vec<Vec<&str>> = pods.stdout.lines().map(|line| line.splitn(6, ',').collect()).collect();
    let figures: Vec<(&str, &str, f64)> =
        rows[1..].iter().map(|r| (r[0], r[1], r[4].parse().unwrap())).collect();
    assert_eq!(figures.len(), 2, "{}", pods.stdout);
    assert!(
        figures[0].0 == "ml" && figures[0].1 == "train-0" && (figures[0].2 - 12.0).abs() < 1e-6,
        "{figures:?}"
    );
    assert!(figures[1].0 == "dev" && (figures[1].2 - 6.0).abs() < 1e-6, "{figures:?}");
    for label in ["exported_namespace", "exported_pod"] {
        assert!(pods.stderr.contains(label) && pods.stderr.contains("honor_labels"), "{}", pods.stderr);
    }

    let wrong = known.run(&["--prometheus-matcher", "cluster=a"]);
    assert_eq!(wrong.code, 1);
    assert!(wrong.stderr.contains("bad_data") && wrong.stderr.contains("cluster=\"a\""), "{}", wrong.stderr);
}
