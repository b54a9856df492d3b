//! How things stand, for people to look at: the documents of the API, of one node or of many, wherever they come from.

pub mod agent;
pub mod filter;
pub mod local;
pub mod prometheus;
mod proxied;
pub mod recording;
pub mod session;

use crate::cli::{CommonArgs, LookArgs};
use crate::exit::Failure;
use crate::report::prometheus::Options;
use crate::settings::Settings;
use agent::Agent;
use gpu_session_api::{Allocation, Device, Session, Source};
use gpu_session_core::json;
use gpu_session_core::snapshot::Snapshot;
use gpu_session_sources::clock::Clock;
use gpu_session_sources::kubernetes::Mode;
use gpu_session_sources::kubernetes::proxy::ServiceProxy;
use local::Local;
use prometheus::Prometheus;
use serde::Serialize;

/// All nodes that are looked at, by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct View {
    /// The nodes.
    pub nodes: Vec<NodeView>,
}

/// One node as it was when its last sample was taken.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct NodeView {
    /// Its name; `None` where it is this one and nobody named it.
    pub node: Option<String>,
    /// When the sample was taken, Unix seconds; `None` where none is known.
    pub timestamp: Option<f64>,
    /// Version of the driver; `None` where it did not answer or nobody says.
    pub driver_version: Option<String>,
    /// How each source fared, as far as it is known.
    pub sources: Vec<Source>,
    /// The devices, by label.
    pub devices: Vec<Device>,
    /// The sessions that go on, by device and pid.
    pub sessions: Vec<Session>,
    /// Devices that containers hold; empty where nobody says.
    pub allocations: Vec<Allocation>,
}

impl NodeView {
    /// Of a snapshot.
    pub fn of(snapshot: &Snapshot, node: Option<String>) -> Self {
        let devices = json::devices(snapshot);
        Self {
            node,
            timestamp: Some(devices.timestamp),
            driver_version: devices.driver_version,
            sources: devices.sources,
            devices: devices.devices,
            sessions: json::sessions(snapshot).sessions,
            allocations: json::allocations(snapshot).allocations,
        }
    }
}

/// A node whose last sample is older is not shown as if it were of now, seconds.
pub const OLD_SECONDS: f64 = 300.0;

impl NodeView {
    /// How old the last sample is where it is too old to stand for now, seconds; `now` is Unix seconds.
    pub fn old(&self, now: f64) -> Option<f64> {
        self.timestamp.map(|at| now - at).filter(|age| *age > OLD_SECONDS)
    }

    /// Whether all that is to be known of it is: there are sources, and every one answered, and lately.
    pub fn is_whole(&self, now: f64) -> bool {
        let answered = !self.sources.is_empty() && self.sources.iter().all(|source| source.up);
        self.timestamp.is_some() && self.old(now).is_none() && answered
    }

    /// Whether it has told of all its sessions: its driver answered, and each of its devices could be read. A node of which
    /// neither a driver nor a device is known has told of none.
    pub fn has_told(&self) -> bool {
        let driver = self.sources.iter().find(|source| source.source == "nvml");
        driver.map_or(!self.devices.is_empty(), |driver| driver.up)
            && self.devices.iter().all(|device| device.sessions.is_some())
    }
}

/// Place of a device's label in the order of devices: 2 before 10, a GPU before its instances.
pub fn label_order(gpu: &str) -> Vec<u64> {
    gpu.split('_').map(|number| number.parse().unwrap_or(u64::MAX)).collect()
}

/// Where views come from. Looking may take as long as the source's limits allow.
pub trait Looks {
    /// How things stand now, or why that cannot be told: what, where and the remedy.
    fn look(&mut self) -> anyhow::Result<View>;

    /// What the source of the last view said to it: why something may be missing.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
}

/// What is looked at by these arguments: a running agent, the cluster, or else this node again and again. What is wrong
/// with them is wrong usage.
pub fn source(look: &LookArgs, common: &CommonArgs) -> Result<Box<dyn Looks + Send>, Failure> {
    if let Some(url) = &look.connect {
        let agent = Agent::new(url, look.connect_token_file.as_deref()).map_err(Failure::usage)?;
        return Ok(Box::new(agent));
    }
    if let Some(url) = &look.prometheus {
        let options = Options {
            url,
            token_file: look.prometheus_token_file.as_deref(),
            matcher: look.prometheus_matcher.as_deref(),
            timeout: look.prometheus_timeout,
        };
        // Nothing is measured: what is wrong with how this node is measured does not matter.
        let clock = Settings::clock(common)?;
        return Ok(Box::new(Prometheus::of(&options, clock).map_err(Failure::usage)?));
    }
    let settings = Settings::resolve(common)?;
    Ok(Box::new(Local::new(&settings, Mode::Watch)?))
}

/// The cluster of a Prometheus that is reached through the API server.
pub fn through(proxy: ServiceProxy, matcher: Option<&str>) -> Box<dyn Looks + Send> {
    Box::new(Prometheus::new(Box::new(proxy), matcher, Clock::Real))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_sort_by_number() {
        let mut labels = ["10", "2", "0_10_0", "0_9_0", "0", "1"];
        labels.sort_by_key(|gpu| label_order(gpu));
        assert_eq!(labels, ["0", "0_9_0", "0_10_0", "1", "2", "10"]);
    }
}
