//! A cluster around the simulated node: an API server and a kubelet that tell of the scenario's pods.

use crate::node::{EPOCH, Node};
use kube_sim::api::Rule;
use kube_sim::scenario::Playback;
use kube_sim::{ApiServer, Cluster, Kubelet};
use nvml_sim::scenario::Scenario;
use std::process::Command;

/// The node's name in the cluster.
pub(crate) const NODE: &str = "gpu-7";
/// The token of the agent's service account.
pub(crate) const TOKEN: &str = "a-token-that-nobody-may-see";
const ACCOUNT: &str = "system:serviceaccount:gpu-operator:gpu-session-monitor";

/// What surrounds a node.
pub(crate) struct Kubernetes {
    pub(crate) cluster: Cluster,
    pub(crate) api: ApiServer,
    pub(crate) kubelet: Kubelet,
    playback: Playback,
    /// Where the agent finds them; each can be left out by a test.
    pub(crate) with_api: bool,
    pub(crate) with_kubelet: bool,
}

impl Kubernetes {
    /// Starts them, with the rights that the documentation asks for.
    fn start(node: &Node, scenario: &str) -> Self {
        let cluster = Cluster::new();
        let api = ApiServer::start(&cluster).unwrap();
        api.accept_token_with(TOKEN, ACCOUNT, [documented_rights(&[])]);
        std::fs::write(node.path("token"), TOKEN).unwrap();
        std::fs::write(node.path("kubeconfig"), api.kubeconfig(&node.path("token"))).unwrap();
        let kubelet = Kubelet::start(&cluster, NODE, node.path("kubelet.sock")).unwrap();
        let scenario = Scenario::parse(scenario).unwrap();
        let playback = Playback::new(&cluster, &scenario, EPOCH * 1_000_000, NODE);
        Self { cluster, api, kubelet, playback, with_api: true, with_kubelet: true }
    }

    pub(crate) fn sync(&mut self, now_us: i64) {
        self.playback.sync(now_us);
    }

    /// Names them to the program.
    pub(crate) fn name_to(&self, node: &Node, command: &mut Command) {
        command.env("GPU_SESSION_MONITOR_KUBERNETES_NODE", NODE);
        if self.with_api {
            command.env("GPU_SESSION_MONITOR_KUBERNETES_KUBECONFIG", node.path("kubeconfig"));
        }
        if self.with_kubelet {
            command.env("GPU_SESSION_MONITOR_KUBELET_SOCKET", node.path("kubelet.sock"));
        }
    }
}

/// The rule of the ClusterRole in docs/attribution.md, and further resources.
pub(crate) fn documented_rights(further: &[&str]) -> Rule {
    let docs = include_str!("../../../../docs/attribution.md");
    let words = |key: &str| -> Vec<&str> {
        let line =
            docs.lines().find_map(|line| line.trim().strip_prefix(key)).expect("the ClusterRole of the docs");
        line.split('"').skip(1).step_by(2).collect()
    };
    let resources = [&words("resources:")[..], further].concat();
    Rule::new(&words("verbs:"), &resources)
}

impl Node {
    /// A node with Kubernetes around it.
    pub(crate) fn in_cluster(scenario: &str) -> Self {
        let mut node = Self::new(scenario);
        node.kubernetes = Some(Kubernetes::start(&node, scenario));
        node.at(0.0);
        node
    }

    pub(crate) fn cluster(&mut self) -> &mut Kubernetes {
        self.kubernetes.as_mut().expect("Node::in_cluster")
    }
}
