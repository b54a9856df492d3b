//! The chart, installed with helm on a cluster with two nodes that have GPUs and one that has none.

use super::program::REPOSITORY;
use super::{Cluster, Node};
use crate::chart::chart;
use crate::containers::image;
use crate::node::{Metrics, plain};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::PathBuf;

const NAMESPACE: &str = "gpu-operator";
/// Name of the CronJob, and of the Job that takes the first sample.
const COLLECTOR: &str = "gpu-session-metrics-collector";
/// What every node with GPUs is labelled with.
const GPU: (&str, &str) = ("nvidia.com/gpu.present", "true");

/// The GPU of every node that has one.
const UUID: &str = "GPU-5e550000-0000-4000-8000-000000000000";
/// A node's driver that has no GPU.
const NO_GPU: &str = "version: 1\ngpus: []\nprocesses: []\n";

/// The chart's release; it is uninstalled when this is dropped.
struct Release<'a>(&'a Cluster);

impl<'a> Release<'a> {
    fn install(cluster: &'a Cluster, values: &[&str]) -> Self {
        let release = Self(cluster);
        release.helm(&["install", "--create-namespace"], values);
        release
    }

    fn upgrade(&self, values: &[&str]) {
        self.helm(&["upgrade"], values);
    }

    fn uninstall(&self) {
        self.0.helm(&["uninstall", "gpu-session-monitoring", "--namespace", NAMESPACE]);
    }

    fn helm(&self, command: &[&str], values: &[&str]) {
        let chart = chart();
        let image = format!("image.repository={REPOSITORY}");
        let name =
            ["gpu-session-monitoring", chart.to_str().unwrap(), "--namespace", NAMESPACE, "--set", &image];
        let values: Vec<&str> = values.iter().flat_map(|value| ["--set", value]).collect();
        self.0.helm(&[command, &name, &values].concat());
    }
}

impl Drop for Release<'_> {
    fn drop(&mut self) {
        // Whatever has become of it, the next test finds nothing: the namespace goes too, with what hooks have left.
        for args in [
            &[
                "delete",
                "clusterrole,clusterrolebinding",
                "--selector=app.kubernetes.io/instance=gpu-session-monitoring",
            ][..],
            &["delete", "namespace", NAMESPACE, "--timeout=120s"],
        ] {
            self.0.try_kubectl(args);
        }
    }
}

/// Runs a pod of a user, which sleeps on a node; its host's pid.
fn sleeper(cluster: &Cluster, node: &Node, namespace: &str, name: &str, user: &str) -> u32 {
    cluster.apply(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } }));
    let ready = || cluster.get("serviceaccount/default", namespace) != Value::Null;
    cluster.wait_for("the namespace's service account", ready);
    cluster.apply(&json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": namespace, "annotations": { "creator-user-name": user } },
        "spec": {
            "nodeSelector": { "kubernetes.io/hostname": node.name() },
            "terminationGracePeriodSeconds": 0,
            "containers": [{ "name": "main", "image": image::TOOLS, "command": ["sleep", "3600"] }],
        },
    }));
    let what = format!("pod/{name}");
    cluster.wait_for("the pod to run", || cluster.get(&what, namespace)["status"]["phase"] == "Running");
    node.pid(namespace, name, "main").expect("it runs")
}

/// The scenario of one GPU that a process works on.
fn used_by(pid: u32) -> String {
    plain(
        1,
        &format!("  - {{ pid: {pid}, name: simulated, devices: [{{ gpu: 0, sm: 40, memory: 12GiB }}] }}\n"),
    )
}

fn textfile(node: &Node) -> PathBuf {
    node.path("/var/lib/node_exporter/textfile_collector/gpu_sessions.prom")
}

fn metrics(node: &Node) -> Metrics {
    let file = textfile(node);
    Metrics::parse(&std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display())))
}

fn sampled(node: &Node) -> f64 {
    metrics(node)
        .get("gpu_session_collector_last_sample_timestamp_seconds", &[("node", node.name())])
        .unwrap()
}

/// Names of the nodes on which the pods of a Job have run, each of which must have gone well.
fn nodes_of(cluster: &Cluster, job: &str) -> BTreeSet<String> {
    let pods = cluster.list("pods", NAMESPACE, &format!("job-name={job}"));
    for pod in &pods {
        assert_eq!(pod["status"]["phase"], "Succeeded", "{pod:#}");
    }
    let nodes: BTreeSet<String> =
        pods.iter().map(|pod| pod["spec"]["nodeName"].as_str().unwrap().to_owned()).collect();
    assert_eq!(nodes.len(), pods.len(), "two pods of {job} on one node: {}", cluster.events());
    nodes
}

fn both() -> BTreeSet<String> {
    ["gpu-0", "gpu-1"].map(str::to_owned).into()
}

