//! What leaves the nodes clean: the Job when the chart is uninstalled, the first container after a change of mode.

use super::{REMOVAL, all_values, containers, list, of_kind, pods, removes, rendered, template};
use crate::node::{Node, Run, plain};
use serde_json::{Value, json};

fn removal(text: &str) -> Option<Value> {
    let named = |job: &Value| job["metadata"]["name"] == "gpu-session-metrics-removal";
    of_kind(text, "Job").into_iter().find(named)
}

#[test]
fn it_runs_before_the_cron_job_goes_and_after_the_agents_are_gone() {
    for (name, wanted) in [("defaults", "pre-delete"), ("daemonset", "post-delete")] {
        let job = removal(&rendered(name)).unwrap();
        let annotations = &job["metadata"]["annotations"];
        assert_eq!(annotations["helm.sh/hook"], wanted, "{name}");
        assert_eq!(annotations["helm.sh/hook-delete-policy"], "before-hook-creation,hook-succeeded");
        assert_eq!(job["spec"]["activeDeadlineSeconds"], 180);
        // After the release its account is gone, before it an administrator may have given rights to it.
        let account = &job["spec"]["template"]["spec"]["serviceAccountName"];
        assert_eq!(account.is_null(), name == "daemonset", "{name}: {account}");
    }
    let kept = rendered("no-api");
    assert_eq!(removal(&kept).unwrap()["spec"]["template"]["spec"]["serviceAccountName"], "monitors");
}

/// Whether the pod keeps off nodes where the other runs.
pub(super) fn repels(one: &Value, other: &Value) -> bool {
    let rule = &one["spec"]["affinity"]["podAntiAffinity"];
    let [term] = list(rule, "requiredDuringSchedulingIgnoredDuringExecution") else { panic!("{rule}") };
    assert_eq!(term["topologyKey"], "kubernetes.io/hostname");
    let labels = &other["metadata"]["labels"];
    let selector = &term["labelSelector"];
    let wanted = selector["matchLabels"].as_object().unwrap();
    let [within] = list(selector, "matchExpressions") else { panic!("{selector}") };
    assert_eq!(within["operator"], "In");
    !wanted.is_empty()
        && wanted.iter().all(|(key, value)| labels[key] == *value)
        && list(within, "values").contains(&labels[within["key"].as_str().unwrap()])
}

#[test]
fn pods_of_a_run_keep_off_no_agent_that_comes_after_a_change_of_mode() {
    let agent = of_kind(&rendered("daemonset"), "DaemonSet").remove(0)["spec"]["template"].take();
    let text = rendered("defaults");
    let run = of_kind(&text, "CronJob").remove(0)["spec"]["jobTemplate"]["spec"]["template"].take();
    assert!(repels(&run, &run) && !repels(&run, &agent));
    assert!(agent["spec"]["affinity"].is_null());
}

#[test]
fn it_waits_for_every_pod_that_measures_and_those_for_it() {
    for name in ["defaults", "mig-cluster", "daemonset"] {
        let text = rendered(name);
        let job = removal(&text).unwrap();
        let template = &job["spec"]["template"];
        let mut all = vec![template.clone()];
        for kind in ["Job", "CronJob"] {
            for maker in of_kind(&text, kind) {
                let path = if kind == "Job" { "/spec/template" } else { "/spec/jobTemplate/spec/template" };
                all.push(maker.pointer(path).unwrap().clone());
            }
        }
        for pod in &all {
            assert!(repels(template, pod) && repels(pod, template), "{name}: {pod}");
        }
        for agents in of_kind(&text, "DaemonSet") {
            assert!(repels(template, &agents["spec"]["template"]), "{name}");
            // Nor does Prometheus ask it.
            let selector = agents["spec"]["selector"]["matchLabels"].as_object().unwrap();
            let labels = &template["metadata"]["labels"];
            assert!(selector.iter().any(|(key, value)| labels[key] != *value), "{name}");
        }
        assert!(template["metadata"]["annotations"].is_null(), "{name}");
    }
}

#[test]
fn where_nothing_is_to_be_removed_there_is_no_job() {
    assert!(removal(&template(&["--set", "removal.enabled=false"]).unwrap()).is_none());
    assert!(removal(&rendered("daemonset-unprivileged-user")).is_none());
    for (name, _) in all_values() {
        let wanted = !["disabled", "daemonset-unprivileged-user"].contains(&&*name);
        assert_eq!(removal(&rendered(&name)).is_some(), wanted, "{name}");
    }
}

#[test]
fn agents_remove_the_textfile_of_the_other_mode_first() {
    for (name, wanted) in
        [("daemonset", true), ("mig-daemonset", true), ("daemonset-unprivileged-user", false)]
    {
        for agents in of_kind(&rendered(name), "DaemonSet") {
            let first = list(&agents["spec"]["template"]["spec"], "initContainers").to_vec();
            assert_eq!(first.len(), usize::from(wanted), "{name}");
            assert!(first.iter().all(removes), "{name}");
            // What it keeps from run to run stays, and no pod waits for another.
            assert!(
                !json!(first).to_string().contains("PURGE") && !json!(first).to_string().contains("--stay")
            );
        }
    }
    let none = template(&["--set", "collection.mode=daemonset,textfile.hostPath="]).unwrap();
    assert!(!none.contains("initContainers") && !none.contains("/host/textfile"));
}

/// The container's arguments, with folders of the node.
fn arguments(container: &Value, node: &Node) -> Vec<String> {
    let own = |argument: &Value| {
        let text = argument.as_str().unwrap();
        let text = text.replace("/host/textfile", node.path("textfiles").to_str().unwrap());
        let text = text.replace("/var/lib/gpu-session-monitor", node.path("state").to_str().unwrap());
        if text.starts_with("--stay=") { "--stay=1ms".to_owned() } else { text }
    };
    list(container, "args").iter().map(own).collect()
}

#[test]
fn the_containers_remove_what_the_chart_s_own_collector_wrote() {
    for (name, maker, purged) in [
        ("defaults", REMOVAL, false),
        ("defaults", REMOVAL, true),
        ("daemonset", REMOVAL, true),
        ("daemonset", "DaemonSet/gpu-session-monitoring", false),
    ] {
        let mut node = Node::new(&plain(1, ""));
        node.at(10.0);
        node.collected();
        let (_, pod) = pods(&rendered(name)).into_iter().find(|(found, _)| found == maker).unwrap();
        let container = containers(&pod).find(|container| removes(container)).unwrap();
        let arguments = arguments(container, &node);
        let mut command = std::process::Command::new(crate::node::program());
        command.args(&arguments).env_clear();
        if purged {
            let [variable] = list(container, "env") else { panic!("{container}") };
            let map = &variable["valueFrom"]["configMapKeyRef"];
            let wanted =
                json!({ "name": "gpu-session-monitoring-removal", "key": "purge", "optional": true });
            assert_eq!(*map, wanted);
            command.env(variable["name"].as_str().unwrap(), "true");
        }
        let run = Run::of(command.output().unwrap());
        assert_eq!(run.code, 0, "{name} {maker}: {}", run.stderr);
        assert!(!node.textfile().exists(), "{name} {maker}");
        assert_eq!(node.path("state").exists(), !purged, "{name} {maker}: {}", run.stderr);
    }
}
