//! Helm asks the cluster how many nodes have GPUs: here a server that knows nodes, and which kinds there are.

use super::{chart, helm_with, of_kind};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;

/// Groups of the API and the kinds in them.
const GROUPS: [(&str, &[(&str, &str)]); 4] = [
    ("", &[("nodes", "Node"), ("serviceaccounts", "ServiceAccount")]),
    ("batch", &[("cronjobs", "CronJob"), ("jobs", "Job")]),
    ("networking.k8s.io", &[("networkpolicies", "NetworkPolicy")]),
    (
        "rbac.authorization.k8s.io",
        &[("clusterroles", "ClusterRole"), ("clusterrolebindings", "ClusterRoleBinding")],
    ),
];

/// A cluster with nodes of these labels; it ends with the tests.
struct Cluster {
    folder: tempfile::TempDir,
}

impl Cluster {
    fn of(nodes: &[Value]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let item = |(at, labels): (usize, &Value)| json!({ "kind": "Node", "apiVersion": "v1", "metadata": { "name": format!("node-{at}"), "labels": labels } });
        let items: Vec<Value> = nodes.iter().enumerate().map(item).collect();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let items = items.clone();
                std::thread::spawn(move || answer(&stream.unwrap(), &items));
            }
        });
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "{{apiVersion: v1, kind: Config, current-context: c, users: [{{name: u, user: {{}}}}], \
             clusters: [{{name: c, cluster: {{server: 'http://{address}'}}}}], \
             contexts: [{{name: c, context: {{cluster: c, user: u}}}}]}}"
        );
        std::fs::write(folder.path().join("kubeconfig"), config).unwrap();
        Self { folder }
    }

    fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// Pods of a run of each Job and CronJob, with these further arguments.
    fn runs(&self, args: &[&str]) -> BTreeMap<String, Value> {
        let chart = chart();
        let command = ["template", "monitor", chart.to_str().unwrap(), "--dry-run=server"];
        let further = ["--disable-openapi-validation"];
        let output = helm_with(&self.kubeconfig(), &[&command, &further[..], args].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        let text = String::from_utf8(output.stdout).unwrap();
        let mut runs = BTreeMap::new();
        for (kind, path) in [("CronJob", "/spec/jobTemplate/spec"), ("Job", "/spec")] {
            for maker in of_kind(&text, kind) {
                let job = maker.pointer(path).unwrap();
                assert_eq!(job["completions"], job["parallelism"]);
                let name =
                    maker["metadata"]["name"].as_str().unwrap().trim_start_matches("gpu-session-metrics-");
                runs.insert(format!("{kind}/{name}"), job["completions"].clone());
            }
        }
        runs
    }

    /// Pods of a run of the CronJob, which the other Jobs have as well.
    fn completions(&self, args: &[&str]) -> Value {
        let runs = self.runs(args);
        assert!(runs.values().all(|count| *count == runs["CronJob/collector"]), "{runs:?}");
        runs["CronJob/collector"].clone()
    }
}

fn answer(mut stream: &TcpStream, nodes: &[Value]) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let Some(request) = lines.next() else { return };
    while lines.next().is_some_and(|line| !line.is_empty()) {}
    let path = request.split(' ').nth(1).unwrap().split('?').next().unwrap();
    let (status, body) = match document(path, nodes) {
        Some(body) => ("200 OK", body),
        None => (
            "404 Not Found",
            json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404 }),
        ),
    };
    let (body, close) = (body.to_string(), "Connection: close\r\n\r\n");
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{close}",
        body.len()
    );
    // Helm may have what it wants and be gone.
    let _ = stream.write_all((head + &body).as_bytes());
}

