//! Grafana's dashboards of the chart, and the page about them.

mod model;
mod node;
mod overview;
mod users;

use model::{Dashboard, Variable};
use std::fmt::Write as _;

/// Paths below the root, with their text.
pub(crate) fn all() -> anyhow::Result<Vec<(String, String)>> {
    let dashboards = [overview::dashboard(), users::dashboard(), node::dashboard()];
    let mut files = vec![("docs/dashboards.md".to_owned(), page(&dashboards))];
    for dashboard in &dashboards {
        files.push((dashboard.path(), serde_json::to_string_pretty(&dashboard.json())? + "\n"));
    }
    Ok(files)
}

/// Clusters, where series have that label.
const CLUSTER: Variable =
    Variable { label: "cluster", of: "gpu_session_collector_last_sample_timestamp_seconds", all: true };
const NODE: Variable = Variable {
    label: "node",
    of: "gpu_session_collector_last_sample_timestamp_seconds{cluster=~\"$cluster\"}",
    all: true,
};

/// What the expression tells of nodes whose newest sample is recent, by the rules: a textfile that nobody writes any more
/// has the series of its node for ever. Its series must have the labels `cluster` and `node`.
fn recent(expr: &str) -> String {
    format!("{expr} and on (cluster, node) node:gpu_session_collector_last_sample_timestamp_seconds:recent")
}

const HEAD: &str = "# Dashboards

<!-- Generated from xtask/src/dashboards by `make generate`. -->

Three dashboards for Grafana 10 and later, in
[charts/gpu-session-monitoring/dashboards](../charts/gpu-session-monitoring/dashboards). With `dashboards.enabled: true` the
chart makes a ConfigMap of each, by whose label `grafana_dashboard: \"1\"` (`dashboards.labels`) Grafana's sidecar finds it;
without the chart, import the files. They need the recording rules of the chart
([kubernetes.md](kubernetes.md#alerts-and-dashboards)), and read any data source that speaks Prometheus' API.

What is not known is a gap, never 0; nor is there anything of a node whose newest sample is older than
`prometheusRule.sampleMinutes`. GPUs are whole ones: a MIG instance counts by its share of the GPU. Lines have no finer step
than a minute, `metrics.scrapeInterval`.

Hours of a period are sums of rates over 15 minutes. When a collector was away for longer, what it counted meanwhile is
missing from them, and [`report`](report.md#precision) has it. So that a counter goes on when another pod takes over, its
target must go by the node ([kubernetes.md](kubernetes.md#daemonset)).

A node of eight GPUs with a session on each has 317 series that panels, rules and [recipes](astrago.md) read; the rules
record nine for each node, seven for each user and six for each namespace. `make bench-cluster` times every panel and recipe
for 1 000 such nodes and six hours, on Prometheus and VictoriaMetrics: on two cores, at commit 36d42c2, the slowest panel
took 51 ms and the slowest recipe 289 ms on the one, 129 and 470 ms on the other. The third dashboard shows single nodes,
for it reads what is not summed.
";

fn page(dashboards: &[Dashboard]) -> String {
    let mut out = HEAD.to_owned();
    for dashboard in dashboards {
        let variables: Vec<String> =
            dashboard.variables.iter().map(|variable| format!("`{}`", variable.label)).collect();
        let _ = write!(
            out,
            "\n## {}\n\n{} Choices: data source, {}.\n\n| panel | shows |\n|---|---|\n",
            dashboard.title,
            dashboard.description,
            variables.join(", ")
        );
        for panel in dashboard.rows.iter().flat_map(|(_, panels)| panels) {
            let _ = writeln!(out, "| {} | {} |", panel.title, panel.description);
        }
    }
    out
}
