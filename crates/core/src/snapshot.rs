//! The immutable result of a sample that every output reads.

use crate::ids::{GpuLabel, SessionId, session_id};
use crate::monitor::{Monitor, readable};
use crate::sample::{Device, DeviceFacts, Driver, Sample, SourceHealth};
use crate::state::{Session, State};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Who is where, and what was used, at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Wall clock of the sample, Unix microseconds.
    pub time_us: i64,
    /// Counters that came to be at or after this are written as 0.
    pub hold_since_us: i64,
    /// Version of the driver.
    pub driver_version: Option<Arc<str>>,
    /// Devices that are selected and were identified, by label.
    pub devices: Vec<DeviceView>,
    /// Sessions with series of their own, those that ended a short while ago too; by device, then pid.
    pub sessions: Vec<SessionView>,
    /// Sessions on all selected devices; `None` while one of them cannot be read.
    pub total_sessions: Option<u64>,
    /// Sums and other counters.
    pub state: CounterView,
    /// How the sources fared.
    pub health: Vec<SourceHealth>,
}

/// A device in a snapshot.
#[derive(Clone, Debug)]
pub struct DeviceView {
    /// What does not change.
    pub facts: Arc<DeviceFacts>,
    /// Bytes in use.
    pub memory_used_bytes: Option<u64>,
    /// Share of the time in which any kernel ran.
    pub utilization_ratio: Option<f64>,
    /// Joules since the driver was loaded.
    pub energy_joules: Option<f64>,
    /// Who is on it; `None` where that could not be read.
    pub occupancy: Option<Occupancy>,
}

/// Who is on a device now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Occupancy {
    /// Number of sessions.
    pub sessions: u64,
    /// Distinct users, with the number of sessions of each, by name.
    pub users: Vec<(Arc<str>, u64)>,
    /// Sessions without a user, by reason.
    pub unattributed: Vec<(Arc<str>, u64)>,
}

/// A session in a snapshot.
#[derive(Clone, Debug)]
pub struct SessionView {
    /// Its public name.
    pub id: SessionId,
    /// Device label.
    pub gpu: GpuLabel,
    /// Device UUID.
    pub device_uuid: Arc<str>,
    /// MIG profile of the device.
    pub mig_profile: Option<Arc<str>>,
    /// Bytes of memory of the device.
    pub device_memory_bytes: Option<u64>,
    /// Host pid.
    pub pid: u32,
    /// Whether it is on the device now, and the device could be read.
    pub live: bool,
    /// What is known of it.
    pub session: Session,
}

impl SessionView {
    /// Share of the device's memory that it holds, 0 to 1.
    pub fn memory_ratio(&self) -> Option<f64> {
        let total = self.device_memory_bytes.filter(|total| *total > 0)?;
        Some((self.session.memory_bytes? as f64 / total as f64).min(1.0))
    }
}

/// Counters in a snapshot.
#[derive(Clone, Debug, Default)]
pub struct CounterView {
    /// By device label and user: SM seconds and byte-seconds.
    pub users: Vec<(GpuLabel, Arc<str>, crate::accounting::Usage)>,
    /// Seconds by device label whose use could not be measured.
    pub unobserved: Vec<(GpuLabel, f64)>,
    /// Errors by source and kind.
    pub source_errors: Vec<(Arc<str>, Arc<str>, f64)>,
    /// Sessions without series of their own.
    pub dropped: f64,
}

