//! Requests to the routes: path, query, headers.

use super::capture::{monitor, recorded, replayed};
use crate::servers::kept_folder;
use crate::{Target, exposition};
use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use gpu_session_api::Problem;
use gpu_session_core::ledger::rows;
use gpu_session_core::metrics::Labels;
use gpu_session_monitor::ledger::{Ledger, Retention};
use gpu_session_monitor::outputs::http::{Heart, LedgerIs, Published, Reading, Shared, api, public};
use gpu_session_sources::Progress;
use gpu_session_sources::capture::Capture;
use gpu_session_sources::clock::Clock;
use http_body_util::BodyExt as _;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tower::ServiceExt as _;

pub(super) const TARGET: Target = Target {
    name: "http",
    cases: 1_500,
    words: &[
        "GET ",
        "HEAD ",
        "POST ",
        "/api/v1/sessions?",
        "/api/v1/devices?",
        "/api/v1/users?",
        "/api/v1/allocations?",
        "/api/v1/stream?",
        "/api/v1/openapi.json",
        "/metrics",
        "&",
        "=",
        "%",
        "%00",
        "%ff",
        "+",
        "gpu=0",
        "gpu=0_1_0",
        "user=",
        "pid=1",
        "idle_for=1h",
        "since=1h",
        "until=now",
        "since=2026-11-01T12:00%2B09:00",
        "limit=1",
        "cursor=W10",
        "allocated=true",
        "free=false",
        "uuid=x",
        "session=0",
        "99999999999999999999",
        "\naccept: application/openmetrics-text;q=0.5",
        "\naccept-encoding: gzip",
        ";q=",
        ",",
        "*/*",
    ],
    seeds,
    run,
};

fn seeds() -> Vec<Vec<u8>> {
    [
        "GET /",
        "GET /metrics\naccept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\naccept-encoding: gzip;q=0.5, *;q=0",
        "GET /healthz",
        "GET /readyz",
        "GET /api/v1/sessions?gpu=0&user=alice&limit=2",
        "GET /api/v1/sessions?since=7d&until=now&gpu=0_1_0&pid=42&limit=1&command=python",
        "GET /api/v1/devices?free=true&uuid=GPU-a&cursor=W3siZ3B1IjowLCJpbnN0YW5jZSI6bnVsbH0sIngiXQ",
        "GET /api/v1/devices?since=2026-11-01T12:00:00%2B09:00&until=2026-11-02",
        "GET /api/v1/users?user=&gpu=1",
        "GET /api/v1/users?until=0s",
        "GET /api/v1/allocations?namespace=a&pod=b&container=c&idle_for=1h30m",
        "GET /api/v1/allocations?since=1h&cursor=WzAsMTAwMDAwMCxbMSwxXV0",
        "GET /api/v1/stream?gpu=0&namespace=x",
        "GET /api/v1/openapi.json",
        "DELETE /api/v1/sessions",
        "GET /api/v1/nothing/%E2%80%AE",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}

/// The routes over a capture's last sample and a ledger of the same.
struct Bench {
    runtime: Runtime,
    routes: Router,
    _published: watch::Sender<Arc<Published>>,
    _folder: TempDir,
}

static BENCH: LazyLock<Mutex<Bench>> = LazyLock::new(|| {
    let capture = Capture::parse(&recorded("h100-550-demo")).unwrap();
    let (state, snapshot) = replayed(&monitor(true), &capture).unwrap();
    let folder = kept_folder();
    let keep = Retention { age: Duration::from_secs(365 * 86_400), bytes: 64 << 20 };
    Ledger::open(folder.path(), keep).unwrap().write(&rows(&state, true), snapshot.time_us).unwrap();
    let path = folder.path().join("clock");
    std::fs::write(&path, format!("{} 5000000", snapshot.time_us + 1_500_000)).unwrap();
    let clock = Clock::file(&path).unwrap();
    let reading = Reading { snapshot: Arc::new(snapshot), taken_us: Some(4_000_000) };
    let published = Published::new(reading, Labels::default(), None, 60_000_000, LedgerIs::Kept);
    let published = watch::Sender::new(Arc::new(published));
    let shared = Shared {
        published: published.subscribe(),
        heart: Heart::new(clock.clone()),
        clock,
        progress: Progress::default(),
        state_dir: folder.path().to_owned(),
    };
    let routes = public(shared.clone()).merge(api::api(shared));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    Mutex::new(Bench { runtime, routes, _published: published, _folder: folder })
});

/// `METHOD target`, and a header on each further line; `None` where HTTP has no such request.
fn request(bytes: &[u8]) -> Option<Request<Body>> {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let first = lines.next()?;
    let blank = first.iter().position(|byte| *byte == b' ')?;
    let (method, target) = (&first[..blank], &first[blank + 1..]);
    let mut request = Request::builder().method(method).uri(target);
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        request = request.header(&line[..colon], line[colon + 1..].trim_ascii());
    }
    request.body(Body::empty()).ok()
}

fn run(bytes: &[u8]) {
    let Some(request) = request(bytes) else { return };
    let bench = BENCH.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let path = request.uri().path().to_owned();
    let (is_head, routes) = (request.method() == "HEAD", bench.routes.clone());
    let (head, body) = bench.runtime.block_on(async {
        let (head, mut body) = routes.oneshot(request).await.unwrap().into_parts();
        let kind = head.headers.get(header::CONTENT_TYPE);
        if kind.is_some_and(|kind| kind == "text/event-stream") {
            // It has no end: the first piece is all that is.
            let first = body.frame().await.map(|frame| frame.unwrap().into_data().unwrap());
            return (head, first.unwrap_or_default());
        }
        (head, body.collect().await.unwrap().to_bytes())
    });
    let known = [200, 400, 404, 405, 503];
    assert!(known.contains(&head.status.as_u16()), "{}", head.status);
    let kind = head
        .headers
        .get(header::CONTENT_TYPE)
        .map(|kind| kind.to_str().unwrap().to_owned())
        .unwrap_or_default();
    if is_head {
        return assert!(body.is_empty());
    }
    if head.status != StatusCode::OK && path.starts_with("/api/v1/") {
        return refused(head.status, &kind, &body);
    }
    let compressed = head.headers.contains_key(header::CONTENT_ENCODING);
    match kind.as_str() {
        "application/json" => drop(serde_json::from_slice::<serde_json::Value>(&body).unwrap()),
        "text/event-stream" => {
            assert!(body.starts_with(b"event: ") || body.starts_with(b":") || body.starts_with(b"id: "));
        }
        kind if path == "/metrics" && !compressed && head.status == StatusCode::OK => {
            let text = std::str::from_utf8(&body).unwrap();
            exposition::read(text, kind.starts_with("application/openmetrics-text"))
                .unwrap_or_else(|e| panic!("{e}"));
        }
        _ => {}
    }
}

/// A refusal says what is wrong, in a document of its own kind.
fn refused(status: StatusCode, kind: &str, body: &[u8]) {
    assert_eq!(kind, "application/problem+json", "{status}: {}", body.escape_ascii());
    let problem: Problem = serde_json::from_slice(body).unwrap();
    assert_eq!(problem.status, status.as_u16());
    assert!(!problem.detail.is_empty() && problem.detail.chars().count() <= 500, "{problem:?}");
    assert!(!problem.detail.chars().any(char::is_control), "{problem:?}");
}
