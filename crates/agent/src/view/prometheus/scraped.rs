//! From series to nodes.

use super::read::{Labels, Origin, Series};
use crate::view::{NodeView, View};
use gpu_session_api::{Allocation, Device, ReasonSessions, Session, Source, UserSessions};
use std::collections::BTreeMap;

/// What was scraped, by where it comes from.
#[derive(Default)]
pub(super) struct Nodes {
    scraped: BTreeMap<Origin, Scraped>,
}

/// What one origin says of its node.
#[derive(Default)]
struct Scraped {
    timestamp: Option<f64>,
    driver_version: Option<String>,
    target: Labels,
    sources: BTreeMap<String, Source>,
    /// By label.
    devices: BTreeMap<String, Device>,
    /// By public name.
    sessions: BTreeMap<String, Found>,
    /// By device label, namespace, pod and container.
    allocations: BTreeMap<[String; 4], Allocation>,
}

/// A session, which has begun at some time.
struct Found {
    session: Session,
    begun: bool,
}

impl Nodes {
    pub(super) fn is_empty(&self) -> bool {
        self.scraped.is_empty()
    }

    /// When the last sample of a node was taken.
    pub(super) fn sampled(&mut self, series: &Series) {
        self.scraped.entry(series.origin()).or_default().timestamp = series.value;
    }

    /// A series of a device, or of a source.
    pub(super) fn device(&mut self, series: &Series) {
        let scraped = self.scraped.entry(series.origin()).or_default();
        if series.name() == "gpu_device_info" {
            scraped.device_info(series);
        } else if series.name().starts_with("gpu_session_collector_source_") {
            scraped.source(series);
        } else if let Some(device) = series.label("gpu").and_then(|gpu| scraped.devices.get_mut(gpu)) {
            device_figure(device, series);
        }
    }

    /// `gpu_session_info`.
    pub(super) fn session(&mut self, series: &Series) {
        let Some(scraped) = self.scraped.get_mut(&series.origin()) else { return };
        if let Some(session) = scraped.session(series) {
            scraped.sessions.insert(session.session.clone(), Found { session, begun: false });
        }
    }

    /// A figure of a session.
    pub(super) fn session_figure(&mut self, series: &Series) {
        let Some(scraped) = self.scraped.get_mut(&series.origin()) else { return };
        let found = series.label("session").and_then(|session| scraped.sessions.get_mut(session));
        if let (Some(found), Some(value)) = (found, series.value) {
            found.figure(series.name(), value);
        }
    }

    /// A figure of an allocation.
    pub(super) fn allocation(&mut self, series: &Series) {
        if let Some(scraped) = self.scraped.get_mut(&series.origin()) {
            scraped.allocation(series);
        }
    }

    /// The nodes by name. Of what a node says in two ways, as by node_exporter and by `serve`, the newer counts.
    pub(super) fn view(self) -> View {
        let mut nodes: BTreeMap<String, Scraped> = BTreeMap::new();
        for (origin, scraped) in self.scraped {
            match nodes.get(&origin.node) {
                Some(known) if known.timestamp >= scraped.timestamp => {}
                _ => drop(nodes.insert(origin.node, scraped)),
            }
        }
        View { nodes: nodes.into_iter().map(|(node, scraped)| scraped.view(node)).collect() }
    }
}

impl Scraped {
    fn device_info(&mut self, series: &Series) {
        let (Some(gpu), Some(uuid)) = (series.text("gpu"), series.text("uuid")) else { return };
        self.driver_version = series.text("driver_version");
        self.target = series.target();
        let device = Device {
            gpu: gpu.clone(),
            uuid,
            parent_uuid: series.text("parent_uuid"),
            model: series.text("model"),
            mig_profile: series.text("mig_profile"),
            pci_bus_id: series.text("pci_bus_id"),
            compute_fraction: None,
            memory_total_bytes: None,
            memory_used_bytes: None,
            utilization_ratio: None,
            energy_joules: None,
            sessions: None,
            users: None,
            unattributed: None,
            allocations: None,
        };
        self.devices.insert(gpu, device);
    }

    fn source(&mut self, series: &Series) {
        let (Some(name), Some(value)) = (series.text("source"), series.value) else { return };
        let new = Source { source: name.clone(), up: false, duration_seconds: 0.0, errors: Vec::new() };
        let source = self.sources.entry(name).or_insert(new);
        if series.name().ends_with("_up") {
            source.up = value > 0.0;
        } else {
            source.duration_seconds = value;
        }
    }

    fn session(&self, series: &Series) -> Option<Session> {
        let gpu = series.text("gpu")?;
        let [namespace, pod, container] = series.pod(&self.target);
        Some(Session {
            session: series.text("session")?,
            device_uuid: series.text("uuid")?,
            mig_profile: self.devices.get(&gpu).and_then(|device| device.mig_profile.clone()),
            gpu,
            pid: series.label("pid")?.parse().ok()?,
            command: series.text("command"),
            start_time: 0.0,
            uid: None,
            user: series.text("user"),
            user_rule: series.text("user_rule"),
            namespace,
            pod,
            container,
            pod_uid: None,
            container_id: None,
            place: series.text("place"),
            attributed_by: series.text("attributed_by"),
            memory_used_bytes: None,
            sm_utilization_ratio: None,
            memory_busy_ratio: None,
            encoder_utilization_ratio: None,
            decoder_utilization_ratio: None,
            sm_seconds: None,
            memory_byte_seconds: None,
            last_active_time: None,
            measured_since_time: None,
            allocated: None,
        })
    }

