//! The immutable result of a sample that every output reads.

use crate::accounting::{GpuTotals, Usage};
use crate::allocation::{self, Held};
use crate::attribution::Attributor;
use crate::cgroup::Kind;
use crate::ids::{GpuLabel, SessionId, session_id};
use crate::monitor::{Monitor, readable};
use crate::sample::{Device, DeviceFacts, Driver, PodList, Sample, SourceHealth};
use crate::state::{Session, State};
use std::collections::BTreeMap;
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
    /// Devices that containers hold, by device, namespace, pod and container.
    pub allocations: Vec<AllocationView>,
    /// Sums and other counters, as they were saved.
    pub counters: Arc<CounterView>,
    /// How old the pods are that each source of pods knows, microseconds: 0 while it answers.
    pub pods_age_us: Vec<(Arc<str>, i64)>,
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
    /// Containers that hold it; `None` where the kubelet did not say, or cannot give the device to anyone.
    pub allocations: Option<u64>,
}

/// A device that a container holds, in a snapshot.
#[derive(Clone, Debug)]
pub struct AllocationView {
    /// Device label.
    pub gpu: GpuLabel,
    /// Device UUID.
    pub device_uuid: Arc<str>,
    /// Namespace of the pod.
    pub namespace: Arc<str>,
    /// Name of the pod.
    pub pod: Arc<str>,
    /// Name of the container.
    pub container: Arc<str>,
    /// Whose the pod is.
    pub user: Option<Arc<str>>,
    /// Sessions of the container on the device; `None` where that is not sure, and where there are none and nobody
    /// says whether the pod still runs.
    pub sessions: Option<u64>,
    /// For how long the device has not worked for the container, as far as that was watched, microseconds; `None`
    /// where it is not sure.
    pub idle_us: Option<i64>,
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
    /// Whether its container holds the device; `None` where its container is not known, or the kubelet did not say.
    pub allocated: Option<bool>,
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
    /// By device label and user.
    pub users: Vec<(GpuLabel, Arc<str>, Usage)>,
    /// By device label and namespace.
    pub namespaces: Vec<(GpuLabel, Arc<str>, Usage)>,
    /// By device label, namespace and pod.
    pub pods: Vec<(GpuLabel, Arc<str>, Arc<str>, Usage)>,
    /// Totals by device label.
    pub gpus: Vec<(GpuLabel, GpuTotals)>,
    /// Errors by source and kind.
    pub source_errors: Vec<(Arc<str>, Arc<str>, f64)>,
    /// Failures to write, by what could not be written.
    pub write_errors: Vec<(Arc<str>, f64)>,
    /// Sessions without series of their own.
    pub dropped: f64,
}

impl Monitor {
    /// Makes the snapshot of a sample that the state has been brought up to, with the counters of the state as it was
    /// last saved.
    ///
    /// Counters that came to be at or after `hold_since_us` are written as 0, see
    /// [`crate::accounting::Counter::exposed`].
    pub fn snapshot(
        &self,
        state: &State,
        sample: &Sample,
        hold_since_us: i64,
        counters: &Arc<CounterView>,
    ) -> Snapshot {
        let selected: Vec<&Device> = sample.driver.as_ref().map_or_else(Vec::new, |driver| {
            driver.devices.iter().filter(|d| self.selection.takes(&d.facts)).collect()
        });
        let held: Vec<Held<'_>> =
            allocation::held(sample).into_iter().filter(|held| held.counts(state)).collect();
        let mut devices: Vec<DeviceView> =
            selected.iter().map(|d| device_view(state, sample, d, &held)).collect();
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
            sessions: session_views(state, sample, &devices, &held),
            allocations: self.allocation_views(state, sample, &devices, &held),
            pods_age_us: sample.pods.iter().map(|list| age(list, sample.time_us)).collect(),
            total_sessions: total.filter(|_| whole),
            devices,
            counters: Arc::clone(counters),
            health: sample.health.clone(),
        }
    }

    fn allocation_views(
        &self,
        state: &State,
        sample: &Sample,
        devices: &[DeviceView],
        held: &[Held<'_>],
    ) -> Vec<AllocationView> {
        let who = Attributor::new(&self.rules, sample);
        let read = |uuid: &Arc<str>| devices.iter().any(|d| d.facts.uuid == *uuid && d.occupancy.is_some());
        let mut views: Vec<AllocationView> = held
            .iter()
            .filter(|held| self.selection.takes(held.device))
            .map(|held| {
                let known = state.devices.get(&held.device.uuid).filter(|_| read(&held.device.uuid));
                let occupied = known.map(|device| allocation::occupied(held, device));
                let runs = held.runs == Some(true);
                let sessions = occupied.and_then(|o| o.sessions).filter(|count| *count > 0 || runs);
                let watched = state.allocations.get(&allocation::key(held));
                let worked =
                    watched.map(|watched| watched.last_active_us.unwrap_or(i64::MIN).max(watched.since_us));
                let sure = runs && sessions.is_some() && occupied.is_some_and(|o| o.measured);
                AllocationView {
                    gpu: held.device.label,
                    device_uuid: Arc::clone(&held.device.uuid),
                    namespace: Arc::clone(&held.container.namespace),
                    pod: Arc::clone(&held.container.pod),
                    container: Arc::clone(&held.container.container),
                    user: who.user_of(held.container, held.pod),
                    sessions,
                    idle_us: worked.filter(|_| sure).map(|worked| (sample.time_us - worked).max(0)),
                }
            })
            .collect();
        views.sort_by(|a, b| {
            (a.gpu, &a.namespace, &a.pod, &a.container).cmp(&(b.gpu, &b.namespace, &b.pod, &b.container))
        });
        views
    }
}

