use super::*;
use crate::outputs::http::{Heart, LedgerIs, Published, Reading};
use crate::report::period::Period;
use axum::body::{Body, to_bytes};
use axum::extract::Query;
use axum::http::{Request, StatusCode, Uri};
use gpu_session_core::metrics::Labels;
use gpu_session_core::snapshot::CounterView;
use gpu_session_sources::Progress;
use gpu_session_sources::clock::Clock;
use tokio::sync::watch;
use tower::ServiceExt as _;

/// What there is before the first sample, with a ledger that is so.
fn nothing_yet(ledger: LedgerIs) -> (watch::Sender<Arc<Published>>, Shared) {
    let reading = Reading::before_the_first(Arc::new(CounterView::default()));
    let published = watch::Sender::new(Arc::new(Published::new(reading, Labels::default(), None, 0, ledger)));
    let shared = Shared {
        published: published.subscribe(),
        clock: Clock::Real,
        heart: Heart::new(Clock::Real),
        progress: Progress::default(),
        state_dir: "/nonexistent".into(),
    };
    (published, shared)
}

#[test]
fn before_the_first_sample_nothing_is_made_up() {
    let (_published, shared) = nothing_yet(LedgerIs::Off);
    let routes = api(shared);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for path in ["sessions", "devices", "users", "allocations"] {
            let request = Request::get(format!("/api/v1/{path}")).body(Body::empty()).unwrap();
            let answer = routes.clone().oneshot(request).await.unwrap();
            assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(answer.headers()["retry-after"], "5");
            let body = to_bytes(answer.into_body(), 1 << 16).await.unwrap();
            assert!(String::from_utf8_lossy(&body).contains("no sample yet"), "{body:?}");

            let request = Request::get(format!("/api/v1/{path}?since=1h")).body(Body::empty()).unwrap();
            let answer = routes.clone().oneshot(request).await.unwrap();
            assert_eq!(answer.status(), StatusCode::NOT_FOUND, "there may be a file, but it is not kept");
        }
    });
}

#[test]
fn queries_wait_for_those_that_run_and_then_are_refused() {
    let (_published, shared) = nothing_yet(LedgerIs::Kept);
    let (streams, queries) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let api = Api { shared, streams, queries: Arc::clone(&queries) };
    let ask = || async {
        let Ok(Query(asked)) = Query::try_from_uri(&Uri::from_static("/?since=1h")) else {
            panic!("a query")
        };
        let period = Period { since_us: 0, until_us: 1 };
        history::users(&api, asked, period).await.unwrap_err().into_response().status()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert_eq!(runtime.block_on(ask()), StatusCode::SERVICE_UNAVAILABLE, "none is free");
    queries.add_permits(1);
    assert_eq!(runtime.block_on(ask()), StatusCode::NOT_FOUND, "there is no ledger");
    assert_eq!(queries.available_permits(), 1, "and the next one's turn comes");
}
