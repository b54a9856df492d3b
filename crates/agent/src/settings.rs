//! Settings: flags and environment over the file over the defaults.

use crate::cli::{AccountingMode, ApiMode, CommonArgs};
use crate::config::{self, Config};
use crate::exit::Failure;
use crate::user_rules;
use anyhow::Context as _;
use gpu_session_core::metrics::Labels;
use gpu_session_core::rules::Rules;
use gpu_session_core::select::Selection;
use gpu_session_sources::clock::Clock;
use gpu_session_sources::dcgm::ExporterUrl;
use gpu_session_sources::nvml;
use gpu_session_sources::users::Names;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where node_exporter reads textfiles: by most charts and guides, and as Debian's package has it.
const TEXTFILE_FOLDERS: [&str; 2] =
    ["/var/lib/node_exporter/textfile_collector", "/var/lib/prometheus/node-exporter"];
const TEXTFILE: &str = "gpu_sessions.prom";

/// Where kubelets serve PodResources.
const DEFAULT_KUBELET_SOCKET: &str = "/var/lib/kubelet/pod-resources/kubelet.sock";
/// Where a pod finds the token of its service account.
const SERVICE_ACCOUNT_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Flags and the keys of the file that they stand over, where the names differ by more than a dot.
pub const OTHER_KEYS: [(&str, &str); 9] = [
    ("device", "gpu.devices"),
    ("label", "labels"),
    ("config", ""),
    ("scrape-interval", "scrape_interval"),
    ("process-events", "process_events"),
    ("otlp-headers-file", "otlp.headers_file"),
    ("otlp-ca-file", "otlp.ca_file"),
    ("web-config-file", "web.config_file"),
    ("web-kubernetes-auth", "web.kubernetes_auth"),
];

/// All settings, resolved.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The driver's library.
    pub nvml_library: PathBuf,
    /// Turn the driver's accounting mode on.
    pub enable_accounting: bool,
    /// The host's /proc.
    pub proc_root: PathBuf,
    /// Hear of every exec and exit on the node.
    pub process_events: bool,
    /// Where names of the host's users come from.
    pub users: Names,
    /// Whose a session is.
    pub rules: Rules,
    /// The kubelet's PodResources socket; `None` where it is not asked.
    pub kubelet_socket: Option<PathBuf>,
    /// The Kubernetes API; `None` where it is not asked.
    pub kubernetes: Option<KubernetesApi>,
    /// The container runtime's socket; `None` where it is not asked.
    pub cri_socket: Option<PathBuf>,
    /// The DCGM exporter's metrics; `None` where it is not asked.
    pub dcgm_url: Option<ExporterUrl>,
    /// The textfile.
    pub textfile: PathBuf,
    /// Folder of what survives.
    pub state_dir: PathBuf,
    /// Time between two readings.
    pub window: Duration,
    /// Whether the operator asked for the window.
    pub window_given: bool,
    /// Longest wait for the driver.
    pub timeout: Duration,
    /// Devices to measure.
    pub selection: Selection,
    /// Labels of every series.
    pub labels: Labels,
    /// Sessions with series of their own.
    pub sessions_limit: usize,
    /// Sums by device and user.
    pub users_limit: usize,
    /// The clock.
    pub clock: Clock,
}

/// Where the API is, and which node this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesApi {
    /// `None`: this is a pod with a service account.
    pub kubeconfig: Option<PathBuf>,
    /// Name of the node.
    pub node: String,
}

impl Settings {
    /// Resolves the settings; what is wrong is wrong usage.
    pub fn resolve(args: &CommonArgs) -> Result<Self, Failure> {
        let file = Config::load(args.config.as_deref()).map_err(Failure::usage)?;
        Self::over(args, file)
    }

    /// The clock alone, for what measures nothing.
    pub(crate) fn clock(args: &CommonArgs) -> Result<Clock, Failure> {
        match &args.clock {
            Some(path) => Clock::file(path).map_err(Failure::usage),
            None => Ok(Clock::Real),
        }
    }

    /// As [`Self::resolve`], over a file that was read already.
    pub fn over(args: &CommonArgs, file: Config) -> Result<Self, Failure> {
        let pick = |flag: &Option<PathBuf>, key: Option<PathBuf>| flag.clone().or(key);
        let devices = if args.device.is_empty() { file.gpu.devices } else { args.device.clone() };
        let window = args.window.or(file.window);
        let timeout = args.timeout.or(file.timeout).unwrap_or(Duration::from_secs(10));
        check_range("window", window, Duration::from_millis(100), Duration::from_secs(300))?;
        check_range("timeout", Some(timeout), Duration::from_millis(100), Duration::from_secs(600))?;
        let kubernetes = kubernetes(args, file.kubernetes, file.node.as_ref())?;
        let labels = labels(args, file.node, file.labels)?;
        let clock = Self::clock(args)?;
        let proc_root = pick(&args.proc_root, file.proc.root).unwrap_or_else(|| "/proc".into());
        Ok(Self {
            nvml_library: pick(&args.nvml_library, file.nvml.library)
                .unwrap_or_else(|| nvml::DEFAULT_LIBRARY.into()),
            enable_accounting: args.nvml_accounting.or(file.nvml.accounting) == Some(AccountingMode::Enable),
            process_events: args.process_events.or(file.process_events).unwrap_or(false),
            users: pick(&args.users_passwd, file.users.passwd).map_or_else(own_names, Names::File),
            rules: user_rules::resolve(file.users.rules).map_err(|e| Failure::usage(anyhow::anyhow!(e)))?,
            kubelet_socket: pick(&args.kubelet_socket, file.kubelet.socket)
                .or_else(default_kubelet_socket)
                .filter(|path| path != Path::new("off")),
            kubernetes,
            cri_socket: pick(&args.cri_socket, file.cri.socket).filter(|path| path != Path::new("off")),
            dcgm_url: exporter(args.dcgm_url.clone().or(file.dcgm.url))?,
            proc_root,
            textfile: pick(&args.textfile, file.textfile.path).unwrap_or_else(default_textfile),
            state_dir: pick(&args.state_dir, file.state.dir).unwrap_or_else(default_state_dir),
            window: window.unwrap_or(Duration::from_secs(1)),
            window_given: window.is_some(),
            timeout,
            selection: Selection::new(devices, args.gpu_count.or(file.gpu.count)),
            labels,
            sessions_limit: args.sessions_limit.or(file.sessions.limit).unwrap_or(1000),
            users_limit: args.users_limit.or(file.users.limit).unwrap_or(5000),
            clock,
        })
    }
}

