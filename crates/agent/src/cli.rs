//! The command line.

mod given;
mod look;
mod web;

pub use given::{read, read_from};
pub use look::{KubectlArgs, LookArgs, PLUGIN, PsArgs, ShowArgs, TopArgs, is_plugin};
pub use web::WebArgs;

use crate::config::{parse_duration, parse_size};
use crate::outputs::otlp::Protocol;
use crate::report::By;
use crate::report::period::When;
use clap::{Args, Parser, Subcommand, ValueEnum};
use gpu_session_core::select::Selector;
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;

/// Who uses which GPU and MIG instance, measured, for Prometheus.
#[derive(Debug, Parser)]
#[command(name = "gpu-session-monitor", version = LONG_VERSION, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 ok; 1 failed; 2 wrong usage; 3 ran, but some source or device could not be read \
(the output is written, and says so).";

/// Version and commit.
const LONG_VERSION: &str =
    concat!(env!("CARGO_PKG_VERSION"), " (commit ", env!("GPU_SESSION_MONITOR_REVISION"), ")");

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Take one sample and write it as a textfile for node_exporter.
    #[command(after_help = "Examples:
  gpu-session-monitor collect
  gpu-session-monitor collect --output -
  gpu-session-monitor collect --remove
  gpu-session-monitor collect --textfile /srv/textfiles/gpu_sessions.prom --node gpu-7 --label rack=r1")]
    Collect(CollectArgs),
    /// Measure all the time and serve it: /metrics, and a textfile where one is named.
    #[command(after_help = "Examples:
  gpu-session-monitor serve
  gpu-session-monitor serve --listen 0.0.0.0:9836 --node gpu-7 --web-config-file /etc/gpu-session-monitor/web.yaml
  gpu-session-monitor serve --listen off --textfile /var/lib/node_exporter/textfile_collector/gpu_sessions.prom")]
    Serve(ServeArgs),
    /// Show who is on which device, now: here, by a running agent, or in the whole cluster.
    #[command(after_help = "Examples:
  gpu-session-monitor ps
  gpu-session-monitor ps --watch --user alice
  gpu-session-monitor ps --json | jq '.sessions[] | {user, gpu, memory_used_bytes}'
  gpu-session-monitor ps --connect http://gpu-7:9836 --wide
  gpu-session-monitor ps --prometheus http://127.0.0.1:9090 --idle 2h")]
    Ps(PsArgs),
    /// Watch who is on which device, on a terminal; `?` shows the keys.
    #[command(after_help = "Examples:
  gpu-session-monitor top
  gpu-session-monitor top --interval 5s --device 0,1
  gpu-session-monitor top --replay capture.json
  gpu-session-monitor top --prometheus http://127.0.0.1:9090 --node gpu-7 --gpu 0,1")]
    Top(TopArgs),
    /// Serve a page of the whole cluster, from what its Prometheus has.
    #[command(after_help = "Examples:
  gpu-session-monitor web --prometheus http://127.0.0.1:9090
  gpu-session-monitor web --prometheus https://thanos.example/base --prometheus-token-file token \\
    --prometheus-matcher 'cluster=\"a\"'
  gpu-session-monitor web --prometheus http://prometheus:9090 --listen 0.0.0.0:9837 \\
    --web-config-file /etc/gpu-session-monitor/web.yaml

Then open http://127.0.0.1:9837/ in a browser. It needs no GPU and no rights on a node.")]
    Web(WebArgs),
    /// Check everything that is needed, and say what to do about what is missing.
    #[command(after_help = "Examples:
  gpu-session-monitor doctor
  gpu-session-monitor doctor --json | jq '.checks[] | select(.status == \"failed\")'
  gpu-session-monitor doctor --prometheus http://127.0.0.1:9090")]
    Doctor(DoctorArgs),
    /// Keep what the sources say in a file, to be run again anywhere.
    #[command(after_help = "Example:
  gpu-session-monitor record --output capture.json --samples 5 --interval 2s")]
    Record(RecordArgs),
    /// Run a capture through the same path that live samples take.
    #[command(after_help = "Examples:
  gpu-session-monitor replay capture.json
  gpu-session-monitor replay capture.json --format json")]
    Replay(ReplayArgs),
    /// Say what was used in a period, from this node's ledger or from the cluster's Prometheus.
    #[command(after_help = "Examples:
  gpu-session-monitor report
  gpu-session-monitor report --since 2026-11-01 --until 2026-11-02 --by command
  gpu-session-monitor report --since 24h --by pod --format json --prometheus http://127.0.0.1:9090
  gpu-session-monitor report --by namespace --format csv \\
    --prometheus http://127.0.0.1:9090 --prometheus-matcher 'cluster=\"a\"'

