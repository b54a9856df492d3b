//! Which path is answered by what, and what is done with every request.

use super::status::{Status, json_response};
use super::{Shared, discovery, list, review, watch};
use crate::cluster::Kind;
use crate::lock;
use crate::request::Request;
use axum::extract::State;
use axum::http::header;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Extension, Router};

/// The routes of a server.
pub(super) fn router(shared: Shared) -> Router {
    let gate = middleware::from_fn_with_state(shared.clone(), gate);
    let text = |text: &'static str| get(async move || text);
    Router::new()
        .route("/version", get(async || json_response(&discovery::version())))
        .route("/healthz", text("ok"))
        .route("/livez", text("ok"))
        .route("/readyz", text("ok"))
        .route("/api", get(async |State(shared): State<Shared>| versions(&shared)))
        .route("/apis", get(async || json_response(&discovery::groups())))
        .route("/api/v1", get(async || json_response(&discovery::resources())))
        .route("/api/v1/pods", collection(Kind::Pods))
        .route("/api/v1/namespaces/{namespace}/pods", collection(Kind::Pods))
        .route("/api/v1/namespaces/{namespace}/pods/{name}", object(Kind::Pods))
        .route("/api/v1/namespaces", collection(Kind::Namespaces))
        .route("/api/v1/namespaces/{namespace}", object(Kind::Namespaces))
        .route("/api/v1/nodes", collection(Kind::Nodes))
        .route("/api/v1/nodes/{name}", object(Kind::Nodes))
        .route("/apis/authentication.k8s.io/v1/tokenreviews", post(review::token))
        .route("/apis/authorization.k8s.io/v1/subjectaccessreviews", post(review::subject_access))
        .route("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", post(review::own_access))
        .fallback(async || Status::no_such_path())
        .method_not_allowed_fallback(async || {
            let message = "the server does not allow this method on the requested resource";
            Status::new(405, "MethodNotAllowed", message)
        })
        .layer(gate)
        .with_state(shared)
}

fn versions(shared: &Shared) -> Response {
    json_response(&discovery::versions(&shared.address.to_string()))
}

fn collection(kind: Kind) -> MethodRouter<Shared> {
    get(async move |State(shared): State<Shared>, Extension(request): Extension<Request>| {
        if request.verb == "watch" {
            watch::start(&shared.cluster, &shared.faults, kind, &request)
        } else {
            list::list(&shared.cluster, kind, &request)
        }
    })
}

fn object(kind: Kind) -> MethodRouter<Shared> {
    get(async move |State(shared): State<Shared>, Extension(request): Extension<Request>| {
        if request.verb == "watch" {
            watch::start(&shared.cluster, &shared.faults, kind, &request)
        } else {
            list::get(&shared.cluster, kind, &request)
        }
    })
}

/// Records a request, lets what is wrong with the server happen to it, and asks whether it is allowed.
async fn gate(State(shared): State<Shared>, mut http: axum::extract::Request, next: Next) -> Response {
    let (mut request, bearer) = read(&http);
    request.token = lock(&shared.access).judge(bearer.as_deref());
    shared.cluster.record(request.clone());
    let is_watch = request.verb == "watch";
    if let Some(wrong) = shared.faults.before(&request.resource, is_watch).await {
        return wrong;
    }
    let allowed = lock(&shared.access).check(bearer.as_deref(), &request);
    let response = match allowed {
        Ok(()) => {
            http.extensions_mut().insert(request);
            next.run(http).await
        }
        Err(status) => status.into_response(),
    };
    shared.faults.after(is_watch, response)
}

/// The request in Kubernetes' words, and its bearer token.
fn read(http: &axum::extract::Request) -> (Request, Option<String>) {
    let header = |name| http.headers().get(name).and_then(|value| value.to_str().ok());
    let bearer = super::bearer(http.headers());
    let mut request = Request::parse(http.method().as_str(), http.uri());
    header(header::USER_AGENT).unwrap_or_default().clone_into(&mut request.user_agent);
    header(header::ACCEPT).unwrap_or_default().clone_into(&mut request.accept);
    (request, bearer.map(str::to_owned))
}
