//! A real Prometheus: which nodes' series arrive, and whose pod is in them.

use super::{examine, seed, server};
use crate::chain::{Prometheus, await_answer, free_port, start};
use crate::node::Node;

/// A real Prometheus that scrapes this target as a pod's, with or without honoring its labels.
fn scraping(node: &Node, target: &str, honor: bool) -> (crate::chain::Server, String) {
    let (port, log, config) = (free_port(), node.path("p.log"), node.path("p.yml"));
    let text = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: node\n  honor_labels: {honor}\n  static_configs: \
         [{{targets: ['{target}'], labels: {{pod: exporter-x, namespace: monitoring}}}}]\n"
    );
    std::fs::write(&config, text).unwrap();
    let args = [
        format!("--config.file={}", config.display()),
        format!("--storage.tsdb.path={}", node.path(&format!("tsdb-{port}")).display()),
        format!("--web.listen-address=127.0.0.1:{port}"),
    ];
    let server = start("prometheus", &args, &log);
    await_answer(port, "/api/v1/query?query=gpu_process_info", |text| text.contains("\"value\""), &log);
    (server, format!("http://127.0.0.1:{port}"))
}

#[test]
fn series_of_nodes_arrive_and_keep_the_workloads_pod() {
    let mut node = Node::in_cluster(&crate::node::scenario_file("seed.yaml"));
    node.at(60.0);
    assert_eq!(node.run(&["collect", "--node", "gpu-7"]).code, 0);
    let (port, log) = (free_port(), node.path("e.log"));
    let args = [
        "--collector.disable-defaults".to_owned(),
        "--collector.textfile".to_owned(),
        format!("--collector.textfile.directory={}", node.path("textfiles").display()),
        format!("--web.listen-address=127.0.0.1:{port}"),
    ];
    let _exporter = start("prometheus-node-exporter", &args, &log);
    let target = format!("127.0.0.1:{port}");
    let (renaming, url) = scraping(&node, &target, false);
    let report = examine(&node, &["--prometheus", &url]);
    report.assert("Prometheus", "ok", &["nodes: 1 (gpu-7: 0s ago)"]);
    report.assert("honor_labels", "warning", &["exported_pod", "honor_labels: true"]);
    assert_eq!(report.code, 0);
    node.at(60.0 + 3600.0);
    examine(&node, &["--prometheus", &url]).assert(
        "Prometheus",
        "warning",
        &["gpu-7: 59m", "run doctor on them"],
    );
    drop(renaming);
    let (_honouring, url) = scraping(&node, &target, true);
    examine(&node, &["--prometheus", &url]).assert("honor_labels", "ok", &["workload's"]);
}

#[test]
fn a_prometheus_without_our_series_or_that_is_none_fails() {
    let node = seed();
    let report = examine(&node, &[]);
    report.assert("Prometheus", "skipped", &["--prometheus"]);
    report.assert("honor_labels", "skipped", &["--prometheus"]);
    // It scrapes what does not exist.
    let prometheus = Prometheus::scraping(&node, &format!("127.0.0.1:{}", free_port()));
    prometheus.query("up");
    let report = examine(&node, &["--prometheus", &prometheus.url()]);
    report.assert("Prometheus", "failed", &["no series of ours arrives", "/targets"]);
    report.assert("honor_labels", "skipped", &["no gpu_process_info"]);
    assert_eq!(report.code, 1);
    let silent = format!("http://127.0.0.1:{}", free_port());
    for url in [silent, server("502 Bad Gateway", "")] {
        let report = examine(&node, &["--prometheus", &url]);
        report.assert("Prometheus", "failed", &["Prometheus at"]);
        report.assert("honor_labels", "skipped", &["does not answer"]);
    }
    let run = node.run(&["doctor", "--prometheus", "ftp://u:hunter2@x"]);
    assert!(run.code == 2 && !run.stderr.contains("hunter2"), "{}", run.stderr);
}
