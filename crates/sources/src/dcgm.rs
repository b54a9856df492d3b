//! The DCGM exporter: what NVML has no figure for, from an exporter that runs on the node anyway.

use crate::exposition::{self, Series};
use crate::{Source, source_error};
use gpu_session_core::ids::GpuLabel;
use gpu_session_core::sample::{
    Device, DeviceFacts, DeviceUtilization, Driver, Request, Sample, SourceError,
};
use gpu_session_core::select::Selection;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use ureq::http::{StatusCode, Uri};

/// Share of the time in which the graphics or compute engine was active, of a GPU or a GPU instance: 0 to 1.
const ENGINE_ACTIVE: &str = "DCGM_FI_PROF_GR_ENGINE_ACTIVE";
/// Percent of the time in which a kernel ran, of a whole GPU.
const GPU_UTIL: &str = "DCGM_FI_DEV_GPU_UTIL";
/// Memory in use, of a GPU or a GPU instance: MiB.
const FB_USED: &str = "DCGM_FI_DEV_FB_USED";

/// What every series of the exporter begins with.
const PREFIX: &str = "DCGM_";

/// Longest wait for the whole answer.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Largest answer that is read; a node of 16 GPUs in seven instances each gives about 1 MiB.
const MAX_BYTES: u64 = 16 << 20;
/// A series with a time stamp further from the sample than this says nothing of now.
const MAX_AGE_MS: u64 = 5 * 60 * 1_000;
/// DCGM's smallest "blank" value (`DCGM_INT32_BLANK`): that and what is above it is no figure.
const BLANK: f64 = 0x7fff_fff0_u32 as f64;

/// Address of the exporter's metrics: plain HTTP, without credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExporterUrl(Uri);

/// Text that is no such address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    /// It has a user or a password, and is not shown.
    #[error(
        "a URL with a user or password (@) is not taken, for it would show in messages: write \
         http://<host>[:<port>]/<path>, as in http://127.0.0.1:9400/metrics"
    )]
    Credentials,
    /// It is something else.
    #[error(
        "{0:?} is no URL that can be asked: allowed is http://<host>[:<port>]/<path>, as in \
         http://127.0.0.1:9400/metrics (no https)"
    )]
    NotPlainHttp(String),
}

impl FromStr for ExporterUrl {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        if text.contains('@') {
            return Err(BadUrl::Credentials);
        }
        let uri = text.parse::<Uri>().ok().filter(is_plain_http);
        uri.map(Self).ok_or_else(|| BadUrl::NotPlainHttp(text.chars().take(80).collect()))
    }
}

fn is_plain_http(uri: &Uri) -> bool {
    let Some(authority) = uri.authority() else { return false };
    // A port out of range would be left out and port 80 asked instead.
    let port = authority.as_str().strip_prefix(authority.host());
    let port_fits = port.is_some_and(|port| port.is_empty() || authority.port_u16().is_some_and(|n| n > 0));
    uri.scheme_str() == Some("http") && !authority.host().is_empty() && port_fits
}

impl fmt::Display for ExporterUrl {
    /// Without a query, which may hold anything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.0.authority().map_or("", |a| a.as_str()), self.0.path())
    }
}

/// The exporter. It is asked only when NVML left something out that it may have.
pub struct Dcgm {
    url: ExporterUrl,
    selection: Selection,
    agent: ureq::Agent,
}

/// What a figure is of: UUID of the physical GPU, in lower case, and GPU instance.
type Key = (String, Option<u32>);

/// What the exporter says of one GPU or GPU instance.
#[derive(Debug, Default)]
struct Figures {
    engine_active: Figure,
    gpu_util: Figure,
    memory_mib: Figure,
}

/// One figure. Two that differ are none, and so is one that cannot be.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Figure {
    #[default]
    Unsaid,
    Said(f64),
    Unusable,
}

impl Figure {
    fn add(&mut self, value: Option<f64>) {
        *self = match (*self, value) {
            (Self::Unsaid, Some(new)) => Self::Said(new),
            // Several pods on one GPU: the exporter repeats the figure for each.
            (Self::Said(known), Some(new)) if known.total_cmp(&new).is_eq() => Self::Said(known),
            _ => Self::Unusable,
        }
    }

