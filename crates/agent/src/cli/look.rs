//! The commands for people who look.

use super::{CommonArgs, LONG_VERSION};
use crate::config::parse_duration;
use clap::{Args, Parser};
use gpu_session_core::select::Selector;
use gpu_session_sources::kubernetes::proxy::Service;
use std::path::PathBuf;
use std::time::Duration;

/// What is looked at; without any of it, this node by its driver.
#[derive(Clone, Debug, Default, Args)]
pub struct LookArgs {
    /// Look at what this running agent (`serve`) sees: http://gpu-7:9836. A user and password in it (percent-encoded) are
    /// better given by the environment
    #[arg(long, value_name = "URL", env = "GPU_SESSION_MONITOR_CONNECT", hide_env_values = true)]
    pub connect: Option<String>,
    /// A file with the bearer token for it
    #[arg(long, value_name = "FILE", requires = "connect")]
    pub connect_token_file: Option<PathBuf>,
    /// Look at all nodes that this Prometheus, or what speaks its API, has: http://prometheus:9090. A user and password in
    /// it (percent-encoded) are better given by the environment
    #[arg(long, value_name = "URL", env = "GPU_SESSION_MONITOR_PROMETHEUS", hide_env_values = true)]
    pub prometheus: Option<String>,
    /// A file with the bearer token for it
    #[arg(long, value_name = "FILE", requires = "prometheus")]
    pub prometheus_token_file: Option<PathBuf>,
    /// Look only at series with these labels, in PromQL: 'cluster="a"'
    #[arg(long, value_name = "MATCHER", requires = "prometheus")]
    pub prometheus_matcher: Option<String>,
    /// Longest wait for each of its answers
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "30s")]
    pub prometheus_timeout: Duration,
}

impl LookArgs {
    /// Whether this node's driver is asked.
    pub fn is_local(&self) -> bool {
        self.connect.is_none() && self.prometheus.is_none()
    }
}

/// How `ps` shows what it sees.
#[derive(Clone, Debug, Default, Args)]
pub struct ShowArgs {
    /// JSON instead of a table; with --watch a document on each line
    #[arg(long)]
    pub json: bool,
    /// All columns, with whole names, however wide the terminal is
    #[arg(long, conflicts_with = "json")]
    pub wide: bool,
    /// Again and again, until Ctrl-C; a terminal is redrawn in place
    #[arg(long, value_name = "INTERVAL", value_parser = parse_duration, num_args = 0..=1, default_missing_value = "2s")]
    pub watch: Option<Duration>,
    /// Only sessions of this user; may be repeated
    #[arg(long, value_name = "NAME")]
    pub user: Vec<String>,
    /// Only pods of this name; may be repeated
    #[arg(long, value_name = "NAME")]
    pub pod: Vec<String>,
    /// Only these devices: indices, UUIDs, MIG labels (0_1_0), PCI bus ids
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub gpu: Vec<Selector>,
    /// Only what has done nothing for this long: sessions, and containers that hold a device
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, num_args = 0..=1, default_missing_value = "10m")]
    pub idle: Option<Duration>,
}

/// `ps`
#[derive(Clone, Debug, Args)]
pub struct PsArgs {
    /// Settings.
    #[command(flatten)]
    pub common: CommonArgs,
    /// What is looked at.
    #[command(flatten)]
    pub look: LookArgs,
    /// How it is shown.
    #[command(flatten)]
    pub show: ShowArgs,
    /// Only pods in this namespace; may be repeated
    #[arg(long, value_name = "NAME")]
    pub namespace: Vec<String>,
}

/// The program's name as a plugin of kubectl, which finds `kubectl gpu-sessions` by it.
pub const PLUGIN: &str = "kubectl-gpu_sessions";

/// Whether the program was called as kubectl's plugin, by its own name.
pub fn is_plugin(name: Option<&std::ffi::OsStr>) -> bool {
    name.and_then(|name| std::path::Path::new(name).file_name()).is_some_and(|name| name == PLUGIN)
}

/// Show who is on which GPU and MIG instance of the cluster, now: from its Prometheus, through the API server.
#[derive(Clone, Debug, Parser)]
#[command(name = "kubectl gpu-sessions", bin_name = "kubectl gpu-sessions", version = LONG_VERSION, max_term_width = 100, after_help = "Examples:
  kubectl gpu-sessions
  kubectl gpu-sessions -n team-nlp --watch
  kubectl gpu-sessions --idle 2h --context prod
  kubectl gpu-sessions --service monitoring/prometheus:9090 --json | jq '.nodes[].sessions[].user'

It needs the right to get services/proxy of that service. Exit codes: 0 ok; 1 failed; 2 wrong usage; 3 shown, but some node or source is missing.")]
pub struct KubectlArgs {
    /// The kubeconfig [default: $KUBECONFIG, ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Its context [default: the current one]
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// The service of Prometheus, as <namespace>/[<scheme>:]<name>:<port> [default: the one that has the label
    /// app.kubernetes.io/name=prometheus, else that of the usual installations]
    #[arg(long, value_name = "SERVICE")]
    pub service: Option<Service>,
    /// Only pods in this namespace; may be repeated [default: all, and what is in no pod]
    #[arg(long, short, value_name = "NAME")]
    pub namespace: Vec<String>,
    /// Only this node; may be repeated
    #[arg(long, value_name = "NAME")]
    pub node: Vec<String>,
    /// Look only at series with these labels, in PromQL: 'cluster="a"'
    #[arg(long, value_name = "MATCHER")]
    pub prometheus_matcher: Option<String>,
    /// Longest wait for each answer
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "30s")]
    pub request_timeout: Duration,
    /// How it is shown.
    #[command(flatten)]
    pub show: ShowArgs,
}

/// `top`
#[derive(Clone, Debug, Args)]
pub struct TopArgs {
    /// Settings.
    #[command(flatten)]
    pub common: CommonArgs,
    /// Time between two looks, 500ms to 5m
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "2s")]
    pub interval: Duration,
    /// Where to look.
    #[command(flatten)]
    pub look: LookArgs,
    /// Show a capture instead, sample by sample: Space pauses, `,` and `.` step
    #[arg(long, value_name = "FILE")]
    pub replay: Option<PathBuf>,
    /// Only these devices: indices, UUIDs, MIG labels (0_1_0), PCI bus ids
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub gpu: Vec<Selector>,
}
