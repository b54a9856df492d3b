//! Kubernetes: its kubelet, its API, and our rights and collectors there.

use super::{Report, examine, seed};
use crate::kubernetes::{NODE, TOKEN, documented_rights};
use crate::node::{Node, scenario_file};
use kube_sim::Pod;
use kube_sim::api::{Fault, Rule};

fn cluster() -> Node {
    let mut node = Node::in_cluster(&scenario_file("seed.yaml"));
    node.at(60.0);
    node
}

/// From now on the agent's token may do this.
fn allow(node: &mut Node, rules: &[Rule]) {
    let account = "system:serviceaccount:gpu-operator:gpu-session-monitor";
    node.cluster().api.accept_token_with(TOKEN, account, rules.iter().cloned());
}

fn collector(node: &str) -> Pod {
    Pod::new("gpu-operator", format!("collector-on-{node}"))
        .label("app.kubernetes.io/name", "gpu-session-monitoring")
        .on(node)
}

#[test]
fn a_plain_node_is_asked_nothing() {
    let report = examine(&seed(), &[]);
    for check in ["kubelet", "Kubernetes API", "API rights", "collectors", "CRI", "DCGM exporter"] {
        report.assert(check, "skipped", &[]);
    }
    assert_eq!(report.code, 0);
}

#[test]
fn with_the_documented_rights_all_is_well_and_what_they_hide_is_said() {
    let node = cluster();
    let report = examine(&node, &[]);
    report.assert("kubelet", "ok", &["hold a GPU: 3, it can give 4"]);
    report.assert("Kubernetes API", "ok", &["pods on gpu-7: 3"]);
    report.assert("API rights", "ok", &[]);
    report.assert("collectors", "skipped", &["list nodes", "does without"]);
    assert_eq!(report.code, 0);
}

#[test]
fn missing_rights_are_named() {
    let mut node = cluster();
    allow(&mut node, &[Rule::new(&["list"], &["pods"])]);
    let report = examine(&node, &[]);
    report.assert("API rights", "failed", &["not allowed: watch pods", "ClusterRole"]);
    let config = node.path("rules.yaml");
    std::fs::write(&config, "users: { rules: [{ from: namespace_label, key: team }] }\n").unwrap();
    allow(&mut node, &[documented_rights(&[])]);
    let report = examine(&node, &["--config", config.to_str().unwrap()]);
    report.assert("API rights", "failed", &["list namespaces, watch namespaces"]);
    allow(&mut node, &[documented_rights(&["namespaces"])]);
    examine(&node, &["--config", config.to_str().unwrap()]).assert("API rights", "ok", &[]);
    assert_eq!(report.code, 1);
}

#[test]
fn every_gpu_node_needs_a_collector() {
    let mut node = cluster();
    allow(&mut node, &[documented_rights(&["nodes"])]);
    let report = |node: &Node| examine(node, &[]);
    report(&node).assert("collectors", "warning", &["nvidia.com/gpu.present=true", "kubectl label node"]);
    let gpu = [("nvidia.com/gpu.present", "true")];
    for name in [NODE, "gpu-8"] {
        node.cluster().cluster.put_node(name, gpu);
    }
    node.cluster().cluster.put_node("cpu-1", []);
    node.cluster().cluster.put_pod(&collector(NODE));
    let one = report(&node);
    one.assert("collectors", "warning", &["ours that runs or did its work: gpu-8\"", "kubectl get pods"]);
    assert_eq!(one.code, 0);
    node.cluster().cluster.put_pod(&collector("gpu-8").phase(kube_sim::Phase::Failed));
    report(&node).assert("collectors", "warning", &["gpu-8"]);
    node.cluster().cluster.put_pod(&collector("gpu-8").phase(kube_sim::Phase::Succeeded));
    report(&node).assert("collectors", "ok", &["every node with a GPU: 2"]);
}

#[test]
fn what_does_not_answer_fails() {
    let mut node = cluster();
    node.cluster().api.stop();
    node.cluster().kubelet.stop();
    let report: Report = examine(&node, &["--cri-socket", "/nonexistent/cri.sock"]);
    for check in ["kubelet", "Kubernetes API", "API rights", "CRI"] {
        report.assert(check, "failed", &[]);
    }
    report.assert("collectors", "skipped", &[]);
    assert_eq!(report.code, 1);
    node.cluster().api.restart().unwrap();
    node.cluster().api.revoke_token(TOKEN);
    examine(&node, &[]).assert("API rights", "failed", &["token"]);
    node.cluster().api.set_fault(Fault::None);
}

#[test]
fn a_container_runtime_that_answers_is_well() {
    use crate::containers::Containerd;
    let _runtime = Containerd::shared();
    let socket = Containerd::socket();
    examine(&seed(), &["--cri-socket", socket.to_str().unwrap()]).assert("CRI", "ok", &[]);
}

#[test]
fn another_name_for_the_node_is_suspected() {
    let report = examine(&cluster(), &["--kubernetes-node", "gpu-seven"]);
    report.assert("Kubernetes API", "warning", &["gpu-seven", "kubectl get nodes"]);
}
