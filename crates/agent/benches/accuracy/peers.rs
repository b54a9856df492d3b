//! What other tools show of the same cases. They look for real processes, so the case's processes are made: with its
//! pids and users, in a namespace of pids of their own, while the clock of the simulated driver goes on in steps.

use crate::client;
use crate::corpus::{Case, END_S, Kind};
use crate::node::{EPOCH, Node, driver};
use crate::truth::{Session, Style};
use crate::verdict::{Tally, Verdict};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Between two scrapes, and between two runs of what is no exporter: seconds of the case.
const SCRAPE_S: i64 = 15;
const RUN_S: i64 = 60;
/// How long an exporter may take to have read anew: all-smi reads once a second at most.
const SETTLE: Duration = Duration::from_millis(2_200);
const LONGEST_START: Duration = Duration::from_secs(30);
/// Pids that the namespace goes on from when none is wanted: below all of the cases.
const LOW_PID: u32 = 300;

/// The tools, in the order of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Peer {
    Nvitop,
    AllSmi,
    Gpustat,
}

/// A process on a GPU as a tool shows it.
struct Shown {
    pid: u32,
    gpu: u32,
    user: Option<String>,
    bytes: Option<f64>,
}

impl Peer {
    pub(crate) const ALL: [Self; 3] = [Self::Nvitop, Self::AllSmi, Self::Gpustat];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nvitop => "nvitop-exporter",
            Self::AllSmi => "all-smi",
            Self::Gpustat => "gpustat",
        }
    }

    /// How it is asked.
    pub(crate) fn manner(self) -> String {
        match self {
            Self::Nvitop | Self::AllSmi => format!("scraped each {SCRAPE_S} s"),
            Self::Gpustat => "--json each minute".to_owned(),
        }
    }

    fn program(self) -> PathBuf {
        let folder = if self == Self::AllSmi { "bin" } else { "venv/bin" };
        tools().join(folder).join(self.name())
    }

    /// Its version, or why it is not there.
    pub(crate) fn version(self) -> Result<String, String> {
        if !self.program().exists() {
            let why = std::fs::read_to_string(tools().join(format!("{}.absent", self.name())));
            return Err(why.unwrap_or_else(|_| "it is not installed".to_owned()).trim().to_owned());
        }
        let output = Command::new(self.program()).arg("--version").output().map_err(|e| e.to_string())?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(text.split_whitespace().nth(1).unwrap_or("of unknown version").to_owned())
    }

    fn start(self, world: &World<'_>, port: u16) -> Child {
        let port = port.to_string();
        let args = match self {
            Self::Nvitop => vec!["--bind-address", "127.0.0.1", "--port", &port, "--interval", "0.25"],
            Self::AllSmi | Self::Gpustat => vec!["api", "--port", &port, "--interval", "1", "--processes"],
        };
        world.command(&self.program()).args(args).stdout(Stdio::null()).spawn().unwrap()
    }

    /// What it shows of processes on GPUs.
    fn read(self, answer: &str) -> Vec<Shown> {
        match self {
            Self::Nvitop => exported(answer, "process_gpu_memory_MiB{", ["index", "username"], 1_048_576.0),
            Self::AllSmi => {
                exported(answer, "all_smi_process_memory_used_bytes{", ["gpu_index", "user"], 1.0)
            }
            Self::Gpustat => json(answer),
        }
    }
}

fn tools() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bench-tools")
}

/// Series of one process each.
fn exported(answer: &str, begin: &str, [gpu, user]: [&str; 2], unit: f64) -> Vec<Shown> {
    let label = |line: &str, name: &str| {
        // A label's name begins after a brace, a comma or a space.
        let found = ["{", ",", " "].iter().find_map(|before| line.split_once(&format!("{before}{name}=\"")));
        found.and_then(|(_, rest)| rest.split_once('"')).map(|(value, _)| value.to_owned())
    };
    let shown = |line: &str| {
        // all-smi has every process of the machine; those on no GPU have no device.
        if label(line, "device_uuid").is_some_and(|uuid| uuid.is_empty()) {
            return None;
        }
        // A MIG device stands as <GPU>:<device>.
        let gpu = label(line, gpu)?.split(':').next()?.parse().ok()?;
        let bytes = line.rsplit_once(' ')?.1.parse::<f64>().ok().map(|value| value * unit);
        Some(Shown { pid: label(line, "pid")?.parse().ok()?, gpu, user: label(line, user), bytes })
    };
    answer.lines().filter(|line| line.starts_with(begin)).filter_map(shown).collect()
}

