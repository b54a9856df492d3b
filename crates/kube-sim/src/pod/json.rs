//! Pods as the API server tells them: with all that a real one carries, so that sizes are real too.

use super::{Container, ContainerKind, Phase, Pod};
use serde_json::{Map, Value, json};
use std::time::SystemTime;

/// A moment as Kubernetes writes it.
pub(crate) fn timestamp(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}

/// The object of a pod, without its resource version.
pub(crate) fn render(pod: &Pod) -> Value {
    let mut object = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata(pod),
        "spec": spec(pod),
        "status": status(pod),
    });
    set_phase(&mut object, pod.phase, pod.start);
    object
}

fn metadata(pod: &Pod) -> Value {
    let mut annotations = pod.annotations.clone();
    if let Some(hash) = &pod.static_hash {
        let marks = [
            ("kubernetes.io/config.hash", hash.clone()),
            ("kubernetes.io/config.mirror", hash.clone()),
            ("kubernetes.io/config.seen", timestamp(pod.start)),
            ("kubernetes.io/config.source", "file".to_owned()),
        ];
        annotations.extend(marks.map(|(key, value)| (key.to_owned(), value)));
    }
    let mut metadata = json!({
        "name": pod.name,
        "namespace": pod.namespace,
        "uid": pod.uid,
        "generation": 1,
        "creationTimestamp": timestamp(pod.start),
        "managedFields": [
            managed("kube-controller-manager", None, "f:spec", pod),
            managed("kubelet", Some("status"), "f:status", pod),
        ],
    });
    // Empty maps are left out, as Go leaves them out.
    if !pod.labels.is_empty() {
        metadata["labels"] = json!(pod.labels);
    }
    if !annotations.is_empty() {
        metadata["annotations"] = json!(annotations);
    }
    if let Some(owner) = owner(pod) {
        metadata["ownerReferences"] = json!([owner]);
    }
    metadata
}

fn owner(pod: &Pod) -> Option<Value> {
    if pod.static_hash.is_some() {
        let (name, uid) = (&pod.node, crate::uuid_of(&pod.node));
        return Some(
            json!({ "apiVersion": "v1", "kind": "Node", "name": name, "uid": uid, "controller": true }),
        );
    }
    let (kind, name) = pod.owner.as_ref()?;
    let version = match kind.as_str() {
        "Job" | "CronJob" => "batch/v1",
        "Node" | "Pod" | "ReplicationController" => "v1",
        _ => "apps/v1",
    };
    Some(json!({
        "apiVersion": version,
        "kind": kind,
        "name": name,
        "uid": crate::uuid_of(&format!("{kind}/{name}")),
        "controller": true,
        "blockOwnerDeletion": true,
    }))
}

/// One manager's fields. They are about half of a real pod's bytes.
fn managed(manager: &str, subresource: Option<&str>, part: &str, pod: &Pod) -> Value {
    let names = [
        "f:image",
        "f:imagePullPolicy",
        "f:name",
        "f:resources",
        "f:terminationMessagePath",
        "f:terminationMessagePolicy",
        "f:volumeMounts",
        "f:env",
    ];
    let container: Map<String, Value> = names.iter().map(|name| ((*name).to_owned(), json!({}))).collect();
    let containers: Map<String, Value> = pod
        .containers
        .iter()
        .map(|one| (format!("k:{{\"name\":\"{}\"}}", one.name), json!(container)))
        .collect();
    let mut managed = json!({
        "manager": manager,
        "operation": "Update",
        "apiVersion": "v1",
        "time": timestamp(pod.start),
        "fieldsType": "FieldsV1",
        "fieldsV1": {
            "f:metadata": { "f:labels": { ".": {} }, "f:ownerReferences": { ".": {} } },
            part: {
                "f:containers": containers,
                "f:dnsPolicy": {}, "f:enableServiceLinks": {}, "f:restartPolicy": {}, "f:schedulerName": {},
                "f:securityContext": {}, "f:terminationGracePeriodSeconds": {},
            },
        },
    });
    if let Some(subresource) = subresource {
        managed["subresource"] = json!(subresource);
    }
    managed
}