    fn value(self) -> Option<f64> {
        match self {
            Self::Said(value) => Some(value),
            Self::Unsaid | Self::Unusable => None,
        }
    }
}

impl Dcgm {
    /// Asks this exporter about the devices that are measured.
    pub fn new(url: ExporterUrl, selection: Selection) -> Self {
        let config = ureq::Agent::config_builder()
            .user_agent(concat!("gpu-session-monitor/", env!("CARGO_PKG_VERSION")))
            .accept("text/plain; version=0.0.4")
            .timeout_global(Some(TIMEOUT))
            .max_redirects(0)
            .http_status_as_error(false)
            // An exporter of this node is not asked through a proxy, whatever the environment says.
            .proxy(None)
            // A connection kept until the next sample may have gone by then.
            .max_idle_connections(0);
        Self { url, selection, agent: config.build().new_agent() }
    }

    /// The exporter's answer, as it is.
    fn fetch(&self) -> Result<Vec<u8>, SourceError> {
        let mut answer = self.agent.get(&self.url.0).call().map_err(|e| self.failed(&e))?;
        let status = answer.status();
        if status != StatusCode::OK {
            let remedy = if status.is_redirection() {
                "redirects are not followed: name the address that it points to (dcgm.url)"
            } else {
                "name the exporter's metrics with dcgm.url, as in http://127.0.0.1:9400/metrics"
            };
            return Err(source_error("http_status", format!("{}: it answered {status}; {remedy}", self.url)));
        }
        answer.body_mut().with_config().limit(MAX_BYTES).read_to_vec().map_err(|e| self.failed(&e))
    }

    fn failed(&self, error: &ureq::Error) -> SourceError {
        let (kind, what) = match error {
            ureq::Error::Timeout(_) => {
                let limit = TIMEOUT.as_secs();
                (
                    "timeout",
                    format!("no whole answer within {limit} s; see whether the exporter is overloaded"),
                )
            }
            ureq::Error::BodyExceedsLimit(_) | ureq::Error::LargeResponseHeader(..) => {
                ("too_large", format!("the answer is larger than {} MiB, not read; {IS_IT}", MAX_BYTES >> 20))
            }
            ureq::Error::Protocol(_) | ureq::Error::Http(_) => {
                ("malformed", format!("the answer is not HTTP ({error}); {IS_IT}"))
            }
            ureq::Error::Io(e) => ("io", format!("{e}; {RUNS}")),
            other => ("io", format!("{other}; {RUNS}")),
        };
        source_error(kind, format!("{}: {what}", self.url))
    }

    /// What to ask for, for a device that NVML left something out of.
    fn gap(&self, device: &Device, driver: &Driver) -> Option<Key> {
        if device.utilization.is_some() && device.memory_used_bytes.is_some() {
            return None;
        }
        let facts = &device.facts;
        match facts.label.instance {
            None => Some((facts.uuid.to_ascii_lowercase(), None)),
            Some((gpu_instance, _)) => {
                let parent = facts.parent_uuid.as_ref()?.to_ascii_lowercase();
                self.alone_in_gpu_instance(facts, driver).then_some((parent, Some(gpu_instance)))
            }
        }
    }

    /// Whether no other compute instance shares the GPU instance: where one may, the figure is of neither.
    fn alone_in_gpu_instance(&self, facts: &DeviceFacts, driver: &Driver) -> bool {
        let gpu_instance = |label: GpuLabel| (label.gpu, label.instance.map(|(gi, _)| gi));
        let own = gpu_instance(facts.label);
        if driver.devices.iter().filter(|other| gpu_instance(other.facts.label) == own).count() > 1 {
            return false;
        }
        // One that is not selected is not in the sample. There is none where this one takes the whole GPU
        // instance (3g.40gb, not 1c.3g.40gb), or where any other would have been selected too.
        let whole = facts.mig_profile.as_deref().and_then(|profile| profile.split('.').next());
        let sibling = DeviceFacts {
            label: GpuLabel { gpu: own.0, instance: own.1.map(|gi| (gi, u32::MAX)) },
            uuid: "".into(),
            ..facts.clone()
        };
        whole.is_some_and(|slices| slices.ends_with('g')) || self.selection.takes(&sibling)
    }
}

