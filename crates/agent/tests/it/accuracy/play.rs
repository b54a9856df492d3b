//! Plays a case through the program as its users run it, and reads what came of it where they read it.

use super::corpus::{Case, END_S, Kind};
use crate::client;
use crate::node::{EPOCH, Metrics, Node};
use gpu_session_core::ids::session_id;
use gpu_session_core::state::State;
use nvml_sim::proc_tree::ProcTree;
use nvml_sim::scenario::Scenario;
use nvml_sim::units::Micros;
use rusqlite::{Connection, OpenFlags};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for one sample, on a machine however busy.
const STILL: Duration = Duration::from_secs(120);
/// Without an earlier reading `collect` makes two, so far apart.
const FIRST_WINDOW_S: i64 = 1;
/// The interval of `serve` where none is asked for, seconds.
const INTERVAL_S: i64 = 5;
/// How long a new counter is shown as 0, and what goes on is not written to the ledger, at most.
const SETTLE_S: i64 = 120;

/// How the program is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// `serve` with its default interval.
    Serve,
    /// `collect`, each so many seconds, with its state; with this `--window`.
    Collect { every_s: i64, window_s: Option<i64> },
}

impl Way {
    pub(crate) const ALL: [Self; 5] = [
        Self::Serve,
        Self::Collect { every_s: 60, window_s: None },
        Self::Collect { every_s: 60, window_s: Some(20) },
        Self::Collect { every_s: 300, window_s: None },
        Self::Collect { every_s: 300, window_s: Some(20) },
    ];

    pub(crate) fn name(self) -> String {
        match self {
            Self::Serve => format!("serve, each {INTERVAL_S} s"),
            Self::Collect { every_s, window_s } => {
                let window = window_s.map(|window| format!(" --window {window}s")).unwrap_or_default();
                let every =
                    if every_s == 60 { "minute".to_owned() } else { format!("{} minutes", every_s / 60) };
                format!("collect{window}, each {every}")
            }
        }
    }
}

/// A session as the program shows it. Times in milliseconds since the case's beginning.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) gpu: String,
    pub(crate) pid: u32,
    pub(crate) user: Option<String>,
    pub(crate) start_ms: i64,
}

/// What came of a case.
#[derive(Debug, Default)]
pub(crate) struct Played {
    pub(crate) rows: Vec<Row>,
    /// Sums of all users, and of nobody.
    pub(crate) sm_seconds: Option<f64>,
    pub(crate) memory_byte_seconds: Option<f64>,
    /// When the driver was read.
    pub(crate) readings_ms: Vec<i64>,
}

pub(crate) fn play(case: &Case, way: Way) -> Played {
    match way {
        Way::Serve => serve(case),
        Way::Collect { every_s, window_s } => collect(case, every_s, window_s),
    }
}

fn node(case: &Case) -> Node {
    let yaml = case.yaml();
    if case.in_pods() { Node::in_cluster(&yaml) } else { Node::new(&yaml) }
}

/// A process that does not outlive its case.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(case: &Case) -> Played {
    let mut node = node(case);
    let port = client::free_port().unwrap();
    let mut command = node.command(&["serve", "--listen", &format!("127.0.0.1:{port}")]);
    command.env_remove("GPU_SESSION_MONITOR_TEXTFILE").stderr(Stdio::null());
    let mut running = Running(command.spawn().unwrap());
    let (mut readings_ms, mut last) = (Vec::new(), String::new());
    for at in (0..=END_S + SETTLE_S).step_by(INTERVAL_S as usize) {
        node.at(at as f64);
        last = sampled(port, at);
        readings_ms.push(at * 1_000);
    }
    kill_process(Pid::from_child(&running.0), Signal::TERM).unwrap();
    assert!(running.0.wait().unwrap().success());
    let rows = ledger(&node);
    Played { rows, readings_ms, ..sums(&Metrics::parse(&last)) }
}