Times: now; a time ago (90m, 12h, 7d); 2026-11-01; '2026-11-01 12:00' (UTC); 2026-11-01T12:00:00+09:00.")]
    Report(ReportArgs),
    /// Run a whole simulated node: no GPU, no root, no cluster.
    #[command(after_help = "Example:
  DEMO_SECONDS=60 gpu-session-monitor demo")]
    Demo(DemoArgs),
    /// Print the completions for a shell.
    #[command(after_help = "Example:
  gpu-session-monitor completions bash > /etc/bash_completion.d/gpu-session-monitor")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// What all commands that measure take. A flag beats its environment variable, that the configuration file,
/// that the default.
#[derive(Clone, Debug, Default, Args)]
pub struct CommonArgs {
    /// Configuration file [default: /etc/gpu-session-monitor/config.yaml if it is there]
    #[arg(long, value_name = "FILE", env = "GPU_SESSION_MONITOR_CONFIG")]
    pub config: Option<PathBuf>,
    /// The driver's library [default: libnvidia-ml.so.1]
    #[arg(long, value_name = "PATH", env = "GPU_SESSION_MONITOR_NVML_LIBRARY")]
    pub nvml_library: Option<PathBuf>,
    /// Accounting mode of the driver, which records every process that ended: `leave` reads it where it is on,
    /// `enable` turns it on (needs root, for all users of the GPU, until the driver is unloaded) [default: leave]
    #[arg(long, value_name = "MODE", value_enum, env = "GPU_SESSION_MONITOR_NVML_ACCOUNTING")]
    pub nvml_accounting: Option<AccountingMode>,
    /// The /proc of the host [default: /proc]
    #[arg(long, value_name = "DIR", env = "GPU_SESSION_MONITOR_PROC_ROOT")]
    pub proc_root: Option<PathBuf>,
    /// Hear from the kernel of every program that begins and ends, so that those that are over before they are looked
    /// for are placed too; for commands that go on, and in the initial namespaces only [default: false]
    #[arg(long, value_name = "BOOL", env = "GPU_SESSION_MONITOR_PROCESS_EVENTS")]
    pub process_events: Option<bool>,
    /// The kubelet's PodResources socket, for who was given which device; `off` does not ask
    /// [default: /var/lib/kubelet/pod-resources/kubelet.sock if its folder is there and we may enter it]
    #[arg(long, value_name = "PATH", env = "GPU_SESSION_MONITOR_KUBELET_SOCKET")]
    pub kubelet_socket: Option<PathBuf>,
    /// The Kubernetes API, for the pods of this node: `auto` asks it in a pod with a service account, and where
    /// --kubernetes-kubeconfig is given; `off` does not [default: auto]
    #[arg(long, value_name = "MODE", value_enum, env = "GPU_SESSION_MONITOR_KUBERNETES_API")]
    pub kubernetes_api: Option<ApiMode>,
    /// A kubeconfig, where this is no pod
    #[arg(long, value_name = "FILE", env = "GPU_SESSION_MONITOR_KUBERNETES_KUBECONFIG")]
    pub kubernetes_kubeconfig: Option<PathBuf>,
    /// Name of this node in Kubernetes [default: that of --node]
    #[arg(long, value_name = "NAME", env = "GPU_SESSION_MONITOR_KUBERNETES_NODE")]
    pub kubernetes_node: Option<String>,
    /// The container runtime's CRI socket, for the names of pods without the API. Whoever may use it is as good as
    /// root on the node [default: not asked]
    #[arg(long, value_name = "PATH", env = "GPU_SESSION_MONITOR_CRI_SOCKET")]
    pub cri_socket: Option<PathBuf>,
    /// The passwd file of the host [default: the host's name service (getpwuid), in a container none]
    #[arg(long, value_name = "FILE", env = "GPU_SESSION_MONITOR_USERS_PASSWD")]
    pub users_passwd: Option<PathBuf>,
    /// Sums by device and user that are kept, and as many by namespace and by pod; further ones share the account
    /// _other [default: 5000]
    #[arg(long, value_name = "N", env = "GPU_SESSION_MONITOR_USERS_LIMIT")]
    pub users_limit: Option<usize>,
    /// The DCGM exporter's metrics, for what NVML has none of: http://127.0.0.1:9400/metrics [default: not asked]
    #[arg(long, value_name = "URL", env = "GPU_SESSION_MONITOR_DCGM_URL", hide_env_values = true)]
    pub dcgm_url: Option<String>,
    /// The textfile [default: gpu_sessions.prom in /var/lib/node_exporter/textfile_collector, or where only that is
    /// there in /var/lib/prometheus/node-exporter]
    #[arg(long, value_name = "FILE", env = "GPU_SESSION_MONITOR_TEXTFILE")]
    pub textfile: Option<PathBuf>,
    /// Folder of what survives between runs [default: $STATE_DIRECTORY, as systemd sets it;
    /// /var/lib/gpu-session-monitor; for others than root $XDG_STATE_HOME/gpu-session-monitor]
    #[arg(long, value_name = "DIR", env = "GPU_SESSION_MONITOR_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// Time between two readings where one is not enough; given, it always applies [default: 1s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, env = "GPU_SESSION_MONITOR_WINDOW")]
    pub window: Option<Duration>,
    /// Longest wait for the driver's answer [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, env = "GPU_SESSION_MONITOR_TIMEOUT")]
    pub timeout: Option<Duration>,
    /// Measure these devices only: indices, UUIDs, MIG labels (0_1_0), PCI bus ids [default: all]
    #[arg(long, value_name = "LIST", value_delimiter = ',', env = "GPU_SESSION_MONITOR_DEVICE")]
    pub device: Vec<Selector>,
    /// Measure the first N GPUs only; --device wins [default: all]
    #[arg(long, value_name = "N", env = "GPU_SESSION_MONITOR_GPU_COUNT")]
    pub gpu_count: Option<u32>,
    /// A label `node` with this value on every series
    #[arg(long, value_name = "NAME", env = "GPU_SESSION_MONITOR_NODE")]
    pub node: Option<String>,
    /// A further label on every series; may be repeated
    #[arg(long, value_name = "K=V", value_parser = parse_label, value_delimiter = ',', env = "GPU_SESSION_MONITOR_LABEL")]
    pub label: Vec<(String, String)>,
    /// Sessions that get series of their own; 0 turns them off [default: 1000]
    #[arg(long, value_name = "N", env = "GPU_SESSION_MONITOR_SESSIONS_LIMIT")]
    pub sessions_limit: Option<usize>,
    /// A file of Unix microseconds instead of the clock, for tests
    #[arg(long, value_name = "FILE", env = "GPU_SESSION_MONITOR_CLOCK", hide = true)]
    pub clock: Option<PathBuf>,
}

