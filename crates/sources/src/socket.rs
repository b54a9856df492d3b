//! gRPC over a Unix socket of this node, asked in passing: a connection for each reading, none kept.

use crate::pods::{brief, chain};
use crate::source_error;
use gpu_session_core::sample::SourceError;
use hyper_util::rt::TokioIo;
use prost::bytes::{Buf as _, Bytes};
use std::io;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout_at};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Status};
use wire::Malformed;

/// Largest answer that is read; the kubelet itself reads no larger one of a runtime.
pub(crate) const MAX_BYTES: usize = 16 << 20;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The socket cannot be connected to.
    Connect(io::Error),
    /// No whole answer in time.
    Timeout,
    /// The call failed there, here or between.
    Status(Box<Status>),
    /// The answer is not of this service.
    Malformed,
}

impl From<Malformed> for Failure {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

impl Failure {
    /// Whether the other side does not know the call.
    pub(crate) fn is_unimplemented(&self) -> bool {
        matches!(self, Self::Status(status) if status.code() == Code::Unimplemented)
    }
}

/// A connection for the calls of one reading.
pub(crate) struct Calls {
    grpc: tonic::client::Grpc<Channel>,
    deadline: Instant,
}

impl Calls {
    /// Connects; this and all calls together may take so long.
    pub(crate) async fn connect(path: &Path, limit: Duration) -> Result<Self, Failure> {
        let deadline = Instant::now() + limit;
        let connecting = timeout_at(deadline, UnixStream::connect(path)).await;
        let stream = connecting.map_err(|_| Failure::Timeout)?.map_err(Failure::Connect)?;
        let stream = Mutex::new(Some(stream));
        // The connector is asked once: what breaks is not connected again within a reading.
        let connector = tower::service_fn(move |_: Uri| {
            let stream = stream.lock().ok().and_then(|mut stream| stream.take());
            let broken = || io::Error::new(io::ErrorKind::ConnectionReset, "the connection broke");
            std::future::ready(stream.map(TokioIo::new).ok_or_else(broken))
        });
        // The address is not used, but HTTP/2 must name one.
        let channel = Endpoint::from_static("http://localhost").connect_with_connector_lazy(connector);
        let grpc = tonic::client::Grpc::new(channel).max_decoding_message_size(MAX_BYTES);
        Ok(Self { grpc, deadline })
    }

    /// Calls `/package.Service/Method` with a message without fields; returns the bytes of the answer's message.
    pub(crate) async fn call(&mut self, method: &'static str) -> Result<Bytes, Failure> {
        let deadline = self.deadline;
        let call = async {
            self.grpc.ready().await.map_err(|e| Status::from_error(e.into()))?;
            let path = PathAndQuery::from_static(method);
            self.grpc.unary(tonic::Request::new(()), path, Raw).await
        };
        let answer = timeout_at(deadline, call).await.map_err(|_| Failure::Timeout)?;
        answer.map(tonic::Response::into_inner).map_err(|status| Failure::Status(Box::new(status)))
    }
}

/// Asks with an empty message, and leaves the answer as it came.
struct Raw;

impl Codec for Raw {
    type Encode = ();
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = ();
    type Error = Status;

    fn encode(&mut self, (): (), _: &mut EncodeBuf<'_>) -> Result<(), Status> {
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let length = message.remaining();
        let bytes = message.copy_to_bytes(length);
        // Said before what comes after it, which is mostly no better.
        if wire::fields(&bytes).any(|field| field.is_err()) {
            return Err(Status::internal("decoding: it is no message"));
        }
        Ok(Some(bytes))
    }
}

/// Runs the calls of one reading; everything that they started ends with them.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let runtime = runtime.map_err(Failure::Connect)?;
    runtime.block_on(work)
}

/// The socket of a service, and what is said when it fails.
pub(crate) struct Service {
    /// What it is, "the kubelet".
    pub(crate) who: &'static str,
    /// What to do where the socket is not there.
    pub(crate) missing: &'static str,
    /// What to do where it may not be opened.
    pub(crate) denied: &'static str,
    /// What to do where it does not know the call.
    pub(crate) unknown: &'static str,
    /// Longest time that a reading may take.
    pub(crate) limit: Duration,
}

impl Service {
    /// A failure in words.
    pub(crate) fn error(&self, path: &Path, failure: &Failure) -> SourceError {
        let (kind, what) = match failure {
            Failure::Connect(e) => match e.kind() {
                io::ErrorKind::NotFound => ("socket_missing", format!("no such socket; {}", self.missing)),
                io::ErrorKind::PermissionDenied => ("permission", format!("{e}; {}", self.denied)),
                io::ErrorKind::ConnectionRefused => {
                    ("io", format!("nobody listens there; see that {} runs", self.who))
                }
                // The queue of those who wait to be let in is full.
                io::ErrorKind::WouldBlock => {
                    ("io", format!("it takes no more connections; see whether {} is overloaded", self.who))
                }
                _ => ("io", format!("{e}; {}", self.missing)),
            },
            Failure::Timeout => {
                let limit = self.limit.as_secs();
                (
                    "timeout",
                    format!("no whole answer within {limit} s; see whether {} is overloaded", self.who),
                )
            }
            Failure::Status(status) => self.status(status),
            Failure::Malformed => {
                ("malformed", format!("the answer is not of this service; see that {} is asked", self.who))
            }
        };
        source_error(kind, format!("{}: {what}", path.display()))
    }

    fn status(&self, status: &Status) -> (&'static str, String) {
        let said = brief(status.message());
        let who = self.who;
        if let Some(cause) = std::error::Error::source(status) {
            return ("io", format!("the connection broke ({}); see that {who} runs there", chain(cause)));
        }
        match status.code() {
            Code::OutOfRange => {
                let limit = MAX_BYTES >> 20;
                (
                    "too_large",
                    format!("the answer is larger than {limit} MiB, not read; see that {who} is asked"),
                )
            }
            Code::Internal if said.contains("decoding") => {
                ("malformed", format!("the answer is not of this service ({said}); see that {who} is asked"))
            }
            Code::PermissionDenied | Code::Unauthenticated => {
                ("permission", format!("{said}; {}", self.denied))
            }
            Code::Unimplemented => {
                ("unimplemented", format!("{who} does not know this call ({said}); {}", self.unknown))
            }
            code => ("grpc_status", format!("{code:?}: {said}; see the log of {who}")),
        }
    }
}

pub(crate) mod wire;

#[cfg(test)]
pub(crate) mod fake;
