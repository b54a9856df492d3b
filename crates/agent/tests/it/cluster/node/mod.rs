//! A node: its kubelet's part, played on this machine, with the API as a kubelet has it and containers by the CRI.

mod agent;
mod config;
mod driver;
mod env;
mod exec;
mod logs;
mod probe;
mod register;
mod status;
mod track;
mod volumes;
mod worker;

use super::Cluster;
use agent::Agent;
use kube_sim::{Holdings, Kubelet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// Nodes that this process has made: each has an address of its own on loopback.
static NODES: AtomicU8 = AtomicU8::new(0);

/// A node of the cluster, until it is dropped.
///
/// It runs every pod that is bound to it: init containers in order, restarts, probes, configuration, projected tokens, host
/// paths (below its own folder), logs for `kubectl logs`. The network is the machine's. What it cannot do fails the
/// pod with a message that says so. A pod of the RuntimeClass `nvidia` that has `NVIDIA_VISIBLE_DEVICES` in a container's
/// environment finds the simulated driver there.
pub(crate) struct Node {
    cluster: Arc<Cluster>,
    agent: Arc<Agent>,
    /// What its kubelet gave away, told at the PodResources socket.
    holdings: kube_sim::Cluster,
    _kubelet: Kubelet,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Node {
    pub(super) fn start(cluster: &Arc<Cluster>, name: &str, labels: &[(&str, &str)], scenario: &str) -> Self {
        let root = cluster.folder.join(name);
        std::fs::create_dir(&root).unwrap_or_else(|e| panic!("{}: {e}; names must differ", root.display()));
        let ip = format!("127.0.1.{}", NODES.fetch_add(1, Ordering::Relaxed) + 1);
        let identity = cluster.control.authority.client(&format!("system:node:{name}"), Some("system:nodes"));
        cluster.control.write_kubeconfig(&root.join("kubeconfig"), &identity);
        for folder in ["etc", "var/lib/kubelet/pod-resources", "var/log/pods"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        std::fs::write(root.join("etc/passwd"), driver::passwd(scenario)).unwrap();
        let holdings = kube_sim::Cluster::new();
        let socket = root.join("var/lib/kubelet/pod-resources/kubelet.sock");
        let kubelet = Kubelet::start(&holdings, name, socket).unwrap();
        let agent = Arc::new(Agent::new(name, &ip, root, cluster.control.port));
        agent.driver.set(scenario);
        let serving = cluster.control.authority.server(name, &[&ip]);
        let server = logs::Server::bind(&ip, &serving, &cluster.control.authority.certificate);
        let (stop, stopped) = oneshot::channel();
        let labels = register::labels(name, labels);
        let run = agent::run(agent.clone(), labels, driver::gpus(scenario), server, stopped);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let thread = std::thread::Builder::new().name(name.to_owned());
        let thread = Some(thread.spawn(move || runtime.block_on(run)).unwrap());
        let cluster = cluster.clone();
        let node = Self { cluster, agent, holdings, _kubelet: kubelet, stop: Some(stop), thread };
        node.cluster.wait_for("the node to be ready", || {
            assert!(node.thread.as_ref().is_some_and(|thread| !thread.is_finished()), "the node has ended");
            let found = node.cluster.get(&format!("node/{name}"), "default");
            let conditions = found["status"]["conditions"].as_array().cloned().unwrap_or_default();
            // The controller of nodes takes the taint away.
            let ready = conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True");
            ready && found["spec"]["taints"].is_null()
        });
        node
    }

    /// Its name in the cluster.
    pub(crate) fn name(&self) -> &str {
        &self.agent.name
    }

    /// Its address, on loopback.
    pub(crate) fn ip(&self) -> &str {
        &self.agent.ip
    }

    /// Where a path of the node lies on this machine, such as the textfile that a hostPath puts there.
    pub(crate) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.agent.path(path)
    }

    /// From now on the simulated driver that a program loads does this.
    pub(crate) fn set_scenario(&self, scenario: &str) {
        self.agent.driver.set(scenario);
    }

    /// The host's pid of a container's first process, while it runs.
    pub(crate) fn pid(&self, namespace: &str, pod: &str, container: &str) -> Option<u32> {
        let id = self.agent.container_id(namespace, pod, container)?;
        self.cluster.containerd.pid(&id)
    }

    /// From now on the kubelet says that a container of a pod holds these devices of a resource (`nvidia.com/gpu`).
    pub(crate) fn allocate(&self, [namespace, pod, container]: [&str; 3], resource: &str, ids: &[&str]) {
        let held = Holdings::of(resource, ids.iter().copied());
        let pod_of = kube_sim::Pod::new(namespace, pod).on(self.name());
        self.holdings.put_pod(&pod_of.container(kube_sim::Container::new(container).holdings(held)));
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // The node first, lest its DaemonSets make new pods.
        let pods = format!("--field-selector=spec.nodeName={}", self.name());
        self.cluster.try_kubectl(&["delete", "node", self.name()]);
        let force =
            ["delete", "pods", "--all-namespaces", &pods, "--force", "--grace-period=0", "--wait=false"];
        self.cluster.try_kubectl(&force);
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in it has been printed; a drop must not add another.
            drop(thread.join());
        }
        let _ = std::fs::remove_dir_all(self.agent.path("/"));
    }
}
