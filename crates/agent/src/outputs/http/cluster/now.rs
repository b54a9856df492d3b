//! How things stand, from the last look.

use super::answer::{Gzip, Ready, made};
use super::query::{OfAllocations, OfNodes, OfSessions};
use super::{Asked, Shared};
use crate::cluster::{Now, Page};
use crate::outputs::http::api::problem::Refusal;
use crate::outputs::http::api::query::OfNothing;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use gpu_session_api::{Cluster, ClusterAllocations, ClusterNodes, ClusterSessions, Part, SCHEMA_VERSION};

pub(super) const BUSY: &str = "many answers are being made; ask again in a few seconds";

/// What there is to answer from.
pub(super) async fn seen(shared: &Shared) -> Result<Now, Refusal> {
    shared.looker.now().await.map_err(Refusal::unavailable)
}

/// Where in the whole a page is.
pub(super) fn part(now: f64, seen: &Now, page: Page, total: usize) -> Part {
    Part {
        schema_version: SCHEMA_VERSION,
        now,
        timestamp: seen.index.timestamp(),
        refresh_seconds: seen.refresh.as_secs_f64(),
        failure: seen.failure.as_deref().map(str::to_owned),
        total: total as u64,
        offset: page.offset as u64,
    }
}

pub(super) fn bad_sort(what: String) -> Refusal {
    Refusal::bad("sort", what)
}

pub(super) async fn cluster(
    State(shared): State<Shared>,
    headers: HeaderMap,
    asked: Asked<OfNothing>,
) -> Result<Response, Refusal> {
    asked?;
    let (seen, gzip, now) = (seen(&shared).await?, Gzip::of(&headers), shared.now());
    made(&shared.answers, BUSY, move || {
        let failure = seen.failure.as_deref().map(str::to_owned);
        let refresh_seconds = seen.refresh.as_secs_f64();
        Ready::of(&Cluster { now, refresh_seconds, failure, ..seen.index.cluster() }, gzip)
    })
    .await
}

pub(super) async fn nodes(
    State(shared): State<Shared>,
    headers: HeaderMap,
    asked: Asked<OfNodes>,
) -> Result<Response, Refusal> {
    let Query(asked) = asked?;
    let (words, page) = (asked.words()?, asked.page());
    let (seen, gzip, now) = (seen(&shared).await?, Gzip::of(&headers), shared.now());
    made(&shared.answers, BUSY, move || {
        let (node, state, sort) = (asked.node.as_deref(), asked.state(), asked.sort.as_deref());
        let (nodes, total) = seen.index.nodes(&words, node, state, sort, page).map_err(bad_sort)?;
        Ready::of(&ClusterNodes { part: part(now, &seen, page, total), nodes }, gzip)
    })
    .await
}

pub(super) async fn sessions(
    State(shared): State<Shared>,
    headers: HeaderMap,
    asked: Asked<OfSessions>,
) -> Result<Response, Refusal> {
    let Query(asked) = asked?;
    let (filter, page) = (asked.filter()?, asked.page());
    let (seen, gzip, now) = (seen(&shared).await?, Gzip::of(&headers), shared.now());
    made(&shared.answers, BUSY, move || {
        let found = seen.index.sessions(&filter, asked.sort.as_deref(), page);
        let (sessions, total) = found.map_err(bad_sort)?;
        Ready::of(&ClusterSessions { part: part(now, &seen, page, total), sessions }, gzip)
    })
    .await
}

pub(super) async fn allocations(
    State(shared): State<Shared>,
    headers: HeaderMap,
    asked: Asked<OfAllocations>,
) -> Result<Response, Refusal> {
    let Query(asked) = asked?;
    let (filter, page) = (asked.filter()?, asked.page());
    let (seen, gzip, now) = (seen(&shared).await?, Gzip::of(&headers), shared.now());
    made(&shared.answers, BUSY, move || {
        let found = seen.index.allocations(&filter, asked.sort.as_deref(), page);
        let (allocations, total) = found.map_err(bad_sort)?;
        Ready::of(&ClusterAllocations { part: part(now, &seen, page, total), allocations }, gzip)
    })
    .await
}
