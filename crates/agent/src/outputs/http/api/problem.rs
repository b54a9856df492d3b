//! Refusals, as problem documents (RFC 9457).

use axum::extract::rejection::QueryRejection;
use axum::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use gpu_session_api::Problem;
use utoipa::IntoResponses;

/// Longest text of a refusal, in characters: it repeats what was asked.
const LONGEST: usize = 500;

/// Why a request is not answered as asked.
#[derive(Debug)]
pub(in crate::outputs::http) struct Refusal {
    status: StatusCode,
    detail: String,
}

impl Refusal {
    pub(in crate::outputs::http) fn new(status: StatusCode, detail: &str) -> Self {
        let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
        Self { status, detail: detail.chars().take(LONGEST).map(shown).collect() }
    }

    /// A parameter is wrong.
    pub(in crate::outputs::http) fn bad(parameter: &str, what: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, &format!("{parameter}: {what}"))
    }

    /// What is asked for is not kept here.
    pub(in crate::outputs::http) fn absent(detail: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, &detail.to_string())
    }

    /// It cannot be answered now.
    pub(in crate::outputs::http) fn unavailable(detail: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, &detail.to_string())
    }
}

impl From<QueryRejection> for Refusal {
    fn from(rejection: QueryRejection) -> Self {
        let text = rejection.body_text();
        let what = text.rsplit_once("query string: ").map_or(text.as_str(), |(_, what)| what);
        Self::new(StatusCode::BAD_REQUEST, what)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self { status, detail } = self;
        let title = status.canonical_reason().unwrap_or_default().to_owned();
        let problem = Problem { title, status: status.as_u16(), detail };
        let body = serde_json::to_string(&problem).unwrap_or_default();
        let mut response = (status, [(CONTENT_TYPE, "application/problem+json")], body).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}

/// For a method that a path does not have; axum says which it has.
pub(in crate::outputs::http) async fn other_method(method: Method) -> Refusal {
    let detail = format!("{method} changes nothing here: the API is read with GET or HEAD");
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, &detail)
}

/// For a path that is not there.
pub(in crate::outputs::http) async fn unknown_path(uri: Uri) -> Refusal {
    Refusal::absent(format_args!(
        "{} is not there: allowed are /api/v1/sessions, /devices, /users, /allocations, /stream, /about and /openapi.json",
        uri.path()
    ))
}

/// The refusals that every path may answer with, for the description.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "for the description")]
pub(in crate::outputs::http) enum Problems {
    /// A parameter is unknown, given twice or wrong; `detail` names it and what is allowed.
    #[response(status = 400, content_type = "application/problem+json")]
    Bad(Problem),
    /// Credentials are missing or wrong.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(Problem),
    /// These credentials do not give access.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// There is no ledger that could tell of the past.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
    /// The API is only read; `Allow` has the methods.
    #[response(
        status = 405,
        content_type = "application/problem+json",
        headers(("Allow" = String, description = "The methods"))
    )]
    MethodNotAllowed(Problem),
    /// There is no sample yet, too much is asked at once, or a query takes too long; `Retry-After` says when to ask again.
    #[response(
        status = 503,
        content_type = "application/problem+json",
        headers(("Retry-After" = u32, description = "Seconds after which to ask again"))
    )]
    Unavailable(Problem),
}
