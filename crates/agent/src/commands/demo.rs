//! `demo`: a whole simulated node through the real path. No GPU, no root, no cluster.
//!
//! The simulated driver is a library that takes its scenario from the environment, as the real one takes its
//! devices from the kernel. So the demo prepares a folder, then runs itself anew with that environment.

use crate::cli::{CommonArgs, DemoArgs};
use crate::exit::{Exit, Failure};
use crate::outputs::{http, table};
use crate::pipeline::Pipeline;
use crate::settings::Settings;
use crate::{REVISION, VERSION, say};
use anyhow::Context as _;
use gpu_session_core::metrics::{Context, Format, render};
use gpu_session_core::snapshot::Snapshot;
use gpu_session_core::state::State;
use gpu_session_sources::clock::Clock;
use gpu_session_sources::kubernetes::Mode;
use kube_sim::scenario::Playback;
use kube_sim::{ApiServer, Cluster, Kubelet};
use nvml_sim::proc_tree::ProcTree;
use nvml_sim::scenario::Scenario;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

const SCENARIO: &str = include_str!("../../../../testdata/scenarios/demo.yaml");
/// Name of the demo's folder, before its random part.
const STAGE_PREFIX: &str = "gpu-session-monitor-demo-";
/// Its name.
const NODE: &str = "demo-node";
const INTERVAL: Duration = Duration::from_secs(2);
/// Lines of the metrics that are shown at the start.
const HEAD_LINES: usize = 24;
/// The scenario has begun when the demo starts, so that there is something to see.
const HEAD_START: i64 = 60;

pub(super) fn run(args: &DemoArgs) -> Result<Exit, Failure> {
    match &args.stage {
        None => Err(prepare(args)),
        Some(stage) => {
            check_stage(stage)?;
            let result = play(args, stage);
            let _ = std::fs::remove_dir_all(stage);
            result
        }
    }
}

/// The folder is removed at the end: only one that `prepare` made may be.
fn check_stage(stage: &Path) -> Result<(), Failure> {
    let name = stage.file_name().and_then(|name| name.to_str()).unwrap_or("");
    let ours = name.starts_with(STAGE_PREFIX) && stage.join("scenario.yaml").is_file();
    if ours && stage.parent() == Some(&std::env::temp_dir()) {
        return Ok(());
    }
    Err(Failure::usage(anyhow::anyhow!(
        "--stage is for the demo itself: run `gpu-session-monitor demo` without it"
    )))
}

/// Makes the folder and becomes the demo proper; only returns on failure.
fn prepare(args: &DemoArgs) -> Failure {
    match prepared(args) {
        Ok(mut command) => anyhow::Error::from(command.exec()).context("the demo cannot run itself").into(),
        Err(failure) => failure,
    }
}

fn prepared(args: &DemoArgs) -> Result<std::process::Command, Failure> {
    let library = find_library(args.nvml_library.as_deref())?;
    let text = match &args.scenario {
        Some(path) => std::fs::read_to_string(path).with_context(|| path.display().to_string())?,
        None => SCENARIO.to_owned(),
    };
    Scenario::parse(&text).context("scenario").map_err(Failure::usage)?;
    let stage = tempfile::Builder::new().prefix(STAGE_PREFIX).tempdir()?.keep();
    std::fs::write(stage.join("scenario.yaml"), text)?;
    let epoch = Clock::Real.now_us() / 1_000_000 - HEAD_START;
    let mut command = std::process::Command::new(std::env::current_exe()?);
    command.arg("demo").arg("--stage").arg(&stage).arg("--nvml-library").arg(library);
    command.arg("--listen").arg(args.listen.to_string());
    command.args(args.seconds.map(|seconds| format!("--seconds={seconds}")));
    command.env("NVML_SIM_SCENARIO", stage.join("scenario.yaml")).env("NVML_SIM_EPOCH", epoch.to_string());
    command.env_remove("NVML_SIM_CLOCK");
    Ok(command)
}

/// The simulated driver: named, or in its folder beside this program.
fn find_library(named: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    let beside = std::env::current_exe()?.with_file_name("nvml-sim").join("libnvidia-ml.so.1");
    if beside.exists() {
        return Ok(beside);
    }
    Err(Failure::usage(anyhow::anyhow!(
        "the simulated driver is not at {}: it is not shipped with the program; build it with `cargo build -p nvml-sim` in the source, or name it with --nvml-library",
        beside.display()
    )))
}

/// The node and its Kubernetes, as the scenario has them.
struct Played {
    tree: ProcTree,
    pods: Playback,
    _api: ApiServer,
    _kubelet: Kubelet,
}

impl Played {
    /// Lays all out in the demo's folder: `proc`, `passwd`, `kubeconfig` and the kubelet's socket.
    fn start(stage: &Path, scenario: &Scenario, epoch_us: i64) -> anyhow::Result<Self> {
        let tree = ProcTree::create(&stage.join("proc"), scenario, epoch_us)?;
        tree.write_passwd(&stage.join("passwd"))?;
        let cluster = Cluster::new();
        let api = ApiServer::start(&cluster).context("the demo's API server")?;
        api.accept_token(NODE, "system:serviceaccount:gpu-operator:gpu-session-monitor");
        std::fs::write(stage.join("token"), NODE)?;
        std::fs::write(stage.join("kubeconfig"), api.kubeconfig(&stage.join("token")))?;
        let kubelet =
            Kubelet::start(&cluster, NODE, stage.join("kubelet.sock")).context("the demo's kubelet")?;
        let pods = Playback::new(&cluster, scenario, epoch_us, NODE);
        Ok(Self { tree, pods, _api: api, _kubelet: kubelet })
    }

