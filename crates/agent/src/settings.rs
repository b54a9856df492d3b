//! Settings: flags and environment over the file over the defaults.

use crate::cli::{AccountingMode, CommonArgs};
use crate::config::Config;
use crate::exit::Failure;
use anyhow::Context as _;
use gpu_session_core::metrics::Labels;
use gpu_session_core::select::Selection;
use gpu_session_sources::clock::Clock;
use gpu_session_sources::dcgm::ExporterUrl;
use gpu_session_sources::nvml;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where node_exporter reads textfiles, by its Debian package and most charts.
pub const DEFAULT_TEXTFILE: &str = "/var/lib/node_exporter/textfile_collector/gpu_sessions.prom";

/// Flags and the keys of the file that they stand over, where the names differ by more than a dot.
pub const OTHER_KEYS: [(&str, &str); 3] = [("device", "gpu.devices"), ("label", "labels"), ("config", "")];

/// All settings, resolved.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The driver's library.
    pub nvml_library: PathBuf,
    /// Turn the driver's accounting mode on.
    pub enable_accounting: bool,
    /// The host's /proc.
    pub proc_root: PathBuf,
    /// The host's passwd file; `None` where only a container's own is to be had.
    pub passwd: Option<PathBuf>,
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

impl Settings {
    /// Resolves the settings; what is wrong is wrong usage.
    pub fn resolve(args: &CommonArgs) -> Result<Self, Failure> {
        let file = Config::load(args.config.as_deref()).map_err(Failure::usage)?;
        let pick = |flag: &Option<PathBuf>, key: Option<PathBuf>| flag.clone().or(key);
        let devices = if args.device.is_empty() { file.gpu.devices } else { args.device.clone() };
        let window = args.window.or(file.window);
        let timeout = args.timeout.or(file.timeout).unwrap_or(Duration::from_secs(10));
        check_range("window", window, Duration::from_millis(100), Duration::from_secs(300))?;
        check_range("timeout", Some(timeout), Duration::from_millis(100), Duration::from_secs(600))?;
        let labels = labels(args, file.node, file.labels)?;
        let clock = match &args.clock {
            Some(path) => Clock::file(path).map_err(Failure::usage)?,
            None => Clock::Real,
        };
        let proc_root = pick(&args.proc_root, file.proc.root).unwrap_or_else(|| "/proc".into());
        Ok(Self {
            nvml_library: pick(&args.nvml_library, file.nvml.library)
                .unwrap_or_else(|| nvml::DEFAULT_LIBRARY.into()),
            enable_accounting: args.nvml_accounting.or(file.nvml.accounting) == Some(AccountingMode::Enable),
            passwd: pick(&args.users_passwd, file.users.passwd).or_else(own_passwd),
            dcgm_url: exporter(args.dcgm_url.clone().or(file.dcgm.url))?,
            proc_root,
            textfile: pick(&args.textfile, file.textfile).unwrap_or_else(|| DEFAULT_TEXTFILE.into()),
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

fn exporter(url: Option<String>) -> Result<Option<ExporterUrl>, Failure> {
    url.map(|url| url.parse()).transpose().context("dcgm.url").map_err(Failure::usage)
}

fn check_range(key: &str, value: Option<Duration>, least: Duration, most: Duration) -> Result<(), Failure> {
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

/// The passwd file of this machine, unless this is a container: an image's own says nothing of the host.
fn own_passwd() -> Option<PathBuf> {
    let marks = ["/.dockerenv", "/run/.containerenv"].iter().any(|path| Path::new(path).exists());
    let kubernetes = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    let cgroup = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let container = marks || kubernetes || gpu_session_core::cgroup::is_containerised(&cgroup);
    (!container).then(|| "/etc/passwd".into())
}

/// Root's is the system's; others keep theirs where their other programs do.
fn default_state_dir() -> PathBuf {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let own =
        || absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    let base = if rustix::process::geteuid().is_root() { None } else { own() };
    base.unwrap_or_else(|| "/var/lib".into()).join("gpu-session-monitor")
}
