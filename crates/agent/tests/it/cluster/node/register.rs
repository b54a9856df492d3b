//! The node's own objects: Node and Lease.

use super::agent::{Agent, PAUSE};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Between two renewals of the lease; a kubelet's.
const RENEWAL: Duration = Duration::from_secs(10);

/// These labels, and those that every kubelet sets.
pub(super) fn labels(name: &str, labels: &[(&str, &str)]) -> BTreeMap<String, String> {
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let own = [("kubernetes.io/hostname", name), ("kubernetes.io/os", "linux"), ("kubernetes.io/arch", arch)];
    own.iter().chain(labels).map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// Makes the Node, and says that it is ready.
pub(super) async fn register(agent: &Agent, labels: BTreeMap<String, String>, gpus: usize, port: u16) {
    let nodes: Api<Node> = Api::all(agent.client());
    let node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": agent.name, "labels": labels },
    });
    let node: Node = serde_json::from_value(node).unwrap();
    nodes.create(&PostParams::default(), &node).await.unwrap();
    let status = json!({ "status": status(agent, gpus, port) });
    let params = PatchParams::default();
    nodes.patch_status(&agent.name, &params, &Patch::Strategic(&status)).await.unwrap();
}

fn status(agent: &Agent, gpus: usize, port: u16) -> Value {
    let mut capacity = json!({ "cpu": "8", "memory": "16Gi", "ephemeral-storage": "100Gi", "pods": "110" });
    if gpus > 0 {
        capacity["nvidia.com/gpu"] = json!(gpus.to_string());
    }
    let now = Timestamp::now().to_string();
    let condition = |kind: &str, status: &str, reason: &str| {
        json!({ "type": kind, "status": status, "reason": reason, "message": "as the tests have it",
                "lastHeartbeatTime": now, "lastTransitionTime": now })
    };
    json!({
        "capacity": capacity,
        "allocatable": capacity,
        "addresses": [
            { "type": "InternalIP", "address": agent.ip },
            { "type": "Hostname", "address": agent.name },
        ],
        "daemonEndpoints": { "kubeletEndpoint": { "Port": port } },
        "conditions": [
            condition("MemoryPressure", "False", "KubeletHasSufficientMemory"),
            condition("DiskPressure", "False", "KubeletHasNoDiskPressure"),
            condition("PIDPressure", "False", "KubeletHasSufficientPID"),
            condition("Ready", "True", "KubeletReady"),
        ],
    })
}

/// Renews the lease for ever.
pub(super) async fn renew(agent: &Agent) {
    let leases: Api<Lease> = Api::namespaced(agent.client(), "kube-node-lease");
    let params = PatchParams::apply("kubelet").force();
    loop {
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": { "name": agent.name },
            "spec": {
                "holderIdentity": agent.name,
                "leaseDurationSeconds": 40,
                "renewTime": format!("{:.6}", Timestamp::now()),
            },
        });
        let renewed = leases.patch(&agent.name, &params, &Patch::Apply(&lease)).await;
        tokio::time::sleep(if renewed.is_ok() { RENEWAL } else { PAUSE }).await;
    }
}
