//! What of a view is shown.

use super::session::idle_seconds;
use super::{NodeView, View};
use gpu_session_api::{Allocation, Device, Session};
use gpu_session_core::ids::GpuLabel;
use gpu_session_core::sample::DeviceFacts;
use gpu_session_core::select::{Selection, Selector};
use std::fmt::Write as _;
use std::time::Duration;

/// Names that are told where one is not found.
const MOST_NAMES: usize = 10;

/// Takes what every one of its parts takes; a part with several values takes what any of them does.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Nodes, by name.
    pub nodes: Vec<String>,
    /// Users.
    pub users: Vec<String>,
    /// Namespaces of pods.
    pub namespaces: Vec<String>,
    /// Names of pods.
    pub pods: Vec<String>,
    /// Devices.
    pub devices: Vec<Selector>,
    /// What has been idle for so long.
    pub idle: Option<Duration>,
}

/// What a view comes to once a filter has left of it what it takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Sessions that it takes, as far as they are known.
    pub sessions: u64,
    /// Whether there may be more of them.
    pub unsure: bool,
    /// Sessions that are counted with the devices that it takes, and in no list.
    pub unlisted: u64,
    /// What it names and is not there.
    pub absent: Vec<String>,
}

impl Filter {
    /// Leaves what it takes; `now`, in Unix seconds, tells which nodes are too old to stand for now.
    pub fn apply(&self, view: &mut View, now: Option<f64>) -> Left {
        let mut left = Left { absent: self.absent(view), ..Left::default() };
        view.nodes.retain(|node| self.nodes.is_empty() || is_named(node, &self.nodes));
        for node in &mut view.nodes {
            left.unsure |= now.is_some_and(|now| node.old(now).is_some()) || !node.has_told();
            self.narrow_to_devices(node);
            let counted = node.devices.iter().filter_map(|device| device.sessions);
            let counted = counted.fold(0, u64::saturating_add);
            let unlisted = counted.saturating_sub(node.sessions.len() as u64);
            left.unlisted = left.unlisted.saturating_add(unlisted);
            left.sessions = left.sessions.saturating_add(if self.is_of_people() {
                self.narrow_to_people(node);
                // One that is in no list may be whose ever.
                left.unsure |= unlisted > 0;
                node.sessions.len() as u64
            } else {
                counted
            });
        }
        left
    }

    fn narrow_to_devices(&self, node: &mut NodeView) {
        if self.devices.is_empty() {
            return;
        }
        let selection = Selection::new(self.devices.clone(), None);
        node.devices.retain(|device| facts(device).is_some_and(|facts| selection.takes(&facts)));
        let taken = |uuid: &str| node.devices.iter().any(|device| device.uuid == uuid);
        node.sessions.retain(|session| taken(&session.device_uuid));
        node.allocations.retain(|held| taken(&held.device_uuid));
    }

    fn narrow_to_people(&self, node: &mut NodeView) {
        let now = node.timestamp;
        node.sessions.retain(|session| self.takes_session(session, now));
        node.allocations.retain(|held| self.takes_allocation(held));
        let (sessions, held) = (&node.sessions, &node.allocations);
        node.devices.retain(|device| {
            sessions.iter().any(|session| session.device_uuid == device.uuid)
                || held.iter().any(|held| held.device_uuid == device.uuid)
        });
    }

    /// What of the nodes and devices that it names the view lacks, with the remedy.
    fn absent(&self, view: &View) -> Vec<String> {
        let nodes = self.nodes.iter().filter(|name| {
            let named = std::slice::from_ref(*name);
            !view.nodes.iter().any(|node| is_named(node, named))
        });
        let known = view.nodes.iter().filter_map(|node| node.node.as_deref());
        let known: Vec<&str> = known.take(MOST_NAMES).collect();
        let known = if known.is_empty() { "none has a name".to_owned() } else { known.join(", ") };
        let nodes = nodes.map(|name| format!("--node {name}: no such node is there; see the names: {known}"));
        let of_nodes = || {
            let asked = |node: &&NodeView| self.nodes.is_empty() || is_named(node, &self.nodes);
            view.nodes.iter().filter(asked).flat_map(|node| &node.devices).filter_map(facts)
        };
        let devices = self.devices.iter().filter(|selector| {
            let selection = Selection::new(vec![(*selector).clone()], None);
            !of_nodes().any(|device| selection.takes(&device))
        });
        let devices = devices.map(|selector| {
            format!(
                "--gpu {selector}: no such device is there; see the labels and UUIDs that ps --wide shows"
            )
        });
        nodes.chain(devices).collect()
    }

    /// Whether it asks for more than nodes and devices.
    fn is_of_people(&self) -> bool {
        self.idle.is_some()
            || [&self.users, &self.namespaces, &self.pods].iter().any(|names| !names.is_empty())
    }

