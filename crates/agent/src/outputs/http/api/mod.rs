//! `/api/v1`: who is where now, who was, and what changes, as JSON.
//!
//! `about` says who answers, `now` answers from the last snapshot, `history` from the ledger, `stream` follows the snapshots. `query` has what can be
//! asked, `filter` what it takes, `page` the order and the cursors, `problem` the refusals, `openapi` the description.

mod about;
mod changes;
mod filter;
mod history;
mod now;
mod openapi;
pub(in crate::outputs::http) mod page;
pub(in crate::outputs::http) mod problem;
pub(in crate::outputs::http) mod query;
mod stream;
#[cfg(test)]
mod tests;

pub use openapi::openapi;

pub(super) use changes::Changes;

use super::Shared;
use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::{any, get};
use gpu_session_core::snapshot::Snapshot;
use problem::Refusal;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// The description as it is committed, so that the program need not hold what makes it.
const OPENAPI: &str = include_str!("../../../../../../docs/openapi.json");

/// Streams at once.
const MOST_STREAMS: usize = 32;

/// Queries of the ledger at once.
const MOST_QUERIES: usize = 2;

/// What requests are answered from, and how many may be.
#[derive(Clone)]
struct Api {
    shared: Shared,
    streams: Arc<Semaphore>,
    queries: Arc<Semaphore>,
}

/// The routes of the API.
pub fn api(shared: Shared) -> Router {
    let streams = Arc::new(Semaphore::new(MOST_STREAMS));
    let queries = Arc::new(Semaphore::new(MOST_QUERIES));
    let routes = Router::new()
        .route("/about", get(about::about))
        .route("/sessions", get(now::sessions))
        .route("/devices", get(now::devices))
        .route("/users", get(now::users))
        .route("/allocations", get(now::allocations))
        .route("/stream", get(stream::stream))
        .route("/openapi.json", get(description))
        .method_not_allowed_fallback(problem::other_method)
        .fallback(problem::unknown_path)
        .with_state(Api { shared, streams, queries });
    // What is nested has no empty path.
    Router::new().nest("/api/v1", routes).route("/api/v1/", any(problem::unknown_path))
}

impl Api {
    /// The last snapshot.
    fn snapshot(&self) -> Result<Arc<Snapshot>, Refusal> {
        let published = self.shared.published.borrow();
        match published.reading.taken_us {
            Some(_) => Ok(Arc::clone(&published.reading.snapshot)),
            None => Err(Refusal::unavailable("there is no sample yet; ask again in a moment")),
        }
    }
}

async fn description() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], OPENAPI)
}