const IS_IT: &str = "see that dcgm.url names the DCGM exporter's metrics";
const RUNS: &str = "see that the exporter runs there, or name where it does with dcgm.url";

/// Reads what is wanted out of an answer.
fn take(body: &[u8], now_ms: i64, wanted: &mut BTreeMap<Key, Figures>) -> Result<(), String> {
    let mut exporter = false;
    for series in exposition::series(body).map_err(|e| e.to_string())? {
        let series = series.map_err(|e| e.to_string())?;
        exporter |= series.name.starts_with(PREFIX);
        if !matches!(series.name, ENGINE_ACTIVE | GPU_UTIL | FB_USED)
            || series.time_ms.is_some_and(|stamp| stamp.abs_diff(now_ms) > MAX_AGE_MS)
        {
            continue;
        }
        let Some(figures) = key(&series).and_then(|key| wanted.get_mut(&key)) else { continue };
        let within = |most: f64| (0.0..=most).contains(&series.value).then(|| series.value.abs());
        match series.name {
            ENGINE_ACTIVE => figures.engine_active.add(within(1.0)),
            GPU_UTIL => figures.gpu_util.add(within(100.0)),
            _ => figures.memory_mib.add(within(BLANK).filter(|mib| *mib < BLANK)),
        }
    }
    if exporter { Ok(()) } else { Err(format!("not one series that begins with {PREFIX}")) }
}

/// What a series is of; `None` where it does not say, or says two things.
fn key(series: &Series<'_>) -> Option<Key> {
    let uuid = series.label("UUID").ok()??.to_ascii_lowercase();
    match series.label("GPU_I_ID").ok()? {
        Some(id) if id.bytes().all(|b| b.is_ascii_digit()) => Some((uuid, Some(id.parse().ok()?))),
        Some(_) => None,
        // An instance that is not named is not the whole GPU.
        None => series.label("GPU_I_PROFILE").ok()?.is_none().then_some((uuid, None)),
    }
}

/// Fills what NVML left out; its own figures stay.
fn fill(device: &mut Device, figures: &Figures) {
    let instance = device.facts.label.instance.is_some();
    let percent = figures.gpu_util.value().filter(|_| !instance).map(|percent| percent / 100.0);
    if let (None, Some(ratio)) = (device.utilization, figures.engine_active.value().or(percent)) {
        // The exporter does not say over what time: no seconds are counted from it.
        device.utilization = Some(DeviceUtilization { ratio, measured_us: None, attributable: instance });
    }
    if device.memory_used_bytes.is_none() {
        let bytes = figures.memory_mib.value().map(|mib| (mib * f64::from(1 << 20)).round() as u64);
        let total = device.facts.memory_total_bytes.unwrap_or(u64::MAX);
        device.memory_used_bytes = bytes.filter(|bytes| *bytes <= total);
    }
}

impl Source for Dcgm {
    fn name(&self) -> &'static str {
        "dcgm"
    }

    fn read(&mut self, _: &Request, sample: &mut Sample) -> Vec<SourceError> {
        let now_ms = sample.time_us / 1_000;
        let Some(driver) = &mut sample.driver else {
            return Vec::new();
        };
        let keys: Vec<Option<Key>> = driver.devices.iter().map(|device| self.gap(device, driver)).collect();
        let wanted = keys.iter().flatten().cloned().map(|key| (key, Figures::default()));
        let mut figures: BTreeMap<Key, Figures> = wanted.collect();
        if figures.is_empty() {
            return Vec::new();
        }
        let answer = self.fetch().and_then(|body| {
            take(&body, now_ms, &mut figures)
                .map_err(|what| source_error("malformed", format!("{}: {what}; {IS_IT}", self.url)))
        });
        if let Err(error) = answer {
            return vec![error];
        }
        for (device, key) in driver.devices.iter_mut().zip(keys) {
            if let Some(figures) = key.and_then(|key| figures.get(&key)) {
                fill(device, figures);
            }
        }
        Vec::new()
    }
}

#[cfg(test)]
mod tests;
