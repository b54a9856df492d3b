//! What a server can be told to do wrong.

use super::status::Status;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use std::io;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

/// What is wrong with a server. A server that refuses connections is one that is stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// Connections are accepted, and nothing is answered, not even the TLS handshake. What waited is answered when the
    /// fault is over.
    Deaf,
    /// Requests for this resource, `namespaces`, are not answered until the fault is over.
    DeafTo(&'static str),
    /// Every answer begins so much later.
    Slow(Duration),
    /// Bodies come in pieces of so many bytes, with a pause before each.
    Dribble(usize, Duration),
    /// The connection is cut after so many bytes of the body of a list or object; watches go on.
    CutList(usize),
    /// The connection is cut in the middle of the next event of each watch.
    CutWatch,
    /// The next so many requests are answered with a `Status` of this code (429, 500, 503…) and with `Retry-After`;
    /// after them nothing is wrong any more.
    Fail {
        /// HTTP status.
        code: u16,
        /// `Retry-After`, in seconds.
        retry_after: Option<u32>,
        /// How many requests; `u32::MAX` for all.
        times: u32,
    },
    /// Answers are no JSON, but say they were, with status 200; so is the next event of each watch.
    Garbage,
    /// Watches stay open, but tell nothing and do not end; the rest works. What they kept back is told when the fault
    /// is over.
    Silent,
}

/// What [`Fault::Garbage`] says: no JSON, and no UTF-8 either.
pub(super) const GARBAGE: &[u8] = b"<html>\xff\xfe{\"kind\":\"PodList\",\"items\":[{]\n";

/// A switch that all of a server's tasks see.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults(watch::Sender<Fault>);

impl Faults {
    pub(super) fn set(&self, fault: Fault) {
        self.0.send_replace(fault);
    }

    pub(super) fn now(&self) -> Fault {
        self.0.borrow().clone()
    }

    pub(super) fn follow(&self) -> watch::Receiver<Fault> {
        self.0.subscribe()
    }

    /// Waits while the server is deaf.
    pub(super) async fn hearing(&self) {
        // The sender is in `self`, so the wait can only end well.
        drop(self.follow().wait_for(|fault| *fault != Fault::Deaf).await);
    }

    /// What is wrong with the answer to a request: waits, or gives an answer in place of the right one.
    pub(super) async fn before(&self, resource: &str, is_watch: bool) -> Option<Response> {
        self.hearing().await;
        let is_deaf = |fault: &Fault| matches!(fault, Fault::DeafTo(to) if *to == resource);
        drop(self.follow().wait_for(|fault| !is_deaf(fault)).await);
        if let Some(status) = self.failure() {
            return Some(status.into_response());
        }
        match self.now() {
            Fault::Slow(delay) => tokio::time::sleep(delay).await,
            Fault::Garbage if !is_watch => return Some(garbage()),
            _ => {}
        }
        None
    }

    /// What is wrong with the body of an answer.
    pub(super) fn after(&self, is_watch: bool, response: Response) -> Response {
        match self.now() {
            Fault::Dribble(size, pause) => dribble(response, size.max(1), pause),
            Fault::CutList(after) if !is_watch => cut(response, after),
            _ => response,
        }
    }

    /// Takes one off the failures that are left.
    fn failure(&self) -> Option<Status> {
        let mut failure = None;
        self.0.send_if_modified(|fault| {
            let Fault::Fail { code, retry_after, times } = fault else { return false };
            if *times > 0 {
                failure = Some(Status::failing(*code, *retry_after));
            }
            if *times != u32::MAX {
                *times = times.saturating_sub(1);
            }
            if *times == 0 {
                *fault = Fault::None;
            }
            true
        });
        failure
    }
}

fn garbage() -> Response {
    let mut response = Response::new(Body::from(GARBAGE));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An error at which the connection is closed, though the body has not ended. What was sent before goes out first: the
/// server would throw away what it has not written yet.
pub(super) async fn cut_here() -> io::Error {
    tokio::time::sleep(Duration::from_millis(10)).await;
    io::Error::new(io::ErrorKind::ConnectionReset, "cut on order")
}

/// The body's pieces as `pass` sends them on.
fn replace<F>(response: Response, pass: impl FnOnce(Pieces, mpsc::Sender<io::Result<Bytes>>) -> F) -> Response
where
    F: Future<Output = ()> + Send + 'static,
{
    let (mut head, body) = response.into_parts();
    // The body's length may no longer be what the head says.
    head.headers.remove(header::CONTENT_LENGTH);
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(pass(Pieces(body.into_data_stream()), sender));
    Response::from_parts(head, Body::from_stream(ReceiverStream::new(receiver)))
}

struct Pieces(axum::body::BodyDataStream);

impl Pieces {
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        Some(self.0.next().await?.map_err(io::Error::other))
    }
}

fn dribble(response: Response, size: usize, pause: Duration) -> Response {
    replace(response, async move |mut pieces: Pieces, sender: mpsc::Sender<io::Result<Bytes>>| {
        while let Some(piece) = pieces.next().await {
            let mut piece = match piece {
                Ok(piece) => piece,
                Err(error) => return drop(sender.send(Err(error)).await),
            };
            while !piece.is_empty() {
                tokio::time::sleep(pause).await;
                let part = piece.split_to(size.min(piece.len()));
                if sender.send(Ok(part)).await.is_err() {
                    return;
                }
            }
        }
    })
}

fn cut(response: Response, after: usize) -> Response {
    replace(response, async move |mut pieces: Pieces, sender: mpsc::Sender<io::Result<Bytes>>| {
        let mut left = after;
        while let Some(Ok(mut piece)) = pieces.next().await {
            let is_last = piece.len() >= left;
            let part = piece.split_to(left.min(piece.len()));
            left -= part.len();
            if sender.send(Ok(part)).await.is_err() || is_last {
                break;
            }
        }
        drop(sender.send(Err(cut_here().await)).await);
    })
}
