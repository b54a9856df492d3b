//! The script in a real cluster: what it makes, leaves alone and removes.

use super::Checkout;
use crate::cluster::program::REPOSITORY;
use crate::cluster::{Cluster, Node};
use crate::node::{Run, plain};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

const GPU: [(&str, &str); 1] = [("nvidia.com/gpu.present", "true")];
const TEXTFILE: &str = "/var/lib/node_exporter/textfile_collector/gpu_sessions.prom";

struct Lab {
    cluster: Arc<Cluster>,
    checkout: Checkout,
}

impl Lab {
    fn new(cluster: &Arc<Cluster>) -> Self {
        let lab = Self { cluster: cluster.clone(), checkout: Checkout::new() };
        lab.values("");
        lab
    }

    /// The environment, with further values of the release.
    fn values(&self, further: &str) {
        let values = format!(
            "kube-prometheus-stack: {{existing: true}}\ngpu-operator: {{existing: true}}\n\
             gpu-session-monitoring:\n  image: {{repository: {REPOSITORY}}}\n  collection: {{window: 3s}}\n{further}"
        );
        self.checkout.environment("lab", &values);
    }

    /// The script, in a terminal of nobody.
    fn run(&self, args: &[&str]) -> Run {
        let mut command = self.cluster.command(self.checkout.path("deploy_astrago.sh"));
        command.args(args).env("ASTRAGO_ENV", "lab").current_dir("/").stdin(std::process::Stdio::null());
        Run::of(command.output().unwrap())
    }

    /// What it says, which must go well.
    fn done(&self, args: &[&str]) -> String {
        let run = self.run(args);
        assert_eq!(run.code, 0, "{args:?}: {}{}\n{}", run.stdout, run.stderr, self.cluster.events());
        run.stdout
    }

    /// All objects but those that come and go by themselves, by kind, namespace and name, with their versions.
    fn objects(&self) -> BTreeMap<String, String> {
        let kinds = self.cluster.kubectl(&["api-resources", "--verbs=list", "--output=name"]);
        let own = |kind: &&str| {
            !["events", "leases", "nodes", "endpoints", "componentstatuses", "csinodes"]
                .iter()
                .any(|skipped| kind.split('.').next() == Some(skipped))
        };
        let kinds: Vec<&str> = kinds.lines().filter(own).collect();
        let text = self.cluster.kubectl(&["get", &kinds.join(","), "--all-namespaces", "--output=json"]);
        let list: Value = serde_json::from_str(&text).unwrap();
        let name = |object: &Value| {
            let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
            let key = format!("{} {}/{}", object["kind"].as_str().unwrap(), text("namespace"), text("name"));
            (key, text("resourceVersion"))
        };
        list["items"].as_array().unwrap().iter().map(name).collect()
    }

    fn completions(&self) -> Value {
        let job = self.cluster.get("cronjob/gpu-session-metrics-collector", "gpu-operator");
        job["spec"]["jobTemplate"]["spec"]["completions"].clone()
    }
}

fn write(node: &Node, path: &str) {
    let file = node.path(path);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, "gpu_total_sessions 1\n").unwrap();
}

