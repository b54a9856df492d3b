//! The nodes: real processes, which every exporter finds in /proc, on simulated GPUs.

use crate::cases::{Case, Stage};
use crate::exporter::{self, Row};
use crate::pods;
use anyhow::{Context as _, ensure};
use kube_sim::scenario::Playback;
use kube_sim::{ApiServer, Cluster, Kubelet};
use nvml_sim::Scenario;
use std::fmt::Write as _;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};

const MIG: &str = include_str!("../../../../testdata/scenarios/mig-224.yaml");
pub(crate) const PROCESSES: u32 = 224;
const GPUS: u32 = 8;
const INSTANCES: u32 = 7;
const NAME: &str = "bench-node";

/// How the GPUs are divided.
#[derive(Clone, Copy)]
pub(crate) enum Layout {
    Plain,
    Mig,
}

impl Layout {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "8 GPUs x 28 processes",
            Self::Mig => "8 GPUs x 7 MIG instances x 4 processes",
        }
    }

    /// The scenario of these processes.
    fn scenario(self, pids: &[u32]) -> anyhow::Result<String> {
        let (divided, _) = MIG.split_once("processes:\n").context("the scenario has no processes")?;
        let gpu = "  - { model: NVIDIA H100 80GB HBM3, memory: 80GiB, reserved: 600MiB }\n";
        let mut text = match self {
            Self::Plain => format!("version: 1\ngpus:\n{}", gpu.repeat(GPUS as usize)),
            Self::Mig => divided.replace("gpm: true", "gpm: false"),
        };
        text.push_str("processes:\n");
        for (pid, number) in pids.iter().zip(0_u32..) {
            let (gpu, place) = (number % GPUS, number / GPUS);
            let instance = match self {
                Self::Plain => String::new(),
                Self::Mig => format!("instance: {}/0, ", 7 + place % INSTANCES),
            };
            let sm = 1 + number % 3;
            writeln!(
                text,
                "  - {{ pid: {pid}, name: bench, devices: [{{ gpu: {gpu}, {instance}memory: 1GiB, sm: {sm}, mem: 1 }}] }}"
            )?;
        }
        Ok(text)
    }
}

/// A node, and the processes that run on it.
pub(crate) struct Node {
    pub(crate) stage: Stage,
    children: Vec<Child>,
}

impl Node {
    pub(crate) fn make(layout: Layout) -> anyhow::Result<Self> {
        let own = std::env::current_exe()?;
        let child = |_| Command::new(&own).arg("process").stdin(Stdio::piped()).spawn();
        let children = (0..PROCESSES).map(child).collect::<Result<Vec<_>, _>>()?;
        let pids: Vec<u32> = children.iter().map(Child::id).collect();
        let case = Case::plain(layout.name(), PROCESSES, layout.scenario(&pids)?);
        let stage = Stage::make(&case)?;
        // Not everybody asks for the library by its whole name.
        std::fs::create_dir(stage.path("lib"))?;
        for name in ["lib/libnvidia-ml.so", "lib/libnvidia-ml.so.1"] {
            std::os::unix::fs::symlink(stage.library(), stage.path(name))?;
        }
        // By its answer some find out whether there is a GPU at all, before they ask NVML.
        let command = stage.path("bin/nvidia-smi");
        std::fs::create_dir(stage.path("bin"))?;
        std::fs::write(&command, "#!/bin/sh\necho 'GPU 0: NVIDIA H100 80GB HBM3'\n")?;
        std::fs::set_permissions(&command, Permissions::from_mode(0o755))?;
        Ok(Self { stage, children })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        for child in &mut self.children {
            drop(child.stdin.take());
            let _ = child.wait();
        }
    }
}

/// A process of the node: it ends when its parent lets go of it.
pub(crate) fn idle() -> anyhow::Result<()> {
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(())
}

/// `serve` where as many sessions are in pods, with the API and the kubelet; all of the node is simulated, for real
/// processes are in no pod.
pub(crate) fn in_pods() -> anyhow::Result<Row> {
    let text = pods::scenario(PROCESSES, PROCESSES / 8, true);
    let stage = Stage::make(&Case::plain("pods", PROCESSES, text.clone()))?;
    let cluster = Cluster::new();
    let api = ApiServer::start_plain(&cluster, 0)?;
    std::fs::write(stage.path("token"), "bench")?;
    std::fs::write(stage.path("kubeconfig"), api.kubeconfig(&stage.path("token")))?;
    let kubelet = Kubelet::start(&cluster, NAME, stage.path("kubelet.sock"))?;
    Playback::new(&cluster, &Scenario::parse(&text)?, stage.epoch_us(), NAME).sync(stage.epoch_us() + 1);
    let socket = kubelet.socket().display().to_string();
    let flags = [
        ("--proc-root", stage.text("proc")),
        ("--kubernetes-kubeconfig", stage.text("kubeconfig")),
        ("--kubernetes-node", NAME.to_owned()),
        ("--kubelet-socket", socket),
    ];
    let row = exporter::measure(&exporter::serve("serve, Kubernetes sources", &stage, &flags)?, &stage)?;
    ensure!(!cluster.requests().is_empty(), "the API was not asked");
    Ok(row)
}
