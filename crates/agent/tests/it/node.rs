//! A simulated node, and a reader of metrics that is not ours to render.

use crate::kubernetes::Kubernetes;
use nvml_sim::proc_tree::ProcTree;
use nvml_sim::scenario::Scenario;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Anchor of all scenarios, Unix seconds.
pub(crate) const EPOCH: i64 = 1_700_000_000;

pub(crate) struct Node {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) tree: ProcTree,
    pub(crate) kubernetes: Option<Kubernetes>,
}

/// How a run ended and what it wrote.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

pub(crate) fn program() -> &'static str {
    env!("CARGO_BIN_EXE_gpu-session-monitor")
}

/// The simulated driver, which a plain `cargo build` puts beside the program.
pub(crate) fn driver() -> PathBuf {
    let path = Path::new(program()).with_file_name("nvml-sim").join("libnvidia-ml.so.1");
    assert!(path.exists(), "{} is missing: `make test` builds it (cargo build --workspace)", path.display());
    path
}

pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

pub(crate) fn scenario_file(name: &str) -> String {
    let path = workspace().join("testdata/scenarios").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

impl Node {
    pub(crate) fn new(scenario: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let parsed = Scenario::parse(scenario).unwrap_or_else(|e| panic!("{e}\n{scenario}"));
        std::fs::write(dir.path().join("scenario.yaml"), scenario).unwrap();
        std::fs::create_dir(dir.path().join("textfiles")).unwrap();
        let tree = ProcTree::create(&dir.path().join("proc"), &parsed, EPOCH * 1_000_000).unwrap();
        tree.write_passwd(&dir.path().join("passwd")).unwrap();
        let mut node = Self { dir, tree, kubernetes: None };
        node.at(0.0);
        node
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn textfile(&self) -> PathBuf {
        self.path("textfiles/gpu_sessions.prom")
    }

    /// Moves the node to this many seconds after the anchor.
    pub(crate) fn at(&mut self, seconds: f64) {
        let now_us = EPOCH * 1_000_000 + (seconds * 1e6).round() as i64;
        // The clock last: a program that is running may be waiting for it.
        self.tree.sync(now_us).unwrap();
        if let Some(kubernetes) = &mut self.kubernetes {
            kubernetes.sync(now_us);
        }
        self.set_clock(now_us);
    }

    /// Sets the clock alone, Unix microseconds.
    pub(crate) fn set_clock(&self, now_us: i64) {
        // In one step, for a program that is running may be reading it.
        std::fs::write(self.path("clock.new"), now_us.to_string()).unwrap();
        std::fs::rename(self.path("clock.new"), self.path("clock")).unwrap();
    }

    /// Where the clock stands, in seconds after the anchor.
    pub(crate) fn now(&self) -> f64 {
        let now: i64 = std::fs::read_to_string(self.path("clock")).unwrap().trim().parse().unwrap();
        (now - EPOCH * 1_000_000) as f64 / 1e6
    }

    /// The program on this node.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(args);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        let set = [
            ("NVML_SIM_SCENARIO", self.path("scenario.yaml")),
            ("NVML_SIM_CLOCK", self.path("clock")),
            ("GPU_SESSION_MONITOR_CLOCK", self.path("clock")),
            ("GPU_SESSION_MONITOR_NVML_LIBRARY", driver()),
            ("GPU_SESSION_MONITOR_PROC_ROOT", self.path("proc")),
            ("GPU_SESSION_MONITOR_USERS_PASSWD", self.path("passwd")),
            ("GPU_SESSION_MONITOR_STATE_DIR", self.path("state")),
            ("GPU_SESSION_MONITOR_TEXTFILE", self.textfile()),
        ];
        command.envs(set).env("NVML_SIM_EPOCH", EPOCH.to_string());
        // Not that of the machine that the tests run on.
        command.env("GPU_SESSION_MONITOR_KUBELET_SOCKET", "off");
        if args.first() == Some(&"doctor") {
            // Nor what else may answer on it.
            command.env("GPU_SESSION_MONITOR_LISTEN", "off").env("GPU_SESSION_MONITOR_NODE_EXPORTER", "off");
        }
        if let Some(kubernetes) = &self.kubernetes {
            kubernetes.name_to(self, &mut command);
        }
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Run {
        Run::of(self.command(args).output().unwrap())
    }

    /// One `collect` to the textfile.
    pub(crate) fn collect(&self) -> Run {
        self.run(&["collect"])
    }

    /// The metrics in the textfile.
    pub(crate) fn metrics(&self) -> Metrics {
        Metrics::parse(&std::fs::read_to_string(self.textfile()).unwrap())
    }

    /// A `collect` that must go well, and what it wrote.
    pub(crate) fn collected(&self) -> Metrics {
        let run = self.collect();
        assert_eq!(run.code, 0, "{}", run.stderr);
        self.metrics()
    }
}

impl Run {
    /// What it said on standard error, without what is no problem.
    pub(crate) fn complaints(&self) -> String {
        let problem = |line: &&str| !line.starts_with("gpu-session-monitor: info: ");
        self.stderr.lines().filter(problem).fold(String::new(), |all, line| all + line + "\n")
    }

    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
        let code = output.status.code().expect("it was not killed");
        Self { code, stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// Series by name and labels.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    series: BTreeMap<String, Vec<Series>>,
}

type Series = (BTreeMap<String, String>, f64);

impl Metrics {
    /// Reads the text format, strictly; a series written twice is a failure.
    pub(crate) fn parse(text: &str) -> Self {
        let mut metrics = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (head, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
            let (name, labels) = match head.split_once('{') {
                Some((name, rest)) => (name, parse_labels(rest)),
                None => (head, BTreeMap::new()),
            };
            let list = metrics.series.entry(name.to_owned()).or_default();
            assert!(!list.iter().any(|(known, _)| *known == labels), "twice: {line}");
            list.push((labels, value.parse().unwrap_or_else(|_| panic!("no number: {line}"))));
        }
        metrics
    }

    /// All values of the series that carry these labels.
    pub(crate) fn values(&self, name: &str, labels: &[(&str, &str)]) -> Vec<f64> {
        let carries =
            |own: &BTreeMap<String, String>| labels.iter().all(|(k, v)| own.get(*k).is_some_and(|o| o == v));
        let list = self.series.get(name).map_or(&[][..], Vec::as_slice);
        list.iter().filter(|(own, _)| carries(own)).map(|(_, value)| *value).collect()
    }

    /// The value of the one series with these labels, if there is one.
    pub(crate) fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let values = self.values(name, labels);
        assert!(values.len() < 2, "{name}{labels:?} is not one series: {values:?}");
        values.first().copied()
    }

    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.values(name, labels).iter().sum()
    }

    pub(crate) fn label(&self, name: &str, label: &str) -> Vec<&str> {
        let list = self.series.get(name).map_or(&[][..], Vec::as_slice);
        list.iter().filter_map(|(labels, _)| labels.get(label).map(String::as_str)).collect()
    }

    /// Of each series the values of these labels; an absent one is empty.
    pub(crate) fn rows<const N: usize>(&self, name: &str, labels: [&str; N]) -> Vec<[String; N]> {
        let list = self.series.get(name).map_or(&[][..], Vec::as_slice);
        let row = |(own, _): &Series| labels.map(|label| own.get(label).cloned().unwrap_or_default());
        list.iter().map(row).collect()
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        self.series.keys().map(String::as_str).collect()
    }
}

fn parse_labels(text: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once("=\"") {
        let mut value = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next().expect("an unended label value") {
                (_, '\\') => match chars.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, c @ ('\\' | '"'))) => value.push(c),
                    other => panic!("a bad escape: {other:?}"),
                },
                (end, '"') => break end,
                (_, c) => value.push(c),
            }
        };
        assert!(labels.insert(name.to_owned(), value).is_none(), "a label twice: {text}");
        rest = &after[end + 1..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    assert_eq!(rest, "}");
    labels
}

/// YAML of a plain GPU.
const GPU: &str = "  - { model: NVIDIA L40S, memory: 48GiB }\n";

/// YAML of a scenario of `gpus` plain GPUs and these processes.
pub(crate) fn plain(gpus: usize, processes: &str) -> String {
    let passwd = "passwd: [{name: alice, uid: 1000}, {name: bob, uid: 1001}]\n";
    let processes =
        if processes.is_empty() { "processes: []\n".to_owned() } else { format!("processes:\n{processes}") };
    format!("version: 1\ngpus:\n{}{processes}{passwd}", GPU.repeat(gpus))
}
