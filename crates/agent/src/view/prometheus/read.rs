//! A series as it comes back: whose it is, and its labels as we wrote them.

use crate::report::prometheus::answer;
use gpu_session_core::text::clean;
use std::collections::{BTreeMap, BTreeSet};

/// Labels as they were told, cleaned.
pub(crate) type Labels = BTreeMap<String, String>;

/// A series at one time.
pub(crate) struct Series {
    labels: Labels,
    /// `None` where it is no number.
    pub(crate) value: Option<f64>,
}

/// Where series come from: one scraped address in one job, of a node in a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Origin {
    /// Name of the cluster, by its label `cluster`; empty where there is none.
    pub(crate) cluster: String,
    /// Name of the node: by its label `node`, else `instance`.
    pub(crate) node: String,
    instance: String,
    job: String,
}

/// What to aggregate by: where a series comes from, and these labels of ours however Prometheus calls them. It renames one
/// that its target has too, where it was not told to honor ours.
pub(crate) fn by(labels: &[&str]) -> String {
    let origin = ["cluster", "exported_cluster", "node", "exported_node", "instance", "job"];
    let origin = origin.into_iter().map(str::to_owned);
    let ours = labels.iter().flat_map(|label| [(*label).to_owned(), exported(label)]);
    origin.chain(ours).collect::<Vec<_>>().join(", ")
}

fn exported(label: &str) -> String {
    format!("exported_{label}")
}

impl Series {
    pub(crate) fn of(series: answer::Series) -> Self {
        let labels = series.labels.into_iter().map(|(name, value)| (name, clean(&value)));
        Self { labels: labels.filter(|(_, value)| !value.is_empty()).collect(), value: series.value }
    }

    /// All labels, cleaned.
    pub(crate) fn labels(&self) -> &Labels {
        &self.labels
    }

    pub(super) fn name(&self) -> &str {
        self.plain("__name__").unwrap_or("")
    }

    fn plain(&self, label: &str) -> Option<&str> {
        self.labels.get(label).map(String::as_str)
    }

    /// The label as we wrote it.
    pub(crate) fn label(&self, label: &str) -> Option<&str> {
        self.renamed(label).or_else(|| self.plain(label))
    }

    pub(crate) fn text(&self, label: &str) -> Option<String> {
        self.label(label).map(str::to_owned)
    }

    fn renamed(&self, label: &str) -> Option<&str> {
        self.plain(&exported(label))
    }

    pub(crate) fn origin(&self) -> Origin {
        let text = |label| self.plain(label).unwrap_or("").to_owned();
        let instance = text("instance");
        let node = self.label("node").map_or_else(|| instance.clone(), str::to_owned);
        Origin { cluster: self.text("cluster").unwrap_or_default(), node, instance, job: text("job") }
    }

    /// The labels of the target among those that only sessions and allocations have.
    pub(crate) fn target(&self) -> Labels {
        let own = POD.iter().filter_map(|label| self.labels.get_key_value(*label));
        own.map(|(label, value)| (label.clone(), value.clone())).collect()
    }

    /// Namespace, pod and container as we wrote them. Where they were empty and the target has such labels, Prometheus puts in
    /// the target's: those of our own pod, or of node_exporter's. While such a pod is replaced there are two targets.
    pub(crate) fn pod(&self, targets: &BTreeSet<Labels>) -> [Option<String>; 3] {
        let of_a_target =
            |label: &str| targets.iter().any(|of| of.get(label).map(String::as_str) == self.plain(label));
        let foreign = |label: &str| self.renamed(label).is_none() && of_a_target(label);
        let pod = self.label("pod").filter(|_| !foreign("pod")).map(str::to_owned);
        let with_pod = |label| self.text(label).filter(|_| pod.is_some() || !foreign(label));
        [with_pod("namespace"), pod.clone(), with_pod("container")]
    }
}

/// Labels of ours that targets often have too.
pub(crate) const POD: [&str; 3] = ["namespace", "pod", "container"];
