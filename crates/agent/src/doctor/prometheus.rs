//! What arrives in Prometheus, of all nodes.

use super::{Finding, OLD, SKEW, Scene, age};
use crate::report::prometheus::answer::{Series, Vector};
use crate::report::prometheus::client::Client;
use std::time::{SystemTime, UNIX_EPOCH};

const LAST: &str =
    "max by (node, exported_node, instance) (gpu_session_collector_last_sample_timestamp_seconds)";
const RENAMED: &str =
    "count(gpu_process_info{exported_pod!=\"\"} or gpu_process_info{exported_namespace!=\"\"})";
const INFO: &str = "count(gpu_process_info)";
/// Of many nodes only so many are named.
const MOST_NAMES: usize = 10;

fn query(client: &Client, query: &str) -> Result<Vector, Finding> {
    // By the machine's clock, as Prometheus stamps what it scrapes; the second that has begun is over then.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() + 1);
    client.query(query, now as i64).map_err(|e| Finding::said(&format!("{e:#}")))
}

pub(super) fn arrives(scene: &Scene<'_>) -> Vec<Finding> {
    let Some(client) = &scene.prometheus else { return vec![Finding::skipped("not asked (--prometheus)")] };
    match query(client, LAST) {
        Ok(vector) => nodes(&vector.series, scene.now_us as f64 / 1e6),
        Err(finding) => vec![finding],
    }
}

/// What there is of each node, the oldest first.
fn nodes(series: &[Series], now: f64) -> Vec<Finding> {
    if series.is_empty() {
        return vec![Finding::failed(
            "no series of ours arrives",
            "see that Prometheus scrapes node_exporter or serve (its page /targets), and the lines of node_exporter \
             and serve here",
        )];
    }
    let mut ages: Vec<(&str, Option<f64>)> =
        series.iter().map(|series| (name(series), series.value.map(|last| now - last))).collect();
    ages.sort_by(|a, b| b.1.unwrap_or(f64::MAX).total_cmp(&a.1.unwrap_or(f64::MAX)).then(a.0.cmp(b.0)));
    let is_good = |age: Option<f64>| age.is_some_and(|age| (-SKEW..=OLD).contains(&age));
    let (good, bad): (Vec<_>, Vec<_>) = ages.into_iter().partition(|(_, age)| is_good(*age));
    let mut findings = Vec::new();
    if !good.is_empty() {
        findings.push(Finding::ok(format!("series arrive of nodes: {} ({})", good.len(), listed(&good))));
    }
    if !bad.is_empty() {
        findings.push(Finding::warning(
            format!("nodes whose last sample is not of now: {} ({})", bad.len(), listed(&bad)),
            "run doctor on them: the collector stopped there, or the clock is wrong",
        ));
    }
    findings
}

/// The node that wrote it, else what was scraped.
fn name(series: &Series) -> &str {
    let named = ["exported_node", "node", "instance"].into_iter();
    let mut named = named.filter_map(|label| series.labels.get(label)).filter(|value| !value.is_empty());
    named.next().map_or("?", String::as_str)
}

fn listed(nodes: &[(&str, Option<f64>)]) -> String {
    let one = |(name, seconds): &(&str, Option<f64>)| match seconds {
        None => format!("{name}: never"),
        Some(seconds) if *seconds < -SKEW => format!("{name}: {} in the future", age(-seconds)),
        Some(seconds) => format!("{name}: {} ago", age(*seconds)),
    };
    let mut words: Vec<String> = nodes.iter().take(MOST_NAMES).map(one).collect();
    let more = nodes.len() - words.len();
    words.extend((more > 0).then(|| format!("and {more} more")));
    words.join(", ")
}

pub(super) fn honoured(scene: &Scene<'_>) -> Vec<Finding> {
    let Some(client) = &scene.prometheus else { return vec![Finding::skipped("not asked (--prometheus)")] };
    let count =
        |text| query(client, text).map(|vector| vector.series.first().and_then(|series| series.value));
    vec![match (count(RENAMED), count(INFO)) {
        // Told once, by the line before.
        (Err(_), _) | (_, Err(_)) => Finding::skipped("Prometheus does not answer"),
        (Ok(Some(renamed)), _) if renamed > 0.0 => Finding::warning(
            format!(
                "gpu_process_info has exported_pod or exported_namespace in {renamed} series: pod and namespace are the exporter's own"
            ),
            "scrape with honor_labels: true (honorLabels in a ServiceMonitor or PodMonitor)",
        ),
        (Ok(_), Ok(Some(_))) => Finding::ok("pod and namespace of gpu_process_info are the workload's"),
        (Ok(_), Ok(None)) => Finding::skipped("no gpu_process_info is there now"),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    fn series(labels: &[(&str, &str)], value: Option<f64>) -> Series {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Series { labels, value, values: Vec::new() }
    }

    #[test]
    fn nodes_are_named_by_what_they_call_themselves_and_by_age() {
        let all = [
            series(&[("node", "prom"), ("exported_node", "a"), ("instance", "i:1")], Some(990.0)),
            series(&[("instance", "i:2")], Some(100.0)),
            series(&[("node", "c\u{1b}[2J")], Some(2000.0)),
            series(&[("node", "d")], None),
        ];
        let found = nodes(&all, 1000.0);
        assert_eq!((found[0].status, found[1].status), (Status::Ok, Status::Warning));
        assert!(found[0].detail.contains("(a: 10s ago)"), "{found:?}");
        assert!(
            found[1].detail.contains("(d: never, i:2: 15m ago, c\u{fffd}[2J: 16m 40s in the future)"),
            "{found:?}"
        );
        assert_eq!(nodes(&[], 1000.0)[0].status, Status::Failed);
    }

    #[test]
    fn of_many_nodes_a_few_are_named() {
        let all: Vec<Series> =
            (0..50).map(|n| series(&[("node", &format!("n{n:02}"))], Some(1000.0))).collect();
        assert!(nodes(&all, 1000.0)[0].detail.ends_with("n09: 0s ago, and 40 more)"));
    }
}
