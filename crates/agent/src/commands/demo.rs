//! `demo`: a whole simulated node through the real path. No GPU, no root, no cluster.
//!
//! The simulated driver is a library that takes its scenario from the environment, as the real one takes its
//! devices from the kernel. So the demo prepares a folder, then runs itself anew with that environment.

use crate::cli::{CommonArgs, DemoArgs, ServeArgs};
use crate::exit::{Exit, Failure};
use crate::outputs::server::{Web, WebSettings};
use crate::outputs::table;
use crate::serve::settings::ServeSettings;
use crate::serve::{Loop, Setup};
use crate::{REVISION, VERSION, say};
use anyhow::Context as _;
use gpu_session_core::metrics::{Context, Format, Labels, render};
use gpu_session_core::snapshot::Snapshot;
use gpu_session_sources::clock::Clock;
use kube_sim::scenario::Playback;
use kube_sim::{ApiServer, Cluster, Kubelet};
use nvml_sim::proc_tree::ProcTree;
use nvml_sim::scenario::Scenario;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

const SCENARIO: &str = include_str!("../../../../testdata/scenarios/demo.yaml");
/// Name of the demo's folder, before its random part.
const STAGE_PREFIX: &str = "gpu-session-monitor-demo-";
/// Its name.
const NODE: &str = "demo-node";
const INTERVAL: Duration = Duration::from_secs(2);
/// How often the node is brought in step with the clock.
const STEP: Duration = Duration::from_millis(500);
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
    node.sync(Clock::Real.now_us())?;
    let listener = listen(args.listen)?;
    let address = listener.local_addr()?;
    let settings = settings(args, stage, address)?;
    let labels = settings.common.labels.clone();
    let (leave, left) = channel();
    let keeper = std::thread::Builder::new().name("node".to_owned()).spawn(move || keep(&mut node, &left))?;
    let mut samples = 0;
    // How much of a GPU is used shows between two samples.
    let observe = Box::new(move |snapshot: &Snapshot| {
        samples += 1;
        if snapshot.driver_version.is_none() && samples < 3 {
            return Some(Exit::Failed);
        }
        let shown = if samples == 2 { super::print(&welcome(snapshot, &labels, address)) } else { Ok(()) };
        shown.err().map(|failure| failure.exit)
    });
    let end_after = args.seconds.map(Duration::from_secs);
    let web = Web::open(&settings.web, address)?;
    let serving = Some((listener, Arc::new(web)));
    let exit = Loop::open(Setup { settings, serving, reload: None, end_after, observe })?.run();
    // The node must not be laid out anew while its folder is removed.
    drop(leave);
    let _ = keeper.join();
    Ok(exit)
}

/// Those of `serve`, on the demo's node and whatever this machine's file and environment say.
fn settings(args: &DemoArgs, stage: &Path, address: SocketAddr) -> Result<ServeSettings, Failure> {
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
    let listen = Some(address.to_string());
    let settings = ServeSettings::resolve(&ServeArgs {
        common,
        listen,
        interval: Some(INTERVAL),
        ..ServeArgs::default()
    })?;
    // Counters have their value at once: nobody scrapes a demo with increase() yet.
    let web = WebSettings::default();
    Ok(ServeSettings { scrape_interval: Duration::ZERO, textfile: None, ledger: None, web, ..settings })
}

/// Keeps the node in step with the clock until it is told to leave.
fn keep(node: &mut Played, left: &Receiver<()>) {
    while left.recv_timeout(STEP) == Err(RecvTimeoutError::Timeout) {
        if let Err(e) = node.sync(Clock::Real.now_us()) {
            say::warn(format_args!("the demo's /proc: {e}"));
            return;
        }
    }
}

/// The address asked for, or any free port of it.
fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).or_else(|e| match e.kind() {
        std::io::ErrorKind::AddrInUse => TcpListener::bind(SocketAddr::new(address.ip(), 0)),
        _ => Err(e),
    });
    let listener = listener.with_context(|| format!("--listen {address}"))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn welcome(snapshot: &Snapshot, labels: &Labels, address: SocketAddr) -> String {
    let context = Context { version: VERSION, revision: REVISION, ..Context::default() };
    let metrics = render(snapshot, context, labels, Format::Text);
    let head: Vec<&str> =
        metrics.lines().filter(|line| !line.starts_with("# HELP")).take(HEAD_LINES).collect();
    format!(
        "A simulated node: 4 H100, the first cut into MIG instances; users come and go for 40 minutes.\n\
         Look at GPU 1, which several users share, GPU 2, which is held and does nothing, and 0_10_0, which is free.\n\
         Who they are comes from Unix, AstraGo's annotation and JupyterHub's: user_rule in gpu_session_info says which.\n\n\
         {}\nThe head of its metrics:\n\n{}\n\n\
         Its page, live: http://{address}/\n\
         Its metrics: http://{address}/metrics; try:\n\n\
         \x20 curl -s http://{address}/metrics | grep gpu_session_users\n\
         \x20 curl -s http://{address}/metrics | grep ^gpu_process_utilization\n\
         \x20 curl -s http://{address}/metrics | grep ^gpu_user_sm_seconds_total\n\n\
         Ctrl-C ends it.\n",
        table::snapshot(snapshot),
        head.join("\n"),
    )
}