/// `collect`
#[derive(Clone, Debug, Args)]
pub struct CollectArgs {
    /// Settings.
    #[command(flatten)]
    pub common: CommonArgs,
    /// `-` writes to standard output instead of the textfile
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Exit 0 even if some source or device could not be read
    #[arg(long)]
    pub partial_ok: bool,
    /// Format of the output
    #[arg(long, value_enum, default_value_t = MetricFormat::Text)]
    pub format: MetricFormat,
    /// Remove the textfile instead, which node_exporter would serve for ever; waits for a run that is at it
    #[arg(long, conflicts_with_all = ["output", "format"])]
    pub remove: bool,
    /// With --remove: remove what is kept in the state folder too, the counters and the ledger
    #[arg(long, env = "GPU_SESSION_MONITOR_PURGE")]
    pub purge: bool,
    /// With --remove: keep other runs out this much longer, 10m at most
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, requires = "remove")]
    pub stay: Option<Duration>,
}

/// `serve`
#[derive(Clone, Debug, Default, Args)]
pub struct ServeArgs {
    /// Settings.
    #[command(flatten)]
    pub common: CommonArgs,
    /// Time between two samples, 1s to 5m [default: 5s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, env = "GPU_SESSION_MONITOR_INTERVAL")]
    pub interval: Option<Duration>,
    /// Address of /metrics; `off` serves none [default: 127.0.0.1:9836]
    #[arg(long, value_name = "ADDRESS", env = "GPU_SESSION_MONITOR_LISTEN")]
    pub listen: Option<String>,
    /// Who may read, and TLS: a file in the web configuration format of the Prometheus exporters [default: no TLS; to
    /// other machines /metrics only]
    #[arg(long, value_name = "FILE", env = "GPU_SESSION_MONITOR_WEB_CONFIG_FILE")]
    pub web_config_file: Option<PathBuf>,
    /// Whether the Kubernetes API judges bearer tokens (TokenReview, SubjectAccessReview) [default: false]
    #[arg(long, value_name = "BOOL", env = "GPU_SESSION_MONITOR_WEB_KUBERNETES_AUTH")]
    pub web_kubernetes_auth: Option<bool>,
    /// How often Prometheus scrapes: a new counter is shown as 0 for this long, so that increase() sees its beginning
    /// [default: 60s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, env = "GPU_SESSION_MONITOR_SCRAPE_INTERVAL")]
    pub scrape_interval: Option<Duration>,
    /// Time between two writings of the textfile, which `serve` writes only where --textfile names one [default: 60s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, env = "GPU_SESSION_MONITOR_TEXTFILE_INTERVAL")]
    pub textfile_interval: Option<Duration>,
    /// Whether counters are in the textfile, too [default: where --listen is off]
    #[arg(long, value_name = "BOOL", env = "GPU_SESSION_MONITOR_TEXTFILE_COUNTERS")]
    pub textfile_counters: Option<bool>,
    /// Whether the ledger of sessions and allocations is kept in the state folder [default: true]
    #[arg(long, value_name = "BOOL", env = "GPU_SESSION_MONITOR_LEDGER_ENABLED")]
    pub ledger_enabled: Option<bool>,
    /// The ledger keeps nothing that ended longer ago [default: 90d]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, env = "GPU_SESSION_MONITOR_LEDGER_AGE")]
    pub ledger_age: Option<Duration>,
    /// The ledger's file is not to be larger than this; the oldest goes first [default: 256MiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_size, env = "GPU_SESSION_MONITOR_LEDGER_SIZE")]
    pub ledger_size: Option<u64>,
    /// Send the metrics by OTLP to the receiver at this base URL, as in http://collector:4317 [default: not sent]
    #[arg(long, value_name = "URL", env = "GPU_SESSION_MONITOR_OTLP_ENDPOINT", hide_env_values = true)]
    pub otlp_endpoint: Option<String>,
    /// How they travel; with http/protobuf, /v1/metrics is added to the URL [default: grpc]
    #[arg(long, value_name = "PROTOCOL", value_enum, env = "GPU_SESSION_MONITOR_OTLP_PROTOCOL")]
    pub otlp_protocol: Option<Protocol>,
    /// Time between two sendings, 1s to 1h [default: 60s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, env = "GPU_SESSION_MONITOR_OTLP_INTERVAL")]
    pub otlp_interval: Option<Duration>,
    /// A file of further headers, such as a token: `name: value`, one a line
    #[arg(long, value_name = "FILE", env = "GPU_SESSION_MONITOR_OTLP_HEADERS_FILE")]
    pub otlp_headers_file: Option<PathBuf>,
    /// The authorities that the receiver's certificate is held against, PEM [default: the system's]
    #[arg(long, value_name = "FILE", env = "GPU_SESSION_MONITOR_OTLP_CA_FILE")]
    pub otlp_ca_file: Option<PathBuf>,
}

