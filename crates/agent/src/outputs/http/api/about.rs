//! Who answers, and for what.

use super::Api;
use super::problem::{Problems, Refusal};
use super::query::OfNothing;
use crate::VERSION;
use crate::outputs::http::LedgerIs;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use gpu_session_api::{About, SCHEMA_VERSION, Scope};

/// Who answers, and for what
#[utoipa::path(get, path = "/api/v1/about", operation_id = "about", tag = "other",
    responses((status = 200, description = "This server", body = About), Problems))]
pub(super) async fn about(
    State(api): State<Api>,
    asked: Result<Query<OfNothing>, QueryRejection>,
) -> Result<Json<About>, Refusal> {
    asked?;
    let published = api.shared.published.borrow();
    Ok(Json(About {
        schema_version: SCHEMA_VERSION,
        version: VERSION.to_owned(),
        scope: Scope::Node,
        node: published.node().map(str::to_owned),
        history: published.ledger() == LedgerIs::Kept,
    }))
}
