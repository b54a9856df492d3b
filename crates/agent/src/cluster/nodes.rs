//! Nodes and their devices.

use super::list::{Field, Key, Order, Words, searchable};
use crate::view::NodeView;
use gpu_session_api::{Allocation, ClusterDevice, ClusterNode, Device};
use std::collections::BTreeSet;
use std::str::FromStr;

/// A node, made ready. Its figures are those of its last sample, also where that is old.
pub(super) struct Row {
    pub(super) document: ClusterNode,
    names: String,
    pub(super) figures: Figures,
    /// Whether a device and a source of it is told.
    pub(super) is_told: bool,
}

/// What a node's devices come to; what is known of none of them is `None`.
#[derive(Default)]
pub(super) struct Figures {
    pub(super) sessions: Option<u64>,
    pub(super) users: BTreeSet<String>,
    /// Whether the users of any device are known.
    users_known: bool,
    /// Mean of the devices of which it is known.
    utilization: Option<f64>,
    /// Of the devices of which both are known.
    memory: Option<f64>,
    /// A lower bound where it is not known of every device.
    held_idle: Option<u64>,
}

/// In what state a node is. One may be in several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its last sample is too old to stand for now.
    Old,
    /// Of now, and one of its sources is down.
    Incomplete,
    /// Of now, and known to have no session.
    Idle,
    /// Of now, with sessions.
    Busy,
}

impl FromStr for State {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "old" => Ok(Self::Old),
            "incomplete" => Ok(Self::Incomplete),
            "idle" => Ok(Self::Idle),
            "busy" => Ok(Self::Busy),
            _ => Err(format!("{text:?} is no state of a node: allowed are old, incomplete, idle and busy")),
        }
    }
}

impl Row {
    /// Of a node as it is seen `now`, Unix seconds; one without a sample is old.
    pub(super) fn of(node: &NodeView, now: f64) -> Self {
        let name = node.node.clone().unwrap_or_default();
        let devices: Vec<ClusterDevice> = node
            .devices
            .iter()
            .map(|device| ClusterDevice {
                held_idle: held_idle(device, &node.allocations),
                device: device.clone(),
            })
            .collect();
        let document = ClusterNode {
            node: name,
            timestamp: node.timestamp,
            old: node.timestamp.is_none() || node.old(now).is_some(),
            driver_version: node.driver_version.clone(),
            sources_down: node.sources.iter().filter(|s| !s.up).map(|s| s.source.clone()).collect(),
            devices,
        };
        let is_told = !node.devices.is_empty() && !node.sources.is_empty();
        Self { names: names(node), figures: Figures::of(&document.devices), document, is_told }
    }

    pub(super) fn is_in(&self, state: State) -> bool {
        let now = !self.document.old;
        match state {
            State::Old => !now,
            State::Incomplete => now && !self.document.sources_down.is_empty(),
            // A node of which no device is told may have any session.
            State::Idle => {
                let devices = &self.document.devices;
                now && !devices.is_empty() && devices.iter().all(|device| device.device.sessions == Some(0))
            }
            State::Busy => now && self.figures.sessions.is_some_and(|sessions| sessions > 0),
        }
    }

    pub(super) fn is_taken_by(&self, words: &Words, node: Option<&str>, state: Option<State>) -> bool {
        node.is_none_or(|node| node == self.document.node)
            && state.is_none_or(|state| self.is_in(state))
            && words.are_in(&self.names)
    }
}

/// Of the node, and of whoever and whatever is on it.
fn names(node: &NodeView) -> String {
    let mut names: BTreeSet<&str> = BTreeSet::new();
    names.extend(node.node.as_deref());
    names.extend(node.driver_version.as_deref());
    for device in &node.devices {
        names.extend([device.gpu.as_str(), &device.uuid]);
        names.extend(device.model.as_deref().into_iter().chain(device.mig_profile.as_deref()));
        names.extend(device.users.iter().flatten().map(|user| user.user.as_str()));
    }
    for session in &node.sessions {
        let optional =
            [&session.user, &session.namespace, &session.pod, &session.container, &session.command];
        names.extend(optional.into_iter().filter_map(Option::as_deref));
    }
    for held in &node.allocations {
        names.extend([held.namespace.as_str(), &held.pod, &held.container]);
        names.extend(held.user.as_deref());
    }
    searchable(names)
}

/// Containers that hold the device and have no session on it, where that is sure of every one that holds it.
fn held_idle(device: &Device, held: &[Allocation]) -> Option<u64> {
    let on_it: Vec<Option<u64>> =
        held.iter().filter(|held| held.device_uuid == device.uuid).map(|held| held.sessions).collect();
    let told = device.allocations == Some(on_it.len() as u64) && on_it.iter().all(Option::is_some);
    told.then(|| on_it.iter().filter(|sessions| **sessions == Some(0)).count() as u64)
}

impl Figures {
    fn of(devices: &[ClusterDevice]) -> Self {
        let sum = |of: fn(&ClusterDevice) -> Option<u64>| devices.iter().filter_map(of).reduce(|a, b| a + b);
        let users: Vec<_> = devices.iter().filter_map(|device| device.device.users.as_ref()).collect();
        let busy: Vec<f64> = devices.iter().filter_map(|device| device.device.utilization_ratio).collect();
        let memory: Vec<(u64, u64)> = devices
            .iter()
            .filter_map(|device| device.device.memory_used_bytes.zip(device.device.memory_total_bytes))
            .collect();
        let total: u64 = memory.iter().map(|(_, total)| total).sum();
        let used: u64 = memory.iter().map(|(used, _)| used).sum();
        Self {
            sessions: sum(|device| device.device.sessions),
            users_known: !users.is_empty(),
            users: users.into_iter().flatten().map(|user| user.user.clone()).collect(),
            utilization: (!busy.is_empty()).then(|| busy.iter().sum::<f64>() / busy.len() as f64),
            memory: (total > 0).then(|| used as f64 / total as f64),
            held_idle: sum(|device| device.held_idle),
        }
    }
}

const FIELDS: [(&str, Field<Row>); 7] = [
    ("node", |row| Key::Text(Some(&row.document.node))),
    ("sessions", |row| Key::count(row.figures.sessions)),
    ("users", |row| Key::count(row.figures.users_known.then_some(row.figures.users.len() as u64))),
    ("utilization_ratio", |row| Key::Number(row.figures.utilization)),
    ("memory_used_ratio", |row| Key::Number(row.figures.memory)),
    ("held_idle", |row| Key::count(row.figures.held_idle)),
    ("timestamp", |row| Key::Number(row.document.timestamp)),
];

/// The order that is asked for; without one by name.
pub(super) fn order(written: Option<&str>) -> Result<Order<Row>, String> {
    written.map_or_else(|| Ok(Order::natural()), |written| Order::parse(written, &FIELDS))
}