/// `doctor`
#[derive(Clone, Debug, Args)]
pub struct DoctorArgs {
    /// Settings.
    #[command(flatten)]
    pub common: CommonArgs,
    /// JSON instead of a table
    #[arg(long)]
    pub json: bool,
    /// Where a `serve` on this node listens; `off` asks none [default: 127.0.0.1:9836]
    #[arg(long, value_name = "ADDRESS", env = "GPU_SESSION_MONITOR_LISTEN")]
    pub listen: Option<String>,
    /// node_exporter's metrics, to see that it shows our textfile; `off` does not ask [default:
    /// http://127.0.0.1:9100/metrics, where something answers]
    #[arg(long, value_name = "URL", env = "GPU_SESSION_MONITOR_NODE_EXPORTER")]
    pub node_exporter: Option<String>,
    /// Ask this Prometheus, or what speaks its API, which nodes' series arrive: http://prometheus:9090. A user and
    /// password in it (percent-encoded) are better given by the environment
    #[arg(long, value_name = "URL", env = "GPU_SESSION_MONITOR_PROMETHEUS", hide_env_values = true)]
    pub prometheus: Option<String>,
    /// A file with the bearer token for it
    #[arg(long, value_name = "FILE", requires = "prometheus")]
    pub prometheus_token_file: Option<PathBuf>,
}

