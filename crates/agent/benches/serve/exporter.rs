//! One exporter that runs, and what is measured of it.

use crate::cases::Stage;
use crate::client::{self, Latencies};
use crate::node::{Node, PROCESSES};
use crate::usage::{self, Memory};
use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Between two samples, for all.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);
/// How long nobody asks, for the CPU of samples alone.
pub(crate) const QUIET: Duration = Duration::from_secs(30);
/// How long, and how often a second, it is asked afterwards.
pub(crate) const ASKED: Duration = Duration::from_secs(10);
pub(crate) const PER_SECOND: u32 = 50;

/// What starts and allocates first is not what goes on.
const SETTLE: Duration = Duration::from_secs(3);
const LONGEST_START: Duration = Duration::from_secs(60);
const LONGEST_END: Duration = Duration::from_secs(5);

/// How an exporter is started, and how its answer is read.
pub(crate) struct Exporter {
    pub(crate) name: String,
    pub(crate) args: Vec<String>,
    pub(crate) port: u16,
    /// What a line of the answer begins with that stands once for each session.
    pub(crate) session: &'static str,
}

/// What was measured.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) sessions: usize,
    pub(crate) body_bytes: usize,
    /// CPU of one interval without a scrape, milliseconds.
    pub(crate) sample_ms: f64,
    /// CPU of one answer, milliseconds: what is left when the samples of the same time are taken off.
    pub(crate) answer_ms: f64,
    pub(crate) memory: Memory,
    pub(crate) latencies: Latencies,
    /// Driver calls of an interval, where they were written.
    pub(crate) calls: Option<f64>,
}

/// Our `serve`, without Kubernetes, on the processes of the node.
pub(crate) fn ours(node: &Node) -> anyhow::Result<Exporter> {
    let off = || "off".to_owned();
    let flags =
        [("--proc-root", "/proc".to_owned()), ("--kubelet-socket", off()), ("--kubernetes-api", off())];
    serve("serve", &node.stage, &flags)
}

/// Our `serve` with these flags.
pub(crate) fn serve(name: &str, stage: &Stage, flags: &[(&str, String)]) -> anyhow::Result<Exporter> {
    let port = client::free_port()?;
    let named = [
        ("--nvml-library", stage.library()),
        ("--users-passwd", stage.text("passwd")),
        ("--state-dir", stage.text("serve-state")),
        ("--listen", format!("127.0.0.1:{port}")),
        ("--interval", format!("{}s", INTERVAL.as_secs())),
    ];
    let mut args = vec![env!("CARGO_BIN_EXE_gpu-session-monitor").to_owned(), "serve".to_owned()];
    args.extend(named.iter().chain(flags).flat_map(|(flag, value)| [(*flag).to_owned(), value.clone()]));
    let name = format!("{name} {}", env!("CARGO_PKG_VERSION"));
    Ok(Exporter { name, args, port, session: "gpu_session_info{" })
}

/// A process that does not outlive its measurement.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs it and measures.
pub(crate) fn measure(exporter: &Exporter, stage: &Stage) -> anyhow::Result<Row> {
    run(exporter, stage).with_context(|| exporter.name.clone())
}

fn run(exporter: &Exporter, stage: &Stage) -> anyhow::Result<Row> {
    let (log, calls) = (stage.path("log"), stage.path("calls"));
    let mut command = stage.command(&exporter.args);
    command
        .env("NVML_SIM_CALLS", &calls)
        .env("LD_LIBRARY_PATH", stage.path("lib"))
        .env("HOME", stage.path(""));
    command
        .env("PATH", format!("{}:/usr/bin:/bin", stage.text("bin")))
        .stdout(File::create(&log)?)
        .stderr(File::options().append(true).open(&log)?);
    let begin = Instant::now();
    let mut running = Running(command.spawn()?);
    let pid = running.0.id();
    let started = started(exporter, &mut running);
    let body = started.with_context(|| std::fs::read_to_string(&log).unwrap_or_default())?;
    sleep(SETTLE);
    let (quiet_cpu, quiet_s) = during(pid, || sleep(QUIET))?;
    let per_second = quiet_cpu / quiet_s;
    let mut latencies = None;
    let (asked_cpu, asked_s) =
        during(pid, || latencies = Some(client::load(exporter.port, PER_SECOND, ASKED)))?;
    let latencies = latencies.context("not asked")?;
    let memory = usage::memory(pid)?;
    let lived = begin.elapsed().as_secs_f64();
    kill_process(Pid::from_child(&running.0), Signal::TERM)?;
    ended(&mut running)?;
    let answers = latencies.answered().max(1) as f64;
    Ok(Row {
        name: exporter.name.clone(),
        sessions: sessions(exporter, &body),
        body_bytes: body.len(),
        sample_ms: per_second * INTERVAL.as_secs_f64(),
        answer_ms: (asked_cpu - per_second * asked_s) / answers,
        memory,
        latencies,
        calls: calls_in(&calls).map(|calls| calls / (lived / INTERVAL.as_secs_f64())),
    })
}

/// CPU milliseconds and seconds that went by.
fn during(pid: u32, work: impl FnOnce()) -> anyhow::Result<(f64, f64)> {
    let (cpu, begin) = (usage::cpu(pid)?, Instant::now());
    work();
    let seconds = begin.elapsed().as_secs_f64();
    Ok((usage::cpu(pid)?.saturating_sub(cpu).as_secs_f64() * 1e3, seconds))
}

fn sessions(exporter: &Exporter, body: &str) -> usize {
    body.lines().filter(|line| line.starts_with(exporter.session)).count()
}

/// Waits for an answer with all sessions; one that never has them is measured with those that it has.
fn started(exporter: &Exporter, running: &mut Running) -> anyhow::Result<String> {
    let begin = Instant::now();
    loop {
        if let Some(status) = running.0.try_wait()? {
            bail!("it ended: {status}");
        }
        let answer = client::get(exporter.port);
        match answer {
            Ok(body) if sessions(exporter, &body) >= PROCESSES as usize => return Ok(body),
            Ok(body) if begin.elapsed() > LONGEST_START / 4 => return Ok(body),
            Err(error) if begin.elapsed() > LONGEST_START => return Err(error),
            _ => sleep(Duration::from_millis(200)),
        }
    }
}

fn ended(running: &mut Running) -> anyhow::Result<()> {
    let begin = Instant::now();
    while running.0.try_wait()?.is_none() && begin.elapsed() < LONGEST_END {
        sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// All driver calls of a process that closed the driver at its end; others leave nothing.
fn calls_in(file: &std::path::Path) -> Option<f64> {
    let text = std::fs::read_to_string(file).ok()?;
    std::fs::remove_file(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix("total ")?.trim().parse().ok())
}