#[test]
fn what_sync_makes_stays_and_goes_with_destroy() {
    let cluster = Cluster::shared();
    let _turn = cluster.turn();
    let first = cluster.node("d0", &GPU, &plain(1, ""));
    let lab = Lab::new(&cluster);
    let before = lab.objects();

    let said = lab.done(&["diff"]);
    assert!(
        said.contains("is not installed: sync makes")
            && said.contains("CronJob/gpu-session-metrics-collector"),
        "{said}"
    );
    lab.done(&["sync"]);
    assert!(first.path(TEXTFILE).exists());
    // The CronJob's own runs come and go: what is compared is not to move.
    cluster.kubectl(&[
        "wait",
        "--for=condition=Complete",
        "job/gpu-session-metrics-collector",
        "--namespace=gpu-operator",
    ]);
    let ours = |objects: BTreeMap<String, String>| {
        let moves =
            |key: &str| key.starts_with("Job ") || key.starts_with("Pod ") || key.starts_with("CronJob ");
        objects.into_iter().filter(|(key, _)| !moves(key)).collect::<BTreeMap<_, _>>()
    };
    let generation = || {
        cluster.get("cronjob/gpu-session-metrics-collector", "gpu-operator")["metadata"]["generation"].clone()
    };
    let (made, made_generation) = (ours(lab.objects()), generation());
    assert!(lab.done(&["sync"]).contains("gpu-session-monitoring: no change"));
    assert_eq!((ours(lab.objects()), generation()), (made, made_generation));
    assert!(lab.done(&["diff"]).contains("gpu-session-monitoring: no change"));
    assert!(lab.done(&["status"]).contains("gpu-session-metrics-collector"));

    lab.values("collection: {schedule: \"*/7 * * * *\"}\n");
    let said = lab.done(&["diff", "gpu-session-monitoring"]);
    assert!(said.contains("+  schedule: '*/7 * * * *'") && said.contains("changes are above"), "{said}");
    // A node that has come: the count is another one, and the node has its file.
    let second = cluster.node("d1", &GPU, &plain(1, ""));
    // A run still has one pod, on either of them.
    let examined = lab.run(&["doctor"]);
    assert_eq!(examined.code, 1, "{}", examined.stdout);
    let bare = |name: &str| examined.stderr.contains(&format!("{name} has GPUs and no collector"));
    assert_ne!(bare("d0"), bare("d1"), "{}{}", examined.stdout, examined.stderr);
    lab.done(&["sync", "gpu-session-monitoring"]);
    assert_eq!(lab.completions(), 2);
    assert!(second.path(TEXTFILE).exists());

    // One that comes after the last sync is cleaned too.
    let third = cluster.node("d2", &GPU, &plain(1, ""));
    write(&third, TEXTFILE);
    // Somebody else's, in the namespace that sync made.
    cluster.kubectl(&["create", "configmap", "theirs", "--namespace=gpu-operator"]);
    let said = lab.done(&["destroy", "--purge"]);
    assert!(!said.contains("left on the nodes"), "{said}");
    assert!(said.contains("left: namespace gpu-operator, which holds configmap/theirs"), "{said}");
    for node in [&first, &second, &third] {
        assert!(!node.path(TEXTFILE).exists(), "{}", node.name());
        let state = std::fs::read_dir(node.path("/var/lib/gpu-session-monitor")).unwrap().count();
        assert_eq!(state, 0, "{}", node.name());
    }
    cluster.kubectl(&["delete", "configmap", "theirs", "--namespace=gpu-operator"]);
    assert!(lab.done(&["destroy"]).contains("gpu-session-monitoring is not installed"));
    let left: Vec<_> = lab.objects().into_keys().filter(|key| !before.contains_key(key)).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_node_that_is_not_ready_fails_the_installation_with_what_it_said() {
    let cluster = Cluster::shared();
    let _turn = cluster.turn();
    let fault = "faults:\n  - { function: \"nvmlInit*\", return: DRIVER_NOT_LOADED }\n";
    let node = cluster.node("e0", &GPU, &(plain(1, "") + fault));
    let lab = Lab::new(&cluster);
    let run = lab.run(&["sync"]);
    assert_eq!(run.code, 1, "{}", run.stdout);
    let wanted = ["--- e0", "the cause is above. After the remedy run the same again"];
    assert!(wanted.iter().all(|words| run.stderr.contains(words)), "{}", run.stderr);
    assert!(run.stderr.contains("nvml"), "{}", run.stderr);

    node.set_scenario(&plain(1, ""));
    lab.done(&["sync"]);
    assert!(lab.done(&["doctor"]).contains("--- e0"));
    let said = lab.done(&["destroy"]);
    assert!(said.contains("left on the nodes: counters and ledger"), "{said}");
    assert!(!node.path(TEXTFILE).exists() && node.path("/var/lib/gpu-session-monitor/state.json").exists());
    assert_eq!(cluster.get("namespace/gpu-operator", "default"), Value::Null);
}

#[test]
fn a_node_that_does_not_answer_holds_destroy_up_until_it_is_forced() {
    let cluster = Cluster::shared();
    let _turn = cluster.turn();
    let node = cluster.node("f0", &GPU, &plain(1, ""));
    let lab = Lab::new(&cluster);
    let own = "gpu-session-monitoring: {collection: {firstSample: {enabled: false}}, image: {repository: localhost/none}}\n";
    lab.checkout.environment(
        "lab",
        &format!("kube-prometheus-stack: {{existing: true}}\ngpu-operator: {{existing: true}}\n{own}"),
    );
    cluster.kubectl(&["create", "namespace", "gpu-operator"]);
    lab.done(&["sync"]);
    write(&node, TEXTFILE);
    // A node that is down is known before anything is done.
    let down = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "down", "labels": { GPU[0].0: GPU[0].1 } } });
    cluster.apply(&down);
    let run = lab.run(&["destroy", "gpu-session-monitoring"]);
    assert!(run.code == 1 && run.stderr.contains("cannot be cleaned: down;"), "{} {}", run.code, run.stderr);
    cluster.kubectl(&["delete", "node", "down"]);
    // Its image is nowhere to be had.
    let run = lab.run(&["destroy", "gpu-session-monitoring", "--purge", "--timeout=10s"]);
    assert!(
        run.code == 1 && run.stderr.contains("is still there; see the pods above"),
        "{} {}",
        run.code,
        run.stderr
    );
    assert!(node.path(TEXTFILE).exists());
    // All is as before: it measures, and nobody's next removal loses the ledger.
    let job = cluster.get("cronjob/gpu-session-metrics-collector", "gpu-operator");
    assert_eq!(job["spec"]["suspend"], false);
    assert_eq!(cluster.get("configmap/gpu-session-monitoring-removal", "gpu-operator"), Value::Null);
    assert!(lab.done(&["sync"]).contains("gpu-session-monitoring: no change"));

    let said = lab.done(&["destroy", "--force"]);
    assert!(said.contains("left on the nodes: gpu_sessions.prom"), "{said}");
    assert_eq!(cluster.get("cronjob/gpu-session-metrics-collector", "gpu-operator"), Value::Null);
    // Somebody else's namespace stays.
    assert_ne!(cluster.get("namespace/gpu-operator", "default"), Value::Null);
    cluster.kubectl(&["delete", "namespace", "gpu-operator"]);
}

