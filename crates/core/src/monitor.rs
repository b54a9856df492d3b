//! The one pipeline: sample -> sessions -> accounting -> snapshot.

use crate::accounting::{self, Counter};
use crate::allocation::{self, Held};
use crate::attribution::Attributor;
use crate::ids::GpuLabel;
use crate::rules::Rules;
use crate::sample::{Device, Driver, Request, Sample};
use crate::select::Selection;
use crate::state::{DeviceState, Session, State};
use crate::tracker::Observation;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Series of sessions and devices that ended stay this long, so that a scrape sees their last value.
pub const RETAIN_US: i64 = 10 * 60 * 1_000_000;

/// How to measure.
#[derive(Clone, Debug)]
pub struct Monitor {
    /// Which devices.
    pub selection: Selection,
    /// Sessions with series of their own; further ones are counted only.
    pub session_limit: usize,
    /// Sums by device and user, by device and namespace, and by device and pod; further ones share one account.
    pub user_limit: usize,
    /// Whose a session is.
    pub rules: Rules,
}

impl Monitor {
    /// What to ask the sources for.
    pub fn request(state: &State) -> Request {
        let since_us = state
            .devices
            .iter()
            .filter_map(|(uuid, device)| Some((Arc::clone(uuid), device.cursor?.stamp_us)))
            .collect();
        let live = |device: &DeviceState| {
            let sessions = device.sessions.iter().filter(|(_, session)| session.is_live());
            // What could not be read is read again.
            let placed = sessions.filter(|(_, session)| session.place.is_some());
            placed.filter_map(|(key, _)| Some((key.pid, key.start_ticks?))).collect::<Vec<_>>()
        };
        let open = || {
            let sessions = state.devices.values().flat_map(|device| device.sessions.values());
            sessions.filter(|session| session.is_live() && session.attribution.open)
        };
        let accounted = state.devices.iter().filter(|(_, device)| !device.accounted.is_empty());
        let mps = state.devices.iter().filter(|(_, device)| device.mps);
        let listed = state.devices.iter().filter(|(_, device)| device.listed_us.is_some());
        Request {
            since_us,
            seen: listed.map(|(uuid, _)| Arc::clone(uuid)).collect(),
            known: state.devices.values().flat_map(live).collect(),
            accounted: accounted.map(|(uuid, device)| (Arc::clone(uuid), device.accounted.clone())).collect(),
            mps: mps.map(|(uuid, _)| Arc::clone(uuid)).collect(),
            unplaced: open().filter_map(|s| s.place.as_ref()?.pod_uid.clone()).collect(),
            uids: open().filter_map(host_uid).collect(),
            boot_id: Arc::clone(&state.boot_id),
        }
    }

    /// Whether the state can tell what was used since the last sample.
    pub fn has_baseline(state: &State) -> bool {
        state.devices.values().any(|device| device.listed_us.is_some())
    }

    /// Brings the state up to the sample.
    pub fn step(&self, state: &mut State, sample: &Sample) {
        if sample.time_us < state.time_us {
            state.clock_set_back(sample.time_us);
        }
        begin_boot(state, sample);
        let held = allocation::held(sample);
        if let Some(driver) = &sample.driver {
            for device in driver.devices.iter().filter(|d| self.selection.takes(&d.facts)) {
                self.observe(state, sample, device, &held);
            }
            end_on_gone_devices(state, sample, driver);
        }
        allocation::step(state, sample, &held, state.time_us);
        count_errors(state, sample);
        forget(state, sample);
        self.limit_sessions(state, sample.time_us);
        state.time_us = sample.time_us;
        state.monotonic_us = sample.monotonic_us;
    }

