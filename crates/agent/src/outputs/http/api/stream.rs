//! `/api/v1/stream`: what changes, as server-sent events. A slow reader skips snapshots: it is told the difference from what
//! it was told last, when it can be told again, and nothing waits for it.

use super::changes::Follower;
use super::problem::{Problems, Refusal};
use super::query::OfChanges;
use super::{Api, MOST_STREAMS};
use crate::outputs::http::{Published, Shared};
use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use axum::response::{IntoResponse as _, Response};
use gpu_session_sources::clock::Clock;
use http_body::Frame;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::timeout;

/// Where there is nothing to tell, something is said this often: who reads knows that it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const STILL_THERE: Bytes = Bytes::from_static(b":\n\n");

/// What changes, as server-sent events
///
/// First all sessions (`session`) and devices (`device`) as they are, then `sample`. After each further sample those that are
/// new or not as they were, `session_ended` and `device_gone`, then `sample` again. `id` is the time of the sample in
/// microseconds. Who connects anew begins with nothing.
#[utoipa::path(get, path = "/api/v1/stream", operation_id = "stream", tag = "changes", params(OfChanges), responses(
    (status = 200, description = "Events; data of each is JSON: `session` a Session, `device` a Device, `session_ended` a \
     SessionEnded, `device_gone` a DeviceGone, `sample` a Sampled.", body = String, content_type = "text/event-stream"),
    Problems))]
pub(super) async fn stream(
    State(api): State<Api>,
    asked: Result<Query<OfChanges>, QueryRejection>,
) -> Result<Response, Refusal> {
    let Query(asked) = asked?;
    let Ok(place) = Arc::clone(&api.streams).try_acquire_owned() else {
        return Err(Refusal::unavailable(format_args!(
            "{MOST_STREAMS} streams are read already: end one, or ask /api/v1/sessions from time to time"
        )));
    };
    let (sender, receiver) = mpsc::channel(1);
    let Shared { published, clock, .. } = api.shared;
    tokio::spawn(follow(published, clock, Follower::new(asked), sender, place));
    // The last one tells nginx to pass on what comes as it comes.
    let unbuffered = HeaderName::from_static("x-accel-buffering");
    let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store"), (unbuffered, "no")];
    Ok((headers, Body::new(Events(receiver))).into_response())
}

/// Tells a reader what changes, until it is gone.
async fn follow(
    mut published: watch::Receiver<Arc<Published>>,
    clock: Clock,
    mut follower: Follower,
    reader: mpsc::Sender<Bytes>,
    _place: OwnedSemaphorePermit,
) {
    loop {
        let now = Arc::clone(&published.borrow_and_update());
        let news = now.changes().and_then(|changes| follower.news(changes, clock.now_us()));
        // Not for as long as the reader takes.
        drop(now);
        if let Some(news) = news
            && reader.send(news).await.is_err()
        {
            return;
        }
        let changed = tokio::select! {
            changed = timeout(KEEP_ALIVE, published.changed()) => changed,
            () = reader.closed() => return,
        };
        match changed {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
            Err(_) => {
                if reader.send(STILL_THERE).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// The body of a stream.
struct Events(mpsc::Receiver<Bytes>);

impl http_body::Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}
