//! HTTP from the last snapshot. A request never takes a sample.

pub mod api;
mod gzip;
mod health;
mod metrics;
mod negotiate;
mod published;

pub use health::Heart;
pub use published::{LedgerIs, Published, Reading};

use axum::Router;
use axum::response::IntoResponse;
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
        .route("/", get(index))
        .route("/metrics", get(metrics::metrics))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .with_state(shared)
}

async fn index() -> impl IntoResponse {
    "gpu-session-monitor\n\n/metrics  Prometheus text, or OpenMetrics by the Accept header\n/api/v1   who is where, as JSON: /api/v1/openapi.json describes it\n/healthz  whether this program lives\n/readyz   whether what it shows is fresh\n"
}
