//! The API server.

mod access;
mod discovery;
mod fault;
mod list;
mod review;
mod routes;
mod status;
mod table;
mod tls;
mod watch;

pub use access::Rule;
pub use fault::Fault;

use crate::background::Background;
use crate::cluster::Cluster;
use crate::lock;
use access::Access;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fault::Faults;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use tls::Tls;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;

/// What all of a server's tasks share.
#[derive(Clone, Debug)]
struct Shared {
    cluster: Cluster,
    faults: Faults,
    access: Arc<Mutex<Access>>,
    /// `127.0.0.1:<port>`.
    address: SocketAddr,
}

/// An API server on 127.0.0.1. It runs until it is stopped or dropped.
///
/// Until a token has been accepted, everybody may do everything; from then on it is as in a real cluster: an unknown
/// token is answered with 401, a request without one is `system:anonymous`, who may do next to nothing (403).
pub struct ApiServer {
    shared: Shared,
    tls: Option<Tls>,
    running: Option<Background>,
    /// Bound, but not listening: keeps the port while the server is stopped.
    _port: TcpSocket,
}

impl fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiServer")
            .field("url", &self.url())
            .field("runs", &self.running.is_some())
            .finish_non_exhaustive()
    }
}

impl ApiServer {
    /// Starts a server with HTTPS on a free port.
    pub fn start(cluster: &Cluster) -> io::Result<Self> {
        Self::start_on(cluster, 0)
    }

    /// Starts a server with HTTPS on a port; 0 for a free one.
    pub fn start_on(cluster: &Cluster, port: u16) -> io::Result<Self> {
        Self::new(cluster, port, Some(Tls::new()?))
    }

    /// Starts a server without TLS on a port; 0 for a free one.
    pub fn start_plain(cluster: &Cluster, port: u16) -> io::Result<Self> {
        Self::new(cluster, port, None)
    }

    fn new(cluster: &Cluster, port: u16, tls: Option<Tls>) -> io::Result<Self> {
        let socket = bound(port)?;
        let shared = Shared {
            cluster: cluster.clone(),
            faults: Faults::default(),
            access: Arc::default(),
            address: socket.local_addr()?,
        };
        let mut server = Self { shared, tls, running: None, _port: socket };
        server.restart()?;
        Ok(server)
    }

    /// Starts a stopped server again, on the same port and with the same certificate; a running one is stopped first.
    pub fn restart(&mut self) -> io::Result<()> {
        self.stop();
        let shared = self.shared.clone();
        let acceptor = self.tls.as_ref().map(|tls| tls.acceptor.clone());
        self.running = Some(Background::start("kube-apiserver", move || {
            let listener = bound(shared.address.port())?.listen(1024)?;
            Ok(serve(shared, listener, acceptor))
        })?);
        Ok(())
    }

    /// Stops: all connections are closed, new ones are refused.
    pub fn stop(&mut self) {
        drop(self.running.take());
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.shared.address.port()
    }

    /// `https://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.shared.address)
    }

    /// The certificate of the authority, PEM; `None` without TLS.
    pub fn ca_pem(&self) -> Option<&str> {
        self.tls.as_ref().map(|tls| tls.ca.as_str())
    }

    /// A kubeconfig for this server, with the bearer token in a file.
    pub fn kubeconfig(&self, token_file: &Path) -> String {
        let ca = self.ca_pem().map(|ca| format!("    certificate-authority-data: {}\n", STANDARD.encode(ca)));
        // A JSON string is a YAML string, whatever is in the path.
        let token_file = serde_json::Value::from(token_file.to_string_lossy());
        format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: sim\n  cluster:\n    server: {}\n{}users:\n- name: sim\n  \
             user:\n    tokenFile: {token_file}\ncontexts:\n- name: sim\n  context:\n    cluster: sim\n    user: \
             sim\ncurrent-context: sim\n",
            self.url(),
            ca.unwrap_or_default(),
        )
    }

    /// Accepts a token; its user may do everything.
    pub fn accept_token(&self, token: &str, user: &str) {
        lock(&self.shared.access).accept(token, user, None);
    }

    /// Accepts a token; its user may do what the rules allow, and what every user may: read the discovery.
    pub fn accept_token_with(&self, token: &str, user: &str, rules: impl IntoIterator<Item = Rule>) {
        lock(&self.shared.access).accept(token, user, Some(rules.into_iter().collect()));
    }

    /// Accepts a token no longer, as one that has expired. Watches that run go on, as they do in a real cluster.
    pub fn revoke_token(&self, token: &str) {
        lock(&self.shared.access).revoke(token);
    }

    /// From now on this is wrong with it; [`Fault::None`]: nothing.
    pub fn set_fault(&self, fault: Fault) {
        self.shared.faults.set(fault);
    }

    /// What is wrong with it.
    pub fn fault(&self) -> Fault {
        self.shared.faults.now()
    }
}

/// The token that a request carries.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

/// A socket that is bound to a port of 127.0.0.1, beside the one that keeps the port.
fn bound(port: u16) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let why = |e: io::Error| {
        io::Error::new(e.kind(), format!("{address}: {e}; choose another port, 0 for a free one"))
    };
    socket.bind(address).map_err(why)?;
    Ok(socket)
}

async fn serve(shared: Shared, listener: TcpListener, acceptor: Option<TlsAcceptor>) {
    loop {
        // What fails to be accepted has gone already, or there are no files left, which may pass.
        let Ok((stream, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        tokio::spawn(connection(shared.clone(), stream, acceptor.clone()));
    }
}

/// Serves one connection. An error is the client's business: it has gone, distrusts the certificate, speaks no HTTP.
async fn connection(shared: Shared, stream: TcpStream, acceptor: Option<TlsAcceptor>) {
    shared.faults.hearing().await;
    drop(stream.set_nodelay(true));
    let service = TowerToHyperService::new(routes::router(shared));
    let builder = Builder::new(TokioExecutor::new()).http1_only();
    match acceptor {
        Some(acceptor) => {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            drop(builder.serve_connection(TokioIo::new(stream), service).await);
        }
        None => drop(builder.serve_connection(TokioIo::new(stream), service).await),
    }
}