/// The answer with the sample of this second.
fn sampled(port: u16, at: i64) -> String {
    let begin = Instant::now();
    let wanted = format!("\ngpu_session_collector_last_sample_timestamp_seconds {}\n", EPOCH + at);
    loop {
        match client::get(port) {
            Ok(body) if body.contains(&wanted) => return body,
            _ => assert!(begin.elapsed() < STILL, "serve takes no sample of second {at}"),
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The sessions that `serve` keeps.
fn ledger(node: &Node) -> Vec<Row> {
    let path = node.path("state/ledger.db");
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut statement = connection.prepare("SELECT gpu, pid, user, start_us FROM session").unwrap();
    let rows = statement.query_map([], |row| {
        Ok(Row {
            gpu: row.get(0)?,
            pid: row.get(1)?,
            user: row.get(2)?,
            start_ms: (row.get::<_, i64>(3)? - EPOCH * 1_000_000) / 1_000,
        })
    });
    rows.unwrap().map(Result::unwrap).collect()
}

fn collect(case: &Case, every_s: i64, window_s: Option<i64>) -> Played {
    let mut node = node(case);
    let kept = kept_for_windows(&case.yaml(), every_s, window_s.unwrap_or(FIRST_WINDOW_S));
    node.use_processes_of(&kept);
    let mut args = vec!["collect".to_owned()];
    args.extend(window_s.into_iter().flat_map(|window| ["--window".to_owned(), format!("{window}s")]));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (mut readings_ms, mut seen) = (Vec::new(), BTreeMap::new());
    let mut last = Metrics::default();
    // The first run after the end counts what is over, the second shows counters that were new in it.
    let runs = (END_S + every_s - 1) / every_s + 3;
    for at in (0..runs).map(|run| run * every_s) {
        // GPM takes two readings, too.
        let two = at == 0 || case.kind == Kind::Mig;
        let window = window_s.unwrap_or(if two { FIRST_WINDOW_S } else { 0 });
        node.at_window(at, window);
        let run = node.run(&args);
        // 1 where there is no driver: it is away for a while.
        let away = case.kind == Kind::Reload && run.code == 1;
        assert!([0, 3].contains(&run.code) || away, "{}: {}", run.code, run.stderr);
        let now_ms = (node.now() * 1e3) as i64;
        readings_ms.extend([at * 1_000, now_ms]);
        last = node.metrics();
        for (session, row) in sessions(&last, &node) {
            let known: &mut Row = seen.entry(session).or_insert_with(|| row.clone());
            known.user = row.user.or(known.user.take());
        }
    }
    readings_ms.dedup();
    Played { rows: seen.into_values().collect(), readings_ms, ..sums(&last) }
}

/// The scenario whose processes stay in /proc until the window is over that they end in: the program reads /proc of those
/// whom the driver lists, at both ends of the window, and the simulated one stands still between them.
fn kept_for_windows(yaml: &str, every_s: i64, window_s: i64) -> Scenario {
    let mut scenario = Scenario::parse(yaml).unwrap_or_else(|e| panic!("{e}\n{yaml}"));
    let (every, window) = (every_s * 1_000_000, window_s * 1_000_000);
    for process in &mut scenario.processes {
        let Some(end) = &mut process.end else { continue };
        let begin = end.0.div_euclid(every) * every;
        if process.start.0 <= begin && end.0 <= begin + window {
            *end = Micros(begin + window + 1);
        }
    }
    scenario
}

/// Sessions that have series in the textfile, ended ones too, by their names. Of those that are over the series say no
/// pid any more; the state does.
fn sessions(metrics: &Metrics, node: &Node) -> BTreeMap<String, Row> {
    let state = std::fs::read(node.path("state/state.json")).unwrap();
    let devices = State::from_json(&state).unwrap().devices;
    let known = devices.iter().flat_map(|(uuid, device)| {
        let name = move |key| session_id(uuid, key).to_string();
        device.sessions.iter().map(move |(key, session)| (name(key), (key.pid, session.first_seen_us)))
    });
    let known: BTreeMap<String, (u32, i64)> = known.collect();
    let names = ["gpu_session_sm_seconds_total", "gpu_session_memory_byte_seconds_total"];
    let series = names.iter().flat_map(|name| metrics.rows(name, ["session", "gpu", "user"]));
    let row = |[session, gpu, user]: [String; 3]| {
        let (pid, first_seen_us) = known[&session];
        let user = Some(user).filter(|user| !user.is_empty());
        (session, Row { gpu, pid, user, start_ms: (first_seen_us - EPOCH * 1_000_000) / 1_000 })
    };
    series.map(row).collect()
}

fn sums(metrics: &Metrics) -> Played {
    let sum = |name| {
        let values = metrics.values(name, &[]);
        (!values.is_empty()).then(|| values.iter().sum())
    };
    Played {
        sm_seconds: sum("gpu_user_sm_seconds_total"),
        memory_byte_seconds: sum("gpu_user_memory_byte_seconds_total"),
        ..Played::default()
    }
}

impl Node {
    /// Has the processes of another scenario from now on.
    fn use_processes_of(&mut self, scenario: &Scenario) {
        let proc = self.path("proc");
        std::fs::remove_dir_all(&proc).unwrap();
        self.tree = ProcTree::create(&proc, scenario, EPOCH * 1_000_000).unwrap();
    }

    /// Moves the node to this many seconds after the anchor, its processes to the end of a window that begins then.
    fn at_window(&mut self, seconds: i64, window: i64) {
        self.at((seconds + window) as f64);
        self.set_clock((EPOCH + seconds) * 1_000_000);
    }
}
