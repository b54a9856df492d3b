//! The cases, and the folder that each one runs in.

use anyhow::{Context as _, ensure};
use gpu_session_core::state::State;
use gpu_session_sources::clock::Clock;
use nvml_sim::{ProcTree, Scenario};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const MIG: &str = include_str!("../../../../testdata/scenarios/mig-224.yaml");
const PLAIN: &str = include_str!("../../../../testdata/scenarios/plain-64.yaml");
const MANY: &str = include_str!("../../../../testdata/scenarios/ten-thousand.yaml");

/// Time between the reading that the state holds and the one that is measured.
pub(crate) const GAP_US: i64 = 60_000_000;

/// Processes of the linear cases.
pub(crate) const LINEAR: [u32; 3] = [100, 1_000, 10_000];

/// Runs of each process; fewer where each run waits a second for GPM.
pub(crate) const RUNS: usize = 30;
pub(crate) const GPM_RUNS: usize = 12;

/// What is measured.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) processes: u32,
    scenario: String,
    /// Flags of `collect` beyond those that name the stage.
    flags: &'static [&'static str],
    /// Runs of each process.
    pub(crate) runs: usize,
    /// GPM takes two readings and a wait, which a loop inside one process would not repeat.
    pub(crate) gpm: bool,
    /// It is one of those that a line is laid through.
    pub(crate) linear: bool,
}

impl Case {
    /// One that the report of the cases does not have.
    pub(crate) fn plain(name: &'static str, processes: u32, scenario: String) -> Self {
        Self { name, processes, scenario, flags: &[], runs: RUNS, gpm: false, linear: false }
    }
}

/// All cases, in the order of the report.
pub(crate) fn all() -> anyhow::Result<Vec<Case>> {
    let case = Case::plain;
    let many = |count: u32| edited(MANY, "count: 10000", &format!("count: {count}"));
    let last = edited(PLAIN, "version: 1\n", "version: 1\nutilization: { style: last }\n")?;
    let linear = |name, count| many(count).map(|text| Case { linear: true, ..case(name, count, text) });
    Ok(vec![
        case("8 GPUs x 7 MIG x 4", 224, edited(MIG, "gpm: true", "gpm: false")?),
        Case { gpm: true, runs: GPM_RUNS, ..case("the same with GPM", 224, MIG.to_owned()) },
        case("8 GPUs x 8, last value", 64, last),
        case("8 GPUs x 8, ring of 60 s", 64, PLAIN.to_owned()),
        linear("1 GPU x 100", LINEAR[0])?,
        linear("1 GPU x 1 000", LINEAR[1])?,
        linear("1 GPU x 10 000", LINEAR[2])?,
        Case {
            flags: &["--sessions-limit", "10000"],
            ..case("10 000, all with series", 10_000, many(10_000)?)
        },
    ])
}

/// A scenario with one thing changed; one that no longer has it must not pass unnoticed.
fn edited(text: &str, from: &str, to: &str) -> anyhow::Result<String> {
    ensure!(text.contains(from), "the scenario has no `{from}`");
    Ok(text.replace(from, to))
}

/// A folder with the scenario, its /proc, a state and the textfile.
pub(crate) struct Stage {
    folder: TempDir,
    library: PathBuf,
    epoch_s: i64,
    flags: &'static [&'static str],
    base: State,
}

impl Stage {
    /// Lays the folder out and takes the first sample, which every measured run goes on from.
    pub(crate) fn make(case: &Case) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("collect-bench-").tempdir_in(base())?;
        let scenario = Scenario::parse(&case.scenario)?;
        std::fs::write(folder.path().join("scenario.yaml"), &case.scenario)?;
        let now_us = Clock::Real.now_us();
        // The processes have run for an hour: none is new to the driver's ring.
        let epoch_s = now_us / 1_000_000 - 3600;
        let mut tree = ProcTree::create(&folder.path().join("proc"), &scenario, epoch_s * 1_000_000)?;
        tree.sync(now_us)?;
        tree.write_passwd(&folder.path().join("passwd"))?;
        let (library, flags) = (library()?, case.flags);
        let mut stage = Self { folder, library, epoch_s, flags, base: State::default() };
        let first = stage.command(&stage.collect()).output()?;
        ensure!(first.status.success(), "collect: {}", String::from_utf8_lossy(&first.stderr));
        stage.base = State::from_json(&std::fs::read(stage.path("state/state.json"))?)?;
        let sessions: usize = stage.base.devices.values().map(|device| device.sessions.len()).sum();
        ensure!(sessions == case.processes as usize, "{sessions} sessions instead of {}", case.processes);
        Ok(stage)
    }

    /// A file of the stage.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file of the stage as an argument.
    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// The scenario's anchor, Unix microseconds.
    pub(crate) fn epoch_us(&self) -> i64 {
        self.epoch_s * 1_000_000
    }

    /// The simulated driver as an argument.
    pub(crate) fn library(&self) -> String {
        self.library.display().to_string()
    }

    /// `collect` on this stage.
    pub(crate) fn collect(&self) -> Vec<String> {
        let mut args = vec![env!("CARGO_BIN_EXE_gpu-session-monitor").to_owned(), "collect".to_owned()];
        let named = [
            ("--nvml-library", self.library()),
            ("--proc-root", self.text("proc")),
            ("--users-passwd", self.text("passwd")),
            ("--state-dir", self.text("state")),
            ("--textfile", self.text("gpu_sessions.prom")),
        ];
        args.extend(named.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]));
        args.extend(self.flags.iter().map(ToString::to_string));
        args
    }

    /// A command that sees the scenario, and nothing of the settings that this process may have been given.
    pub(crate) fn command(&self, args: &[String]) -> Command {
        let mut command = Command::new(&args[0]);
        command.args(&args[1..]).env_clear();
        command.env("NVML_SIM_SCENARIO", self.path("scenario.yaml"));
        command.env("NVML_SIM_EPOCH", self.epoch_s.to_string());
        command
    }

    /// Puts the state of before back, as if it had been written [`GAP_US`] ago.
    pub(crate) fn rewind(&self) -> anyhow::Result<()> {
        let text = aged(&self.base, Clock::Real.now_us() - GAP_US).to_json()?;
        std::fs::write(self.path("state/state.json"), text).context("state")
    }
}

/// The state, as of another moment.
pub(crate) fn aged(state: &State, time_us: i64) -> State {
    let mut state = state.clone();
    let shift = time_us - state.time_us;
    state.time_us += shift;
    state.monotonic_us += shift;
    for device in state.devices.values_mut() {
        device.present_us += shift;
        device.listed_us = device.listed_us.map(|at| at + shift);
        if let Some(cursor) = &mut device.cursor {
            cursor.stamp_us += shift;
            cursor.covered_us += shift;
        }
        device.sessions.values_mut().for_each(|session| session.last_seen_us += shift);
    }
    state
}

/// Memory where there is such a file system: the disk is not what is measured.
pub(crate) fn base() -> PathBuf {
    let shared = Path::new("/dev/shm");
    if tempfile::tempfile_in(shared).is_ok() { shared.to_owned() } else { std::env::temp_dir() }
}

/// The simulated driver, where its build puts it.
fn library() -> anyhow::Result<PathBuf> {
    let beside = Path::new(env!("CARGO_BIN_EXE_gpu-session-monitor")).with_file_name("nvml-sim");
    let library = beside.join("libnvidia-ml.so.1");
    ensure!(library.exists(), "{} is not there: cargo build --release -p nvml-sim", library.display());
    Ok(library)
}
