//! That the cluster runs pods as a cluster does.

use super::Cluster;
use crate::containers::image;
use crate::node::plain;
use serde_json::{Value, json};

fn phase(cluster: &Cluster, pod: &str) -> Value {
    cluster.get(&format!("pod/{pod}"), "default")["status"]["phase"].clone()
}

#[test]
fn a_pod_runs_with_its_configuration_and_its_log_can_be_read() {
    let cluster = Cluster::shared();
    let _turn = cluster.turn();
    let node = cluster.node("n0", &[("pool", "a")], &plain(1, ""));
    cluster.apply(&json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "words", "namespace": "default" },
        "data": { "greeting": "hello" },
    }));
    cluster.apply(&json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "speaker", "namespace": "default" },
        "spec": {
            "restartPolicy": "Never",
            "nodeSelector": { "pool": "a" },
            "volumes": [
                { "name": "words", "configMap": { "name": "words" } },
                { "name": "shared", "emptyDir": {} },
                { "name": "host", "hostPath": { "path": "/var/lib/spoken", "type": "DirectoryOrCreate" } },
            ],
            "initContainers": [{
                "name": "first", "image": image::TOOLS, "command": ["sh", "-c", "echo begun >/shared/note"],
                "volumeMounts": [{ "name": "shared", "mountPath": "/shared" }],
            }],
            "containers": [{
                "name": "main", "image": image::TOOLS,
                "command": ["sh", "-c", "cat /words/greeting; echo; cat /shared/note; echo $(NODE) '$$(NODE)'; \
                    cat /var/run/secrets/kubernetes.io/serviceaccount/namespace >/host/namespace; id -u; exit 3"],
                "env": [{ "name": "NODE", "valueFrom": { "fieldRef": { "fieldPath": "spec.nodeName" } } }],
                "securityContext": { "runAsUser": 0, "readOnlyRootFilesystem": true },
                "volumeMounts": [
                    { "name": "words", "mountPath": "/words" },
                    { "name": "shared", "mountPath": "/shared" },
                    { "name": "host", "mountPath": "/host" },
                ],
            }],
        },
    }));
    cluster.wait_for("the pod to end", || phase(&cluster, "speaker") == "Failed");
    let status = cluster.get("pod/speaker", "default")["status"].take();
    assert_eq!(status["containerStatuses"][0]["state"]["terminated"]["exitCode"], 3, "{status:#}");
    assert_eq!(cluster.kubectl(&["logs", "speaker"]), "hello\nbegun\nn0 $(NODE)\n0\n");
    assert_eq!(std::fs::read_to_string(node.path("/var/lib/spoken/namespace")).unwrap(), "default");
    cluster.kubectl(&["delete", "pod", "speaker"]);
    assert_eq!(cluster.get("pod/speaker", "default"), Value::Null);
}