/// A session of this pod is in the node's textfile, with its user.
fn assert_session(node: &Node, [namespace, pod, user]: [&str; 3]) {
    let metrics = metrics(node);
    let of_node = ("node", node.name());
    assert_eq!(metrics.get("gpu_session_count", &[of_node, ("gpu", "0")]), Some(1.0));
    let session = [of_node, ("namespace", namespace), ("pod", pod), ("container", "main"), ("user", user)];
    assert_eq!(metrics.get("gpu_session_info", &session), Some(1.0), "{metrics:#?}");
    assert_eq!(metrics.get("gpu_allocation_sessions", &session), Some(1.0), "{metrics:#?}");
    assert_eq!(metrics.get("gpu_process_memory_utilization", &session[..3]), Some(25.0), "{metrics:#?}");
}

/// A Job that the CronJob's controller has made, once it is complete.
fn scheduled(cluster: &Cluster) -> Value {
    let found = || {
        let jobs = cluster.list("jobs", NAMESPACE, "app.kubernetes.io/instance=gpu-session-monitoring");
        let of_cron = |job: &Value| job["metadata"]["ownerReferences"][0]["kind"] == "CronJob";
        let complete = |job: &Value| {
            let conditions = job["status"]["conditions"].as_array().cloned().unwrap_or_default();
            conditions.iter().any(|one| one["type"] == "Complete" && one["status"] == "True")
        };
        jobs.into_iter().find(|job| of_cron(job) && complete(job))
    };
    cluster.wait_for("a run of the CronJob to be complete", || found().is_some());
    found().unwrap()
}

/// Whether the chart's service account may do this.
fn may(cluster: &Cluster, verb: &str, what: &str) -> bool {
    let account = format!("--as=system:serviceaccount:{NAMESPACE}:gpu-session-monitoring");
    let run = cluster.try_kubectl(&["auth", "can-i", verb, what, &account, "--all-namespaces"]);
    match run.stdout.trim() {
        "yes" => true,
        "no" => false,
        other => panic!("kubectl auth can-i {verb} {what}: {other}{}", run.stderr),
    }
}

/// The chart's service account may see pods, and nothing else.
fn assert_rights(cluster: &Cluster) {
    assert!(may(cluster, "list", "pods") && may(cluster, "watch", "pods"));
    for (verb, what) in [
        ("get", "pods"),
        ("delete", "pods"),
        ("create", "pods/exec"),
        ("get", "secrets"),
        ("list", "nodes"),
        ("list", "namespaces"),
        ("create", "tokenreviews.authentication.k8s.io"),
        ("create", "*"),
        ("*", "*"),
    ] {
        assert!(!may(cluster, verb, what), "it may {verb} {what}");
    }
}

#[test]
fn every_gpu_node_is_sampled_at_once_and_then_each_minute() {
    let cluster = Cluster::shared();
    let _turn = cluster.turn();
    let nodes = ["gpu-0", "gpu-1"].map(|name| cluster.node(name, &[GPU], &plain(1, "")));
    let plain_node = cluster.node("cpu-0", &[], NO_GPU);
    let sleepers = [["team-a", "training", "alice"], ["team-b", "notebook", "bob"]];
    for (node, [namespace, pod, user]) in nodes.iter().zip(sleepers) {
        node.set_scenario(&used_by(sleeper(&cluster, node, namespace, pod, user)));
        node.allocate([namespace, pod, "main"], "nvidia.com/gpu", &[UUID]);
    }
    let release = Release::install(&cluster, &[]);

    let job = cluster.get(&format!("job/{COLLECTOR}"), NAMESPACE);
    assert_eq!(job["status"]["succeeded"], 2, "{job:#}");
    assert_eq!(nodes_of(&cluster, COLLECTOR), both());
    let selector = format!("--selector=job-name={COLLECTOR}");
    let log =
        cluster.kubectl(&["logs", &selector, "--all-containers", "--namespace", NAMESPACE, "--tail=-1"]);
    for (node, sleeper) in nodes.iter().zip(sleepers) {
        // What `doctor` says of each node.
        assert!(log.contains(&format!("pods on {}", node.name())), "{log}");
        assert_session(node, sleeper);
    }
    assert!(!plain_node.path("/var/lib/node_exporter").exists());

    // While the minute passes.
    assert_rights(&cluster);
    let run = scheduled(&cluster);
    let spec = &run["spec"];
    assert_eq!((&spec["completions"], &spec["parallelism"]), (&json!(2), &json!(2)));
    assert_eq!(spec["activeDeadlineSeconds"], 50);
    assert_eq!(
        cluster.get(&format!("cronjob/{COLLECTOR}"), NAMESPACE)["spec"]["concurrencyPolicy"],
        "Forbid"
    );
    assert_eq!(nodes_of(&cluster, run["metadata"]["name"].as_str().unwrap()), both());
    let begun: Timestamp = run["status"]["startTime"].as_str().unwrap().parse().unwrap();
    for (node, sleeper) in nodes.iter().zip(sleepers) {
        assert!(sampled(node) >= begun.as_second() as f64, "{}: the run has written nothing", node.name());
        assert_session(node, sleeper);
    }
    release.uninstall();
    assert_eq!(cluster.get(&format!("cronjob/{COLLECTOR}"), NAMESPACE), Value::Null);
}