fn json(answer: &str) -> Vec<Shown> {
    let value: serde_json::Value = serde_json::from_str(answer).unwrap_or_else(|e| panic!("{e}: {answer}"));
    let mut all = Vec::new();
    for gpu in value["gpus"].as_array().into_iter().flatten() {
        for process in gpu["processes"].as_array().into_iter().flatten() {
            all.push(Shown {
                pid: process["pid"].as_u64().unwrap() as u32,
                gpu: gpu["index"].as_u64().unwrap() as u32,
                user: process["username"].as_str().map(str::to_owned),
                bytes: process["gpu_memory_usage"].as_f64().map(|mib| mib * 1_048_576.0),
            });
        }
    }
    all
}

/// What a tool ever showed of a case.
#[derive(Default)]
struct Seen {
    /// By the number of the session: the user shown last.
    found: BTreeMap<usize, Option<String>>,
    invented: BTreeSet<(u32, u32)>,
    byte_seconds: Option<f64>,
}

impl Seen {
    fn look(&mut self, sessions: &[Session], at_ms: i64, every_s: i64, shown: Vec<Shown>) {
        // A process on a MIG instance may be shown on the GPU, too.
        let shown: BTreeMap<(u32, u32), Shown> =
            shown.into_iter().map(|one| ((one.gpu, one.pid), one)).collect();
        for (key, one) in shown {
            let is = |session: &Session| {
                session.pid == one.pid && session.gpu == one.gpu && session.is_there(at_ms)
            };
            match sessions.iter().position(is) {
                Some(number) => drop(self.found.insert(number, one.user)),
                None => drop(self.invented.insert(key)),
            }
            if let Some(bytes) = one.bytes {
                *self.byte_seconds.get_or_insert(0.0) += bytes * every_s as f64;
            }
        }
    }

    fn verdict(&self, sessions: &[Session]) -> Verdict {
        let missed = |long: bool| {
            let of = || sessions.iter().enumerate().filter(|(_, session)| session.is_long() == long);
            let found = of().filter(|(number, _)| self.found.contains_key(number)).count();
            Tally { of: of().count(), missed: of().count() - found, told: 0 }
        };
        let users = |is: fn(&Option<String>, &Option<String>) -> bool| {
            self.found.iter().filter(|(number, user)| is(user, &sessions[**number].user)).count()
        };
        let memory: f64 = sessions.iter().map(Session::memory_byte_seconds).sum();
        Verdict {
            long: missed(true),
            short: missed(false),
            invented: self.invented.len(),
            users_wrong: users(|shown, truth| shown.is_some() && truth.is_some() && shown != truth),
            users_unknown: users(|shown, truth| shown.is_none() && truth.is_some()),
            sm: None,
            memory: self.byte_seconds.map(|held| held / memory - 1.0),
        }
    }
}

/// The case with real processes.
struct World<'a> {
    node: &'a Node,
    running: BTreeMap<usize, Child>,
}

impl World<'_> {
    /// A command that sees the simulated driver.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("LD_LIBRARY_PATH", self.node.path("lib")).env("HOME", self.node.path(""));
        command.env("PATH", format!("{}:/usr/bin:/bin", self.node.path("bin").display()));
        command.env("NVML_SIM_SCENARIO", self.node.path("scenario.yaml"));
        command.env("NVML_SIM_CLOCK", self.node.path("clock")).env("NVML_SIM_EPOCH", EPOCH.to_string());
        command.stderr(Stdio::null());
        command
    }

    /// Moves the case on to a moment.
    fn at(&mut self, case: &Case, at_s: i64) {
        for (number, session) in case.sessions.iter().enumerate() {
            if !session.is_there(at_s * 1_000)
                && let Some(mut child) = self.running.remove(&number)
            {
                child.kill().unwrap();
                child.wait().unwrap();
            }
        }
        for (number, session) in case.sessions.iter().enumerate() {
            if session.is_there(at_s * 1_000) && !self.running.contains_key(&number) {
                self.running.insert(number, process(session));
            }
        }
        self.node.set_clock((EPOCH + at_s) * 1_000_000);
    }
}