    fn takes_session(&self, session: &Session, now: Option<f64>) -> bool {
        is_one_of(&self.users, session.user.as_deref())
            && is_one_of(&self.namespaces, session.namespace.as_deref())
            && is_one_of(&self.pods, session.pod.as_deref())
            && self.idle.is_none_or(|least| {
                now.and_then(|now| idle_seconds(session, now)).is_some_and(|idle| idle >= least.as_secs_f64())
            })
    }

    fn takes_allocation(&self, held: &Allocation) -> bool {
        is_one_of(&self.users, held.user.as_deref())
            && is_one_of(&self.namespaces, Some(&held.namespace))
            && is_one_of(&self.pods, Some(&held.pod))
            && self.idle.is_none_or(|least| held.idle_seconds.is_some_and(|idle| idle >= least.as_secs_f64()))
    }

    /// What it leaves out, in words; empty where that is nothing.
    pub fn words(&self) -> String {
        let mut words = String::new();
        let devices: Vec<String> = self.devices.iter().map(ToString::to_string).collect();
        for (name, values) in [
            ("node", &self.nodes),
            ("user", &self.users),
            ("namespace", &self.namespaces),
            ("pod", &self.pods),
            ("gpu", &devices),
        ] {
            for value in values {
                let _ = write!(words, " --{name} {value}");
            }
        }
        if let Some(idle) = self.idle {
            let _ = write!(words, " --idle {}", humantime::format_duration(idle));
        }
        words.trim_start().to_owned()
    }
}

/// Whether the node has one of these names. Where nodes of several clusters are there, it may be told without its cluster's.
fn is_named(node: &NodeView, names: &[String]) -> bool {
    let Some(own) = node.node.as_deref() else { return false };
    let bare = own.rsplit_once('/').map_or(own, |(_, bare)| bare);
    names.iter().any(|name| name == own || name == bare)
}

fn is_one_of(names: &[String], name: Option<&str>) -> bool {
    names.is_empty() || names.iter().any(|wanted| Some(wanted.as_str()) == name)
}

/// The label of a device that the driver, Prometheus or the ledger named.
pub(crate) fn label(text: &str) -> GpuLabel {
    let mut numbers = text.split('_').map(|number| number.parse().unwrap_or(u32::MAX));
    let gpu = numbers.next().unwrap_or(u32::MAX);
    GpuLabel { gpu, instance: numbers.next().zip(numbers.next()) }
}

/// Whether a device is meant: an index takes all instances of the GPU.
pub(crate) fn takes(wanted: GpuLabel, device: GpuLabel) -> bool {
    wanted == device || (wanted.instance.is_none() && wanted.gpu == device.gpu)
}

/// Whether a name is the one that is wanted; the empty text takes what is not known.
pub(crate) fn is(wanted: Option<&String>, have: Option<&str>) -> bool {
    wanted.is_none_or(|wanted| wanted == have.unwrap_or_default())
}

/// What chooses a device; `None` where its label is none.
fn facts(device: &Device) -> Option<DeviceFacts> {
    let label = match device.gpu.parse().ok()? {
        Selector::Index(gpu) => GpuLabel { gpu, instance: None },
        Selector::Instance(label) => label,
        Selector::Uuid(_) | Selector::PciBusId(_) => return None,
    };
    let text = |slot: &Option<String>| slot.as_deref().map(Into::into);
    Some(DeviceFacts {
        label,
        uuid: device.uuid.as_str().into(),
        parent_uuid: text(&device.parent_uuid),
        model: None,
        mig_profile: None,
        pci_bus_id: text(&device.pci_bus_id),
        minor_number: None,
        memory_total_bytes: None,
        compute_fraction: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(name: &str, sessions: u64) -> NodeView {
        let device = json!({ "gpu": "0", "uuid": "GPU-a", "sessions": sessions });
        let device = serde_json::from_value(device).unwrap();
        NodeView {
            node: Some(name.to_owned()),
            timestamp: Some(1.0),
            devices: vec![device],
            ..NodeView::default()
        }
    }

    #[test]
    fn counts_beyond_all_bounds_stay_counts() {
        let mut view = View { nodes: vec![node("a", u64::MAX), node("b", u64::MAX)] };
        let left = Filter::default().apply(&mut view, None);
        assert_eq!((left.sessions, left.unlisted, left.unsure), (u64::MAX, u64::MAX, false));
    }

    #[test]
    fn a_node_of_a_cluster_has_its_name_with_and_without_it() {
        for (name, left) in [("gpu-7", 2), ("a/gpu-7", 1), ("a", 0), ("gpu-8", 0)] {
            let mut view = View { nodes: vec![node("a/gpu-7", 1), node("b/gpu-7", 1)] };
            let filter = Filter { nodes: vec![name.to_owned()], ..Filter::default() };
            let absent = filter.apply(&mut view, None).absent;
            assert_eq!((view.nodes.len(), absent.is_empty()), (left, left > 0), "{name}: {absent:?}");
        }
    }
}