    fn observe(&self, state: &mut State, sample: &Sample, device: &Device, held: &[Held<'_>]) {
        let facts = &device.facts;
        let mut known = state.devices.remove(&facts.uuid).unwrap_or_else(|| DeviceState::new(facts.label));
        known.present_us = sample.time_us;
        let mut charges = Vec::new();
        if let Some((listed, processes)) = readable(sample, device) {
            let (others, who) = (&state.devices, Attributor::new(&self.rules, sample));
            let own = held.iter().filter(|held| held.device.uuid == facts.uuid);
            let holders = own.map(|held| held.container).collect();
            let unsure = allocation::is_unsure(sample, facts);
            let observation = Observation { sample, device, listed, processes, others, who, holders, unsure };
            charges = observation.apply(&mut known);
        }
        state.devices.insert(Arc::clone(&facts.uuid), known);
        for (whose, used) in charges {
            let device = (facts.label, facts.compute_fraction);
            accounting::charge(state, device, &whose, used, self.user_limit, sample.time_us);
        }
    }

    /// Marks the sessions beyond the limit: those that have series keep them, then the oldest come first.
    fn limit_sessions(&self, state: &mut State, now_us: i64) {
        let sessions = || state.devices.values().flat_map(|d| d.sessions.values());
        if sessions().count() <= self.session_limit && !sessions().any(|s| s.dropped) {
            return;
        }
        let mut all: Vec<_> = state
            .devices
            .iter_mut()
            .flat_map(|(uuid, device)| {
                device.sessions.iter_mut().map(move |(key, session)| (uuid, key, session))
            })
            .collect();
        all.sort_by_key(|(uuid, key, session)| (session.dropped, session.first_seen_us, *uuid, *key));
        let mut newly = 0_u32;
        for (rank, (_, _, session)) in all.into_iter().enumerate() {
            let dropped = rank >= self.session_limit;
            newly += u32::from(dropped && !session.dropped);
            session.dropped = dropped;
        }
        Counter::add(&mut state.dropped, f64::from(newly), now_us);
    }
}

/// The user of the host that the session may be of.
fn host_uid(session: &Session) -> Option<u32> {
    let place = session.place.as_ref()?;
    place.uid.or(session.uid.filter(|_| !place.is_containerised()))
}

/// The lists and /proc's answers, where both are there: else the device's sessions are not known.
pub(crate) fn readable<'a>(
    sample: &'a Sample,
    device: &'a Device,
) -> Option<(&'a [crate::sample::DeviceProcess], &'a BTreeMap<u32, crate::sample::Process>)> {
    static NOBODY: BTreeMap<u32, crate::sample::Process> = BTreeMap::new();
    let listed = device.processes.as_deref()?;
    match &sample.processes {
        Some(processes) => Some((listed, processes)),
        // With nobody on the device there is nothing to ask /proc.
        None => listed.is_empty().then_some((listed, &NOBODY)),
    }
}

/// After a boot every session of before is over.
fn begin_boot(state: &mut State, sample: &Sample) {
    let Some(boot_id) = &sample.boot_id else { return };
    if state.boot_id == *boot_id {
        return;
    }
    for device in state.devices.values_mut() {
        device.listed_us = None;
        device.accounted.clear();
        for session in device.sessions.values_mut().filter(|s| s.is_live()) {
            session.ended_us = Some(session.last_seen_us);
        }
    }
    state.boot_id = Arc::clone(boot_id);
}

/// A device that is gone (not one that cannot be read) takes its sessions with it.
fn end_on_gone_devices(state: &mut State, sample: &Sample, driver: &Driver) {
    let lost = |uuid: &Arc<str>, label: GpuLabel| {
        driver.lost.iter().any(|gpu| gpu.index == label.gpu || gpu.uuid.as_ref() == Some(uuid))
    };
    for (uuid, device) in &mut state.devices {
        if device.present_us == sample.time_us || lost(uuid, device.label) {
            continue;
        }
        device.listed_us = None;
        for session in device.sessions.values_mut().filter(|s| s.is_live()) {
            session.ended_us = Some(sample.time_us);
        }
    }
}

fn count_errors(state: &mut State, sample: &Sample) {
    for health in &sample.health {
        for error in &health.errors {
            let mut slot = state.source_errors.remove(&(health.source.clone(), error.kind.clone()));
            Counter::add(&mut slot, 1.0, sample.time_us);
            if let Some(counter) = slot {
                state.source_errors.insert((health.source.clone(), error.kind.clone()), counter);
            }
        }
    }
}

fn forget(state: &mut State, sample: &Sample) {
    let recent = |at: i64| sample.time_us - at < RETAIN_US;
    for device in state.devices.values_mut() {
        device.sessions.retain(|_, session| session.ended_us.is_none_or(recent));
    }
    let sessions =
        state.devices.values().flat_map(|d| d.sessions.values().map(move |session| (d.label, session)));
    let live = sessions.filter(|(_, session)| session.is_live()).filter_map(|(label, session)| {
        let whose = &session.attribution;
        Some((label, Arc::clone(whose.namespace.as_ref()?), Arc::clone(whose.pod.as_ref()?)))
    });
    let live: BTreeSet<_> = live.collect();
    // While a device cannot be read its pods use nothing, and are there all the same.
    state.pods.retain(|key, usage| recent(usage.last_us) || live.contains(key));
    // While the driver is down nobody knows which devices are gone.
    if sample.driver.is_some() {
        state.devices.retain(|_, device| recent(device.present_us) || !device.sessions.is_empty());
    }
}
