//! `/metrics`: Prometheus text, or OpenMetrics by the Accept header, in gzip where that is accepted.

use super::{Shared, all, negotiate};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use gpu_session_core::metrics::Format;
use http_body::{Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};

pub(super) async fn metrics(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let published = Arc::clone(&shared.published.borrow());
    let format = negotiate::format(&all(&headers, &header::ACCEPT));
    let content_type = match format {
        Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        Format::Text => "text/plain; version=0.0.4; charset=utf-8",
    };
    let described = [(header::CONTENT_TYPE, content_type), (header::VARY, "Accept, Accept-Encoding")];
    let now_us = shared.clock.monotonic_us();
    let compressed = negotiate::gzip(&all(&headers, &header::ACCEPT_ENCODING))
        .then(|| published.gzip_answer(format, now_us))
        .flatten();
    match compressed {
        Some(parts) => {
            let gzip = [(header::CONTENT_ENCODING, "gzip")];
            (described, gzip, Body::new(Parts(parts.map(Some)))).into_response()
        }
        None => (described, Body::new(Parts(published.answer(format, now_us).map(Some)))).into_response(),
    }
}

/// A body of two parts, so that the large one need not be copied for each request.
struct Parts([Option<Bytes>; 2]);

impl http_body::Body for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Task<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.0.iter_mut().find_map(Option::take);
        Poll::Ready(next.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().flatten().map(|bytes| bytes.len() as u64).sum())
    }
}