fn document(path: &str, nodes: &[Value]) -> Option<Value> {
    let group_version = |group: &str| if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
    let below =
        |group: &str| format!("{}/{}", if group.is_empty() { "/api" } else { "/apis" }, group_version(group));
    if let Some((group, kinds)) = GROUPS.iter().find(|(group, _)| path == below(group)) {
        let resource = |(name, kind): &(&str, &str)| {
            let namespaced = *kind != "Node" && !kind.starts_with("Cluster");
            json!({ "name": name, "singularName": "", "kind": kind, "namespaced": namespaced, "verbs": ["get", "list"] })
        };
        let resources: Vec<Value> = kinds.iter().map(resource).collect();
        return Some(
            json!({ "kind": "APIResourceList", "groupVersion": group_version(group), "resources": resources }),
        );
    }
    let group = |name: &str| {
        let version = json!({ "groupVersion": group_version(name), "version": "v1" });
        json!({ "name": name, "versions": [version], "preferredVersion": version })
    };
    match path {
        "/version" => Some(json!({ "major": "1", "minor": "30", "gitVersion": "v1.30.0" })),
        "/api" => Some(json!({ "kind": "APIVersions", "versions": ["v1"] })),
        "/apis" => {
            let groups: Vec<Value> = GROUPS.iter().skip(1).map(|(name, _)| group(name)).collect();
            Some(json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups }))
        }
        "/api/v1/nodes" => {
            Some(json!({ "kind": "NodeList", "apiVersion": "v1", "metadata": {}, "items": nodes }))
        }
        _ => None,
    }
}

#[test]
fn a_run_has_a_pod_for_each_node_with_gpus() {
    let gpu = json!({ "nvidia.com/gpu.present": "true", "pool": "a" });
    let other = json!({ "nvidia.com/gpu.present": "true", "pool": "b" });
    let cluster =
        Cluster::of(&[gpu.clone(), gpu, other, json!({ "nvidia.com/gpu.present": "false" }), Value::Null]);
    assert_eq!(cluster.completions(&[]), 3);
    // What the pods' selector takes, and not one label.
    assert_eq!(cluster.completions(&["--set", "nodeSelector.pool=a"]), 2);
    assert_eq!(cluster.completions(&["--set", "collection.completions=7"]), 7);
}

#[test]
fn a_cluster_without_such_a_node_gets_one_pod_that_waits() {
    let runs = Cluster::of(&[json!({ "kubernetes.io/os": "linux" })]).runs(&[]);
    assert_eq!((&runs["CronJob/collector"], &runs["Job/collector"]), (&json!(1), &json!(1)));
    // But nothing is to be removed, and nobody waits for that.
    assert!(!runs.contains_key("Job/removal"), "{runs:?}");
}

#[test]
fn nodes_with_mig_are_counted_for_themselves() {
    let node = |mig: &str| json!({ "nvidia.com/gpu.present": "true", "nvidia.com/mig.capable": mig });
    let bare = json!({ "nvidia.com/mig.capable": "true" });
    let cluster =
        Cluster::of(&[node("true"), node("false"), node("false"), bare, node("true"), node("false")]);
    let counts = |cluster: &Cluster, args: &[&str]| -> Vec<(String, i64)> {
        let runs = cluster.runs(&[&["--set", "mig.monitor=true"], args].concat());
        runs.into_iter().map(|(name, count)| (name, count.as_i64().unwrap())).collect()
    };
    let named = |all: &[(&str, i64)]| -> Vec<(String, i64)> {
        all.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    };
    let wanted = [
        ("CronJob/collector", 3),
        ("CronJob/collector-mig", 2),
        ("Job/collector", 3),
        ("Job/collector-mig", 2),
        ("Job/removal", 5),
    ];
    assert_eq!(counts(&cluster, &[]), named(&wanted));
    let told = counts(&cluster, &["--set", "collection.completions=7,mig.completions=4"]);
    assert_eq!(
        told,
        named(&[(wanted[0].0, 7), (wanted[1].0, 4), (wanted[2].0, 7), (wanted[3].0, 4), (wanted[4].0, 11)])
    );
    // Where all are of one kind no pod waits for the other.
    let all = Cluster::of(&[node("true"), node("true")]);
    assert_eq!(
        counts(&all, &[]),
        named(&[(wanted[0].0, 0), (wanted[1].0, 2), (wanted[3].0, 2), (wanted[4].0, 2)])
    );
}
