//! What the API lets us do, and which nodes have a GPU and a collector: asked once, by a person's wish.

use super::connect::connect_as;
use super::problem::Problem;
use gpu_session_core::sample::SourceError;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// Longest time for all questions together.
const LIMIT: Duration = Duration::from_secs(10);
/// Set on nodes with a GPU by NVIDIA's GPU feature discovery.
pub const GPU_NODES: &str = "nvidia.com/gpu.present=true";
/// Set on every pod of a release of our chart.
pub const COLLECTORS: &str = "app.kubernetes.io/name=gpu-session-monitoring";

/// Something that may be done with all objects of a kind of the core group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Right {
    /// `list`, `watch`.
    pub verb: &'static str,
    /// `pods`.
    pub resource: &'static str,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)
    }
}

/// To see which nodes there are and which have a collector.
const OVERVIEW: [Right; 2] =
    [Right { verb: "list", resource: "nodes" }, Right { verb: "list", resource: "pods" }];

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// Rights that are needed and not there.
    pub missing: Vec<Right>,
    /// Nodes with a GPU, and those of them where a collector runs or ran; or the rights that it takes to see them.
    pub coverage: Coverage,
}

/// Which nodes have a collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// These rights are missing to see it.
    Hidden(Vec<Right>),
    /// Names of nodes.
    Seen {
        /// With a GPU.
        nodes: BTreeSet<String>,
        /// With a pod of ours that is running or has done its work.
        covered: BTreeSet<String>,
    },
}

/// Asks for these rights, and for the nodes where that is allowed. On a thread of its own: a plugin that makes
/// credentials may hang, and is left to it.
pub fn survey(kubeconfig: Option<PathBuf>, needed: Vec<Right>) -> Result<Survey, SourceError> {
    let failed =
        |e: std::io::Error| Problem::new("io", format!("no thread: {e}"), "see the limits of this process");
    let (sender, receiver) = mpsc::channel();
    let thread = std::thread::Builder::new().name("kubernetes".to_owned());
    let started = thread.spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
        let found = runtime.map_err(failed).and_then(|runtime| {
            let found = runtime.block_on(ask(kubeconfig, &needed));
            runtime.shutdown_background();
            found
        });
        // Nobody listens when it took too long.
        let _ = sender.send(found);
    });
    let found = started.map_err(failed).and_then(|_| {
        receiver.recv_timeout(LIMIT).unwrap_or_else(|_| Err(Problem::slow("the API server", LIMIT)))
    });
    found.map_err(|problem| problem.error(""))
}

async fn ask(kubeconfig: Option<PathBuf>, needed: &[Right]) -> Result<Survey, Problem> {
    let (client, url) = connect_as(kubeconfig.as_deref(), Arc::new(|| ())).await?;
    let missing = missing(&client, &url, needed).await?;
    let hidden = self::missing(&client, &url, &OVERVIEW).await?;
    let coverage = if hidden.is_empty() { coverage(&client, &url).await? } else { Coverage::Hidden(hidden) };
    Ok(Survey { missing, coverage })
}

/// Which of the rights are not there.
async fn missing(client: &Client, url: &str, rights: &[Right]) -> Result<Vec<Right>, Problem> {
    let mut missing = Vec::new();
    for right in rights {
        let attributes = ResourceAttributes {
            verb: Some(right.verb.to_owned()),
            resource: Some(right.resource.to_owned()),
            ..ResourceAttributes::default()
        };
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(attributes),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        let api = Api::<SelfSubjectAccessReview>::all(client.clone());
        let review = api.create(&PostParams::default(), &review).await;
        let review = review.map_err(|e| Problem::client(url, "selfsubjectaccessreviews", &e))?;
        if !review.status.is_some_and(|status| status.allowed && status.denied != Some(true)) {
            missing.push(*right);
        }
    }
    Ok(missing)
}

async fn coverage(client: &Client, url: &str) -> Result<Coverage, Problem> {
    let labelled = |label: &str| ListParams::default().labels(label).match_any();
    let nodes = Api::<Node>::all(client.clone()).list(&labelled(GPU_NODES)).await;
    let nodes = nodes.map_err(|e| Problem::client(url, "nodes", &e))?;
    let pods = Api::<Pod>::all(client.clone()).list(&labelled(COLLECTORS)).await;
    let pods = pods.map_err(|e| Problem::client(url, "pods", &e))?;
    // Of a CronJob's pods the one that has done its work is as good as one that does it.
    let works = |pod: &Pod| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        matches!(phase, Some("Running" | "Succeeded"))
    };
    let covered = pods.items.into_iter().filter(works).filter_map(|pod| pod.spec?.node_name).collect();
    let nodes = nodes.items.into_iter().filter_map(|node| node.metadata.name).collect();
    Ok(Coverage::Seen { nodes, covered })
}
