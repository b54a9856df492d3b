//! What of a view is shown.

use super::{NodeView, View};
use gpu_session_api::{Allocation, Device, Session};
use gpu_session_core::ids::GpuLabel;
use gpu_session_core::sample::DeviceFacts;
use gpu_session_core::select::{Selection, Selector};
use std::fmt::Write as _;
use std::time::Duration;

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

impl Filter {
    /// Leaves what it takes.
    pub fn apply(&self, view: &mut View) {
        let named = |node: &NodeView| is_one_of(&self.nodes, node.node.as_deref());
        view.nodes.retain(|node| self.nodes.is_empty() || named(node));
        for node in &mut view.nodes {
            self.narrow(node);
        }
    }

    fn narrow(&self, node: &mut NodeView) {
        if !self.devices.is_empty() {
            let selection = Selection::new(self.devices.clone(), None);
            node.devices.retain(|device| facts(device).is_some_and(|facts| selection.takes(&facts)));
            let taken = |uuid: &str| node.devices.iter().any(|device| device.uuid == uuid);
            node.sessions.retain(|session| taken(&session.device_uuid));
            node.allocations.retain(|held| taken(&held.device_uuid));
        }
        if self.is_of_people() {
            let now = node.timestamp;
            node.sessions.retain(|session| self.takes_session(session, now));
            node.allocations.retain(|held| self.takes_allocation(held));
            let (sessions, held) = (&node.sessions, &node.allocations);
            node.devices.retain(|device| {
                sessions.iter().any(|session| session.device_uuid == device.uuid)
                    || held.iter().any(|held| held.device_uuid == device.uuid)
            });
        }
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

fn is_one_of(names: &[String], name: Option<&str>) -> bool {
    names.is_empty() || names.iter().any(|wanted| Some(wanted.as_str()) == name)
}

/// For how long a session has done nothing, as far as that is known.
///
/// Metrics do not say since when it was measured without a gap. There its last work counts, or of a session that never did
/// any its begin, where it is measured and idle now.
pub fn idle_seconds(session: &Session, now: f64) -> Option<f64> {
    let since = match (session.measured_since_time, session.last_active_time) {
        (Some(measured), Some(active)) => measured.max(active),
        (Some(measured), None) => measured,
        (None, active) => {
            session.sm_utilization_ratio.filter(|ratio| *ratio <= 0.0)?;
            match active {
                Some(active) => active,
                None => session.sm_seconds.filter(|used| *used <= 0.0).map(|_| session.start_time)?,
            }
        }
    };
    Some((now - since).max(0.0))
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

    fn session(measured: Option<f64>, active: Option<f64>, sm: Option<f64>, used: Option<f64>) -> Session {
        let text = serde_json::json!({
            "session": "a", "gpu": "0", "device_uuid": "GPU-a", "pid": 1, "start_time": 100.0,
            "measured_since_time": measured, "last_active_time": active, "sm_utilization_ratio": sm, "sm_seconds": used,
        });
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn idle_is_what_is_known_to_be() {
        for (measured, active, sm, used, wanted) in [
            // By the driver: since the later of the two.
            (Some(200.0), Some(150.0), Some(0.5), Some(9.0), Some(800.0)),
            (Some(200.0), Some(900.0), None, None, Some(100.0)),
            (Some(200.0), None, None, None, Some(800.0)),
            // By metrics: only while it is measured and idle.
            (None, Some(400.0), Some(0.0), Some(9.0), Some(600.0)),
            (None, Some(400.0), Some(0.1), Some(9.0), None),
            (None, Some(400.0), None, Some(9.0), None),
            (None, None, Some(0.0), Some(0.0), Some(900.0)),
            (None, None, Some(0.0), None, None),
        ] {
            let session = session(measured, active, sm, used);
            assert_eq!(idle_seconds(&session, 1000.0), wanted, "{session:?}");
        }
    }
}
