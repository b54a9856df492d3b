//! A real cluster: etcd, the API server, its controllers and scheduler, and nodes that run pods as real containers.
//!
//! ```ignore
//! let cluster = Cluster::shared();
//! let _turn = cluster.turn();
//! let node = cluster.node("gpu-0", &[("nvidia.com/gpu.present", "true")], &plain(1, ""));
//! cluster.kubectl(&["apply", "-f", "pod.yaml"]);
//! cluster.wait_for("the pod to end", || cluster.get("pod/trainer", "default")["status"]["phase"] == "Succeeded");
//! cluster.helm(&["install", "gpu-session-monitoring", chart, "--namespace", "gpu-operator"]);
//! assert!(node.path("/var/lib/node_exporter/textfile_collector/gpu_sessions.prom").exists());
//! ```

mod chart;
mod control;
mod node;
mod pki;
mod process;
pub(crate) mod program;
mod tests;

pub(crate) use node::Node;

use crate::containers::{self, Containerd};
use crate::node::{Run, workspace};
use control::ControlPlane;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// A cluster without nodes, until a test adds some. It ends, and leaves nothing, with the last of those who hold it.
pub(crate) struct Cluster {
    control: ControlPlane,
    folder: PathBuf,
    turn: Mutex<()>,
    /// The last to be dropped: it removes all that lies in the folder.
    containerd: Arc<Containerd>,
}

static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
/// Clusters that this process has started.
static CLUSTERS: AtomicUsize = AtomicUsize::new(0);

/// The program of this name: one that was made for the tests, else the machine's.
fn tool(name: &str) -> PathBuf {
    let found = std::env::split_paths(&path()).map(|folder| folder.join(name)).find(|file| file.exists());
    found
        .unwrap_or_else(|| panic!("{name} is neither in target/test-tools nor in PATH: `make test` makes it"))
}

/// Where programs are looked for.
fn path() -> OsString {
    let tools = workspace().join("target/test-tools");
    let folders = [tools.join("bin"), tools.join("deb/usr/bin")].into_iter();
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(folders.chain(std::env::split_paths(&path))).unwrap()
}

impl Cluster {
    /// The one that runs, or one that is started.
    pub(crate) fn shared() -> Arc<Self> {
        // Whoever panicked while starting it has left nothing here.
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let cluster = Arc::new(Self::start());
            *shared = Arc::downgrade(&cluster);
            cluster
        })
    }

    fn start() -> Self {
        for name in ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "helm"]
        {
            tool(name);
        }
        let containerd = Containerd::shared();
        // Of its own: the one before may be just about to remove what it has left.
        let folder = format!("cluster{}", CLUSTERS.fetch_add(1, Ordering::Relaxed));
        let folder = Path::new(containers::FOLDER).join(folder);
        std::fs::create_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        std::fs::create_dir(folder.join("home")).unwrap();
        let control = ControlPlane::start(&folder);
        // While the API server starts.
        program::import(&containerd, &folder);
        let mut cluster = Self { control, folder, turn: Mutex::default(), containerd };
        cluster.wait_for("the API server", || cluster.try_kubectl(&["get", "--raw=/readyz"]).code == 0);
        cluster.control.start_others();
        // Without it no pod is admitted.
        let account = ["get", "serviceaccount/default", "--namespace=default"];
        cluster.wait_for("the first service account", || cluster.try_kubectl(&account).code == 0);
        cluster.apply(&json!({
            "apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": { "name": "nvidia" },
            "handler": "nvidia",
        }));
        cluster
    }

    /// Keeps the cluster for one test, until it is dropped: take it before anything is made. There is one release of
    /// the chart, and some tests look at all objects that there are.
    pub(crate) fn turn(&self) -> MutexGuard<'_, ()> {
        // A test that failed has dropped its nodes; what else it has made, the next one meets.
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kubeconfig of an administrator.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.join("admin.kubeconfig")
    }

    /// A program or script with the administrator's kubeconfig, all tools in `PATH` and nobody's configuration.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let program = program.as_ref();
        let is_name = program.components().count() == 1;
        let mut command =
            if is_name { Command::new(tool(program.to_str().unwrap())) } else { Command::new(program) };
        command.env_clear().env("PATH", path()).env("HOME", self.folder.join("home"));
        command.env("KUBECONFIG", self.kubeconfig());
        command
    }

    /// Runs kubectl with these arguments.
    pub(crate) fn try_kubectl(&self, args: &[&str]) -> Run {
        Run::of(self.command("kubectl").args(args).output().unwrap())
    }

    /// What kubectl says, which must go well.
    pub(crate) fn kubectl(&self, args: &[&str]) -> String {
        let run = self.try_kubectl(args);
        assert_eq!(run.code, 0, "kubectl {}: {}{}", args.join(" "), run.stderr, run.stdout);
        run.stdout
    }

    /// What helm says, which must go well.
    pub(crate) fn helm(&self, args: &[&str]) -> String {
        let run = Run::of(self.command("helm").args(args).output().unwrap());
        assert_eq!(run.code, 0, "helm {}: {}{}\n{}", args.join(" "), run.stderr, run.stdout, self.events());
        run.stdout
    }

    /// Makes or changes an object.
    pub(crate) fn apply(&self, object: &Value) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), object.to_string()).unwrap();
        self.kubectl(&["apply", "--filename", file.path().to_str().unwrap()]);
    }

    /// An object (`pod/trainer`) of a namespace, or a list of them (`pods`); null where there is none.
    pub(crate) fn get(&self, what: &str, namespace: &str) -> Value {
        let text =
            self.kubectl(&["get", what, "--namespace", namespace, "--ignore-not-found", "--output=json"]);
        if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() }
    }

    /// The objects of a list (`pods`) of a namespace that have these labels (`app=a,tier=b`).
    pub(crate) fn list(&self, what: &str, namespace: &str, labels: &str) -> Vec<Value> {
        let args = ["get", what, "--namespace", namespace, "--selector", labels, "--output=json"];
        let mut list: Value = serde_json::from_str(&self.kubectl(&args)).unwrap();
        serde_json::from_value(list["items"].take()).unwrap()
    }

    /// A node of these labels, beside those that every node has, with the GPUs of a scenario. It goes when it is
    /// dropped. Names are short (`gpu-0`): a socket lies below a folder of this name.
    pub(crate) fn node(self: &Arc<Self>, name: &str, labels: &[(&str, &str)], scenario: &str) -> Node {
        Node::start(self, name, labels, scenario)
    }

    /// Waits for a condition, for five minutes at most.
    pub(crate) fn wait_for(&self, what: &str, condition: impl Fn() -> bool) {
        let end = Instant::now() + Duration::from_secs(300);
        while !condition() {
            assert!(Instant::now() < end, "waited in vain for {what}\n{}", self.events());
            assert!(self.control.is_running(), "a part of the cluster has ended\n{}", self.control.said());
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// What there is and what has happened, for messages.
    pub(crate) fn events(&self) -> String {
        let pods = self.try_kubectl(&["get", "pods,jobs,daemonsets", "--all-namespaces", "--output=wide"]);
        let of_pods = [
            "get",
            "pods",
            "--all-namespaces",
            "--output=jsonpath={range .items[*]}{.metadata.name}{' '}{.status}{'\\n'}{end}",
        ];
        let status = self.try_kubectl(&of_pods);
        let events = self.try_kubectl(&["get", "events", "--all-namespaces"]);
        let said = [pods.stdout, pods.stderr, status.stdout, events.stdout, self.control.said()];
        said.join("\n")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.control.stop();
        // What is left goes with the containerd.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