    fn sync(&mut self, now_us: i64) -> std::io::Result<()> {
        self.pods.sync(now_us);
        self.tree.sync(now_us)
    }
}

fn play(args: &DemoArgs, stage: &Path) -> Result<Exit, Failure> {
    let scenario = Scenario::load(&stage.join("scenario.yaml"))?;
    let epoch_us =
        std::env::var("NVML_SIM_EPOCH").ok().and_then(|s| s.parse::<i64>().ok()).unwrap_or(0) * 1_000_000;
    let mut node = Played::start(stage, &scenario, epoch_us)?;
    let common = CommonArgs {
        nvml_library: args.nvml_library.clone(),
        proc_root: Some(stage.join("proc")),
        users_passwd: Some(stage.join("passwd")),
        kubelet_socket: Some(stage.join("kubelet.sock")),
        kubernetes_kubeconfig: Some(stage.join("kubeconfig")),
        state_dir: Some(stage.join("state")),
        node: Some(NODE.to_owned()),
        ..CommonArgs::default()
    };
    let settings = Settings::resolve(&common)?;
    let mut pipeline = Pipeline::live(&settings, State::default(), Mode::Watch)?;
    node.sync(settings.clock.now_us())?;
    let first = pipeline.sample_over(settings.window, true);
    say::health(&first);
    if first.driver.is_none() {
        return Ok(Exit::Failed);
    }
    // From the first sample on counters have their value: nobody scrapes a demo with increase() yet.
    let snapshot = Arc::new(pipeline.snapshot(&first, i64::MAX));
    let (sender, receiver) = watch::channel(Arc::clone(&snapshot));
    let shared = http::Shared {
        snapshot: receiver,
        labels: settings.labels.clone(),
        clock: settings.clock.clone(),
        stale_after_us: 5 * 1_000_000 * INTERVAL.as_secs().cast_signed(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = listen(args.listen).await?;
        super::print(&welcome(&snapshot, &settings, listener.local_addr()?))?;
        std::thread::Builder::new().name("sampler".to_owned()).spawn(move || {
            keep_sampling(&settings, &mut pipeline, &mut node, &sender);
        })?;
        let end = end(args.seconds);
        axum::serve(listener, http::router(shared)).with_graceful_shutdown(end).await?;
        Ok::<(), Failure>(())
    })?;
    Ok(Exit::Ok)
}

fn keep_sampling(
    settings: &Settings,
    pipeline: &mut Pipeline,
    node: &mut Played,
    snapshots: &watch::Sender<Arc<Snapshot>>,
) {
    while !snapshots.is_closed() {
        settings.clock.sleep(INTERVAL);
        if let Err(e) = node.sync(settings.clock.now_us()) {
            // At the end the folder goes before the thread does.
            if !snapshots.is_closed() {
                say::warn(format_args!("the demo's /proc: {e}"));
            }
            return;
        }
        let sample = pipeline.sample();
        say::health(&sample);
        snapshots.send_replace(Arc::new(pipeline.snapshot(&sample, i64::MAX)));
    }
}

/// The address asked for, or any free port of it.
async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(listener),
        Err(e) if e.kind() == std::io::ErrorKind::AddrInUse => {
            Ok(TcpListener::bind(SocketAddr::new(address.ip(), 0)).await?)
        }
        Err(e) => Err(e).with_context(|| format!("--listen {address}")),
    }
}

async fn end(seconds: Option<u64>) {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).ok();
    let terminated = async {
        match &mut terminate {
            Some(signal) => drop(signal.recv().await),
            None => std::future::pending().await,
        }
    };
    let over = async {
        match seconds {
            Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
        () = over => {}
    }
}

fn welcome(snapshot: &Snapshot, settings: &Settings, address: SocketAddr) -> String {
    let context = Context { version: VERSION, revision: REVISION, ..Context::default() };
    let metrics = render(snapshot, context, &settings.labels, Format::Text);
    let head: Vec<&str> =
        metrics.lines().filter(|line| !line.starts_with("# HELP")).take(HEAD_LINES).collect();
    format!(
        "A simulated node: 4 H100, the first cut into MIG instances; users come and go for 40 minutes.\n\
         Look at GPU 1, which several users share, GPU 2, which is held and does nothing, and 0_10_0, which is free.\n\
         Who they are comes from Unix, AstraGo's annotation and JupyterHub's: user_rule in gpu_session_info says which.\n\n\
         {}\nThe head of its metrics:\n\n{}\n\n\
         Served at http://{address}/metrics; try:\n\n\
         \x20 curl -s http://{address}/metrics | grep gpu_session_users\n\
         \x20 curl -s http://{address}/metrics | grep ^gpu_process_utilization\n\
         \x20 curl -s http://{address}/metrics | grep ^gpu_user_sm_seconds_total\n\n\
         Ctrl-C ends it.\n",
        table::snapshot(snapshot),
        head.join("\n"),
    )
}
