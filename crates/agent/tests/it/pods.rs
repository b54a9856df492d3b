//! The program on real containers' processes: a simulated GPU, and everything else as it is on a node.

use crate::containers::{Container, Containerd, Pod, PodSpec, Qos};
use crate::node::{Metrics, Run, driver, program};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

/// A node of three GPUs with the machine's own /proc and clock.
pub(crate) struct RealNode {
    dir: tempfile::TempDir,
    /// When it began, Unix seconds.
    epoch: u64,
}

/// What a real process does on a GPU.
pub(crate) struct Work {
    pid: u32,
    gpu: usize,
    /// Percent of the time.
    sm: u32,
    gib: u32,
}

impl RealNode {
    pub(crate) fn new(works: &[Work]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        // The work has begun before anybody looks.
        let node = Self { dir, epoch: now - 60 };
        node.set(works);
        node
    }

    /// What runs from now on, and has always run.
    pub(crate) fn set(&self, works: &[Work]) {
        let gpus = "  - { model: NVIDIA L40S, memory: 48GiB }\n".repeat(3);
        let processes: String = works.iter().map(Work::yaml).collect();
        let processes = if works.is_empty() { " []\n".to_owned() } else { format!("\n{processes}") };
        let scenario = format!("version: 1\ngpus:\n{gpus}processes:{processes}");
        std::fs::write(self.path("scenario.yaml"), scenario).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(args);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        let set = [
            ("NVML_SIM_SCENARIO", self.path("scenario.yaml")),
            ("GPU_SESSION_MONITOR_NVML_LIBRARY", driver()),
            ("GPU_SESSION_MONITOR_PROC_ROOT", PathBuf::from("/proc")),
            ("GPU_SESSION_MONITOR_STATE_DIR", self.path("state")),
            ("GPU_SESSION_MONITOR_TEXTFILE", self.path("gpu_sessions.prom")),
        ];
        command.envs(set).env("NVML_SIM_EPOCH", self.epoch.to_string());
        // Not that of the machine that the tests run on.
        command.env("GPU_SESSION_MONITOR_KUBELET_SOCKET", "off");
        command
    }

    /// A `collect` with these arguments that must go well, and what it wrote.
    pub(crate) fn collected(&self, args: &[&str]) -> Metrics {
        let args = [&["collect"], args].concat();
        let run = Run::of(self.command(&args).output().unwrap());
        assert_eq!(run.code, 0, "{}", run.stderr);
        Metrics::parse(&std::fs::read_to_string(self.path("gpu_sessions.prom")).unwrap())
    }
}

impl Work {
    pub(crate) fn by(pid: u32, gpu: usize) -> Self {
        Self { pid, gpu, sm: 5, gib: 1 }
    }

    pub(crate) fn of(container: &Container, gpu: usize) -> Self {
        Self { pid: container.pid, gpu, sm: 40, gib: 12 }
    }

    fn yaml(&self) -> String {
        let Self { pid, gpu, sm, gib } = self;
        // The name is the scenario's alone: the program must find the real one.
        format!(
            "  - {{ pid: {pid}, name: simulated, devices: [{{ gpu: {gpu}, sm: {sm}, memory: {gib}GiB }}] }}\n"
        )
    }
}

/// A process outside all containers, which ends with the test.
struct Outside(Child);

impl Outside {
    fn start() -> Self {
        Self(Command::new("sleep").arg("600").stdout(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// That the series of a container's process say what is true of it. Not how busy it is: it is younger than the
/// driver's samples of it.
fn assert_placed(metrics: &Metrics, pod: &Pod, container: &Container, gpu: usize) {
    let (gpu, pid) = (gpu.to_string(), format!("gpu{gpu}_{}", container.pid));
    let process = [("gpu", gpu.as_str()), ("pid", &pid), ("command", &container.comm())];
    let of = format!("{}/{} {pid}", pod.spec.namespace, pod.spec.name);
    let info = [&process[..], &[("status", "active")]].concat();
    assert_eq!(metrics.get("gpu_process_info", &info), Some(1.0), "{of}");
    assert_eq!(metrics.get("gpu_process_memory_utilization", &process), Some(25.0), "{of}");
}

#[test]
fn processes_of_real_pods_are_sessions_with_their_real_names() {
    let runtime = Containerd::shared();
    let training = runtime.run_pod(&PodSpec::new("training", Qos::Guaranteed));
    let (main, side) =
        (training.run("main", &["sleep", "600"]), training.run("side", &["tail", "-f", "/dev/null"]));
    let notebook = runtime.run_pod(&PodSpec::new("notebook", Qos::BestEffort));
    let jupyter = notebook.run("jupyter", &["sh", "-c", "while :; do sleep 600; done"]);
    let outside = Outside::start();
    let alone = Work::by(outside.0.id(), 1);
    let node = RealNode::new(&[Work::of(&main, 0), Work::of(&side, 0), Work::of(&jupyter, 1), alone]);
    let metrics = node.collected(&[]);
    assert_eq!(metrics.get("gpu_session_count", &[("gpu", "0")]), Some(2.0));
    assert_eq!(metrics.get("gpu_session_count", &[("gpu", "1")]), Some(2.0));
    assert_eq!(metrics.get("gpu_total_sessions", &[]), Some(4.0));
    assert_eq!([main.comm(), side.comm(), jupyter.comm()], ["sleep", "tail", "sh"]);
    assert_placed(&metrics, &training, &main, 0);
    assert_placed(&metrics, &training, &side, 0);
    assert_placed(&metrics, &notebook, &jupyter, 1);
    let pid = format!("gpu1_{}", outside.0.id());
    assert_eq!(
        metrics.get("gpu_process_info", &[("pid", &pid), ("command", "sleep"), ("pod", "")]),
        Some(1.0)
    );
}

#[test]
fn the_session_of_a_stopped_container_ends_and_its_successor_is_another() {
    let runtime = Containerd::shared();
    let pod = runtime.run_pod(&PodSpec::new("restarted", Qos::Burstable));
    let first = pod.run("main", &["sleep", "600"]);
    let node = RealNode::new(&[Work::of(&first, 0)]);
    let before = node.collected(&[]);
    assert_placed(&before, &pod, &first, 0);
    first.stop();
    first.remove();
    let second = pod.run("main", &["sleep", "600"]);
    node.set(&[Work::of(&second, 0)]);
    let after = node.collected(&[]);
    assert_eq!(after.get("gpu_session_count", &[("gpu", "0")]), Some(1.0));
    assert_placed(&after, &pod, &second, 0);
    let session = |metrics: &Metrics| metrics.label("gpu_session_info", "session").concat();
    assert_ne!(session(&before), session(&after));
}
