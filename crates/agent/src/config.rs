//! The configuration file: YAML, every key optional, unknown keys refused.

use crate::cli::{AccountingMode, ApiMode};
use crate::outputs::otlp::Protocol;
use crate::user_rules::WrittenRule;
use gpu_session_core::select::Selector;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Read when it is there and no other is named.
pub const DEFAULT_PATH: &str = "/etc/gpu-session-monitor/config.yaml";

/// The file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `nvml:`
    pub nvml: Nvml,
    /// `proc:`
    pub proc: Proc,
    /// `process_events:`
    pub process_events: Option<bool>,
    /// `users:`
    pub users: Users,
    /// `kubelet:`
    pub kubelet: Kubelet,
    /// `kubernetes:`
    pub kubernetes: Kubernetes,
    /// `cri:`
    pub cri: Cri,
    /// `dcgm:`
    pub dcgm: Dcgm,
    /// `textfile:`
    pub textfile: Textfile,
    /// `interval:`
    #[serde(deserialize_with = "optional_duration")]
    pub interval: Option<Duration>,
    /// `listen:`
    pub listen: Option<String>,
    /// `web:`
    pub web: Web,
    /// `scrape_interval:`
    #[serde(deserialize_with = "optional_duration")]
    pub scrape_interval: Option<Duration>,
    /// `ledger:`
    pub ledger: Ledger,
    /// `otlp:`
    pub otlp: Otlp,
    /// `state:`
    pub state: State,
    /// `window:`
    #[serde(deserialize_with = "optional_duration")]
    pub window: Option<Duration>,
    /// `timeout:`
    #[serde(deserialize_with = "optional_duration")]
    pub timeout: Option<Duration>,
    /// `gpu:`
    pub gpu: Gpu,
    /// `node:`
    pub node: Option<String>,
    /// `labels:`
    pub labels: BTreeMap<String, String>,
    /// `sessions:`
    pub sessions: Limit,
}

/// `web:`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Web {
    /// `web.config_file`
    pub config_file: Option<PathBuf>,
    /// `web.kubernetes_auth`
    pub kubernetes_auth: Option<bool>,
}

/// `nvml:`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Nvml {
    /// `nvml.library`
    pub library: Option<PathBuf>,
    /// `nvml.accounting`
    pub accounting: Option<AccountingMode>,
}

/// `proc:`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Proc {
    /// `proc.root`
    pub root: Option<PathBuf>,
}

/// `users:`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Users {
    /// `users.passwd`
    pub passwd: Option<PathBuf>,
    /// `users.limit`
    pub limit: Option<usize>,
    /// `users.rules`
    pub rules: Option<Vec<WrittenRule>>,
}

/// `kubelet:`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kubelet {
    /// `kubelet.socket`
    pub socket: Option<PathBuf>,
}

/// `kubernetes:`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kubernetes {
    /// `kubernetes.api`
    pub api: Option<ApiMode>,
    /// `kubernetes.kubeconfig`
    pub kubeconfig: Option<PathBuf>,
    /// `kubernetes.node`
    pub node: Option<String>,
}

/// `cri:`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cri {
    /// `cri.socket`
    pub socket: Option<PathBuf>,
}

/// `dcgm:`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dcgm {
    /// `dcgm.url`; checked with the other settings, for an error here would show the line with its secrets.
    pub url: Option<String>,
}

/// `state:`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct State {
    /// `state.dir`
    pub dir: Option<PathBuf>,
}

/// `ledger:`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ledger {
    /// `ledger.enabled`
    pub enabled: Option<bool>,
    /// `ledger.age`
    #[serde(deserialize_with = "optional_duration")]
    pub age: Option<Duration>,
    /// `ledger.size`, bytes
    #[serde(deserialize_with = "optional_size")]
    pub size: Option<u64>,
}

/// `otlp:`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Otlp {
    /// `otlp.endpoint`; checked with the other settings, for an error here would show the line with its secrets.
    pub endpoint: Option<String>,
    /// `otlp.protocol`
    pub protocol: Option<Protocol>,
    /// `otlp.interval`
    #[serde(deserialize_with = "optional_duration")]
    pub interval: Option<Duration>,
    /// `otlp.headers_file`
    pub headers_file: Option<PathBuf>,
    /// `otlp.ca_file`
    pub ca_file: Option<PathBuf>,
}

