//! Runs one case.

use crate::cases::{Case, GAP_US, Stage};
use crate::child::{self, Usage};
use crate::inside::median;
use anyhow::{Context as _, ensure};
use std::collections::BTreeMap;

/// Rounds within one process.
pub(crate) const ROUNDS: &str = "30";

/// Calls by function.
pub(crate) type Calls = BTreeMap<String, u64>;

/// What was measured of a case.
pub(crate) struct Measured {
    pub(crate) case: Case,
    pub(crate) collect_calls: Calls,
    pub(crate) necessary_calls: Calls,
    pub(crate) collect: Usage,
    pub(crate) driver: Usage,
    pub(crate) proc: Usage,
    /// A process that does nothing.
    pub(crate) empty: Usage,
    pub(crate) inside: Option<Inside>,
}

/// CPU time within one process, microseconds.
pub(crate) struct Inside {
    pub(crate) load: f64,
    pub(crate) sample: f64,
    pub(crate) render: f64,
    pub(crate) save: f64,
    pub(crate) driver: f64,
    pub(crate) proc: f64,
}

impl Inside {
    /// All that `collect` does after its start.
    pub(crate) fn total(&self) -> f64 {
        self.load + self.sample + self.render + self.save
    }

    /// What is left of it without driver and /proc.
    pub(crate) fn own(&self) -> f64 {
        self.total() - self.driver - self.proc
    }
}

impl Measured {
    /// Own CPU of one run, microseconds: the start of one bare process is in `driver` and so is taken off, once.
    pub(crate) fn own(&self) -> f64 {
        self.collect.cpu_us - self.driver.cpu_us - (self.proc.cpu_us - self.empty.cpu_us)
    }
}

/// The command lines of a stage: this program with a word of its own, and that word's arguments.
struct Commands<'a> {
    stage: &'a Stage,
    own: String,
}

impl Commands<'_> {
    fn bare(&self, word: &str, rest: &[String]) -> Vec<String> {
        [&[self.own.clone(), word.to_owned()], rest].concat()
    }

    fn driver(&self, rounds: &str) -> Vec<String> {
        self.bare("driver", &[rounds.to_owned(), self.stage.library(), GAP_US.to_string()])
    }

    fn proc(&self, rounds: &str) -> Vec<String> {
        self.bare("proc", &[rounds.to_owned(), self.stage.text("proc"), self.stage.text("pids")])
    }
}

/// Measures a case on its stage.
pub(crate) fn measure(case: Case, stage: &Stage) -> anyhow::Result<Measured> {
    write_pids(stage)?;
    let commands = Commands { stage, own: std::env::current_exe()?.display().to_string() };
    stage.rewind()?;
    let collect_calls = calls(stage, &commands.bare("collect", &stage.collect()[2..]))?;
    let necessary_calls = calls(stage, &commands.driver("1"))?;
    let [collect, driver, proc, empty] = processes(&commands, case.runs)?;
    let inside = if case.gpm { None } else { Some(within(&commands)?) };
    Ok(Measured { case, collect_calls, necessary_calls, collect, driver, proc, empty, inside })
}

/// Runs each process in turn, so that what else the machine does meets all of them.
fn processes(commands: &Commands<'_>, runs: usize) -> anyhow::Result<[Usage; 4]> {
    let stage = commands.stage;
    let lines = [stage.collect(), commands.driver("1"), commands.proc("1"), commands.bare("empty", &[])];
    let mut used: [Vec<Usage>; 4] = Default::default();
    for run in 0..=runs {
        for (used, line) in used.iter_mut().zip(&lines) {
            stage.rewind()?;
            let usage = child::usage(stage.command(&commands.bare("launch", line)))?;
            // The first one warms the caches.
            used.extend((run > 0).then_some(usage));
        }
    }
    Ok(used.map(middle))
}

fn within(commands: &Commands<'_>) -> anyhow::Result<Inside> {
    let stage = commands.stage;
    stage.rewind()?;
    let arguments = [&[ROUNDS.to_owned()], &*stage.collect()].concat();
    let [load, sample, render, save] = figures(stage, &commands.bare("inside", &arguments))?;
    let [driver] = figures(stage, &commands.driver(ROUNDS))?;
    let [proc] = figures(stage, &commands.proc(ROUNDS))?;
    Ok(Inside { load, sample, render, save, driver, proc })
}

/// The pids of the stage's /proc, for the loop that reads them.
fn write_pids(stage: &Stage) -> anyhow::Result<()> {
    let mut pids: Vec<u32> = std::fs::read_dir(stage.path("proc"))?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    let lines: Vec<String> = pids.iter().map(u32::to_string).collect();
    Ok(std::fs::write(stage.path("pids"), lines.join("\n"))?)
}

/// Runs a command and returns the driver calls that it made.
fn calls(stage: &Stage, args: &[String]) -> anyhow::Result<Calls> {
    let file = stage.path("calls");
    let output = stage.command(args).env("NVML_SIM_CALLS", &file).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(&file).context("the calls were not written: no nvmlShutdown?")?;
    std::fs::remove_file(&file)?;
    let line = |line: &str| {
        let (name, count) = line.split_once(' ').context("calls: no count")?;
        Ok((name.to_owned(), count.parse()?))
    };
    text.lines().filter(|line| !line.starts_with("total ")).map(line).collect()
}

/// Runs a command and returns the figures that it prints.
fn figures<const N: usize>(stage: &Stage, args: &[String]) -> anyhow::Result<[f64; N]> {
    let output = stage.command(args).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let figures = text.split_whitespace().map(str::parse).collect::<Result<Vec<f64>, _>>()?;
    figures.try_into().map_err(|_| anyhow::anyhow!("{N} figures instead of {text:?}"))
}

/// The median time, and the largest peak.
fn middle(used: Vec<Usage>) -> Usage {
    let peak_kib = used.iter().map(|usage| usage.peak_kib).fold(0.0, f64::max);
    Usage { cpu_us: median(used.into_iter().map(|usage| usage.cpu_us).collect()), peak_kib }
}
