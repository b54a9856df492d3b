//! Whether a container is ready and alive, asked as a kubelet asks: by HTTP or a connection.

use super::agent::Agent;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{Client, Config};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// One probe of a running container.
pub(super) struct Prober {
    probe: Probe,
    next: Instant,
    /// Answers of the same kind, one after the other, the last one among them.
    run: (bool, i32),
    /// What it was found to be.
    pub(super) found: bool,
}

impl Prober {
    /// For a container that has just been started, and is held for `found` until enough answers say otherwise.
    pub(super) fn new(probe: &Probe, found: bool) -> Self {
        let delay = probe.initial_delay_seconds.and_then(|delay| u64::try_from(delay).ok()).unwrap_or(0);
        let next = Instant::now() + Duration::from_secs(delay);
        Self { probe: probe.clone(), next, run: (found, 0), found }
    }

    /// Asks, if it is time.
    pub(super) async fn ask(&mut self, agent: &Agent, container: &Container) {
        if Instant::now() < self.next {
            return;
        }
        let seconds = |value: Option<i32>, default: u64| {
            Duration::from_secs(value.and_then(|value| u64::try_from(value).ok()).unwrap_or(default))
        };
        let answer = tokio::time::timeout(
            seconds(self.probe.timeout_seconds, 1),
            answers(&self.probe, &agent.ip, container),
        );
        let well = answer.await.unwrap_or(false);
        self.run = if self.run.0 == well { (well, self.run.1 + 1) } else { (well, 1) };
        let threshold = if well {
            self.probe.success_threshold.unwrap_or(1)
        } else {
            self.probe.failure_threshold.unwrap_or(3)
        };
        if self.run.1 >= threshold {
            self.found = well;
        }
        self.next = Instant::now() + seconds(self.probe.period_seconds, 10);
    }
}

async fn answers(probe: &Probe, ip: &str, container: &Container) -> bool {
    if let Some(get) = &probe.http_get {
        return get_answers(get, ip, container).await.is_some();
    }
    if let Some(port) = probe.tcp_socket.as_ref().and_then(|tcp| number(&tcp.port, container)) {
        return TcpStream::connect((ip, port)).await.is_ok();
    }
    false
}

/// `Some` for an answer of success; whose certificate it is does not matter.
async fn get_answers(get: &HTTPGetAction, ip: &str, container: &Container) -> Option<()> {
    let scheme = get.scheme.as_deref().unwrap_or("HTTP").to_lowercase();
    let host = get.host.as_deref().unwrap_or(ip);
    let port = number(&get.port, container)?;
    let mut config = Config::new(format!("{scheme}://{host}:{port}").parse().ok()?);
    config.accept_invalid_certs = true;
    config.proxy_url = None;
    let mut request = axum::http::Request::get(get.path.as_deref().unwrap_or("/"));
    for header in get.http_headers.iter().flatten() {
        request = request.header(&header.name, &header.value);
    }
    let client = Client::try_from(config).ok()?;
    client.request_text(request.body(Vec::new()).ok()?).await.ok().map(drop)
}

fn number(port: &IntOrString, container: &Container) -> Option<u16> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|port| port.name.as_ref() == Some(name));
            named?.container_port
        }
    };
    u16::try_from(number).ok()
}
