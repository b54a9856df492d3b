//! HTTP: `/metrics` of the last snapshot. A request never takes a sample.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;
use axum::routing::get;
use gpu_session_core::metrics::{Context, Format, Labels, render};
use gpu_session_core::snapshot::Snapshot;
use gpu_session_sources::clock::Clock;
use std::sync::Arc;
use tokio::sync::watch;

/// What requests are answered from.
#[derive(Clone)]
pub struct Shared {
    /// The last snapshot.
    pub snapshot: watch::Receiver<Arc<Snapshot>>,
    /// Labels of every series.
    pub labels: Labels,
    /// The clock, for the snapshot's age.
    pub clock: Clock,
    /// A snapshot older than this is stale, microseconds.
    pub stale_after_us: i64,
}

/// The routes.
pub fn router(shared: Shared) -> Router {
    Router::new().route("/", get(index)).route("/metrics", get(metrics)).with_state(shared)
}

async fn index() -> impl IntoResponse {
    "gpu-session-monitor\n\n/metrics  Prometheus text, or OpenMetrics by the Accept header\n"
}

async fn metrics(State(shared): State<Shared>, headers: HeaderMap) -> impl IntoResponse {
    let snapshot = Arc::clone(&shared.snapshot.borrow());
    let age_us = (shared.clock.now_us() - snapshot.time_us).max(0);
    let context = Context {
        version: crate::VERSION,
        revision: crate::REVISION,
        age: Some((age_us as f64 / 1e6, age_us > shared.stale_after_us)),
        ..Context::default()
    };
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    let (format, content_type) = if accept.contains("application/openmetrics-text") {
        (Format::OpenMetrics, "application/openmetrics-text; version=1.0.0; charset=utf-8")
    } else {
        (Format::Text, "text/plain; version=0.0.4; charset=utf-8")
    };
    ([(header::CONTENT_TYPE, content_type)], render(&snapshot, context, &shared.labels, format))
}
