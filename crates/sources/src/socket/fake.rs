//! A gRPC server on a Unix socket that answers what a test says, and badly where it says so.

use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use hyper::body::{Bytes, Frame};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;

/// How a method answers.
#[derive(Clone)]
pub(crate) enum Answer {
    /// This message.
    Message(Vec<u8>),
    /// The first half of it, and then the end.
    Half(Vec<u8>),
    /// A status.
    Status(i32, &'static str),
    /// It never does.
    Never,
}

/// What the methods answer, and how often each was called.
#[derive(Default)]
struct Script {
    answers: BTreeMap<&'static str, Answer>,
    calls: BTreeMap<String, usize>,
}

/// The server, until it is dropped.
pub(crate) struct Fake {
    path: PathBuf,
    script: Arc<Mutex<Script>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Fake {
    /// Listens on this path.
    pub(crate) fn at(path: &Path) -> Self {
        let script: Arc<Mutex<Script>> = Arc::default();
        let listener = std::os::unix::net::UnixListener::bind(path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let (stop, stopped) = oneshot::channel();
        let shared = script.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::spawn(serve(listener, shared));
                let _ = stopped.await;
            });
        });
        Self { path: path.to_owned(), script, stop: Some(stop), thread: Some(thread) }
    }

    /// From now on the method answers so.
    pub(crate) fn answers(&self, method: &'static str, answer: Answer) {
        self.script.lock().unwrap().answers.insert(method, answer);
    }

    /// The method answers this message.
    pub(crate) fn says(&self, method: &'static str, message: &impl prost::Message) {
        self.answers(method, Answer::Message(message.encode_to_vec()));
    }

    /// How often the method was called.
    pub(crate) fn calls(&self, method: &str) -> usize {
        self.script.lock().unwrap().calls.get(method).copied().unwrap_or(0)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn serve(listener: std::os::unix::net::UnixListener, script: Arc<Mutex<Script>>) {
    let listener = tokio::net::UnixListener::from_std(listener).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let script = script.clone();
        let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
            let script = script.clone();
            async move { Ok::<_, Infallible>(answer(request.uri().path(), &script).await) }
        });
        let http2 = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        tokio::spawn(http2.serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(method: &str, script: &Mutex<Script>) -> http::Response<BoxBody<Bytes, Infallible>> {
    let answer = {
        let mut script = script.lock().unwrap();
        *script.calls.entry(method.to_owned()).or_default() += 1;
        script.answers.get(method).cloned().unwrap_or(Answer::Status(12, "unknown method"))
    };
    let (bytes, status) = match answer {
        Answer::Message(bytes) => (frame(&bytes), Some((0, ""))),
        Answer::Half(bytes) => {
            let mut whole = frame(&bytes);
            whole.truncate(whole.len() / 2);
            (whole, None)
        }
        Answer::Status(code, message) => (Vec::new(), Some((code, message))),
        Answer::Never => std::future::pending().await,
    };
    let trailers = status.map(|(code, message)| {
        let mut map = http::HeaderMap::new();
        map.insert("grpc-status", code.into());
        map.insert("grpc-message", message.parse().unwrap());
        Frame::trailers(map)
    });
    let data = (!bytes.is_empty()).then(|| Frame::data(Bytes::from(bytes)));
    let frames = tokio_stream::iter(data.into_iter().chain(trailers).map(Ok));
    let body = BodyExt::boxed(StreamBody::new(frames));
    http::Response::builder().header("content-type", "application/grpc").body(body).unwrap()
}

/// A message as gRPC frames it: not compressed, length, bytes.
fn frame(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    [&[0], &length[..], bytes].concat()
}
