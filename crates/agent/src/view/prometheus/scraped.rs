//! From series to nodes.

use super::read::{Labels, Origin, Series};
use crate::view::{NodeView, View, label_order};
use gpu_session_api::{Allocation, Device, ReasonSessions, Session, Source, UserSessions};
use std::collections::{BTreeMap, BTreeSet};

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
    /// Labels of the targets that it was scraped from.
    targets: BTreeSet<Labels>,
    sources: BTreeMap<String, Health>,
    /// By label.
    devices: BTreeMap<String, Device>,
    /// By public name.
    sessions: BTreeMap<String, Found>,
    /// By device label, namespace, pod and container.
    allocations: BTreeMap<[String; 4], Allocation>,
}

/// How a source fared.
#[derive(Default)]
struct Health {
    up: Option<bool>,
    duration_seconds: f64,
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

    /// A series of a device.
    pub(super) fn device(&mut self, series: &Series) {
        let scraped = self.scraped.entry(series.origin()).or_default();
        if series.name() == "gpu_device_info" {
            scraped.device_info(series);
        } else if let Some(device) = series.label("gpu").and_then(|gpu| scraped.devices.get_mut(gpu)) {
            device_figure(device, series);
        }
    }

    /// A series of a source.
    pub(super) fn source(&mut self, series: &Series) {
        let (Some(name), Some(value)) = (series.text("source"), series.value) else { return };
        let health = self.scraped.entry(series.origin()).or_default().sources.entry(name).or_default();
        if series.name().ends_with("_up") {
            health.up = Some(value > 0.0);
        } else {
            health.duration_seconds = value;
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

    /// The nodes by name, with that of their cluster where there are several. Of what a node says in two ways, as by
    /// node_exporter and by `serve`, the newer counts.
    pub(super) fn view(self) -> View {
        let mut nodes: BTreeMap<(String, String), Scraped> = BTreeMap::new();
        for (origin, scraped) in self.scraped {
            let name = (origin.cluster, origin.node);
            match nodes.get(&name) {
                Some(known) if known.rank() >= scraped.rank() => {}
                _ => drop(nodes.insert(name, scraped)),
            }
        }
        let clusters: BTreeSet<&String> = nodes.keys().map(|(cluster, _)| cluster).collect();
        let many = clusters.len() > 1;
        let named = nodes.into_iter().map(|((cluster, node), scraped)| {
            let apart = many && !cluster.is_empty() && !node.is_empty();
            scraped.view(if apart { format!("{cluster}/{node}") } else { node })
        });
        View { nodes: named.collect() }
    }
}

impl Scraped {
    /// Of two that tell of a node the greater counts. What is stale has a last sample and nothing else, however new that is.
    fn rank(&self) -> (bool, Option<f64>) {
        (!self.devices.is_empty() || !self.sources.is_empty(), self.timestamp)
    }

    fn device_info(&mut self, series: &Series) {
        let (Some(gpu), Some(uuid)) = (series.text("gpu"), series.text("uuid")) else { return };
        self.driver_version = series.text("driver_version");
        self.targets.insert(series.target());
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

    fn session(&self, series: &Series) -> Option<Session> {
        let gpu = series.text("gpu")?;
        let [namespace, pod, container] = series.pod(&self.targets);
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
        let [Some(namespace), Some(pod), Some(container)] = series.pod(&BTreeSet::new()) else { return };
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
        devices.sort_by_cached_key(|device| label_order(&device.gpu));
        // One whose begin is not told came between two answers, and is whole the next time.
        let mut sessions: Vec<Session> =
            self.sessions.into_values().filter(|found| found.begun).map(|found| found.session).collect();
        sessions.sort_by(|a, b| {
            let by_place = label_order(&a.gpu).cmp(&label_order(&b.gpu)).then(a.pid.cmp(&b.pid));
            by_place.then(a.start_time.total_cmp(&b.start_time)).then_with(|| a.session.cmp(&b.session))
        });
        let mut allocations: Vec<Allocation> = self.allocations.into_values().collect();
        // Stable: by namespace, pod and container they are in order.
        allocations.sort_by_cached_key(|held| label_order(&held.gpu));
        NodeView {
            node: Some(node).filter(|node| !node.is_empty()),
            timestamp: self.timestamp,
            driver_version: self.driver_version,
            sources: self.sources.into_iter().map(|(name, health)| health.source(name)).collect(),
            devices,
            sessions,
            allocations,
        }
    }
}

impl Health {
    fn source(self, source: String) -> Source {
        let Self { up, duration_seconds } = self;
        Source { source, up: up == Some(true), duration_seconds, errors: Vec::new() }
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

/// While the exporter's pod is replaced, figures come twice: the larger counts, as of replicas.
fn device_figure(device: &mut Device, series: &Series) {
    let value = series.value;
    match series.name() {
        "gpu_device_compute_fraction" => larger(&mut device.compute_fraction, value),
        "gpu_device_memory_total_bytes" => larger(&mut device.memory_total_bytes, count(value)),
        "gpu_device_memory_used_bytes" => larger(&mut device.memory_used_bytes, count(value)),
        "gpu_device_utilization_ratio" => larger(&mut device.utilization_ratio, value),
        "gpu_device_energy_joules_total" => larger(&mut device.energy_joules, value),
        "gpu_device_allocations" => larger(&mut device.allocations, count(value)),
        "gpu_session_count" => larger(&mut device.sessions, count(value)),
        "gpu_session_users" => drop(device.users.get_or_insert_default()),
        "gpu_user_sessions" => {
            if let (Some(user), Some(sessions)) = (series.text("user"), count(value)) {
                let users = device.users.get_or_insert_default();
                match users.iter_mut().find(|known| known.user == user) {
                    Some(known) => known.sessions = known.sessions.max(sessions),
                    None => users.push(UserSessions { user, sessions }),
                }
            }
        }
        "gpu_sessions_unattributed" => {
            if let (Some(reason), Some(sessions)) = (series.text("reason"), count(value)) {
                let reasons = device.unattributed.get_or_insert_default();
                match reasons.iter_mut().find(|known| known.reason == reason) {
                    Some(known) => known.sessions = known.sessions.max(sessions),
                    None => reasons.push(ReasonSessions { reason, sessions }),
                }
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

fn larger<T: PartialOrd>(slot: &mut Option<T>, value: Option<T>) {
    if value > *slot {
        *slot = value;
    }
}

/// Whole numbers above this are not all told apart, 2^53; what is larger counts nothing.
const MOST: f64 = 9_007_199_254_740_992.0;

fn count(value: Option<f64>) -> Option<u64> {
    value.filter(|value| *value <= MOST).map(|value| value.round() as u64)
}