/// Pods can have been read a moment after the driver, whose time is the sample's.
fn age(list: &PodList, now_us: i64) -> (Arc<str>, i64) {
    (Arc::clone(&list.source), (now_us - list.as_of_us).max(0))
}

fn device_view(state: &State, sample: &Sample, device: &Device, held: &[Held<'_>]) -> DeviceView {
    let holders = held.iter().filter(|held| held.device.uuid == device.facts.uuid).count() as u64;
    // A device that nobody can be given is not free, nor is one that someone may hold.
    let given = holders > 0
        || (allocation::is_allocatable(sample, &device.facts) != Some(false)
            && !allocation::is_unsure(sample, &device.facts));
    let known = state.devices.get(&device.facts.uuid);
    DeviceView {
        facts: Arc::clone(&device.facts),
        memory_used_bytes: device.memory_used_bytes,
        utilization_ratio: device.utilization.map(|u| u.ratio),
        energy_joules: device.energy_millijoules.map(|energy| energy as f64 / 1e3),
        occupancy: readable(sample, device).and(known).map(|known| occupancy(known.sessions.values())),
        allocations: sample.allocations.as_ref().filter(|_| given).map(|_| holders),
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

fn session_views(
    state: &State,
    sample: &Sample,
    devices: &[DeviceView],
    held: &[Held<'_>],
) -> Vec<SessionView> {
    let mut views = Vec::new();
    for (uuid, known) in &state.devices {
        let device = devices.iter().find(|device| device.facts.uuid == *uuid);
        let holders: Vec<_> = held.iter().filter(|held| held.device.uuid == *uuid).collect();
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
                allocated: allocated(session, sample, &holders),
                session: session.clone(),
            });
        }
    }
    views.sort_by_key(|view| (view.gpu, view.pid, view.session.first_seen_us, view.id));
    views
}

fn allocated(session: &Session, sample: &Sample, holders: &[&Held<'_>]) -> Option<bool> {
    sample.allocations.as_ref()?;
    // What runs outside pods is given nothing by the kubelet.
    if session.place.as_ref().is_some_and(|place| place.kind != Kind::Pod) {
        return Some(false);
    }
    let own = || holders.iter().filter(|held| !held.is_namesakes(session));
    if own().any(|held| session.attribution.is_in(held.container)) {
        return Some(true);
    }
    let may = own().any(|held| session.attribution.may_be_in(held.container));
    (session.place.is_some() && session.attribution.pod.is_some() && !may).then_some(false)
}

impl State {
    /// The counters as they are.
    pub fn counters(&self) -> CounterView {
        let by_name = |sums: &BTreeMap<(GpuLabel, Arc<str>), Usage>| {
            sums.iter().map(|((gpu, name), usage)| (*gpu, Arc::clone(name), *usage)).collect()
        };
        let pods = self.pods.iter();
        let errors = self.source_errors.iter();
        CounterView {
            users: by_name(&self.users),
            namespaces: by_name(&self.namespaces),
            pods: pods
                .map(|((gpu, ns, pod), usage)| (*gpu, Arc::clone(ns), Arc::clone(pod), *usage))
                .collect(),
            gpus: self.gpus.iter().map(|(gpu, totals)| (*gpu, totals.clone())).collect(),
            source_errors: errors.map(|((s, k), c)| (Arc::clone(s), Arc::clone(k), c.value)).collect(),
            write_errors: self.write_errors.iter().map(|(what, c)| (Arc::clone(what), c.value)).collect(),
            dropped: self.dropped.map_or(0.0, |counter| counter.value),
        }
    }
}