/// `textfile:`, the path alone or a mapping.
#[derive(Clone, Debug, Default)]
pub struct Textfile {
    /// `textfile`, `textfile.path`
    pub path: Option<PathBuf>,
    /// `textfile.interval`
    pub interval: Option<Duration>,
    /// `textfile.counters`
    pub counters: Option<bool>,
}

/// `sessions:`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limit {
    /// `sessions.limit`
    pub limit: Option<usize>,
}

/// `gpu:`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gpu {
    /// `gpu.count`
    pub count: Option<u32>,
    /// `gpu.devices`
    #[serde(deserialize_with = "selectors")]
    pub devices: Vec<Selector>,
}

/// A configuration file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("configuration {0}: {1}")]
    Io(String, std::io::Error),
    /// It is not as it should be.
    #[error("configuration {0}: {1}")]
    Malformed(String, String),
}

impl Config {
    /// Reads the file named, or the default one if it is there.
    pub fn load(named: Option<&Path>) -> Result<Self, ConfigError> {
        let path = named.unwrap_or(Path::new(DEFAULT_PATH));
        let name = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text).map_err(|e| ConfigError::Malformed(name, e)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && named.is_none() => Ok(Self::default()),
            Err(e) => Err(ConfigError::Io(name, e)),
        }
    }

    /// Reads the text; the error names the place, the key and what is allowed.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
            return Ok(Self::default());
        }
        // The lines around what is wrong are not shown: another key's value may be a secret.
        let options = serde_saphyr::options! { with_snippet: false };
        serde_saphyr::from_str_with_options(text, options).map_err(|e| e.to_string())
    }
}

/// `"256MiB"`, `"1GB"`, in bytes.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let bad = || format!("{text:?} is no size: write it with its unit, as in 512KiB, 256MiB or 1GiB");
    let (number, unit) =
        text.trim().split_at(text.trim().find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?);
    let factor: u64 = match unit.trim() {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return Err(bad()),
    };
    number.parse().ok().and_then(|number: u64| number.checked_mul(factor)).ok_or_else(bad)
}

/// `"10s"`, `"500ms"`, `"2m"`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|e| format!("{text:?} is no duration ({e}): write it with its unit, as in 500ms, 10s or 2m"))
}

fn optional_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| parse_duration(&text)).transpose().map_err(serde::de::Error::custom)
}

fn optional_size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| parse_size(&text)).transpose().map_err(serde::de::Error::custom)
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TextfileKeys {
    path: Option<PathBuf>,
    #[serde(deserialize_with = "optional_duration")]
    interval: Option<Duration>,
    counters: Option<bool>,
}

impl<'de> Deserialize<'de> for Textfile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextfileVisitor)
    }
}

/// Not an untagged enum, whose errors would name no key.
struct TextfileVisitor;

