//! Servers on this machine that answer what a target says, so that readers are driven by what they really read: a socket.

use http_body_util::{Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tempfile::TempDir;

/// What is answered, for the tasks of a server and for the target.
type Script<T> = Arc<Mutex<T>>;

fn lock<T>(script: &Script<T>) -> MutexGuard<'_, T> {
    script.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a server on a thread of its own, for as long as the program runs.
fn run(server: impl Future<Output = ()> + Send + 'static) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    std::thread::spawn(move || runtime.block_on(server));
}

/// A server of HTTP/1.1 on the loopback interface. It gives its answers in turn, and then the last one again.
pub struct Http {
    /// Its address, `http://127.0.0.1:<port>`.
    pub url: String,
    answers: Script<(Vec<Answer>, usize)>,
}

/// An answer: status, media type and body.
pub type Answer = (u16, &'static str, Vec<u8>);

impl Http {
    /// Begins to listen.
    ///
    /// # Panics
    ///
    /// Where it cannot.
    pub fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a socket that does not block");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let answers: Script<(Vec<Answer>, usize)> = Arc::default();
        let script = Arc::clone(&answers);
        run(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            while let Ok((stream, _)) = listener.accept().await {
                let script = Arc::clone(&script);
                let answer = service_fn(move |_: Request<Incoming>| {
                    let (status, kind, body) = next(&mut lock(&script));
                    let answer = Response::builder().status(status).header("content-type", kind);
                    std::future::ready(Ok::<_, Infallible>(
                        answer.body(Full::new(Bytes::from(body))).expect("an answer"),
                    ))
                });
                let http = hyper::server::conn::http1::Builder::new();
                tokio::spawn(http.serve_connection(TokioIo::new(stream), answer));
            }
        });
        Self { url, answers }
    }

    /// From now on it gives these answers.
    pub fn says(&self, answers: Vec<Answer>) {
        *lock(&self.answers) = (answers, 0);
    }
}

fn next((answers, given): &mut (Vec<Answer>, usize)) -> Answer {
    let answer = answers.get(*given).or(answers.last()).cloned();
    *given += 1;
    answer.unwrap_or((404, "text/plain", Vec::new()))
}

/// A folder for as long as the program runs. What is in a static is never dropped, so those of programs that have ended are
/// removed by the next.
///
/// # Panics
///
/// Where none can be made.
pub fn kept_folder() -> TempDir {
    const PREFIX: &str = "gpu-session-monitor-fuzz-";
    let all = std::env::temp_dir();
    for entry in std::fs::read_dir(&all).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let rest = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let pid = rest.and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    let prefix = format!("{PREFIX}{}-", std::process::id());
    tempfile::Builder::new().prefix(&prefix).tempdir_in(all).expect("a folder")
}

/// A server of gRPC on a Unix socket.
pub struct Grpc {
    folder: TempDir,
    answers: Script<BTreeMap<String, Vec<u8>>>,
}

impl Grpc {
    /// Begins to listen.
    ///
    /// # Panics
    ///
    /// Where it cannot.
    pub fn start() -> Self {
        let folder = kept_folder();
        let listener =
            std::os::unix::net::UnixListener::bind(folder.path().join("socket")).expect("a socket");
        listener.set_nonblocking(true).expect("a socket that does not block");
        let answers: Script<BTreeMap<String, Vec<u8>>> = Arc::default();
        let script = Arc::clone(&answers);
        run(async move {
            let listener = tokio::net::UnixListener::from_std(listener).expect("a listener");
            while let Ok((stream, _)) = listener.accept().await {
                let script = Arc::clone(&script);
                let answer = service_fn(move |request: Request<Incoming>| {
                    let message = lock(&script).get(request.uri().path()).cloned();
                    std::future::ready(Ok::<_, Infallible>(framed(message)))
                });
                let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                tokio::spawn(http.serve_connection(TokioIo::new(stream), answer));
            }
        });
        Self { folder, answers }
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// Its folder, for other files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// From now on these methods answer these messages, and all others that they are not known.
    pub fn says<const N: usize>(&self, answers: [(&str, &[u8]); N]) {
        *lock(&self.answers) = answers.map(|(method, message)| (method.to_owned(), message.to_vec())).into();
    }
}

type Frames = tokio_stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>;

/// A message as gRPC frames it: not compressed, its length, its bytes, and then that all is well.
fn framed(message: Option<Vec<u8>>) -> Response<StreamBody<Frames>> {
    let status = if message.is_some() { "0" } else { "12" };
    let data = message.map(|message| {
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
        Frame::data(Bytes::from([&[0], &length[..], &message].concat()))
    });
    let mut trailers = hyper::HeaderMap::new();
    trailers.insert("grpc-status", hyper::header::HeaderValue::from_static(status));
    let frames: Vec<_> = data.into_iter().chain([Frame::trailers(trailers)]).map(Ok).collect();
    let answer = Response::builder().header("content-type", "application/grpc");
    answer.body(StreamBody::new(tokio_stream::iter(frames))).expect("an answer")
}
