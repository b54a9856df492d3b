//! The command for the page of a cluster.

use crate::config::parse_duration;
use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// `web`
#[derive(Clone, Debug, Args)]
pub struct WebArgs {
    /// The Prometheus, or what speaks its API, that scrapes the nodes: http://prometheus:9090. A user and password in it
    /// (percent-encoded) are better given by the environment
    #[arg(long, value_name = "URL", env = "GPU_SESSION_MONITOR_PROMETHEUS", hide_env_values = true)]
    pub prometheus: String,
    /// A file with the bearer token for it
    #[arg(long, value_name = "FILE")]
    pub prometheus_token_file: Option<PathBuf>,
    /// Look only at series with these labels, in PromQL: 'cluster="a"'
    #[arg(long, value_name = "MATCHER")]
    pub prometheus_matcher: Option<String>,
    /// Longest wait for each of its answers
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "30s")]
    pub prometheus_timeout: Duration,
    /// Address of the page
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9837")]
    pub listen: SocketAddr,
    /// Time between two looks at Prometheus, 5s to 10m; it is looked at only while somebody asks
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "15s")]
    pub refresh: Duration,
    /// Who may read, and TLS: a file in the web configuration format of the Prometheus exporters [default: no TLS; to
    /// other machines the page without its data]
    #[arg(long, value_name = "FILE", env = "GPU_SESSION_MONITOR_WEB_CONFIG_FILE")]
    pub web_config_file: Option<PathBuf>,
    /// Whether the Kubernetes API judges bearer tokens (TokenReview, SubjectAccessReview) [default: false]
    #[arg(long, value_name = "BOOL", env = "GPU_SESSION_MONITOR_WEB_KUBERNETES_AUTH")]
    pub web_kubernetes_auth: Option<bool>,
    /// A kubeconfig for that, where this is no pod
    #[arg(long, value_name = "FILE", env = "GPU_SESSION_MONITOR_KUBERNETES_KUBECONFIG")]
    pub kubernetes_kubeconfig: Option<PathBuf>,
    /// A file of Unix microseconds instead of the clock, for tests
    #[arg(long, value_name = "FILE", env = "GPU_SESSION_MONITOR_CLOCK", hide = true)]
    pub clock: Option<PathBuf>,
}