/// `record`
#[derive(Clone, Debug, Args)]
pub struct RecordArgs {
    /// Settings.
    #[command(flatten)]
    pub common: CommonArgs,
    /// The capture; `-` is standard output
    #[arg(long, value_name = "FILE")]
    pub output: PathBuf,
    /// Number of samples
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub samples: u32,
    /// Time between them
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "1s")]
    pub interval: Duration,
}

/// `replay`
#[derive(Clone, Debug, Args)]
pub struct ReplayArgs {
    /// The capture
    #[arg(value_name = "FILE")]
    pub capture: PathBuf,
    /// What to write of its last sample
    #[arg(long, value_enum, default_value_t = ReplayFormat::Text)]
    pub format: ReplayFormat,
    /// Settings.
    #[command(flatten)]
    pub common: CommonArgs,
}

/// `report`
#[derive(Clone, Debug, Args)]
pub struct ReportArgs {
    /// Settings.
    #[command(flatten)]
    pub common: CommonArgs,
    /// Begin of the period
    #[arg(long, value_name = "TIME", default_value = "7d")]
    pub since: When,
    /// End of the period
    #[arg(long, value_name = "TIME", default_value = "now")]
    pub until: When,
    /// What each line is of
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = By::User)]
    pub by: By,
    /// Format of the output
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub format: ReportFormat,
    /// Ask this Prometheus, or what speaks its API, instead of the ledger: http://prometheus:9090. A user and password
    /// in it (percent-encoded) are better given by the environment, for flags show in the list of processes
    #[arg(long, value_name = "URL", env = "GPU_SESSION_MONITOR_PROMETHEUS", hide_env_values = true)]
    pub prometheus: Option<String>,
    /// A file with the bearer token for it
    #[arg(long, value_name = "FILE", requires = "prometheus")]
    pub prometheus_token_file: Option<PathBuf>,
    /// Count only series with these labels, in PromQL: 'cluster="a"'
    #[arg(long, value_name = "MATCHER", requires = "prometheus")]
    pub prometheus_matcher: Option<String>,
    /// Longest wait for each of its answers
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "2m")]
    pub prometheus_timeout: Duration,
}

/// `demo`
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// The simulated driver [default: nvml-sim/libnvidia-ml.so.1 beside this program]
    #[arg(long, value_name = "PATH", env = "GPU_SESSION_MONITOR_NVML_LIBRARY")]
    pub nvml_library: Option<PathBuf>,
    /// A scenario instead of the built-in one
    #[arg(long, value_name = "FILE")]
    pub scenario: Option<PathBuf>,
    /// Address to serve on; another port is taken if this one is not free
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9836")]
    pub listen: std::net::SocketAddr,
    /// End after this many seconds instead of at Ctrl-C
    #[arg(long, value_name = "N", env = "DEMO_SECONDS")]
    pub seconds: Option<u64>,
    /// The folder of the demo, which it makes for itself
    #[arg(long, hide = true)]
    pub stage: Option<PathBuf>,
}

/// What to do about the driver's accounting mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccountingMode {
    /// Read it where it is on
    Leave,
    /// Turn it on
    Enable,
}

/// Whether to ask the Kubernetes API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ApiMode {
    /// In a pod, and with a kubeconfig
    Auto,
    /// Never
    Off,
}

/// Format of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MetricFormat {
    /// Prometheus text format
    Text,
    /// OpenMetrics
    Openmetrics,
}

/// Format of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReplayFormat {
    /// Prometheus text format
    Text,
    /// OpenMetrics
    Openmetrics,
    /// The JSON of ps
    Json,
    /// The table of ps
    Table,
}

/// Format of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// A table for people
    Table,
    /// RFC 4180
    Csv,
    /// JSON
    Json,
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}
