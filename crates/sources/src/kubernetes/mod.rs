//! The Kubernetes API: names, labels and annotations of this node's pods, and of namespaces where rules read them.
//!
//! Only `list` and `watch` are used, on pods of this node and, where a rule needs them, on namespaces; `access` creates
//! reviews of tokens, and `survey` reviews of our own rights.

pub mod access;
mod body;
mod connect;
mod once;
mod problem;
pub mod proxy;
mod slim;
mod store;
pub mod survey;
mod watch;

use crate::Source;
use crate::clock::Clock;
use crate::pods::{self, Wanted};
use gpu_session_core::sample::{PodList, Request, Sample, SourceError};
use problem::Problem;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use store::{Namespaces, Pods, Store, Table, View};
use watch::Watch;

/// Longest wait of the first reading for the first list.
const FIRST_LIST: Duration = Duration::from_secs(5);

/// How the API is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One list within a reading that needs it: for a program that runs once.
    Once,
    /// A watch in the background.
    Watch,
}

/// Whom to ask, as whom, and for what.
#[derive(Clone, Debug)]
pub struct Options {
    /// Kubeconfig file; without one the service account of the pod that this runs in.
    pub kubeconfig: Option<PathBuf>,
    /// Name of this node in the cluster.
    pub node: String,
    /// How.
    pub mode: Mode,
    /// What is kept of labels and annotations.
    pub wanted: Wanted,
    /// The clock that ages are told by.
    pub clock: Clock,
}

impl Options {
    /// The field selector for pods of this node.
    fn fields(&self) -> String {
        let mut node = String::new();
        for c in self.node.chars() {
            // What means something in a selector.
            if matches!(c, '\\' | ',' | '=') {
                node.push('\\');
            }
            node.push(c);
        }
        format!("spec.nodeName={node}")
    }
}

/// The Kubernetes API.
pub struct Kubernetes {
    options: Options,
    /// From the first reading on, in [`Mode::Watch`].
    watch: Option<Watch>,
}

impl Kubernetes {
    /// Asks nothing yet.
    pub fn new(options: Options) -> Self {
        Self { options, watch: None }
    }

    fn watched(&mut self, sample: &mut Sample) -> Result<Vec<SourceError>, Problem> {
        if self.watch.is_none() {
            let failed = |e| Problem::new("io", format!("no thread: {e}"), "see the limits of this process");
            let watch = Watch::start(&self.options).map_err(failed)?;
            let until = Instant::now() + FIRST_LIST;
            watch.pods.wait(until);
            if let Some(namespaces) = &watch.namespaces {
                namespaces.wait(until);
            }
            self.watch = Some(watch);
        }
        let Some(Watch { pods, namespaces, .. }) = &self.watch else { return Ok(Vec::new()) };
        Ok(self.take(pods, namespaces.as_deref(), sample))
    }

    fn take(
        &self,
        pods: &Store<Pods>,
        namespaces: Option<&Store<Namespaces>>,
        sample: &mut Sample,
    ) -> Vec<SourceError> {
        let pods = pods.view();
        let now_us = if sample.time_us == 0 { self.options.clock.now_us() } else { sample.time_us };
        if let Some(map) = pods.map {
            // The clock of the sample may have been read before the watch broke.
            let as_of_us = pods.as_of_us.map_or(now_us, |as_of| as_of.min(now_us));
            sample.pods.push(PodList { source: "kubernetes".into(), as_of_us, pods: map });
        }
        let namespaces: Option<View<<Namespaces as Table>::Map>> = namespaces.map(Store::view);
        let error = namespaces.and_then(|view| {
            sample.namespaces = view.map;
            view.error
        });
        // One cause mostly breaks both watches: it is said once.
        pods.error.or(error).into_iter().collect()
    }
}

/// Whether one list is worth its request: something of the sample is a pod's.
fn is_needed(request: &Request, sample: &Sample) -> bool {
    let allocated = sample.allocations.as_ref().is_some_and(|allocations| !allocations.containers.is_empty());
    allocated || !request.unplaced.is_empty() || pods::any(sample)
}

impl Source for Kubernetes {
    fn name(&self) -> &'static str {
        "kubernetes"
    }

    fn read(&mut self, request: &Request, sample: &mut Sample) -> Vec<SourceError> {
        let result = match self.options.mode {
            Mode::Watch => self.watched(sample),
            Mode::Once if is_needed(request, sample) => once::list(&self.options)
                .map(|lists| self.take(&lists.pods, lists.namespaces.as_ref(), sample)),
            Mode::Once => Ok(Vec::new()),
        };
        result.unwrap_or_else(|problem| vec![problem.error("no pods are named")])
    }
}
