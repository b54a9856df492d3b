//! That the cluster runs pods as a cluster does.

use super::process::Process;
use super::{Cluster, Node};
use crate::containers::{ROOT, cgroups, image};
use crate::node::plain;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

impl Cluster {
    /// Makes a pod of one container with this script on a node, and of what else the specification says.
    fn run(&self, node: &Node, name: &str, script: &str, spec: &Value, container: &Value) {
        let mut own = json!({ "name": "main", "image": image::TOOLS, "command": ["sh", "-c", script] });
        own.as_object_mut().unwrap().extend(container.as_object().unwrap().clone());
        let mut whole = json!({
            "restartPolicy": "Never",
            "nodeSelector": { "kubernetes.io/hostname": node.name() },
            "containers": [own],
        });
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        self.apply(&json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "namespace": "default" },
            "spec": whole,
        }));
    }

    fn pod(&self, name: &str) -> Value {
        self.get(&format!("pod/{name}"), "default")
    }

    fn wait_for_phase(&self, name: &str, phase: &str) -> Value {
        self.wait_for(&format!("{name} to be {phase}"), || self.pod(name)["status"]["phase"] == phase);
        self.pod(name)["status"].take()
    }

    fn is_ready(&self, name: &str) -> bool {
        let conditions = self.pod(name)["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
    }

    fn log(&self, name: &str) -> String {
        self.kubectl(&["logs", name])
    }
}

/// A volume `host` at `/host`, which is the folder `/var/lib/spoken` of the node.
fn host() -> (Value, Value) {
    let path = json!({ "path": "/var/lib/spoken", "type": "DirectoryOrCreate" });
    (json!([{ "name": "host", "hostPath": path }]), json!([{ "name": "host", "mountPath": "/host" }]))
}

