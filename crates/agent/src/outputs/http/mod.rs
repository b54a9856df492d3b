//! HTTP from the last snapshot. A request never takes a sample.

pub mod api;
pub mod cluster;
mod gzip;
mod health;
mod metrics;
mod negotiate;
pub(super) mod page;
mod published;

pub use health::Heart;
pub use published::{LedgerIs, Published, Reading};

use axum::Router;
use axum::http::{HeaderMap, HeaderName};
use axum::routing::get;
use gpu_session_sources::Progress;
use gpu_session_sources::clock::Clock;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::watch;

/// What requests are answered from.
#[derive(Clone)]
pub struct Shared {
    /// The last snapshot.
    pub published: watch::Receiver<Arc<Published>>,
    /// The clock, for the snapshot's age.
    pub clock: Clock,
    /// Beats while the loop lives.
    pub heart: Heart,
    /// Which source is being read.
    pub progress: Progress,
    /// Folder of the ledger.
    pub state_dir: PathBuf,
}

/// Routes that are served whoever may connect.
pub fn public(shared: Shared) -> Router {
    Router::new()
        .route("/metrics", get(metrics::metrics))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .with_state(shared)
        .merge(page::routes(INDEX))
}

const INDEX: &str = "gpu-session-monitor\n\n/         in a browser: a page of who is where\n/metrics  Prometheus text, or OpenMetrics by the Accept header\n/api/v1   who is where, as JSON: /api/v1/openapi.json describes it\n/healthz  whether this program lives\n/readyz   whether what it shows is fresh\n";

/// A header's list; it may have come in several lines.
fn all(headers: &HeaderMap, name: &HeaderName) -> String {
    let lines: Vec<_> = headers.get_all(name).iter().filter_map(|line| line.to_str().ok()).collect();
    lines.join(",")
}
