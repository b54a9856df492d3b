//! Reviews: whose a token is, and whether somebody may do something.

use super::Shared;
use super::status::{Status, json_response};
use crate::lock;
use crate::request::{Request, Token};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

const ONE_OF_TWO: &str =
    "spec: Invalid value: exactly one of nonResourceAttributes or resourceAttributes must be specified";

/// A TokenReview is created: answered, and not kept.
pub(super) async fn token(State(shared): State<Shared>, body: Bytes) -> Response {
    let review = match parsed(&body, "TokenReview", "authentication.k8s.io/v1") {
        Ok(review) => review,
        Err(status) => return status.into_response(),
    };
    let token = review["spec"]["token"].as_str().unwrap_or_default();
    if token.is_empty() {
        return invalid("TokenReview.authentication.k8s.io", "spec.token: Required value").into_response();
    }
    let user = lock(&shared.access).user_of(token).map(str::to_owned);
    let status = match user {
        Some(user) => {
            let user = json!({ "username": user, "uid": uid(&user), "groups": groups(&user) });
            json!({ "authenticated": true, "user": user, "audiences": ["https://kubernetes.default.svc"] })
        }
        None => json!({ "user": {}, "error": "[invalid bearer token, token lookup failed]" }),
    };
    created(review, status)
}

/// A SubjectAccessReview is created: answered, and not kept.
pub(super) async fn subject_access(State(shared): State<Shared>, body: Bytes) -> Response {
    let review = match parsed(&body, "SubjectAccessReview", "authorization.k8s.io/v1") {
        Ok(review) => review,
        Err(status) => return status.into_response(),
    };
    let spec = &review["spec"];
    let kind = "SubjectAccessReview.authorization.k8s.io";
    let Some(request) = asked(spec) else { return invalid(kind, ONE_OF_TWO).into_response() };
    let user = spec["user"].as_str().unwrap_or_default();
    if user.is_empty() && spec["groups"].as_array().is_none_or(Vec::is_empty) {
        return invalid(
            kind,
            "spec.user: Invalid value: \"\": at least one of user or group must be specified",
        )
        .into_response();
    }
    let allowed = lock(&shared.access).may(user, &request);
    created(review, json!({ "allowed": allowed }))
}

/// A SelfSubjectAccessReview is created: answered, and not kept.
pub(super) async fn own_access(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let review = match parsed(&body, "SelfSubjectAccessReview", "authorization.k8s.io/v1") {
        Ok(review) => review,
        Err(status) => return status.into_response(),
    };
    let Some(request) = asked(&review["spec"]) else {
        return invalid("SelfSubjectAccessReview.authorization.k8s.io", ONE_OF_TWO).into_response();
    };
    let allowed = lock(&shared.access).bearer_may(super::bearer(&headers), &request);
    created(review, json!({ "allowed": allowed }))
}

/// What is asked about; `None` where it is nothing, or two things.
fn asked(spec: &Value) -> Option<Request> {
    match (&spec["nonResourceAttributes"], &spec["resourceAttributes"]) {
        (path, Value::Null) if path.is_object() => Some(of_path(path)),
        (Value::Null, resource) if resource.is_object() => Some(of_resource(resource)),
        _ => None,
    }
}

fn parsed(body: &Bytes, kind: &str, version: &str) -> Result<Value, Status> {
    let review: Value = serde_json::from_slice(body)
        .map_err(|e| Status::bad_request(format!("the object provided is unrecognized: {e}")))?;
    if review["kind"] == kind && review["apiVersion"] == version {
        return Ok(review);
    }
    Err(Status::bad_request(format!("the object provided is no {kind} of {version}")))
}

fn invalid(kind: &str, why: &str) -> Status {
    Status::new(422, "Invalid", format!("{kind} \"\" is invalid: {why}"))
}

fn created(mut review: Value, status: Value) -> Response {
    review["status"] = status;
    let mut response = json_response(&review);
    *response.status_mut() = StatusCode::CREATED;
    response
}

/// As the server's own authenticators group users.
fn groups(user: &str) -> Vec<String> {
    let account = user.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
    let of_account = account.map(|(namespace, _)| {
        vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")]
    });
    let mut groups = of_account.unwrap_or_default();
    groups.push("system:authenticated".to_owned());
    groups
}

/// Any that is the same for the same user.
fn uid(user: &str) -> String {
    let sum = user.bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
    format!("00000000-0000-4000-8000-{:012x}", sum & 0xffff_ffff_ffff)
}

fn text(attributes: &Value, name: &str) -> String {
    attributes[name].as_str().unwrap_or_default().to_owned()
}

fn of_path(attributes: &Value) -> Request {
    Request { verb: text(attributes, "verb"), path: text(attributes, "path"), ..nothing() }
}

fn of_resource(attributes: &Value) -> Request {
    let (resource, part) = (text(attributes, "resource"), text(attributes, "subresource"));
    Request {
        verb: text(attributes, "verb"),
        group: text(attributes, "group"),
        resource: if part.is_empty() { resource } else { format!("{resource}/{part}") },
        namespace: text(attributes, "namespace"),
        name: text(attributes, "name"),
        ..nothing()
    }
}

fn nothing() -> Request {
    Request { token: Token::Accepted, ..Request::parse("GET", &axum::http::Uri::from_static("/")) }
}
