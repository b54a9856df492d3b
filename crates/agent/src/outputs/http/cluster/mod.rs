//! `/api/v1/cluster`: a whole cluster, by what its Prometheus has.

mod answer;
mod now;
mod past;
mod query;

use super::api::problem::{self, Refusal};
use super::api::query::OfNothing;
use super::page;
use crate::VERSION;
use crate::cluster::Looker;
use crate::cluster::past::Past;
use answer::json;
use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use axum::routing::{any, get};
use gpu_session_api::{About, SCHEMA_VERSION, Scope};
use gpu_session_sources::clock::Clock;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Answers of now that are made at once, each on a thread of its own.
const MOST_ANSWERS: usize = 4;

/// What requests are answered from, and how many may be at once.
#[derive(Clone)]
pub struct Shared {
    /// What was seen last.
    pub looker: Looker,
    /// Asks of periods.
    pub past: Arc<Past>,
    /// The time.
    pub clock: Clock,
    answers: Arc<Semaphore>,
}

impl Shared {
    /// Answers from these.
    pub fn new(looker: Looker, past: Past, clock: Clock) -> Self {
        Self { looker, past: Arc::new(past), clock, answers: Arc::new(Semaphore::new(MOST_ANSWERS)) }
    }

    /// Unix seconds.
    fn now(&self) -> f64 {
        self.clock.now_us() as f64 / 1e6
    }
}

const INDEX: &str = "gpu-session-monitor, of a cluster\n\n/                 in a browser: a page of who is where\n/api/v1/cluster   who is where, as JSON: docs/page.md says what can be asked\n/healthz          whether this program lives\n/readyz           whether it has seen the cluster\n";

/// All routes.
pub fn routes(shared: Shared) -> Router {
    let api = Router::new()
        .route("/about", get(about))
        .route("/cluster", get(now::cluster))
        .route("/cluster/nodes", get(now::nodes))
        .route("/cluster/sessions", get(now::sessions))
        .route("/cluster/allocations", get(now::allocations))
        .route("/cluster/users", get(past::users))
        .route("/cluster/timeline", get(past::timeline))
        .route("/cluster/device", get(past::device))
        .route("/cluster/user", get(past::user))
        .method_not_allowed_fallback(problem::other_method)
        .fallback(unknown_path)
        .with_state(shared.clone());
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz).with_state(shared))
        .nest("/api/v1", api)
        .route("/api/v1/", any(unknown_path))
        .merge(page::routes(INDEX))
}

type Asked<T> = Result<Query<T>, QueryRejection>;

async fn about(headers: HeaderMap, asked: Asked<OfNothing>) -> Result<Response, Refusal> {
    asked?;
    let about = About {
        schema_version: SCHEMA_VERSION,
        version: VERSION.to_owned(),
        scope: Scope::Cluster,
        node: None,
        history: true,
    };
    json(&about, &headers)
}

/// Ready once Prometheus was seen: where it goes away later, what was seen last is shown with its time.
async fn readyz(State(shared): State<Shared>) -> (StatusCode, String) {
    let looked = shared.looker.last();
    match (looked.index, looked.failure) {
        (Some(index), failure) => {
            let age = (shared.now() - index.timestamp()).max(0.0).round();
            let failing = if failure.is_some() { ", and Prometheus does not answer since" } else { "" };
            (StatusCode::OK, format!("ready: the cluster was seen {age} s ago{failing}\n"))
        }
        // Words of a server are not for everybody.
        (None, Some(_)) => {
            let told = "not ready: Prometheus does not answer as it should; this program's log says why\n";
            (StatusCode::SERVICE_UNAVAILABLE, told.to_owned())
        }
        (None, None) => {
            (StatusCode::SERVICE_UNAVAILABLE, "not ready: the first look at Prometheus goes on\n".to_owned())
        }
    }
}

async fn unknown_path(uri: Uri) -> Refusal {
    Refusal::absent(format_args!(
        "{} is not there: allowed are /api/v1/about, /cluster, and below /cluster: /nodes, /sessions, /allocations, /users, \
         /timeline, /device and /user",
        uri.path()
    ))
}
