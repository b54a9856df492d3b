//! The same work within one process, round after round: what is left when process start and loading are gone.

use crate::cases::{GAP_US, aged};
use anyhow::{Context as _, anyhow, bail, ensure};
use clap::Parser as _;
use gpu_session_core::metrics::{Context, Format, render};
use gpu_session_core::state::State;
use gpu_session_monitor::cli::{Cli, Command};
use gpu_session_monitor::commands;
use gpu_session_monitor::exit::Exit;
use gpu_session_monitor::pipeline::Pipeline;
use gpu_session_monitor::settings::Settings;
use gpu_session_sources::clock::Clock;
use gpu_session_sources::kubernetes::Mode as PodsMode;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::time::{ClockId, clock_gettime};
use std::ffi::CString;
use std::hint::black_box;
use std::time::Duration;

/// Time for the shutdown of the driver.
const PATIENCE: Duration = Duration::from_millis(200);

/// CPU time of this process with all its threads, microseconds.
pub(crate) fn cpu_us() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

/// CPU time of some work, microseconds.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let begin = cpu_us();
    let result = work();
    (cpu_us() - begin, result)
}

/// The middle one.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// `inside ROUNDS collect…`: prints the CPU time of reading the state, sampling, rendering and writing the state
/// to memory.
pub(crate) fn run(args: &[String]) -> anyhow::Result<()> {
    let (rounds, collect) = args.split_first().context("inside: no rounds")?;
    let Command::Collect(collect) = Cli::try_parse_from(collect)?.command else {
        bail!("inside: not collect");
    };
    let settings = Settings::resolve(&collect.common).map_err(|failure| failure.error)?;
    let base = State::from_json(&std::fs::read(settings.state_dir.join("state.json"))?)?;
    let mut pipeline = Pipeline::live(&settings, base.clone(), PodsMode::Once)?;
    let first = pipeline.sample();
    first.driver.as_ref().ok_or_else(|| anyhow!("{:?}", first.health))?;
    let mut parts: [Vec<f64>; 4] = Default::default();
    for _ in 0..rounds.parse()? {
        let text = aged(&base, Clock::Real.now_us() - GAP_US).to_json()?;
        let (load, state) = timed(|| State::from_json(&text));
        pipeline.state = state?;
        let begin_us = settings.clock.now_us();
        let (read, sample) = timed(|| pipeline.sample());
        let (save, _) = timed(|| black_box(pipeline.state.to_json()));
        let (write, _) = timed(|| {
            let snapshot = pipeline.snapshot(&sample, begin_us);
            black_box(render(&snapshot, Context::default(), &settings.labels, Format::Text))
        });
        for (part, figure) in parts.iter_mut().zip([load, read, write, save]) {
            part.push(figure);
        }
    }
    println!("{}", parts.map(|part| median(part).to_string()).join(" "));
    Ok(())
}

/// `collect…`: just that, with time for the driver's thread to shut the driver down, which is when the simulated
/// one writes its counts; the program itself leaves without waiting for it.
pub(crate) fn collect(args: &[String]) -> anyhow::Result<()> {
    let cli = Cli::try_parse_from([&["gpu-session-monitor".to_owned()], args].concat())?;
    ensure!(commands::run(&cli) == Exit::Ok, "collect failed");
    std::thread::sleep(PATIENCE);
    Ok(())
}

/// `proc ROUNDS ROOT FILE`: opens, reads and closes ROOT/PID/stat of each pid in the file, in the cheapest way that
/// there is, from the open folder; prints the CPU time.
pub(crate) fn read_processes(args: &[String]) -> anyhow::Result<()> {
    let [rounds, root, pids] = args else { bail!("proc: ROUNDS ROOT FILE") };
    let root = openat(CWD, root, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let pids = std::fs::read_to_string(pids)?;
    let paths = pids.lines().map(|pid| CString::new(format!("{pid}/stat"))).collect::<Result<Vec<_>, _>>()?;
    let mut buffer = [0_u8; 4096];
    let mut read = |path: &CString| {
        let file = openat(&root, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::io::read(file, &mut buffer[..])
    };
    let mut figures = Vec::new();
    for _ in 0..rounds.parse()? {
        let (figure, result) = timed(|| paths.iter().map(&mut read).sum::<Result<usize, _>>());
        black_box(result?);
        figures.push(figure);
    }
    println!("{}", median(figures));
    Ok(())
}
