//! The whole cluster, by what a Prometheus (or Thanos, Mimir, VictoriaMetrics) has scraped: six instant queries.
//!
//! Only what the metrics carry is there: `uid`, `pod_uid`, `container_id`, `measured_since_time` and `allocated` of a session,
//! and the words of a source's errors, are in no metric.

pub(crate) mod read;
mod scraped;

use super::{Looks, View};
use crate::report::prometheus::Options;
use crate::report::prometheus::answer::Vector;
use crate::report::prometheus::client::Client;
use anyhow::ensure;
use gpu_session_sources::clock::Clock;
use scraped::Nodes;
use std::collections::BTreeSet;

/// Who is asked: a server that speaks Prometheus' API, however it is reached.
pub(crate) trait Asks: Send {
    /// The answer to an instant query at this time, Unix seconds.
    fn ask(&self, query: &str, at: i64) -> anyhow::Result<Vector>;

    /// What it is, for messages.
    fn name(&self) -> String;
}

impl Asks for Client {
    fn ask(&self, query: &str, at: i64) -> anyhow::Result<Vector> {
        self.query(query, at)
    }

    fn name(&self) -> String {
        format!("Prometheus at {self}")
    }
}

/// For so long a node that no series arrive of any more is still shown, with its age.
const REMEMBERED: &str = "1h";

const LAST_SAMPLE: &str = "gpu_session_collector_last_sample_timestamp_seconds";
/// What is asked of a device.
const DEVICES: &[&str] = &[
    "gpu_device_info",
    "gpu_device_compute_fraction",
    "gpu_device_memory_total_bytes",
    "gpu_device_memory_used_bytes",
    "gpu_device_utilization_ratio",
    "gpu_device_energy_joules_total",
    "gpu_device_allocations",
    "gpu_session_count",
    "gpu_session_users",
    "gpu_user_sessions",
    "gpu_sessions_unattributed",
];
const SOURCES: &[&str] =
    &["gpu_session_collector_source_up", "gpu_session_collector_source_duration_seconds"];
const DEVICE_LABELS: &[&str] = &[
    "gpu",
    "uuid",
    "parent_uuid",
    "model",
    "mig_profile",
    "pci_bus_id",
    "driver_version",
    "user",
    "reason",
    // Those of the target, by which a session's own are told from them.
    "namespace",
    "pod",
    "container",
];
const SESSION_INFO: &[&str] = &["gpu_session_info"];
const SESSION_INFO_LABELS: &[&str] = &[
    "session",
    "gpu",
    "namespace",
    "pod",
    "container",
    "user",
    "uuid",
    "pid",
    "command",
    "attributed_by",
    "user_rule",
    "place",
];
const SESSIONS: &[&str] = &[
    "gpu_session_memory_used_bytes",
    "gpu_session_sm_utilization_ratio",
    "gpu_session_memory_busy_ratio",
    "gpu_session_encoder_utilization_ratio",
    "gpu_session_decoder_utilization_ratio",
    "gpu_session_start_time_seconds",
    "gpu_session_last_active_time_seconds",
    "gpu_session_sm_seconds_total",
    "gpu_session_memory_byte_seconds_total",
];
const ALLOCATIONS: &[&str] = &["gpu_allocation_sessions", "gpu_allocation_idle_seconds"];
const ALLOCATION_LABELS: &[&str] = &["gpu", "namespace", "pod", "container", "user"];

/// A server that knows the cluster.
pub struct Prometheus {
    server: Box<dyn Asks>,
    matcher: String,
    clock: Clock,
    warnings: BTreeSet<String>,
}

impl Prometheus {
    /// Of the server that the options name, without a request; what is wrong with them is wrong usage.
    pub fn of(options: &Options<'_>, clock: Clock) -> anyhow::Result<Self> {
        Ok(Self::new(Box::new(Client::new(options)?), options.matcher, clock))
    }

    /// Of this server; `matcher` are PromQL label matchers that every series must meet.
    pub(crate) fn new(server: Box<dyn Asks>, matcher: Option<&str>, clock: Clock) -> Self {
        Self { server, matcher: matcher.unwrap_or("").trim().to_owned(), clock, warnings: BTreeSet::new() }
    }

    fn ask(&mut self, query: &str, at: i64) -> anyhow::Result<Vec<read::Series>> {
        let answer = self.server.ask(query, at)?;
        self.warnings.extend(answer.warnings);
        Ok(answer.series.into_iter().map(read::Series::of).collect())
    }

    /// Takes the series of these metrics, what has names before what has figures of them.
    fn each(&mut self, query: &str, at: i64, mut take: impl FnMut(&read::Series)) -> anyhow::Result<()> {
        let mut series = self.ask(query, at)?;
        series.sort_by_key(|series| !series.name().ends_with("_info"));
        for series in &series {
            take(series);
        }
        Ok(())
    }

    /// The series of these metrics, by the labels that are ours and by where they come from. What replicas of a Prometheus
    /// have twice becomes one, by `fold`.
    fn series(&self, fold: &str, names: &[&str], labels: &[&str]) -> String {
        let (by, names) = (read::by(labels), names.join("|"));
        let matcher = if self.matcher.is_empty() { String::new() } else { format!(", {}", self.matcher) };
        format!("{fold} by (__name__, {by}) ({{__name__=~\"{names}\"{matcher}}})")
    }

    fn last_samples(&self) -> String {
        let by = read::by(&[]);
        let matcher = if self.matcher.is_empty() { String::new() } else { format!("{{{}}}", self.matcher) };
        format!("max by ({by}) (max_over_time({LAST_SAMPLE}{matcher}[{REMEMBERED}]))")
    }
}

impl Looks for Prometheus {
    fn look(&mut self) -> anyhow::Result<View> {
        self.warnings.clear();
        // One time for all, so that the answers are of one moment.
        let at = self.clock.now_us() / 1_000_000;
        let mut nodes = Nodes::default();
        for series in self.ask(&self.last_samples(), at)? {
            nodes.sampled(&series);
        }
        ensure!(
            !nodes.is_empty(),
            "{}: no series of gpu-session-monitor is there; see that it scrapes node_exporter or serve (`gpu-session-monitor \
             doctor --prometheus` on a node), that --prometheus-matcher, if given, takes them, and that the clock here is right",
            self.server.name()
        );
        let query = self.series("max", DEVICES, DEVICE_LABELS);
        self.each(&query, at, |series| nodes.device(series))?;
        // A source is up where all replicas saw it up.
        let query = self.series("min", SOURCES, &["source"]);
        self.each(&query, at, |series| nodes.source(series))?;
        let query = self.series("max", SESSION_INFO, SESSION_INFO_LABELS);
        self.each(&query, at, |series| nodes.session(series))?;
        let query = self.series("max", SESSIONS, &["session"]);
        self.each(&query, at, |series| nodes.session_figure(series))?;
        let query = self.series("max", ALLOCATIONS, ALLOCATION_LABELS);
        self.each(&query, at, |series| nodes.allocation(series))?;
        Ok(nodes.view())
    }

    fn warnings(&self) -> Vec<String> {
        self.warnings.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests;
