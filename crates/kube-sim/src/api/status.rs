//! Errors as Kubernetes words them: `Status` objects.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// An answer that is no success.
#[derive(Clone, Debug)]
pub(crate) struct Status {
    code: u16,
    reason: &'static str,
    message: String,
    details: Value,
}

impl Status {
    pub(crate) fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: Value::Null }
    }

    pub(crate) fn details(mut self, details: Value) -> Self {
        self.details = details;
        self
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub(crate) fn invalid(field: &str, message: &str) -> Self {
        let cause = json!({ "reason": "FieldValueForbidden", "message": message, "field": field });
        let text = format!("ListOptions.meta.k8s.io \"\" is invalid: {field}: {message}");
        Self::new(422, "Invalid", text)
            .details(json!({ "group": "meta.k8s.io", "kind": "ListOptions", "causes": [cause] }))
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    pub(crate) fn not_found(resource: &str, name: &str) -> Self {
        let details = json!({ "name": name, "kind": resource });
        Self::new(404, "NotFound", format!("{resource} \"{name}\" not found")).details(details)
    }

    pub(crate) fn no_such_path() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource").details(json!({}))
    }

    pub(crate) fn expired(asked: u64, oldest: u64) -> Self {
        Self::new(410, "Expired", format!("too old resource version: {asked} ({oldest})"))
    }

    pub(crate) fn too_large(asked: u64, newest: u64) -> Self {
        let cause = json!({ "reason": "ResourceVersionTooLarge", "message": "Too large resource version" });
        Self::new(504, "Timeout", format!("Too large resource version: {asked}, current: {newest}"))
            .details(json!({ "causes": [cause], "retryAfterSeconds": 1 }))
    }

    /// What an overloaded (429), failing (500) or absent (503) server says.
    pub(crate) fn failing(code: u16, retry_after: Option<u32>) -> Self {
        let (reason, message) = match code {
            429 => ("TooManyRequests", "too many requests, please try again later"),
            503 => ("ServiceUnavailable", "the server is currently unable to handle the request"),
            504 => ("Timeout", "the server was unable to return a response in the time allotted"),
            _ => ("InternalError", "Internal error occurred: etcdserver: request timed out"),
        };
        let details = retry_after.map_or(Value::Null, |seconds| json!({ "retryAfterSeconds": seconds }));
        Self::new(code, reason, message).details(details)
    }

    /// The object.
    pub(crate) fn object(&self) -> Value {
        let mut object = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        });
        if !self.details.is_null() {
            object["details"] = self.details.clone();
        }
        object
    }
}

impl IntoResponse for Status {
    fn into_response(self) -> Response {
        let mut response = json_response(&self.object());
        *response.status_mut() = StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if let Some(seconds) = self.details["retryAfterSeconds"].as_u64() {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// An object as the body of a success.
pub(crate) fn json_response(object: &Value) -> Response {
    let mut response = Response::new(Body::from(object.to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