#[test]
fn a_pod_runs_with_its_configuration_and_its_log_can_be_read() {
    let cluster = Cluster::shared();
    let _turn = cluster.turn();
    let node = cluster.node("n0", &[], &plain(1, ""));
    let metadata = json!({ "name": "words", "namespace": "default" });
    cluster.apply(&json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": { "greeting": "hello" } }));
    cluster.apply(
        &json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": { "word": "mellon" } }),
    );
    let first = json!({
        "name": "first", "image": image::TOOLS, "command": ["sh", "-c", "echo begun >/shared/note"],
        "volumeMounts": [{ "name": "shared", "mountPath": "/shared" }],
    });
    let spec = json!({
        "volumes": [
            { "name": "words", "configMap": { "name": "words" } },
            { "name": "secret", "secret": { "secretName": "words", "defaultMode": 256 } },
            { "name": "none", "secret": { "secretName": "none", "optional": true } },
            { "name": "shared", "emptyDir": {} },
            host().0[0],
        ],
        "initContainers": [first],
    });
    let container = json!({
        "env": [
            { "name": "NODE", "valueFrom": { "fieldRef": { "fieldPath": "spec.nodeName" } } },
            { "name": "WORD", "valueFrom": { "secretKeyRef": { "name": "words", "key": "word" } } },
            { "name": "NONE", "valueFrom": { "configMapKeyRef": { "name": "words", "key": "none", "optional": true } } },
            { "name": "BOTH", "value": "$(NODE)/$(WORD)$(NONE)" },
        ],
        "volumeMounts": [
            { "name": "words", "mountPath": "/words" },
            { "name": "secret", "mountPath": "/secret", "readOnly": true },
            { "name": "none", "mountPath": "/none" },
            { "name": "shared", "mountPath": "/shared" },
            host().1[0],
        ],
    });
    let script = "cat /words/greeting; echo; cat /shared/note; echo $BOTH '$$(NODE)'; ls -l /secret/word | sed 's/ .*//'; \
        cat /var/run/secrets/kubernetes.io/serviceaccount/namespace >/host/namespace; exit 3";
    cluster.run(&node, "speaker", script, &spec, &container);
    let status = cluster.wait_for_phase("speaker", "Failed");
    assert_eq!(status["containerStatuses"][0]["state"]["terminated"]["exitCode"], 3, "{status:#}");
    assert_eq!(cluster.log("speaker"), "hello\nbegun\nn0/mellon$(NONE) $(NODE)\n-r--------\n");
    assert_eq!(std::fs::read_to_string(node.path("/var/lib/spoken/namespace")).unwrap(), "default");
    cluster.kubectl(&["delete", "pod", "speaker"]);
    assert_eq!(cluster.pod("speaker"), Value::Null);
}

#[test]
fn containers_are_confined_as_their_pod_says() {
    let cluster = Cluster::shared();
    let _turn = cluster.turn();
    let node = cluster.node("n1", &[], &plain(1, ""));
    let script = "exec 2>&1; id -u; id -g; id -G; sed -n 's/^\\(CapEff\\|NoNewPrivs\\|Seccomp\\):\\t//p' /proc/self/status; \
        echo >/file; ls /usr/lib/*/libnvidia-ml.so.1";
    let context = json!({
        "runAsUser": 1234, "runAsGroup": 99, "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false,
        "capabilities": { "drop": ["ALL"] }, "seccompProfile": { "type": "RuntimeDefault" },
    });
    let spec = json!({ "securityContext": { "supplementalGroups": [7] }, "runtimeClassName": "nvidia" });
    cluster.run(&node, "confined", script, &spec, &json!({ "securityContext": context }));
    let devices = json!([{ "name": "NVIDIA_VISIBLE_DEVICES", "value": "all" }]);
    cluster.run(&node, "equipped", script, &spec, &json!({ "env": devices }));
    cluster.wait_for_phase("confined", "Failed");
    cluster.wait_for_phase("equipped", "Succeeded");
    let log = cluster.log("confined");
    assert!(log.starts_with("1234\n99\n99 7\n0000000000000000\n1\n2\n"), "{log}");
    assert!(log.contains("Read-only file system") && log.contains("No such file"), "{log}");
    let log = cluster.log("equipped");
    assert!(log.starts_with("0\n0\n") && log.ends_with("/libnvidia-ml.so.1\n"), "{log}");
}

#[test]
fn what_fails_is_run_again_and_what_takes_too_much_is_ended() {
    let cluster = Cluster::shared();
    let _turn = cluster.turn();
    let node = cluster.node("n2", &[], &plain(1, ""));
    let (volumes, mounts) = host();
    let script = "echo run; test -e /host/twice || { echo >/host/twice; exit 1; }";
    let spec = json!({ "restartPolicy": "OnFailure", "volumes": volumes });
    cluster.run(&node, "retried", script, &spec, &json!({ "volumeMounts": mounts }));
    cluster.run(&node, "late", "sleep 600", &json!({ "activeDeadlineSeconds": 1 }), &json!({}));
    let goes_on = json!({ "name": "side", "image": image::TOOLS, "restartPolicy": "Always" });
    cluster.run(&node, "odd", "sleep 600", &json!({ "initContainers": [goes_on] }), &json!({}));
    cluster.run(&node, "missing", "sleep 600", &json!({}), &json!({ "image": "localhost/none:1" }));
    let limits = json!({ "resources": { "limits": { "memory": "32Mi" } } });
    cluster.run(&node, "hungry", "tail /dev/zero", &json!({}), &limits);
    let status = cluster.wait_for_phase("retried", "Succeeded");
    let main = &status["containerStatuses"][0];
    assert_eq!((&main["restartCount"], &main["lastState"]["terminated"]["exitCode"]), (&json!(1), &json!(1)));
    assert_eq!(cluster.log("retried"), "run\n");
    assert_eq!(cluster.wait_for_phase("late", "Failed")["reason"], "DeadlineExceeded");
    let status = cluster.wait_for_phase("hungry", "Failed");
    assert_eq!(status["containerStatuses"][0]["state"]["terminated"]["reason"], "OOMKilled", "{status:#}");
    let status = cluster.wait_for_phase("odd", "Failed");
    assert!(
        status["message"].as_str().unwrap().contains("the tests' node has no init containers"),
        "{status:#}"
    );
    cluster.wait_for("the reason of the image that is missing", || {
        let status = cluster.pod("missing")["status"].take();
        status["containerStatuses"][0]["state"]["waiting"]["reason"] == "ErrImagePull"
    });
}

#[test]
fn a_deleted_pod_may_end_by_itself_and_leaves_nothing() {
    let cluster = Cluster::shared();
    let _turn = cluster.turn();
    let node = cluster.node("n3", &[], &plain(1, ""));
    let (volumes, mounts) = host();
    let script = "trap 'echo over >/host/over; exit 0' TERM; echo >/host/begun; while :; do sleep 0.1; done";
    cluster.run(&node, "ender", script, &json!({ "volumes": volumes }), &json!({ "volumeMounts": mounts }));
    cluster.wait_for("it to run", || node.path("/var/lib/spoken/begun").exists());
    let pid = node.pid("default", "ender", "main").unwrap();
    let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let uid = cluster.pod("ender")["metadata"]["uid"].as_str().unwrap().to_owned();
    let parent = format!("{ROOT}/kubepods/besteffort/pod{uid}");
    assert!(cgroup.contains(&format!(":{parent}/")), "{cgroup}");
    cluster.kubectl(&["delete", "pod", "ender"]);
    assert_eq!(std::fs::read_to_string(node.path("/var/lib/spoken/over")).unwrap(), "over\n");
    cluster.wait_for("its cgroup to go", || cgroups(&parent).is_empty());
    assert!(node.pid("default", "ender", "main").is_none());
    assert!(!node.path("/var/lib/kubelet/pods").join(uid).exists());
}

#[test]
fn a_pod_is_ready_once_its_probe_is_answered() {
    let cluster = Cluster::shared();
    let _turn = cluster.turn();
    let node = cluster.node("n4", &[], &plain(1, ""));
    let port = crate::chain::free_port();
    let probe = json!({ "tcpSocket": { "port": "named" }, "periodSeconds": 1 });
    let ports = json!([{ "name": "named", "containerPort": port }]);
    cluster.run(&node, "slow", "sleep 600", &json!({}), &json!({ "ports": ports, "readinessProbe": probe }));
    cluster.wait_for_phase("slow", "Running");
    assert!(!cluster.is_ready("slow"));
    let _listener = std::net::TcpListener::bind((node.ip(), port)).unwrap();
    cluster.wait_for("it to be ready", || cluster.is_ready("slow"));
}

#[test]
fn a_program_of_the_cluster_ends_when_whoever_guards_it_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let sleep =
        ["/bin/sleep", "/usr/bin/sleep"].map(Path::new).into_iter().find(|path| path.exists()).unwrap();
    let process = Process::start(folder.path(), sleep, &["600".to_owned()]);
    // Until then nobody has tied it to its guard.
    let comm = format!("/proc/{}/comm", process.pid);
    let is_sleep = || std::fs::read_to_string(&comm).is_ok_and(|comm| comm == "sleep\n");
    crate::containers::wait_for("the program to run", is_sleep);
    assert!(process.is_running());
    let killed = Command::new("kill").args(["-9", &process.guard().to_string()]).status().unwrap();
    assert!(killed.success());
    crate::containers::wait_for("the program to end", || !process.is_running());
}