impl Drop for World<'_> {
    fn drop(&mut self) {
        for child in self.running.values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A process with the session's pid and user.
fn process(session: &Session) -> Child {
    let next = |pid: u32| std::fs::write("/proc/sys/kernel/ns_last_pid", pid.to_string()).unwrap();
    for _ in 0..100 {
        next(session.pid - 1);
        let mut child =
            Command::new("sleep").arg("infinity").uid(session.uid).gid(session.uid).spawn().unwrap();
        next(LOW_PID);
        if child.id() == session.pid {
            return child;
        }
        // A tool began a thread meanwhile.
        child.kill().unwrap();
        child.wait().unwrap();
    }
    panic!("the pid {} cannot be had", session.pid)
}

/// Plays a case to all tools that are there; the verdicts as lines. Runs in the namespaces that [`play`] makes.
pub(crate) fn inside(kind: &str) {
    let kind = Kind::ALL.into_iter().find(|each| each.name() == kind).unwrap();
    let case = Case::new(kind, Style::Ring, false);
    let node = Node::new(&case.yaml());
    let bind = Command::new("mount").arg("--bind").arg(node.path("passwd")).arg("/etc/passwd").status();
    assert!(bind.unwrap().success());
    std::fs::create_dir(node.path("lib")).unwrap();
    std::fs::create_dir(node.path("bin")).unwrap();
    // Not everybody asks for the library by its whole name, and some ask this command whether there is a GPU.
    for name in ["lib/libnvidia-ml.so", "lib/libnvidia-ml.so.1"] {
        symlink(driver(), node.path(name)).unwrap();
    }
    let command = node.path("bin/nvidia-smi");
    std::fs::write(&command, "#!/bin/sh\necho 'GPU 0: NVIDIA'\n").unwrap();
    std::fs::set_permissions(&command, Permissions::from_mode(0o755)).unwrap();
    let mut world = World { node: &node, running: BTreeMap::new() };
    let mut exporters: BTreeMap<Peer, (u16, Child)> = BTreeMap::new();
    for peer in [Peer::Nvitop, Peer::AllSmi].into_iter().filter(|peer| peer.version().is_ok()) {
        let port = client::free_port().unwrap();
        let child = peer.start(&world, port);
        exporters.insert(peer, (port, child));
        let begin = Instant::now();
        while client::get(port).is_err() {
            assert!(begin.elapsed() < LONGEST_START, "{} does not answer", peer.name());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    let mut seen: BTreeMap<Peer, Seen> = BTreeMap::new();
    for at_s in (0..=END_S).step_by(SCRAPE_S as usize) {
        world.at(&case, at_s);
        let mut look = |peer: Peer, every_s, answer: &str| {
            seen.entry(peer).or_default().look(&case.sessions, at_s * 1_000, every_s, peer.read(answer));
        };
        if !exporters.is_empty() {
            std::thread::sleep(SETTLE);
        }
        for (peer, (port, _)) in &exporters {
            // While the driver is away there may be no answer.
            look(*peer, SCRAPE_S, &client::get(*port).unwrap_or_default());
        }
        if at_s % RUN_S == 0 && Peer::Gpustat.version().is_ok() {
            let output =
                world.command(&Peer::Gpustat.program()).arg("--json").stdout(Stdio::piped()).output();
            let output = output.unwrap();
            if output.status.success() {
                look(Peer::Gpustat, RUN_S, &String::from_utf8_lossy(&output.stdout));
            }
        }
    }
    for (_, child) in exporters.values_mut() {
        let _ = child.kill();
        let _ = child.wait();
    }
    for (peer, seen) in seen {
        println!("{}", line(peer, &seen.verdict(&case.sessions)));
    }
}

fn line(peer: Peer, verdict: &Verdict) -> String {
    let Verdict { long, short, invented, users_wrong, users_unknown, memory, .. } = verdict;
    let memory = memory.map_or("-".to_owned(), |error| error.to_string());
    let numbers = [long.of, long.missed, short.of, short.missed, *invented, *users_wrong, *users_unknown];
    let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    format!("{} {} {memory}", peer.name(), numbers.join(" "))
}

/// Plays the case of this kind in namespaces of its own; a verdict for each tool that is there.
pub(crate) fn play(kind: Kind) -> BTreeMap<Peer, Verdict> {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount", "--mount-proc", "--kill-child"]);
    let output =
        command.arg(std::env::current_exe().unwrap()).args(["inside", kind.name()]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}, to others (this needs root): {error}", kind.name());
    let text = String::from_utf8(output.stdout).unwrap();
    let verdict = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let peer = Peer::ALL.into_iter().find(|peer| peer.name() == words[0])?;
        let n: Vec<usize> = words[1..8].iter().map(|word| word.parse().unwrap()).collect();
        let missed = |of, missed| Tally { of, missed, told: 0 };
        let verdict = Verdict {
            long: missed(n[0], n[1]),
            short: missed(n[2], n[3]),
            invented: n[4],
            users_wrong: n[5],
            users_unknown: n[6],
            sm: None,
            memory: words[8].parse().ok(),
        };
        Some((peer, verdict))
    };
    text.lines().filter_map(verdict).collect()
}
