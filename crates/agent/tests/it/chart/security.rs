//! The Pod Security Standards (https://kubernetes.io/docs/concepts/security/pod-security-standards/), in code, and
//! which of their rules each mode cannot keep. All of it is below `privileged`, and why stands in docs/kubernetes.md.

use super::{REMOVAL, all_values, containers, list, measuring, pods, removes, rendered};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Capabilities that `baseline` lets a container add.
const BASELINE_CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Volumes that `restricted` allows.
const RESTRICTED_VOLUMES: [&str; 7] =
    ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "secret"];

/// What `baseline` forbids of this pod.
pub(super) fn against_baseline(pod: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for host in ["hostPID", "hostIPC", "hostNetwork"] {
        if pod[host] == true {
            found.insert(host.to_owned());
        }
    }
    for volume in list(pod, "volumes") {
        if !volume["hostPath"].is_null() {
            found.insert(format!("hostPath {}", volume["name"].as_str().unwrap()));
        }
    }
    let unconfined = |context: &Value| context["seccompProfile"]["type"] == "Unconfined";
    if unconfined(&pod["securityContext"]) || !list(&pod["securityContext"], "sysctls").is_empty() {
        found.insert("seccomp or sysctls of the pod".into());
    }
    for container in containers(pod) {
        let context = &container["securityContext"];
        let mut against = |bad: bool, rule: &str| {
            if bad {
                found.insert(rule.to_owned());
            }
        };
        against(context["privileged"] == true, "privileged");
        against(unconfined(context), "seccomp");
        against(!context["procMount"].is_null(), "procMount");
        against(!context["seLinuxOptions"].is_null(), "seLinuxOptions");
        against(!context["appArmorProfile"].is_null(), "appArmorProfile");
        let added = list(&context["capabilities"], "add");
        against(added.iter().any(|c| !BASELINE_CAPABILITIES.contains(&c.as_str().unwrap())), "capabilities");
        against(list(container, "ports").iter().any(|port| !port["hostPort"].is_null()), "hostPort");
        for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
            against(!container[probe]["httpGet"]["host"].is_null(), "host of a probe");
        }
    }
    found
}

/// What `restricted` forbids beyond `baseline`.
pub(super) fn against_restricted(pod: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for volume in list(pod, "volumes") {
        let kind = volume.as_object().unwrap().keys().find(|key| *key != "name").unwrap();
        if !RESTRICTED_VOLUMES.contains(&kind.as_str()) {
            found.insert(format!("a volume of {kind}"));
        }
    }
    let of_pod = &pod["securityContext"];
    for container in containers(pod) {
        let context = &container["securityContext"];
        let set = |key: &str| if context[key].is_null() { &of_pod[key] } else { &context[key] };
        let mut against = |bad: bool, rule: &str| {
            if bad {
                found.insert(rule.to_owned());
            }
        };
        against(context["allowPrivilegeEscalation"] != false, "allowPrivilegeEscalation");
        against(set("runAsNonRoot") != true, "runAsNonRoot");
        against(*set("runAsUser") == 0, "runAsUser 0");
        let seccomp = &set("seccompProfile")["type"];
        against(*seccomp != "RuntimeDefault" && *seccomp != "Localhost", "seccomp");
        let capabilities = &context["capabilities"];
        let dropped = list(capabilities, "drop").iter().any(|c| c == "ALL");
        let added = list(capabilities, "add").iter().any(|c| c != "NET_BIND_SERVICE");
        against(!dropped || added, "capabilities");
    }
    found
}

fn set(rules: &[&str]) -> BTreeSet<String> {
    rules.iter().map(|&rule| rule.to_owned()).collect()
}

/// Every pod of these values that measures is against these rules and no others.
fn only(name: &str, baseline: &[&str], restricted: &[&str]) {
    let all = measuring(&rendered(name));
    assert!(!all.is_empty());
    for (maker, pod) in all {
        assert_eq!(against_baseline(&pod), set(baseline), "{name} {maker}: baseline");
        assert_eq!(against_restricted(&pod), set(restricted), "{name} {maker}: restricted");
    }
}

/// Both modes need the level `privileged`: the driver names processes by pids of the node (hostPID), and the counters,
/// the textfile, the kubelet's socket and the passwd file are the node's (hostPath). Root is for the socket and for
/// folders that nobody prepared.
#[test]
fn both_modes_break_the_rules_that_they_must_and_no_others() {
    let root = ["a volume of hostPath", "runAsNonRoot", "runAsUser 0"];
    let cronjob =
        ["hostPID", "hostPath textfile", "hostPath state", "hostPath pod-resources", "hostPath passwd"];
    let daemonset =
        ["hostPID", "hostPath textfile", "hostPath state", "hostPath pod-resources", "hostPath passwd"];
    for name in ["defaults", "seed", "cronjob-cluster", "single-node"] {
        only(name, &cronjob, &root);
    }
    for name in
        ["daemonset", "daemonset-secured", "daemonset-rules", "no-api", "service-monitor", "existing-stack"]
    {
        only(name, &daemonset, &root);
    }
}

