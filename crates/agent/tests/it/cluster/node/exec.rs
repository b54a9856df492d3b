//! `kubectl exec`: the container runtime streams it, and the kubelet hands the connection on.

use super::agent::Agent;
use crate::containers::cri::{ExecRequest, ExecResponse};
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;

/// Runs a command in a container.
pub(super) async fn answer(
    State(agent): State<Arc<Agent>>,
    Path([namespace, pod, container]): Path<[String; 3]>,
    request: Request,
) -> Result<Response, (StatusCode, String)> {
    let failed = |error: String| (StatusCode::INTERNAL_SERVER_ERROR, error);
    let id = agent.container_id(&namespace, &pod, &container);
    let id =
        id.ok_or_else(|| (StatusCode::NOT_FOUND, format!("no container {namespace}/{pod}/{container}")))?;
    let asked: Vec<(String, String)> =
        form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()).into_owned().collect();
    let is =
        |name: &str| asked.iter().any(|(key, value)| key == name && matches!(value.as_str(), "1" | "true"));
    let command = asked.iter().filter(|(key, _)| key == "command").map(|(_, word)| word.clone()).collect();
    let exec = ExecRequest {
        container: id,
        command,
        tty: is("tty"),
        stdin: is("input"),
        stdout: is("output"),
        stderr: is("error"),
    };
    let ExecResponse { url } = agent.runtime("Exec", exec).await.map_err(failed)?;
    relay(&url, request).await.map_err(failed)
}

/// Asks the runtime's address the same, and joins the two connections once it has agreed.
async fn relay(url: &str, mut request: Request) -> Result<Response, String> {
    let url: Uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
    let authority = url.authority().ok_or("the runtime names no address")?.as_str();
    let stream = TcpStream::connect(authority).await.map_err(|error| format!("{authority}: {error}"))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    tokio::spawn(connection.with_upgrades());
    let ours = hyper::upgrade::on(&mut request);
    let mut theirs = Request::new(Body::empty());
    *theirs.method_mut() = request.method().clone();
    *theirs.uri_mut() = url.path_and_query().ok_or("the runtime names no path")?.as_str().parse().unwrap();
    *theirs.headers_mut() = request.headers().clone();
    theirs.headers_mut().insert("host", authority.parse().unwrap());
    let mut answer = sender.send_request(theirs).await.map_err(|error| error.to_string())?;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        let theirs = hyper::upgrade::on(&mut answer);
        tokio::spawn(async move {
            let (Ok(ours), Ok(theirs)) = tokio::join!(ours, theirs) else { return };
            // Whoever goes first ends it.
            drop(copy_bidirectional(&mut TokioIo::new(ours), &mut TokioIo::new(theirs)).await);
        });
    }
    Ok(answer.map(Body::new))
}