/// Waits until the pods of the DaemonSet are ready.
fn rolled_out(cluster: &Cluster) {
    let daemonset = "daemonset/gpu-session-monitoring";
    cluster.kubectl(&["rollout", "status", daemonset, "--namespace", NAMESPACE, "--timeout=180s"]);
}

#[test]
fn an_upgrade_to_a_daemonset_serves_the_same_sessions() {
    let cluster = Cluster::shared();
    let _turn = cluster.turn();
    let node = cluster.node("gpu-0", &[GPU], &plain(1, ""));
    node.set_scenario(&used_by(sleeper(&cluster, &node, "team-a", "training", "alice")));
    let release =
        Release::install(&cluster, &["collection.firstSample.enabled=false", "collection.suspend=true"]);
    let port = crate::chain::free_port();
    release.upgrade(&[
        "collection.mode=daemonset",
        "collection.interval=1s",
        &format!("metrics.port={port}"),
    ]);
    rolled_out(&cluster);
    assert_eq!(cluster.get(&format!("cronjob/{COLLECTOR}"), NAMESPACE), Value::Null);
    let url = format!("http://{}:{port}/metrics", node.ip());
    let session = [("namespace", "team-a"), ("pod", "training"), ("container", "main"), ("user", "alice")];
    let answer = || {
        let mut answer = ureq::get(&url).call().ok()?;
        Some(Metrics::parse(&answer.body_mut().read_to_string().ok()?))
    };
    cluster.wait_for("the session in /metrics", || {
        answer().is_some_and(|metrics| metrics.get("gpu_session_info", &session) == Some(1.0))
    });
}

/// Status of an answer to a request with this token of a service account.
fn asked(url: &str, token: Option<&str>) -> u16 {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut request = agent.get(url);
    if let Some(token) = token {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    request.call().unwrap().status().as_u16()
}

#[test]
fn the_metrics_of_a_daemonset_are_for_those_whom_the_cluster_lets_read_them() {
    let cluster = Cluster::shared();
    let _turn = cluster.turn();
    let node = cluster.node("gpu-0", &[GPU], &plain(1, ""));
    let port = crate::chain::free_port();
    let port_value = format!("metrics.port={port}");
    let _release =
        Release::install(&cluster, &["collection.mode=daemonset", &port_value, "web.kubernetesAuth=true"]);
    rolled_out(&cluster);
    let token_of = |account: &str| {
        cluster.kubectl(&["create", "serviceaccount", account, "--namespace", NAMESPACE]);
        cluster.kubectl(&["create", "token", account, "--namespace", NAMESPACE]).trim().to_owned()
    };
    let (reader, stranger) = (token_of("reader"), token_of("stranger"));
    // The role of docs/web.md, for the metrics alone.
    let role = "gpu-session-monitor-reader";
    cluster.kubectl(&["create", "clusterrole", role, "--verb=get", "--non-resource-url=/metrics"]);
    let (role_flag, who) = (format!("--clusterrole={role}"), format!("--serviceaccount={NAMESPACE}:reader"));
    cluster.kubectl(&["create", "clusterrolebinding", role, &role_flag, &who]);
    let url = |path: &str| format!("http://{}:{port}{path}", node.ip());
    // The API server learns of a binding a moment later.
    cluster.wait_for("the reader to be let in", || asked(&url("/metrics"), Some(&reader)) == 200);
    assert_eq!(asked(&url("/api/v1/sessions"), Some(&reader)), 403);
    assert_eq!(asked(&url("/metrics"), Some(&stranger)), 403);
    assert_eq!(asked(&url("/metrics"), Some("a.made.up")), 401);
    assert_eq!(asked(&url("/metrics"), None), 401);
    cluster.kubectl(&["delete", "clusterrole,clusterrolebinding", role]);
}

#[test]
fn without_root_it_writes_where_the_folders_are_its_own() {
    let cluster = Cluster::shared();
    let _turn = cluster.turn();
    let node = cluster.node("gpu-0", &[GPU], &plain(1, ""));
    for folder in ["/var/lib/node_exporter/textfile_collector", "/var/lib/gpu-session-monitor"] {
        std::fs::create_dir_all(node.path(folder)).unwrap();
        chown(node.path(folder), Some(65532), Some(65532)).unwrap();
    }
    node.set_scenario(&used_by(sleeper(&cluster, &node, "team-a", "training", "alice")));
    let _release =
        Release::install(&cluster, &["rights.root=false", "collection.window=3s", "collection.suspend=true"]);
    let session = [("namespace", "team-a"), ("pod", "training"), ("container", "main"), ("user", "alice")];
    assert_eq!(metrics(&node).get("gpu_session_info", &session), Some(1.0));
    assert_eq!(std::fs::metadata(textfile(&node)).unwrap().uid(), 65532);
}