    fn allocation(&mut self, series: &Series) {
        let [Some(namespace), Some(pod), Some(container)] = series.pod(&Labels::new()) else { return };
        let Some(device) = series.label("gpu").and_then(|gpu| self.devices.get(gpu)) else { return };
        let key = [device.gpu.clone(), namespace.clone(), pod.clone(), container.clone()];
        let held = self.allocations.entry(key).or_insert_with(|| Allocation {
            gpu: device.gpu.clone(),
            device_uuid: device.uuid.clone(),
            namespace,
            pod,
            container,
            user: series.text("user"),
            sessions: None,
            idle_seconds: None,
        });
        match series.name() {
            "gpu_allocation_sessions" => held.sessions = count(series.value),
            "gpu_allocation_idle_seconds" => held.idle_seconds = series.value,
            _ => {}
        }
    }

    fn view(self, node: String) -> NodeView {
        let mut devices: Vec<Device> = self.devices.into_values().collect();
        devices.iter_mut().for_each(whole);
        devices.sort_by_cached_key(|device| order(&device.gpu));
        // One whose begin is not told came between two answers, and is whole the next time.
        let mut sessions: Vec<Session> =
            self.sessions.into_values().filter(|found| found.begun).map(|found| found.session).collect();
        sessions.sort_by(|a, b| {
            let by_place = order(&a.gpu).cmp(&order(&b.gpu)).then(a.pid.cmp(&b.pid));
            by_place.then(a.start_time.total_cmp(&b.start_time)).then_with(|| a.session.cmp(&b.session))
        });
        let mut allocations: Vec<Allocation> = self.allocations.into_values().collect();
        // Stable: by namespace, pod and container they are in order.
        allocations.sort_by_cached_key(|held| order(&held.gpu));
        NodeView {
            node: Some(node).filter(|node| !node.is_empty()),
            timestamp: self.timestamp,
            driver_version: self.driver_version,
            sources: self.sources.into_values().collect(),
            devices,
            sessions,
            allocations,
        }
    }
}

impl Found {
    fn figure(&mut self, name: &str, value: f64) {
        let session = &mut self.session;
        match name {
            "gpu_session_memory_used_bytes" => session.memory_used_bytes = count(Some(value)),
            "gpu_session_sm_utilization_ratio" => session.sm_utilization_ratio = Some(value),
            "gpu_session_memory_busy_ratio" => session.memory_busy_ratio = Some(value),
            "gpu_session_encoder_utilization_ratio" => session.encoder_utilization_ratio = Some(value),
            "gpu_session_decoder_utilization_ratio" => session.decoder_utilization_ratio = Some(value),
            "gpu_session_start_time_seconds" => (session.start_time, self.begun) = (value, true),
            "gpu_session_last_active_time_seconds" => session.last_active_time = Some(value),
            "gpu_session_sm_seconds_total" => session.sm_seconds = Some(value),
            "gpu_session_memory_byte_seconds_total" => session.memory_byte_seconds = Some(value),
            _ => {}
        }
    }
}

fn device_figure(device: &mut Device, series: &Series) {
    let value = series.value;
    match series.name() {
        "gpu_device_compute_fraction" => device.compute_fraction = value,
        "gpu_device_memory_total_bytes" => device.memory_total_bytes = count(value),
        "gpu_device_memory_used_bytes" => device.memory_used_bytes = count(value),
        "gpu_device_utilization_ratio" => device.utilization_ratio = value,
        "gpu_device_energy_joules_total" => device.energy_joules = value,
        "gpu_device_allocations" => device.allocations = count(value),
        "gpu_session_count" => device.sessions = count(value),
        "gpu_session_users" => drop(device.users.get_or_insert_default()),
        "gpu_user_sessions" => {
            if let (Some(user), Some(sessions)) = (series.text("user"), count(value)) {
                device.users.get_or_insert_default().push(UserSessions { user, sessions });
            }
        }
        "gpu_sessions_unattributed" => {
            if let (Some(reason), Some(sessions)) = (series.text("reason"), count(value)) {
                device.unattributed.get_or_insert_default().push(ReasonSessions { reason, sessions });
            }
        }
        _ => {}
    }
}

/// A device whose sessions were read has no reason that is not told.
fn whole(device: &mut Device) {
    if device.sessions.is_some() {
        device.users.get_or_insert_default().sort_by(|a, b| a.user.cmp(&b.user));
        device.unattributed.get_or_insert_default().sort_by(|a, b| a.reason.cmp(&b.reason));
    } else {
        (device.users, device.unattributed) = (None, None);
    }
}

fn count(value: Option<f64>) -> Option<u64> {
    value.map(|value| value.round() as u64)
}

/// Place of a device label in the order of devices: 2 before 10, a GPU before its instances.
fn order(gpu: &str) -> (Vec<u32>, String) {
    (gpu.split('_').map(|number| number.parse().unwrap_or(u32::MAX)).collect(), gpu.to_owned())
}