#[test]
fn agents_are_examined_where_they_run() {
    let cluster = Cluster::shared();
    let _turn = cluster.turn();
    let node = cluster.node("g0", &GPU, &plain(1, ""));
    let lab = Lab::new(&cluster);
    // A textfile of the other mode is removed before the agent begins.
    write(&node, TEXTFILE);
    let port = crate::chain::free_port();
    lab.values(&format!("  metrics: {{port: {port}}}\ncollection: {{mode: daemonset}}\n"));
    lab.done(&["sync"]);
    assert!(!node.path(TEXTFILE).exists());
    let said = lab.done(&["doctor"]);
    assert!(said.contains("--- g0") && said.contains("failed: 0; "), "{said}");
    let serve = format!("http://127.0.0.1:{port}/metrics");
    assert!(
        said.lines().any(|line| line.contains(" ok ") && line.contains("serve") && line.contains(&serve)),
        "{said}"
    );
    node.set_scenario(&format!(
        "{}faults:\n  - {{ function: \"nvmlInit*\", return: DRIVER_NOT_LOADED }}\n",
        plain(1, "")
    ));
    let run = lab.run(&["doctor"]);
    assert!(run.code == 1 && run.stdout.contains("failed: "), "{}{}", run.stdout, run.stderr);
    lab.done(&["destroy", "--purge"]);
    let state = std::fs::read_dir(node.path("/var/lib/gpu-session-monitor")).unwrap().count();
    assert_eq!(state, 0);
}