fn spec(pod: &Pod) -> Value {
    let of = |wanted: &[ContainerKind]| -> Vec<Value> {
        pod.containers.iter().filter(|one| wanted.contains(&one.kind)).map(container).collect()
    };
    let mut spec = json!({
        "containers": of(&[ContainerKind::Main]),
        "dnsPolicy": "ClusterFirst",
        "enableServiceLinks": true,
        "preemptionPolicy": "PreemptLowerPriority",
        "priority": 0,
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "serviceAccount": "default",
        "serviceAccountName": "default",
        "terminationGracePeriodSeconds": 30,
        "tolerations": [
            { "key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute",
              "tolerationSeconds": 300 },
            { "key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute",
              "tolerationSeconds": 300 },
        ],
        "volumes": [{
            "name": "kube-api-access-x7k2p",
            "projected": { "defaultMode": 420, "sources": [
                { "serviceAccountToken": { "expirationSeconds": 3607, "path": "token" } },
                { "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
            ] },
        }],
    });
    if !pod.node.is_empty() {
        spec["nodeName"] = json!(pod.node);
    }
    for (key, kinds) in [
        ("initContainers", &[ContainerKind::Init, ContainerKind::Sidecar][..]),
        ("ephemeralContainers", &[ContainerKind::Ephemeral]),
    ] {
        let list = of(kinds);
        if !list.is_empty() {
            spec[key] = json!(list);
        }
    }
    spec
}

fn container(container: &Container) -> Value {
    let mut limits = json!({ "cpu": "8", "memory": "64Gi" });
    for devices in &container.holdings.devices {
        limits[&devices.resource] = json!(devices.ids.len().to_string());
    }
    let mut object = json!({
        "name": container.name,
        "image": container.image,
        "imagePullPolicy": "IfNotPresent",
        "env": [
            { "name": "NCCL_DEBUG", "value": "WARN" },
            { "name": "POD_NAME", "valueFrom": { "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.name" } } },
        ],
        "resources": { "limits": limits.clone(), "requests": limits },
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "volumeMounts": [{
            "name": "kube-api-access-x7k2p", "readOnly": true,
            "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
        }],
    });
    match container.kind {
        ContainerKind::Sidecar => object["restartPolicy"] = json!("Always"),
        // Ephemeral containers may not ask for resources.
        ContainerKind::Ephemeral => object["resources"] = json!({}),
        ContainerKind::Main | ContainerKind::Init => {}
    }
    object
}

fn status(pod: &Pod) -> Value {
    let mut status = json!({
        "hostIP": "10.0.0.11",
        "hostIPs": [{ "ip": "10.0.0.11" }],
        "podIP": "10.244.1.17",
        "podIPs": [{ "ip": "10.244.1.17" }],
        "qosClass": "Guaranteed",
        "startTime": timestamp(pod.start),
    });
    for (key, kinds) in [
        ("containerStatuses", &[ContainerKind::Main][..]),
        ("initContainerStatuses", &[ContainerKind::Init, ContainerKind::Sidecar]),
        ("ephemeralContainerStatuses", &[ContainerKind::Ephemeral]),
    ] {
        let containers = pod.containers.iter().filter(|one| kinds.contains(&one.kind));
        let list: Vec<Value> = containers.map(container_status).collect();
        if !list.is_empty() {
            status[key] = json!(list);
        }
    }
    status
}

fn container_status(container: &Container) -> Value {
    let mut status = json!({
        "name": container.name,
        "image": container.image,
        "imageID": format!("registry.example.com/team/training@sha256:{:064x}", 0xab),
        "lastState": {},
        "restartCount": 0,
    });
    if !container.id.is_empty() {
        status["containerID"] = json!(format!("containerd://{}", container.id));
    }
    status
}

/// Sets the phase and what follows from it: conditions and states of the containers.
pub(crate) fn set_phase(object: &mut Value, phase: Phase, at: SystemTime) {
    let at = timestamp(at);
    let running = phase == Phase::Running;
    let condition = |kind: &str, holds: bool| {
        let holds = if holds { "True" } else { "False" };
        json!({ "type": kind, "status": holds, "lastProbeTime": null, "lastTransitionTime": at })
    };
    let scheduled = object["spec"]["nodeName"].is_string();
    let sidecars = sidecars(object);
    let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) else { return };
    status.insert("phase".to_owned(), json!(phase.word()));
    status.insert(
        "conditions".to_owned(),
        json!([
            condition("PodReadyToStartContainers", running),
            condition("Initialized", phase != Phase::Pending),
            condition("Ready", running),
            condition("ContainersReady", running),
            condition("PodScheduled", scheduled),
        ]),
    );
    for (key, is_init) in
        [("containerStatuses", false), ("initContainerStatuses", true), ("ephemeralContainerStatuses", false)]
    {
        let Some(list) = status.get_mut(key).and_then(Value::as_array_mut) else { continue };
        for container in list {
            // Init containers have ended when the main ones run.
            let has_ended =
                is_init && running && !sidecars.iter().any(|name| container["name"] == name.as_str());
            set_state(container, if has_ended { Phase::Succeeded } else { phase }, &at);
        }
    }
}

/// Names of the init containers that run beside the main ones.
fn sidecars(object: &Value) -> Vec<String> {
    let init = object["spec"]["initContainers"].as_array().into_iter().flatten();
    let sidecars = init.filter(|container| container["restartPolicy"] == "Always");
    sidecars.filter_map(|container| Some(container["name"].as_str()?.to_owned())).collect()
}

fn set_state(container: &mut Value, phase: Phase, at: &str) {
    let id = container["containerID"].clone();
    let exists = id.is_string();
    let since = container["state"]["running"]["startedAt"].as_str().unwrap_or(at).to_owned();
    let Some(container) = container.as_object_mut() else { return };
    let ended = |code: u8, reason: &str| {
        json!({ "terminated": {
            "exitCode": code, "reason": reason, "startedAt": since, "finishedAt": at, "containerID": id,
        } })
    };
    let state = match phase {
        Phase::Running | Phase::Unknown if exists => json!({ "running": { "startedAt": since } }),
        Phase::Succeeded if exists => ended(0, "Completed"),
        Phase::Failed if exists => ended(1, "Error"),
        _ => json!({ "waiting": { "reason": "ContainerCreating" } }),
    };
    let runs = state.get("running").is_some();
    container.insert("state".to_owned(), state);
    container.insert("started".to_owned(), json!(runs));
    container.insert("ready".to_owned(), json!(runs));
}