/// The kernel tells of processes in the node's network only, and before 6.6 to nobody without the capability.
#[test]
fn process_events_break_two_rules_more() {
    let baseline = [
        "hostPID",
        "hostNetwork",
        "capabilities",
        "hostPath textfile",
        "hostPath state",
        "hostPath pod-resources",
        "hostPath passwd",
    ];
    let restricted = ["a volume of hostPath", "runAsNonRoot", "runAsUser 0", "capabilities"];
    only("process-events", &baseline, &restricted);
    for (_, pod) in measuring(&rendered("process-events")) {
        assert_eq!(pod["dnsPolicy"], "ClusterFirstWithHostNet");
        for container in containers(&pod) {
            let added = &container["securityContext"]["capabilities"]["add"];
            let wanted = if removes(container) { Value::Null } else { json!(["NET_ADMIN"]) };
            assert_eq!(*added, wanted);
        }
    }
    for (name, _) in all_values() {
        let text = rendered(&name);
        let used =
            text.contains("hostNetwork") || text.contains("NET_ADMIN") || text.contains("process-events");
        assert_eq!(used, name == "process-events", "{name}");
    }
}

/// Who cleans up needs the two folders, and root where they are root's: no driver, no pids, no API.
#[test]
fn the_removal_has_the_two_folders_and_nothing_else() {
    let mut found = 0;
    for (name, _) in all_values() {
        for (maker, pod) in pods(&rendered(&name)).into_iter().filter(|(maker, _)| maker == REMOVAL) {
            found += 1;
            let root = pod["securityContext"]["runAsUser"] == 0;
            let folders = match (root, &*name) {
                (false, "daemonset-unprivileged-user") => panic!("nothing of it is left on a node"),
                _ => set(&["hostPath textfile", "hostPath state"]),
            };
            assert_eq!(against_baseline(&pod), folders, "{name} {maker}");
            let restricted = ["a volume of hostPath", "runAsNonRoot", "runAsUser 0"];
            assert_eq!(against_restricted(&pod), set(&restricted[..if root { 3 } else { 1 }]), "{name}");
            assert_eq!(pod["automountServiceAccountToken"], false, "{name}");
            assert!(pod["runtimeClassName"].is_null(), "{name}");
        }
    }
    assert!(found > 10);
}

/// Without root it keeps every rule of `restricted` but the volumes; without anything of the node, hostPID is all.
#[test]
fn without_root_only_the_node_s_pids_and_folders_are_left() {
    let volumes = ["a volume of hostPath"];
    let folders = ["hostPID", "hostPath textfile", "hostPath state", "hostPath passwd"];
    only("cronjob-unprivileged-user", &folders, &volumes);
    only("daemonset-unprivileged-user", &["hostPID"], &[]);
}

#[test]
fn the_monitor_of_mig_is_privileged_on_its_nodes_and_nothing_else_is() {
    let root = ["a volume of hostPath", "runAsNonRoot", "runAsUser 0"];
    for name in ["mig-monitor", "mig-cluster", "mig-daemonset"] {
        let (mut privileged, mut others) = (0, 0);
        for (maker, pod) in measuring(&rendered(name)) {
            let found = (against_baseline(&pod).contains("privileged"), against_restricted(&pod));
            if maker.ends_with("-mig") {
                privileged += 1;
                let more = [&root[..], &["allowPrivilegeEscalation", "capabilities"]].concat();
                assert_eq!(found, (true, set(&more)), "{name} {maker}");
            } else {
                others += 1;
                assert_eq!(found, (false, set(&root)), "{name} {maker}");
            }
        }
        assert!(privileged == others && others > 0, "{name}");
    }
    for (name, _) in all_values() {
        for (maker, pod) in pods(&rendered(&name)) {
            for container in containers(&pod) {
                let wanted = maker.ends_with("-mig") && !removes(container);
                assert_eq!(container["securityContext"]["privileged"] == true, wanted, "{name} {maker}");
                let text = container.to_string();
                assert_eq!(text.contains("NVIDIA_MIG_MONITOR_DEVICES"), wanted, "{name} {maker}");
            }
        }
    }
}

#[test]
fn no_container_takes_a_gpu_or_writes_where_it_need_not() {
    for (name, _) in all_values() {
        for (maker, pod) in pods(&rendered(&name)) {
            for container in containers(&pod) {
                assert!(!container["resources"].to_string().contains("nvidia.com"), "{name} {maker}");
                assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true, "{name} {maker}");
                let env = container["env"].to_string();
                let driver = [
                    r#"{"name":"NVIDIA_VISIBLE_DEVICES","value":"all"}"#,
                    r#"{"name":"NVIDIA_DRIVER_CAPABILITIES","value":"utility"}"#,
                ];
                let wanted = !removes(container);
                assert!(driver.iter().all(|variable| env.contains(variable) == wanted), "{name}: {env}");
                for mount in list(container, "volumeMounts") {
                    let written = ["state", "textfile"].contains(&mount["name"].as_str().unwrap());
                    assert_eq!(mount["readOnly"] == true, !written, "{name} {maker}: {mount}");
                }
            }
        }
    }
}