/// The kubelet's, where this node has one that we may ask; the folder, for the socket is away while the kubelet
/// restarts.
fn default_kubelet_socket() -> Option<PathBuf> {
    let socket = Path::new(DEFAULT_KUBELET_SOCKET);
    let may_enter = |folder| rustix::fs::access(folder, rustix::fs::Access::EXEC_OK).is_ok();
    socket.parent().is_some_and(may_enter).then(|| socket.to_owned())
}

/// Where the API is asked, if it is.
fn kubernetes(
    args: &CommonArgs,
    file: config::Kubernetes,
    node: Option<&String>,
) -> Result<Option<KubernetesApi>, Failure> {
    let kubeconfig = args.kubernetes_kubeconfig.clone().or(file.kubeconfig);
    let mode = args.kubernetes_api.or(file.api).unwrap_or(ApiMode::Auto);
    let in_pod =
        std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() && Path::new(SERVICE_ACCOUNT_TOKEN).exists();
    if mode == ApiMode::Off || !(in_pod || kubeconfig.is_some()) {
        return Ok(None);
    }
    let named = [args.kubernetes_node.as_ref(), file.node.as_ref(), args.node.as_ref(), node];
    let node = named.into_iter().flatten().map(|name| name.trim()).find(|name| !name.is_empty());
    let node = node.map(str::to_owned).ok_or_else(|| {
        Failure::usage(anyhow::anyhow!(
            "kubernetes.node: the API is asked for the pods of one node, and nobody named it; set it (in a pod from \
             spec.nodeName by the downward API), or kubernetes.api: off"
        ))
    })?;
    Ok(Some(KubernetesApi { kubeconfig, node }))
}

fn exporter(url: Option<String>) -> Result<Option<ExporterUrl>, Failure> {
    url.map(|url| url.parse()).transpose().context("dcgm.url").map_err(Failure::usage)
}

/// Whether the value lies within what is allowed for the key.
pub(crate) fn check_range(
    key: &str,
    value: Option<Duration>,
    least: Duration,
    most: Duration,
) -> Result<(), Failure> {
    match value {
        Some(value) if value < least || value > most => Err(Failure::usage(anyhow::anyhow!(
            "{key}: {} is not allowed: from {} to {}",
            humantime::format_duration(value),
            humantime::format_duration(least),
            humantime::format_duration(most)
        ))),
        _ => Ok(()),
    }
}

fn labels(
    args: &CommonArgs,
    node: Option<String>,
    file: BTreeMap<String, String>,
) -> Result<Labels, Failure> {
    let mut all = file;
    all.extend(args.label.iter().cloned());
    let node = args.node.clone().or(node).map(|node| ("node".to_owned(), node));
    let pairs = node.iter().map(|(k, v)| (k.as_str(), v.as_str()));
    let further = all.iter().map(|(k, v)| (k.as_str(), v.as_str()));
    Labels::new(pairs.chain(further)).context("labels").map_err(Failure::usage)
}

/// The names of this machine, unless this is a container: an image's own say nothing of the host.
fn own_names() -> Names {
    let marks = ["/.dockerenv", "/run/.containerenv"].iter().any(|path| Path::new(path).exists());
    let kubernetes = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    let cgroup = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let container = marks || kubernetes || gpu_session_core::cgroup::is_containerised(&cgroup);
    if container { Names::None } else { Names::System }
}

/// Where the textfile is if nobody names it.
pub(crate) fn default_textfile() -> PathBuf {
    let folders = TEXTFILE_FOLDERS.map(Path::new);
    folders.into_iter().find(|folder| folder.is_dir()).unwrap_or(folders[0]).join(TEXTFILE)
}

/// What the service manager made for us; else root's is the system's, and others keep theirs where their other programs do.
fn default_state_dir() -> PathBuf {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    // Of several, which a colon parts, the unit's own is the first.
    let given = std::env::var("STATE_DIRECTORY").ok();
    if let Some(first) =
        given.as_deref().and_then(|all| all.split(':').next()).filter(|path| path.starts_with('/'))
    {
        return first.into();
    }
    let own =
        || absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    let base = if rustix::process::geteuid().is_root() { None } else { own() };
    base.unwrap_or_else(|| "/var/lib".into()).join("gpu-session-monitor")
}
