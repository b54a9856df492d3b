//! The kubelet's PodResources socket.

pub mod messages;
mod service;
mod told;

use crate::background::Background;
use crate::cluster::Cluster;
use crate::lock;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

/// Calls that are kept; older ones are forgotten.
const CALLS: usize = 100_000;

/// What is wrong with a kubelet. One that refuses connections is one that was killed, one that is gone one that was
/// stopped: [`Kubelet::kill`], [`Kubelet::stop`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// Every answer begins so much later.
    Slow(Duration),
    /// Calls are taken, and nothing is answered until the fault is over.
    Deaf,
    /// Every call is answered with `UNAVAILABLE`.
    Unavailable,
    /// Every call is answered with `RESOURCE_EXHAUSTED`, as kubelets answer when asked too often.
    RateLimited,
    /// `GetAllocatableResources` is `UNIMPLEMENTED`: kubelets before 1.21 have no such call.
    NoAllocatable,
    /// `GetAllocatableResources` is `UNKNOWN`: its feature gate is off, as by default up to 1.22.
    AllocatableDisabled,
    /// `Get` is `UNKNOWN`: its feature gate is off, as by default up to 1.33.
    GetDisabled,
    /// Half of an answer, then the stream is reset.
    Half,
    /// A well-framed answer that is no message.
    Garbage,
    /// What comes over the socket is no HTTP/2.
    NoGrpc,
    /// `List` is larger by so many bytes; clients take 4 MiB by default, careful ones up to 16 MiB.
    Huge(usize),
}

/// A call that the kubelet received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// `List`, `GetAllocatableResources`, `Get`.
    pub method: String,
    /// Namespace and name of the pod asked for; `None` where none was, or the call was not read.
    pub pod: Option<(String, String)>,
}

#[derive(Clone, Debug)]
struct Shared {
    cluster: Cluster,
    node: String,
    fault: watch::Sender<Fault>,
    calls: Arc<Mutex<VecDeque<Call>>>,
    only_active: Arc<AtomicBool>,
}

impl Shared {
    fn list(&self) -> messages::ListResponse {
        let mut list = told::list(&self.cluster, &self.node);
        if self.only_active.load(Ordering::Relaxed) {
            list.pod_resources.retain(|pod| !self.cluster.has_ended(&pod.namespace, &pod.name));
        }
        list
    }

    fn record(&self, method: &str) {
        let mut calls = lock(&self.calls);
        if calls.len() == CALLS {
            calls.pop_front();
        }
        calls.push_back(Call { method: method.to_owned(), pod: None });
    }
}

/// A kubelet of one node on a unix socket. It runs until it is stopped or dropped.
#[derive(Debug)]
pub struct Kubelet {
    shared: Shared,
    socket: PathBuf,
    running: Option<Background>,
}

impl Kubelet {
    /// Starts a kubelet; a socket that is there already is replaced.
    pub fn start(cluster: &Cluster, node: impl Into<String>, socket: impl Into<PathBuf>) -> io::Result<Self> {
        let shared = Shared {
            cluster: cluster.clone(),
            node: node.into(),
            fault: watch::Sender::default(),
            calls: Arc::default(),
            only_active: Arc::default(),
        };
        let mut kubelet = Self { shared, socket: socket.into(), running: None };
        kubelet.restart()?;
        Ok(kubelet)
    }

    /// Starts it again, on a new socket of the same path; a running one is stopped first.
    pub fn restart(&mut self) -> io::Result<()> {
        self.stop();
        let (shared, socket) = (self.shared.clone(), self.socket.clone());
        self.running = Some(Background::start("kubelet", move || {
            let listener = UnixListener::bind(&socket).map_err(|e| {
                let message =
                    format!("{}: {e}; the folder must be there, the path below 108 bytes", socket.display());
                io::Error::new(e.kind(), message)
            })?;
            Ok(serve(shared, listener))
        })?);
        Ok(())
    }

    /// Stops it: all connections are closed and the socket is gone.
    pub fn stop(&mut self) {
        self.kill();
        // It may be gone already, or its folder.
        drop(std::fs::remove_file(&self.socket));
    }

    /// Stops it without its taking leave: all connections are closed, the socket is there and refuses new ones.
    pub fn kill(&mut self) {
        drop(self.running.take());
    }

    /// Path of the socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// From now on this is wrong with it; [`Fault::None`]: nothing.
    pub fn set_fault(&self, fault: Fault) {
        self.shared.fault.send_replace(fault);
    }

    /// Whether `List` leaves out pods that have ended, as kubelets do from 1.34 on; at first it does not.
    pub fn list_only_active(&self, only: bool) {
        self.shared.only_active.store(only, Ordering::Relaxed);
    }

    /// The calls that it received, oldest first.
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.shared.calls).iter().cloned().collect()
    }

    /// Forgets the calls.
    pub fn clear_calls(&self) {
        lock(&self.shared.calls).clear();
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn serve(shared: Shared, listener: UnixListener) {
    loop {
        // What fails to be accepted has gone already, or there are no files left, which may pass.
        let Ok((stream, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        tokio::spawn(connection(shared.clone(), stream));
    }
}

/// Serves one connection. An error is the client's business: it has gone, or speaks no HTTP/2.
async fn connection(shared: Shared, stream: UnixStream) {
    if *shared.fault.borrow() == Fault::NoGrpc {
        return babble(&stream).await;
    }
    let service = tower::service_fn(move |request| service::answer(shared.clone(), request));
    let builder = Builder::new(TokioExecutor::new()).http2_only();
    drop(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).await);
}

/// Says something that is no HTTP/2, and hangs up.
async fn babble(stream: &UnixStream) {
    if stream.writable().await.is_ok() {
        drop(stream.try_write(b"220 kubelet ESMTP\r\n\xff\xfe\x00\x00 what do you want?\r\n"));
    }
}