impl<'de> Visitor<'de> for TextfileVisitor {
    type Value = Textfile;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a path, or a mapping of path, interval and counters")
    }

    fn visit_str<E: serde::de::Error>(self, path: &str) -> Result<Textfile, E> {
        Ok(Textfile { path: Some(path.into()), ..Textfile::default() })
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Textfile, E> {
        Ok(Textfile::default())
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<Textfile, E> {
        Ok(Textfile::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Textfile, A::Error> {
        let TextfileKeys { path, interval, counters } =
            TextfileKeys::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Textfile { path, interval, counters })
    }
}

/// An index may be written as a number: `[0, GPU-…, 0_1_0]`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Index(u32),
    Text(String),
}

fn selectors<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Selector>, D::Error> {
    let parse = |written| match written {
        Written::Index(index) => Ok(Selector::Index(index)),
        Written::Text(text) => text.parse().map_err(serde::de::Error::custom),
    };
    Option::<Vec<Written>>::deserialize(deserializer)?.unwrap_or_default().into_iter().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_read() {
        let text = "nvml: {library: /a, accounting: enable}\nproc: {root: /b}\nprocess_events: true\nusers: {passwd: /c, limit: 7, rules: [{from: namespace}]}\ntextfile: /d\n\
            state: {dir: /e}\nwindow: 500ms\ntimeout: 2m\ngpu: {count: 4, devices: [0, \"1\", GPU-x, 0_1_0]}\n\
            node: n\nlabels: {rack: r1}\nsessions: {limit: 5}\ndcgm: {url: \"http://x:9400/metrics\"}\n\
            interval: 7s\nlisten: \"off\"\nscrape_interval: 30s\nledger: {enabled: false, age: 10d, size: 1MiB}\n\
            otlp: {endpoint: \"http://o:4317\", protocol: http/protobuf, interval: 15s, headers_file: /j, ca_file: /k}\n\
            kubelet: {socket: /f}\nkubernetes: {api: \"off\", kubeconfig: /g, node: h}\ncri: {socket: /i}\n\
            web: {config_file: /j, kubernetes_auth: true}\n";
        let config = Config::parse(text).unwrap();
        assert_eq!(config.window, Some(Duration::from_millis(500)));
        assert_eq!(config.timeout, Some(Duration::from_secs(120)));
        assert_eq!(config.gpu.devices.len(), 4);
        assert_eq!(config.process_events, Some(true));
        assert_eq!(
            (config.gpu.count, config.sessions.limit, config.users.limit),
            (Some(4), Some(5), Some(7))
        );
        assert_eq!(config.users.rules.map(|rules| rules.len()), Some(1));
        let sockets = [config.kubelet.socket, config.kubernetes.kubeconfig, config.cri.socket];
        assert_eq!(sockets.map(Option::unwrap), ["/f", "/g", "/i"].map(PathBuf::from));
        let of_node = (config.kubernetes.api, config.kubernetes.node.as_deref());
        assert_eq!(of_node, (Some(ApiMode::Off), Some("h")));
        assert_eq!(config.labels["rack"], "r1");
        assert_eq!(config.textfile.path, Some("/d".into()));
        let of_serve = (config.interval, config.listen.as_deref(), config.scrape_interval);
        assert_eq!(of_serve, (Some(Duration::from_secs(7)), Some("off"), Some(Duration::from_secs(30))));
        let ledger = (config.ledger.enabled, config.ledger.age, config.ledger.size);
        assert_eq!(ledger, (Some(false), Some(Duration::from_secs(864_000)), Some(1 << 20)));
        let otlp = config.otlp;
        assert_eq!((otlp.endpoint.as_deref(), otlp.protocol), (Some("http://o:4317"), Some(Protocol::Http)));
        assert_eq!(otlp.interval, Some(Duration::from_secs(15)));
        assert_eq!([otlp.headers_file, otlp.ca_file].map(Option::unwrap), ["/j", "/k"].map(PathBuf::from));
        assert_eq!((config.web.config_file, config.web.kubernetes_auth), (Some("/j".into()), Some(true)));
        assert_eq!(config.dcgm.url.as_deref(), Some("http://x:9400/metrics"));
    }

    #[test]
    fn a_textfile_is_a_path_or_a_mapping() {
        let read = |text: &str| Config::parse(text).map(|config| config.textfile);
        let whole = read("textfile: {path: /d, interval: 2m, counters: true}\n").unwrap();
        assert_eq!(
            (whole.path, whole.interval, whole.counters),
            (Some("/d".into()), Some(Duration::from_secs(120)), Some(true))
        );
        assert_eq!(read("textfile: {interval: 2m}\n").unwrap().path, None);
        assert_eq!(read("textfile:\n").unwrap().path, None);
        for (text, wanted) in [
            ("textfile: {file: /d}\n", "file"),
            ("textfile: [/d]\n", "mapping"),
            ("textfile: {interval: 2}\n", "unit"),
            ("textfile: {counters: some}\n", "line 1"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }

    #[test]
    fn sizes_have_units() {
        let read = |text| parse_size(text).ok();
        assert_eq!(
            ["1B", "2KiB", "256MiB", "1 GiB", "3GB"].map(read),
            [1, 2048, 256 << 20, 1 << 30, 3_000_000_000].map(Some)
        );
        assert_eq!(["", "5", "MiB", "1.5GiB", "-1MiB", "1XB", "99999999TiB"].map(read), [None; 7]);
    }

    #[test]
    fn nothing_is_allowed_and_nonsense_is_named() {
        for empty in ["", "# only a comment\n", "gpu:\n  devices: []\n"] {
            assert!(Config::parse(empty).is_ok(), "{empty}");
        }
        for (text, wanted) in [
            ("windw: 1s\n", "windw"),
            ("gpu: {device: [0]}\n", "device"),
            ("window: fast\n", "fast"),
            ("window: 5\n", "unit"),
            ("gpu: {devices: [gpu0]}\n", "gpu0"),
            ("gpu: {count: -1}\n", "line 1"),
            ("process_events: 2\n", "line 1"),
            ("gpu: [\n", "line"),
        ] {
            let error = Config::parse(text).unwrap_err();
            assert!(error.contains(wanted) && error.contains("line 1"), "{text}: {error}");
        }
    }
}
