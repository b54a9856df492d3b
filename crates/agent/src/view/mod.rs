//! How things stand, for people to look at: the documents of the API, of one node or of many, wherever they come from.

pub mod local;
pub mod recording;

use gpu_session_api::{Allocation, Device, Session, Source};
use gpu_session_core::json;
use gpu_session_core::snapshot::Snapshot;

/// All nodes that are looked at, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    /// The nodes.
    pub nodes: Vec<NodeView>,
}

/// One node as it was when its last sample was taken.
#[derive(Clone, Debug, Default, PartialEq)]
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

/// Where views come from. Looking may take as long as the source's limits allow.
pub trait Looks {
    /// How things stand now, or why that cannot be told: what, where and the remedy.
    fn look(&mut self) -> anyhow::Result<View>;
}
