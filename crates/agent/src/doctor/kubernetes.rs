//! Kubernetes: its kubelet, its API, its container runtime, and our collectors in it.

use super::{Finding, Scene};
use gpu_session_sources::kubernetes::survey::{COLLECTORS, Coverage, GPU_NODES, Right, Survey};
use std::collections::BTreeSet;
use std::os::unix::net::UnixStream;

/// Of many nodes only so many are named.
const MOST_NAMES: usize = 10;

pub(super) fn kubelet(scene: &Scene<'_>) -> Vec<Finding> {
    let Some(source) = scene.source("kubelet") else {
        return vec![Finding::skipped("not asked: no kubelet on this node, or kubelet.socket is off")];
    };
    if !source.errors.is_empty() {
        return Finding::errors(&source.errors);
    }
    let allocations = scene.sample.allocations.as_ref();
    let held = allocations.map_or(0, |allocations| allocations.containers.len());
    let offered = allocations
        .and_then(|allocations| allocations.allocatable.as_ref())
        .map_or_else(String::new, |ids| format!(", it can give {}", ids.len()));
    vec![Finding::ok(format!("it answers: containers that hold a GPU: {held}{offered}"))]
}

pub(super) fn api(scene: &Scene<'_>) -> Vec<Finding> {
    let (Some(source), Some(api)) = (scene.source("kubernetes"), &scene.settings.kubernetes) else {
        return vec![Finding::skipped("not asked: this is no pod, and no kubeconfig is named")];
    };
    if !source.errors.is_empty() {
        return Finding::errors(&source.errors);
    }
    let pods = scene.sample.pods.iter().find(|list| &*list.source == "kubernetes");
    let pods = pods.map_or(0, |list| list.pods.len());
    let node = &api.node;
    vec![if pods == 0 {
        let remedy = "see that kubernetes.node is this node's name: kubectl get nodes";
        Finding::warning(format!("it answers, and has no pod on {node:?}"), remedy)
    } else {
        Finding::ok(format!("it answers, pods on {node}: {pods}"))
    }]
}

fn surveyed<'a>(scene: &'a Scene<'_>) -> Result<&'a Survey, Vec<Finding>> {
    match &scene.survey {
        None => Err(vec![Finding::skipped("the Kubernetes API is not asked")]),
        Some(Err(error)) => Err(vec![Finding::said(&error.message)]),
        Some(Ok(survey)) => Ok(survey),
    }
}

pub(super) fn rights(scene: &Scene<'_>) -> Vec<Finding> {
    match surveyed(scene) {
        Ok(survey) if survey.missing.is_empty() => {
            vec![Finding::ok("what the settings ask for may be listed and watched")]
        }
        Ok(survey) => vec![Finding::failed(
            format!("not allowed: {}", words(&survey.missing)),
            "bind the service account to a ClusterRole with list and watch on them (docs/attribution.md)",
        )],
        Err(findings) => findings,
    }
}

fn words(rights: &[Right]) -> String {
    rights.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

pub(super) fn collectors(scene: &Scene<'_>) -> Vec<Finding> {
    match surveyed(scene) {
        Ok(survey) => vec![coverage(&survey.coverage)],
        // Told once, by the line of the rights.
        Err(_) => vec![Finding::skipped("the Kubernetes API does not say")],
    }
}

fn coverage(coverage: &Coverage) -> Finding {
    let (nodes, covered) = match coverage {
        Coverage::Hidden(missing) => {
            return Finding::skipped(format!(
                "not allowed: {}; the collector itself does without",
                words(missing)
            ));
        }
        Coverage::Seen { nodes, covered } => (nodes, covered),
    };
    if nodes.is_empty() {
        return Finding::warning(
            format!("no node has the label {GPU_NODES}"),
            "see that the GPU Operator's feature discovery runs, or label GPU nodes: kubectl label node <name> \
             nvidia.com/gpu.present=true",
        );
    }
    let bare: BTreeSet<&String> = nodes.difference(covered).collect();
    if bare.is_empty() {
        return Finding::ok(format!("a pod of ours on every node with a GPU: {}", nodes.len()));
    }
    let named: Vec<&str> = bare.iter().take(MOST_NAMES).map(|name| name.as_str()).collect();
    let more = bare.len() - named.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Finding::warning(
        format!("GPU nodes without a pod of ours that runs or did its work: {}{more}", named.join(", ")),
        format!(
            "kubectl get pods -A -o wide -l {COLLECTORS}; where none is there see the CronJob's or DaemonSet's events"
        ),
    )
}

pub(super) fn cri(scene: &Scene<'_>) -> Vec<Finding> {
    let (Some(source), Some(socket)) = (scene.source("cri"), &scene.settings.cri_socket) else {
        return vec![Finding::skipped("not asked (cri.socket)")];
    };
    if !source.errors.is_empty() {
        return Finding::errors(&source.errors);
    }
    if let Some(list) = scene.sample.pods.iter().find(|list| &*list.source == "cri") {
        return vec![Finding::ok(format!("it answers, pods: {}", list.pods.len()))];
    }
    // The runtime is asked only for pods that others do not know: whether it could be is seen by connecting.
    vec![match UnixStream::connect(socket) {
        Ok(_) => Finding::ok("the socket can be used; no pod is there that others do not know"),
        Err(e) => Finding::failed(
            format!("{}: {e}", socket.display()),
            "mount the runtime's socket into this container, name it with cri.socket, and run as root",
        ),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_nodes_a_few_are_named() {
        let nodes = (0..100).map(|n| format!("gpu-{n:03}")).collect();
        let finding = coverage(&Coverage::Seen { nodes, covered: BTreeSet::from(["gpu-000".to_owned()]) });
        assert!(finding.detail.contains("gpu-001") && finding.detail.ends_with("gpu-010 and 89 more"));
    }
}
