//! What `serve` takes beyond the settings of all commands.

use crate::cli::ServeArgs;
use crate::config::Config;
use crate::exit::Failure;
use crate::ledger::Retention;
use crate::outputs::otlp::{Protocol, Target};
use crate::outputs::server::WebSettings;
use crate::outputs::textfile;
use crate::settings::{Settings, check_range};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9836);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const TEN_YEARS: Duration = Duration::from_secs(3660 * 24 * 60 * 60);

/// The settings of `serve`, resolved.
#[derive(Clone, Debug)]
pub struct ServeSettings {
    /// Those of all commands.
    pub common: Settings,
    /// Time between two samples.
    pub interval: Duration,
    /// Where /metrics is served; `None` where it is not.
    pub listen: Option<SocketAddr>,
    /// To whom, and how.
    pub web: WebSettings,
    /// A new counter is shown as 0 for this long.
    pub scrape_interval: Duration,
    /// The textfile; `None` where none was named.
    pub textfile: Option<Textfile>,
    /// The devices that are asked for, in words.
    pub devices: String,
    /// How much the ledger keeps; `None` where there is none.
    pub ledger: Option<Retention>,
    /// Where metrics are sent by OTLP; `None` where they are not.
    pub otlp: Option<Target>,
}

/// The textfile and how it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Textfile {
    /// The file.
    pub path: PathBuf,
    /// Time between two writings.
    pub interval: Duration,
    /// Whether it holds counters; `None` where nobody said.
    pub counters: Option<bool>,
}

impl ServeSettings {
    /// Resolves the settings; what is wrong is wrong usage.
    pub fn resolve(args: &ServeArgs) -> Result<Self, Failure> {
        let file = Config::load(args.common.config.as_deref()).map_err(Failure::usage)?;
        let second = Duration::from_secs(1);
        let interval = args.interval.or(file.interval).unwrap_or(Duration::from_secs(5));
        check_range("interval", Some(interval), second, Duration::from_secs(300))?;
        let scrape_interval =
            args.scrape_interval.or(file.scrape_interval).unwrap_or(Duration::from_secs(60));
        check_range("scrape_interval", Some(scrape_interval), second, HOUR)?;
        Ok(Self {
            interval,
            listen: listen(args.listen.as_deref().or(file.listen.as_deref()))?,
            web: web(args, &file)?,
            scrape_interval,
            textfile: textfile(args, &file)?,
            ledger: ledger(args, &file)?,
            otlp: otlp(args, &file)?,
            devices: devices(args, &file),
            common: Settings::over(&args.common, file)?,
        })
    }

    /// What is only found out by looking: that the textfile's folder is there, and what OTLP needs.
    pub fn check(&self) -> anyhow::Result<()> {
        self.otlp.as_ref().map_or(Ok(()), Target::check)?;
        self.textfile.as_ref().map_or(Ok(()), |textfile| textfile::check_folder(&textfile.path))
    }

    /// Whether the textfile is to hold counters: where nobody said, only if /metrics does not have them.
    pub fn textfile_counters(&self) -> bool {
        let said = self.textfile.as_ref().and_then(|textfile| textfile.counters);
        said.unwrap_or(self.listen.is_none())
    }

    /// A snapshot older than this is stale: three samples are missing, and a slow source is given its time.
    pub fn stale_after(&self) -> Duration {
        (self.interval * 3).max(Duration::from_secs(30))
    }
}

/// The address that is written; the default where none is, and `None` for `off`.
pub(crate) fn listen(written: Option<&str>) -> Result<Option<SocketAddr>, Failure> {
    match written {
        None => Ok(Some(DEFAULT_LISTEN)),
        Some("off") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| {
            Failure::usage(anyhow::anyhow!(
                "listen: {text:?} is no address: write it as 127.0.0.1:9836, 0.0.0.0:9836 or [::]:9836; `off` serves none"
            ))
        }),
    }
}

fn web(args: &ServeArgs, file: &Config) -> Result<WebSettings, Failure> {
    let kubeconfig = args.common.kubernetes_kubeconfig.clone().or_else(|| file.kubernetes.kubeconfig.clone());
    let kubernetes_auth = args.web_kubernetes_auth.or(file.web.kubernetes_auth).unwrap_or(false);
    let config_file = args.web_config_file.clone().or_else(|| file.web.config_file.clone());
    WebSettings::of(config_file, kubernetes_auth, kubeconfig).map_err(Failure::usage)
}

fn textfile(args: &ServeArgs, file: &Config) -> Result<Option<Textfile>, Failure> {
    let interval = args.textfile_interval.or(file.textfile.interval).unwrap_or(Duration::from_secs(60));
    check_range("textfile.interval", Some(interval), Duration::from_secs(1), HOUR)?;
    let path = args.common.textfile.clone().or_else(|| file.textfile.path.clone());
    let counters = args.textfile_counters.or(file.textfile.counters);
    Ok(path.map(|path| Textfile { path, interval, counters }))
}

fn ledger(args: &ServeArgs, file: &Config) -> Result<Option<Retention>, Failure> {
    let age = args.ledger_age.or(file.ledger.age).unwrap_or(90 * DAY);
    check_range("ledger.age", Some(age), HOUR, TEN_YEARS)?;
    let bytes = args.ledger_size.or(file.ledger.size).unwrap_or(256 << 20);
    // The log beside the file takes one, and empty tables some.
    if !(4 << 20..=1 << 40).contains(&bytes) {
        let error = anyhow::anyhow!("ledger.size: {bytes} bytes are not allowed: from 4MiB to 1TiB");
        return Err(Failure::usage(error));
    }
    let enabled = args.ledger_enabled.or(file.ledger.enabled).unwrap_or(true);
    Ok(enabled.then_some(Retention { age, bytes }))
}

fn otlp(args: &ServeArgs, file: &Config) -> Result<Option<Target>, Failure> {
    let interval = args.otlp_interval.or(file.otlp.interval).unwrap_or(Duration::from_secs(60));
    check_range("otlp.interval", Some(interval), Duration::from_secs(1), HOUR)?;
    let protocol = args.otlp_protocol.or(file.otlp.protocol).unwrap_or(Protocol::Grpc);
    let Some(endpoint) = args.otlp_endpoint.as_ref().or(file.otlp.endpoint.as_ref()) else { return Ok(None) };
    let wrong = |key: &str, what: String| Failure::usage(anyhow::anyhow!("otlp.{key}: {what}"));
    let endpoint = Target::check_endpoint(endpoint, protocol).map_err(|e| wrong("endpoint", e))?;
    let headers_file = args.otlp_headers_file.clone().or_else(|| file.otlp.headers_file.clone());
    let ca_file = args.otlp_ca_file.clone().or_else(|| file.otlp.ca_file.clone());
    if ca_file.is_some() && !endpoint.starts_with("https://") {
        let what = "it is of no use without TLS; write otlp.endpoint as https://…, or remove it";
        return Err(wrong("ca_file", what.to_owned()));
    }
    Ok(Some(Target { endpoint, protocol, interval, headers_file, ca_file }))
}

fn devices(args: &ServeArgs, file: &Config) -> String {
    let named = if args.common.device.is_empty() { &file.gpu.devices } else { &args.common.device };
    match args.common.gpu_count.or(file.gpu.count) {
        _ if !named.is_empty() => named.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        Some(count) => format!("the first {count}"),
        None => "all".to_owned(),
    }
}