impl Monitor {
    /// Makes the snapshot of a sample that the state has been brought up to.
    ///
    /// Counters that came to be at or after `hold_since_us` are written as 0, see
    /// [`crate::accounting::Counter::exposed`].
    pub fn snapshot(&self, state: &State, sample: &Sample, hold_since_us: i64) -> Snapshot {
        let selected: Vec<&Device> = sample.driver.as_ref().map_or_else(Vec::new, |driver| {
            driver.devices.iter().filter(|d| self.selection.takes(&d.facts)).collect()
        });
        let mut devices: Vec<DeviceView> = selected.iter().map(|d| device_view(state, sample, d)).collect();
        devices.sort_by_key(|device| device.facts.label);
        let all_there = |driver: &Driver| {
            !driver.lost.iter().any(|gpu| self.selection.takes_gpu(gpu))
                && self.selection.missing(driver).is_empty()
        };
        let whole = sample.driver.as_ref().is_some_and(all_there);
        let total = devices.iter().map(|d| d.occupancy.as_ref().map(|o| o.sessions)).sum::<Option<u64>>();
        Snapshot {
            time_us: sample.time_us,
            hold_since_us,
            driver_version: sample.driver.as_ref().and_then(|driver| driver.version.clone()),
            sessions: session_views(state, &devices),
            total_sessions: total.filter(|_| whole),
            devices,
            state: counter_view(state),
            health: sample.health.clone(),
        }
    }
}

fn device_view(state: &State, sample: &Sample, device: &Device) -> DeviceView {
    let known = state.devices.get(&device.facts.uuid);
    DeviceView {
        facts: Arc::clone(&device.facts),
        memory_used_bytes: device.memory_used_bytes,
        utilization_ratio: device.utilization.map(|u| u.ratio),
        energy_joules: device.energy_millijoules.map(|energy| energy as f64 / 1e3),
        occupancy: readable(sample, device).and(known).map(|known| occupancy(known.sessions.values())),
    }
}

fn occupancy<'a>(sessions: impl Iterator<Item = &'a Session>) -> Occupancy {
    let mut found = Occupancy::default();
    let count =
        |list: &mut Vec<(Arc<str>, u64)>, name: &Arc<str>| match list.iter_mut().find(|(n, _)| n == name) {
            Some((_, count)) => *count += 1,
            None => list.push((Arc::clone(name), 1)),
        };
    for session in sessions.filter(|session| session.is_live()) {
        found.sessions += 1;
        let attribution = &session.attribution;
        match (&attribution.user, &attribution.unattributed) {
            (Some(user), _) => count(&mut found.users, user),
            (None, Some(reason)) => count(&mut found.unattributed, reason),
            (None, None) => {}
        }
    }
    found.users.sort();
    found.unattributed.sort();
    found
}

fn session_views(state: &State, devices: &[DeviceView]) -> Vec<SessionView> {
    let mut views = Vec::new();
    for (uuid, known) in &state.devices {
        let device = devices.iter().find(|device| device.facts.uuid == *uuid);
        let read_now = device.is_some_and(|device| device.occupancy.is_some());
        for (key, session) in known.sessions.iter().filter(|(_, session)| !session.dropped) {
            views.push(SessionView {
                id: session_id(uuid, key),
                gpu: known.label,
                device_uuid: Arc::clone(uuid),
                mig_profile: device.and_then(|d| d.facts.mig_profile.clone()),
                device_memory_bytes: device.and_then(|d| d.facts.memory_total_bytes),
                pid: key.pid,
                live: session.is_live() && read_now,
                session: session.clone(),
            });
        }
    }
    views.sort_by_key(|view| (view.gpu, view.pid, view.session.first_seen_us, view.id));
    views
}

fn counter_view(state: &State) -> CounterView {
    // A MIG layout can give a label to a new instance while the old one's counter still lives.
    let mut seen = BTreeSet::new();
    let mut newest: Vec<_> = state.devices.values().collect();
    newest.sort_by_key(|device| std::cmp::Reverse(device.present_us));
    let mut unobserved: Vec<(GpuLabel, f64)> = newest
        .into_iter()
        .filter(|device| seen.insert(device.label))
        .filter_map(|device| Some((device.label, device.unobserved?.value)))
        .collect();
    unobserved.sort_by_key(|(label, _)| *label);
    let users = state.users.iter().map(|((gpu, user), usage)| (*gpu, Arc::clone(user), *usage)).collect();
    let errors = state.source_errors.iter();
    CounterView {
        users,
        unobserved,
        source_errors: errors.map(|((s, k), c)| (Arc::clone(s), Arc::clone(k), c.value)).collect(),
        dropped: state.dropped.map_or(0.0, |counter| counter.value),
    }
}
