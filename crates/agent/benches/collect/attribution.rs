//! What it adds per sample that sessions are in pods: the kubelet asked, the watched pods handed over, and everything
//! worked out by pod, namespace and allocation; beside the same processes outside pods, with no such source.

use crate::cases::{Case, Stage};
use crate::inside::{median, timed};
use crate::pods::scenario;
use anyhow::{Context as _, bail, ensure};
use clap::Parser as _;
use gpu_session_core::state::State;
use gpu_session_monitor::cli::{Cli, Command};
use gpu_session_monitor::pipeline::Pipeline;
use gpu_session_monitor::settings::Settings;
use gpu_session_sources::kubernetes::Mode;
use kube_sim::scenario::Playback;
use kube_sim::{ApiServer, Cluster, Kubelet};
use nvml_sim::Scenario;
use std::hint::black_box;

/// Sessions, and the pods that they are in.
const SESSIONS: u32 = 1_000;
const PODS: u32 = 100;
const NODE: &str = "bench-node";
const ROUNDS: &str = "60";

/// Median CPU of a sample, with how many requests to the API were made beyond the first sample.
struct Sampled {
    cpu_us: f64,
    requests: usize,
}

/// Measures both and prints them.
pub(crate) fn bench() -> anyhow::Result<()> {
    println!(
        "\n(e) {SESSIONS} known sessions in {PODS} pods: CPU of a sample in a program that runs, µs; aim: less than 3 added per session"
    );
    let outside = measure(false)?;
    let inside = measure(true)?;
    let added = (inside.cpu_us - outside.cpu_us) / f64::from(SESSIONS);
    println!("  outside pods, no source of pods        {:>8.0}", outside.cpu_us);
    println!("  in pods, with the API and the kubelet  {:>8.0}", inside.cpu_us);
    println!("  ratio {:.2}; added per session {added:.2}", inside.cpu_us / outside.cpu_us);
    println!(
        "  requests to the API in {ROUNDS} samples: {}, with the first one's list and watch",
        inside.requests
    );
    Ok(())
}

fn measure(in_pods: bool) -> anyhow::Result<Sampled> {
    let text = scenario(SESSIONS, PODS, in_pods);
    let case = Case::plain("attribution", SESSIONS, text.clone());
    let stage = Stage::make(&case)?;
    let cluster = Cluster::new();
    let api = ApiServer::start_plain(&cluster, 0)?;
    std::fs::write(stage.path("token"), "bench")?;
    std::fs::write(stage.path("kubeconfig"), api.kubeconfig(&stage.path("token")))?;
    let kubelet = Kubelet::start(&cluster, NODE, stage.path("kubelet.sock"))?;
    Playback::new(&cluster, &Scenario::parse(&text)?, stage.epoch_us(), NODE).sync(stage.epoch_us() + 1);
    let own = std::env::current_exe()?.display().to_string();
    let mut args = vec![own, "attribution".to_owned(), ROUNDS.to_owned()];
    args.extend(stage.collect());
    if in_pods {
        let socket = kubelet.socket().display().to_string();
        let flags = [
            ("--kubernetes-kubeconfig", stage.text("kubeconfig")),
            ("--kubernetes-node", NODE.to_owned()),
            ("--kubelet-socket", socket),
        ];
        args.extend(flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]));
    }
    let output = stage.command(&args).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let cpu_us = text.trim().parse().with_context(|| format!("{text:?}"))?;
    Ok(Sampled { cpu_us, requests: cluster.requests().len() })
}

/// `attribution ROUNDS collect…`: prints the CPU time of a sample in a program that has taken others before.
pub(crate) fn run(args: &[String]) -> anyhow::Result<()> {
    let (rounds, collect) = args.split_first().context("attribution: no rounds")?;
    let Command::Collect(collect) = Cli::try_parse_from(collect)?.command else {
        bail!("attribution: not collect");
    };
    let settings = Settings::resolve(&collect.common).map_err(|failure| failure.error)?;
    let mut pipeline = Pipeline::live(&settings, State::default(), Mode::Watch)?;
    for _ in 0..2 {
        let first = pipeline.sample();
        ensure!(first.health.iter().all(|source| source.up), "{:?}", first.health);
    }
    let sessions = pipeline.state.devices.values().flat_map(|device| device.sessions.values());
    ensure!(!sessions.into_iter().any(|session| session.attribution.open), "a session is not placed");
    let mut figures = Vec::new();
    for _ in 0..rounds.parse()? {
        let (cpu, sample) = timed(|| pipeline.sample());
        black_box(sample);
        figures.push(cpu);
    }
    println!("{}", median(figures));
    Ok(())
}
