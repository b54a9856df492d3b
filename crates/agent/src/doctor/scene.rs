//! What the checks look at: everything that is asked, asked once.

use super::exporters::Served;
use super::fetch::{self, Answer};
use crate::exit::Failure;
use crate::pipeline::Pipeline;
use crate::report::prometheus::Options as PrometheusOptions;
use crate::report::prometheus::client::Client;
use crate::settings::Settings;
use crate::state_file;
use crate::url;
use anyhow::anyhow;
use gpu_session_core::rules::Origin;
use gpu_session_core::sample::{Sample, SourceError, SourceHealth};
use gpu_session_core::state::State;
use gpu_session_sources::kubernetes::Mode;
use gpu_session_sources::kubernetes::survey::{Right, Survey, survey};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

/// Where node_exporter serves by default.
const NODE_EXPORTER: &str = "http://127.0.0.1:9100/metrics";
/// Longest wait for an answer of Prometheus.
const PROMETHEUS_LIMIT: Duration = Duration::from_secs(10);

/// What is asked beyond the settings of all commands.
pub struct Options {
    serve: Option<String>,
    exporter: Option<String>,
    exporter_given: bool,
    prometheus: Option<Client>,
}

impl Options {
    /// Reads them; what is wrong is wrong usage.
    pub fn new(
        listen: Option<SocketAddr>,
        exporter: Option<&str>,
        prometheus: Option<&str>,
        token_file: Option<&Path>,
    ) -> Result<Self, Failure> {
        let client = |url| {
            let options = PrometheusOptions { url, token_file, matcher: None, timeout: PROMETHEUS_LIMIT };
            Client::new(&options).map_err(Failure::usage)
        };
        Ok(Self {
            serve: listen.map(|address| format!("http://{}/metrics", reachable(address))),
            exporter: match exporter {
                Some("off") => None,
                other => Some(exporter_url(other.unwrap_or(NODE_EXPORTER))?),
            },
            exporter_given: exporter.is_some(),
            prometheus: prometheus.map(client).transpose()?,
        })
    }
}

/// Where a server that listens there is reached from here.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn exporter_url(url: &str) -> Result<String, Failure> {
    const ALLOWED: &str =
        "allowed is http(s)://<host>[:<port>]/<path>, as in http://127.0.0.1:9100/metrics, and off";
    let wrong = |what: String| Failure::usage(anyhow!("--node-exporter: {what}"));
    match url::address(url, ALLOWED).map_err(wrong)? {
        (_, Some(_)) => Err(wrong(format!("a user or password is not taken; {ALLOWED}"))),
        (url, None) => Ok(url),
    }
}

/// What was asked, and what was said.
pub struct Scene<'a> {
    /// The settings.
    pub(super) settings: &'a Settings,
    /// One reading of all sources.
    pub(super) sample: Sample,
    /// What the last run left; `None` where there is nothing that can be read.
    pub(super) state: Option<State>,
    /// The clock, Unix microseconds.
    pub(super) now_us: i64,
    /// The API; `None` where it is not asked.
    pub(super) survey: Option<Result<Survey, SourceError>>,
    /// Address of the DCGM exporter and what it said.
    pub(super) dcgm: Option<(String, Answer)>,
    /// Address of node_exporter, whether it was named, and what it said.
    pub(super) exporter: Option<(String, bool, Answer)>,
    /// Address of `serve`, and what it said.
    pub(super) serve: Option<(String, Served)>,
    /// Whom to ask of all nodes.
    pub(super) prometheus: Option<Client>,
}

impl<'a> Scene<'a> {
    /// Asks everything but Prometheus, which the checks ask.
    pub fn ask(settings: &'a Settings, options: Options) -> std::io::Result<Self> {
        let sample = Pipeline::live(settings, State::default(), Mode::Watch)?.sample();
        let answered = |url: String| {
            let answer = fetch::get(&url);
            (url, answer)
        };
        let exporter = options.exporter.map(answered);
        let given = options.exporter_given;
        Ok(Self {
            sample,
            state: state_file::peek(&settings.state_dir),
            now_us: settings.clock.now_us(),
            survey: settings.kubernetes.as_ref().map(|api| survey(api.kubeconfig.clone(), needed(settings))),
            dcgm: settings.dcgm_url.as_ref().map(|url| answered(url.to_string())),
            exporter: exporter.map(|(url, answer)| (url, given, answer)),
            serve: options.serve.map(answered).map(|(url, answer)| (url, Served::of(answer))),
            prometheus: options.prometheus,
            settings,
        })
    }

    /// How a source fared; `None` where it is not asked.
    pub(super) fn source(&self, name: &str) -> Option<&SourceHealth> {
        self.sample.health.iter().find(|source| *source.source == *name)
    }
}

/// Rights that the settings ask for.
fn needed(settings: &Settings) -> Vec<Right> {
    let reads =
        |origin: &Origin| matches!(origin, Origin::NamespaceAnnotation(_) | Origin::NamespaceLabel(_));
    let namespaces = settings.rules.origins().any(reads).then_some("namespaces");
    let resources = ["pods"].into_iter().chain(namespaces);
    resources.flat_map(|resource| ["list", "watch"].map(|verb| Right { verb, resource })).collect()
}
