use super::*;
use crate::outputs::http::{Published, Reading};
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use gpu_session_core::metrics::Labels;
use gpu_session_core::snapshot::CounterView;
use gpu_session_sources::clock::Clock;
use tokio::sync::watch;
use tower::ServiceExt as _;

#[test]
fn before_the_first_sample_nothing_is_made_up() {
    let reading = Reading::before_the_first(Arc::new(CounterView::default()));
    let published = watch::Sender::new(Arc::new(Published::new(reading, Labels::default(), None, 0)));
    let shared =
        Shared { published: published.subscribe(), clock: Clock::Real, state_dir: "/nonexistent".into() };
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
        }
    });
}
