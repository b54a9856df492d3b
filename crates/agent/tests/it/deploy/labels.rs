//! A real Prometheus, whose targets carry a pod, a namespace and a container of their own, as they do on Kubernetes.

use crate::chain::{Prometheus, await_answer, free_port, start};
use crate::chart::{of_kind, rendered};
use crate::node::{Node, scenario_file, workspace};
use crate::serve::Serve;
use serde_json::{Value, json};

/// What the operator for Prometheus adds to a target.
const OWN: [(&str, &str); 3] =
    [("namespace", "monitoring"), ("pod", "node-exporter-x7k2p"), ("container", "node-exporter")];

/// The rules that the stack gives to node-exporter, in Prometheus' own spelling.
fn rules() -> Vec<Value> {
    let text = std::fs::read_to_string(workspace().join("deploy/kube-prometheus-stack.yaml.gotmpl")).unwrap();
    let yaml: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with("{{")).collect();
    let values: Value =
        serde_saphyr::from_str(&yaml.join("\n").replace("{{ $folder }}", "/textfiles")).unwrap();
    let rules = &values["prometheus-node-exporter"]["prometheus"]["monitor"]["metricRelabelings"];
    as_prometheus_has_them(rules)
}

/// An operator's rules for relabelling.
fn as_prometheus_has_them(rules: &Value) -> Vec<Value> {
    let prometheus = |rule: &Value| {
        let mut own = rule.clone();
        for (operators, prometheus) in [("sourceLabels", "source_labels"), ("targetLabel", "target_label")] {
            if let Some(value) = own.as_object_mut().unwrap().remove(operators) {
                own[prometheus] = value;
            }
        }
        own
    };
    rules.as_array().expect("rules").iter().map(prometheus).collect()
}

fn job(name: &str, port: u16, further: &Value) -> Value {
    let labels: Value =
        OWN.into_iter().map(|(k, v)| (k.to_owned(), v.into())).collect::<serde_json::Map<_, _>>().into();
    let mut job = json!({
        "job_name": name,
        "static_configs": [{ "targets": [format!("127.0.0.1:{port}")], "labels": labels }],
    });
    job.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    job
}

/// Namespace, pod and container of a series; absent is empty.
fn place(metric: &Value) -> [&str; 3] {
    ["namespace", "pod", "container"].map(|label| metric[label].as_str().unwrap_or_default())
}

/// What the seed's query for processes answers, by pid.
fn processes(prometheus: &Prometheus, job: &str) -> Vec<(String, [String; 3])> {
    let found = prometheus.query(&format!("gpu_process_info%7Bjob=%22{job}%22%7D"));
    let mut all: Vec<_> = found
        .iter()
        .map(|(metric, _)| (metric["pid"].as_str().unwrap().to_owned(), place(metric).map(str::to_owned)))
        .collect();
    all.sort();
    for (metric, _) in &found {
        let exported = metric.as_object().unwrap().keys().find(|label| label.starts_with("exported_"));
        assert_eq!(exported, None, "{metric}");
    }
    all
}

#[test]
fn a_sessions_pod_is_never_the_exporters() {
    let mut node = Node::in_cluster(&scenario_file("demo.yaml"));
    node.at(600.0);
    let run = node.collect();
    assert_eq!(run.code, 0, "{}", run.stderr);
    let serve = Serve::start(&node, &["--state-dir", node.path("serve").to_str().unwrap()]);
    let (port, log) = (free_port(), node.path("exporter.log"));
    let _exporter = start(
        "prometheus-node-exporter",
        &[
            "--collector.disable-defaults".to_owned(),
            "--collector.textfile".to_owned(),
            format!("--collector.textfile.directory={}", node.path("textfiles").display()),
            format!("--web.listen-address=127.0.0.1:{port}"),
        ],
        &log,
    );
    await_answer(port, "/metrics", |text| text.contains("gpu_process_info"), &log);
    let served = serve.address().rsplit(':').next().unwrap().parse().unwrap();
    let jobs = [
        job("stack", port, &json!({ "metric_relabel_configs": rules() })),
        job("honoured", served, &json!({ "honor_labels": true })),
        job("plain", port, &json!({})),
    ];
    let prometheus = Prometheus::with(&node, &json!(jobs));

    let own = node.metrics().rows("gpu_process_info", ["pid", "namespace", "pod", "container"]);
    let mut own: Vec<_> =
        own.into_iter().map(|[pid, namespace, pod, container]| (pid, [namespace, pod, container])).collect();
    own.sort();
    // Some are in pods and some are not.
    assert!(
        own.iter().any(|(_, place)| place[1].is_empty()) && own.iter().any(|(_, place)| !place[1].is_empty())
    );
    assert_eq!(processes(&prometheus, "stack"), own);
    assert_eq!(processes(&prometheus, "honoured"), own);
    // Series that are of no session have no pod.
    let counts = prometheus.query("gpu_session_count%7Bjob=%22stack%22%7D");
    assert!(!counts.is_empty() && counts.iter().all(|(metric, _)| metric.get("pod").is_none()), "{counts:?}");
    // What is not ours keeps what the stack gave it.
    let theirs = prometheus.query("node_textfile_scrape_error%7Bjob=%22stack%22%7D");
    assert_eq!(place(&theirs[0].0), OWN.map(|(_, value)| value));
    // Without the rules the exporter's pod would stand there.
    let plain = prometheus.query("gpu_process_info%7Bjob=%22plain%22%7D");
    assert!(plain.iter().all(|(metric, _)| metric["pod"] == "node-exporter-x7k2p"), "{plain:?}");
}

#[test]
fn a_target_of_the_charts_monitors_goes_by_its_node_and_not_by_its_pod() {
    let node = Node::in_cluster(&scenario_file("demo.yaml"));
    let serve = Serve::start(&node, &[]);
    serve.sampled(&node);
    let mut jobs = Vec::new();
    for (values, kind, endpoints) in [
        ("existing-stack", "PodMonitor", "podMetricsEndpoints"),
        ("service-monitor", "ServiceMonitor", "endpoints"),
    ] {
        let monitor = of_kind(&rendered(values), kind).remove(0);
        let rules = as_prometheus_has_them(&monitor["spec"][endpoints][0]["relabelings"]);
        // The pod of before and that of after an update: what tells them apart would begin the series anew.
        let pod = |name: &str| {
            json!({
                "targets": [serve.address()],
                "labels": {
                    "__meta_kubernetes_pod_node_name": "gpu-7", "namespace": "gpu-operator", "pod": name,
                    "container": name, "endpoint": "metrics",
                },
            })
        };
        let pods = [pod("agent-before"), pod("agent-after")];
        jobs.push(json!({
            "job_name": kind, "honor_labels": true, "relabel_configs": rules, "static_configs": pods,
        }));
    }
    let prometheus = Prometheus::with(&node, &json!(jobs));
    for kind in ["PodMonitor", "ServiceMonitor"] {
        let up = prometheus.query(&format!("up%7Bjob=%22{kind}%22%7D%20==%201"));
        let [(labels, _)] = &up[..] else { panic!("{up:?}") };
        let wanted =
            json!({ "__name__": "up", "job": kind, "instance": "gpu-7", "namespace": "gpu-operator" });
        assert_eq!(*labels, wanted);
        let sessions = prometheus.query(&format!("gpu_session_info%7Bjob=%22{kind}%22,pod!=%22%22%7D"));
        assert!(!sessions.is_empty(), "sessions keep their pod");
    }
}
