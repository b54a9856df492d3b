//! The kubelet's HTTPS port: the logs of containers, for `kubectl logs`, and commands in them, for `kubectl exec`.

use super::agent::Agent;
use super::exec;
use crate::cluster::pki::Identity;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{any, get};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;

/// The port, bound and not yet served.
pub(super) struct Server {
    listener: std::net::TcpListener,
    acceptor: TlsAcceptor,
}

impl Server {
    /// Binds a free port of an address. Only those whom the authority knows are answered.
    pub(super) fn bind(ip: &str, identity: &Identity, authority: &str) -> Self {
        let listener = std::net::TcpListener::bind((ip, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let config =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
        let config = config
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(vec![certificate], key)
            .unwrap();
        Self { listener, acceptor: TlsAcceptor::from(Arc::new(config)) }
    }

    /// Where it listens.
    pub(super) fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    /// Answers for ever.
    pub(super) async fn run(self, agent: Arc<Agent>) {
        let routes = axum::Router::new()
            .route("/containerLogs/{namespace}/{pod}/{container}", get(answer))
            .route("/exec/{namespace}/{pod}/{container}", any(exec::answer))
            .with_state(agent);
        let listener = tokio::net::TcpListener::from_std(self.listener).unwrap();
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let (acceptor, routes) = (self.acceptor.clone(), routes.clone());
            tokio::spawn(async move {
                // Who is nobody's client is not answered.
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = hyper_util::service::TowerToHyperService::new(routes);
                let connection = hyper::server::conn::http1::Builder::new();
                drop(
                    connection
                        .serve_connection(hyper_util::rt::TokioIo::new(stream), service)
                        .with_upgrades()
                        .await,
                );
            });
        }
    }
}

/// What a container has said: all, or as many lines at the end as are asked for.
async fn answer(
    State(agent): State<Arc<Agent>>,
    Path([namespace, pod, container]): Path<[String; 3]>,
    Query(asked): Query<BTreeMap<String, String>>,
) -> Result<String, (StatusCode, String)> {
    let before = usize::from(asked.get("previous").is_some_and(|value| value == "true"));
    let file = newest(&agent, &namespace, &pod, &container, before)
        .ok_or_else(|| (StatusCode::NOT_FOUND, format!("no log of {namespace}/{pod}/{container}")))?;
    let text = std::fs::read_to_string(&file)
        .map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, format!("{}: {error}", file.display())))?;
    let said = said(&text);
    let lines: Vec<&str> = said.split_inclusive('\n').collect();
    let tail = asked.get("tailLines").and_then(|lines| lines.parse().ok()).unwrap_or(lines.len());
    Ok(lines[lines.len().saturating_sub(tail)..].concat())
}

/// The log of the last run but so many of the last pod of this name.
fn newest(agent: &Agent, namespace: &str, pod: &str, container: &str, before: usize) -> Option<PathBuf> {
    let beginning = format!("{namespace}_{pod}_");
    let folders = std::fs::read_dir(agent.path("/var/log/pods")).ok()?.flatten();
    let of_pod = folders.filter(|entry| entry.file_name().to_string_lossy().starts_with(&beginning));
    let last = of_pod.max_by_key(|entry| entry.metadata().and_then(|found| found.modified()).ok())?;
    let files = std::fs::read_dir(last.path().join(container)).ok()?.flatten().map(|entry| entry.path());
    let run = |file: &PathBuf| file.file_stem().and_then(|stem| stem.to_str()?.parse::<usize>().ok());
    let mut files: Vec<PathBuf> = files.collect();
    files.sort_by_key(run);
    files.into_iter().rev().nth(before)
}

/// The lines in a log of the container runtime, each after its time, its stream and whether it is whole.
fn said(log: &str) -> String {
    let mut text = String::new();
    for line in log.lines() {
        let mut parts = line.splitn(4, ' ').skip(2);
        let (whole, words) = (parts.next(), parts.next());
        text += words.unwrap_or_default();
        if whole != Some("P") {
            text.push('\n');
        }
    }
    text
}
