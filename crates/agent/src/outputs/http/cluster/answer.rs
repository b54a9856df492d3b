//! Answers that are made beside the thread that serves.

use crate::outputs::http::api::problem::Refusal;
use crate::outputs::http::{all, negotiate};
use axum::body::Bytes;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Smaller answers are not compressed.
const SMALL: usize = 1 << 10;
/// Longest wait for a turn.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Whether the client takes an answer in gzip.
#[derive(Clone, Copy)]
pub(super) struct Gzip(bool);

impl Gzip {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        Self(negotiate::gzip(&all(headers, &header::ACCEPT_ENCODING)))
    }
}

/// A document, ready to be sent.
pub(super) struct Ready {
    body: Bytes,
    gzip: bool,
}

impl Ready {
    /// Of a document; takes its time where that is large.
    pub(super) fn of(document: &impl Serialize, gzip: Gzip) -> Result<Self, Refusal> {
        let body = serde_json::to_vec(document)
            .map_err(|e| Refusal::unavailable(format_args!("the answer cannot be written: {e}")))?;
        let compressed = (gzip.0 && body.len() >= SMALL).then(|| compressed(&body)).flatten();
        let is_compressed = compressed.is_some();
        Ok(Self { body: compressed.unwrap_or(body).into(), gzip: is_compressed })
    }

    fn response(self) -> Response {
        let described = [(header::CONTENT_TYPE, "application/json"), (header::VARY, "Accept-Encoding")];
        if self.gzip {
            return (described, [(header::CONTENT_ENCODING, "gzip")], self.body).into_response();
        }
        (described, self.body).into_response()
    }
}

fn compressed(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).ok()?;
    gzip.finish().ok()
}

/// A small document.
pub(super) fn json(document: &impl Serialize, headers: &HeaderMap) -> Result<Response, Refusal> {
    Ok(Ready::of(document, Gzip::of(headers))?.response())
}

/// Makes an answer on a thread that may take its time, when its turn comes; `busy` is said where it does not.
pub(super) async fn made(
    turns: &Arc<Semaphore>,
    busy: &'static str,
    make: impl FnOnce() -> Result<Ready, Refusal> + Send + 'static,
) -> Result<Response, Refusal> {
    let turn = tokio::time::timeout(LONGEST_WAIT, Arc::clone(turns).acquire_owned()).await;
    let Ok(Ok(turn)) = turn else { return Err(Refusal::unavailable(busy)) };
    let making = tokio::task::spawn_blocking(move || {
        // Until it is done, also where nobody waits for it any more.
        let _turn = turn;
        make()
    });
    match making.await {
        Ok(ready) => ready.map(Ready::response),
        Err(e) => Err(Refusal::unavailable(format_args!("the answer was not made: {e}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::StatusCode;
    use axum::response::IntoResponse;

    #[test]
    fn an_answer_waits_for_its_turn_and_then_is_refused() {
        let turns = Arc::new(Semaphore::new(0));
        let ask = || async {
            let answer = made(&turns, "busy", || Ready::of(&"a", Gzip(true))).await;
            answer.unwrap_or_else(IntoResponse::into_response)
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let refused = runtime.block_on(ask());
        assert_eq!(
            (refused.status(), &refused.headers()["retry-after"]),
            (StatusCode::SERVICE_UNAVAILABLE, &"5".parse().unwrap())
        );
        turns.add_permits(1);
        let answered = runtime.block_on(ask());
        assert_eq!((answered.status(), answered.headers().get("content-encoding")), (StatusCode::OK, None));
        assert_eq!(turns.available_permits(), 1, "and the next one's turn comes");
    }
}
