//! Metrics: [`table`] is the only place where a metric's name, type, help and labels stand; [`mod@render`] writes
//! a snapshot by it as Prometheus text or OpenMetrics; other formats take the same series by [`each_series`].

pub mod render;
mod series;
pub mod table;

pub use render::{Format, LabelError, Labels, render, render_only};
pub use series::{LabelSet, Number, Shared, Sink, each_series};
pub use table::{Kind, Metric, TABLE};

use crate::snapshot::{SessionView, Snapshot};

/// What outputs know beyond the snapshot.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context<'a> {
    /// Version of this program.
    pub version: &'a str,
    /// Its commit.
    pub revision: &'a str,
    /// Other files in the textfile folder that define our names; `None` where no folder was looked at.
    pub foreign_textfiles: Option<u64>,
    /// Age of the snapshot in seconds and whether that is too old; `None` in a file, which has no age.
    pub age: Option<(f64, bool)>,
    /// Whether the configuration could be read when it was read last, and when it last could, Unix seconds; `None` for a
    /// command that reads it once.
    pub reload: Option<(bool, f64)>,
    /// Leave counters and histograms out: for a second output beside one that has them.
    pub without_counters: bool,
}

impl Metric {
    /// Names of its series.
    pub fn series_names(&self) -> Vec<String> {
        match self.kind {
            Kind::Gauge | Kind::Counter => vec![self.name.to_owned()],
            Kind::Histogram => {
                ["_bucket", "_sum", "_count"].map(|suffix| format!("{}{suffix}", self.name)).to_vec()
            }
        }
    }
}

/// A snapshot with the texts that many series share.
pub struct View<'a> {
    snapshot: &'a Snapshot,
    context: Context<'a>,
    sessions: Vec<SessionText<'a>>,
    devices: Vec<String>,
}

struct SessionText<'a> {
    view: &'a SessionView,
    id: String,
    gpu: String,
    pid: String,
    seed_pid: String,
    /// Labels of the seed's process metrics.
    process: Shared,
    /// Labels of the metrics by session.
    by_session: Shared,
}

impl<'a> View<'a> {
    fn new(snapshot: &'a Snapshot, context: Context<'a>) -> Self {
        Self {
            snapshot,
            context,
            sessions: snapshot.sessions.iter().map(SessionText::new).collect(),
            devices: snapshot.devices.iter().map(|device| device.facts.label.to_string()).collect(),
        }
    }
}

impl<'a> SessionText<'a> {
    fn new(view: &'a SessionView) -> Self {
        let gpu = view.gpu.to_string();
        let seed_pid = format!("gpu{gpu}_{}", view.pid);
        let id = view.id.to_string();
        let [namespace, pod, container] = pod(view);
        let process = Shared::new(table::PROCESS, &[&gpu, &seed_pid, command(view), pod, namespace]);
        let by_session = Shared::new(table::BY_SESSION, &[&id, &gpu, namespace, pod, container, user(view)]);
        Self { view, id, gpu, pid: view.pid.to_string(), seed_pid, process, by_session }
    }

    /// Values of [`table::BY_SESSION`].
    fn by_session_values(&self) -> [&str; 6] {
        let [namespace, pod, container] = self.pod();
        [&self.id, &self.gpu, namespace, pod, container, user(self.view)]
    }

    /// Namespace, pod and container; empty outside Kubernetes.
    fn pod(&self) -> [&'a str; 3] {
        pod(self.view)
    }

    /// Where it runs outside Kubernetes.
    fn place(&self) -> String {
        self.view.session.place.as_ref().map(ToString::to_string).unwrap_or_default()
    }

    fn command(&self) -> &'a str {
        command(self.view)
    }
}

fn pod(view: &SessionView) -> [&str; 3] {
    let whose = &view.session.attribution;
    [&whose.namespace, &whose.pod, &whose.container].map(|name| name.as_deref().unwrap_or(""))
}

fn user(view: &SessionView) -> &str {
    view.session.attribution.user.as_deref().unwrap_or("")
}

fn command(view: &SessionView) -> &str {
    view.session.command.as_deref().unwrap_or("")
}
