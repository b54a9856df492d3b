//! The one pipeline: sample -> sessions -> accounting -> snapshot.

use crate::accounting::{self, Counter};
use crate::allocation::{self, Held};
use crate::attribution::Attributor;
use crate::ids::GpuLabel;
use crate::rules::Rules;
use crate::sample::{Device, Driver, Request, Sample};
use crate::select::Selection;
use crate::state::{DeviceState, End, Session, State};
use crate::tracker::{Observation, Outcome};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Series of sessions and devices that ended stay this long, so that a scrape sees their last value.
pub const RETAIN_US: i64 = 10 * 60 * 1_000_000;

/// What ended and cannot be written to the ledger is kept up to this number, of sessions and of allocations.
const MAX_UNWRITTEN: usize = 5_000;

/// A wall clock that moved by more than this between two samples, beyond the time that passed, was set.
const CLOCK_SET_US: i64 = 1_000_000;

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
    /// What has no known user yet is not counted before this time has passed since it was first seen, microseconds.
    pub hold_us: i64,
    /// What ended is kept until the ledger has it.
    pub ledger: bool,
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

    /// Brings the state up to the sample; returns whether a session or an allocation ended. What was used waits for
    /// [`Self::settle`]: until then no counter of a user, namespace, pod or session moves.
    pub fn step(&self, state: &mut State, sample: &Sample) -> bool {
        follow_clock(state, sample);
        let mut ended = begin_boot(state, sample);
        let held = allocation::held(sample);
        if let Some(driver) = &sample.driver {
            for device in driver.devices.iter().filter(|d| self.selection.takes(&d.facts)) {
                ended |= self.observe(state, sample, device, &held);
            }
            ended |= end_on_gone_devices(state, sample, driver);
        }
        let who = Attributor::new(&self.rules, sample);
        ended |= allocation::step(state, sample, &held, who, state.time_us);
        count_errors(state, sample);
        self.forget(state, sample);
        self.limit_sessions(state, sample.time_us);
        state.time_us = sample.time_us;
        state.monotonic_us = sample.monotonic_us;
        ended
    }

    /// Moves what was used, and what ended, into the counters.
    pub fn settle(&self, state: &mut State) {
        accounting::settle(state, self.hold_us, self.user_limit);
    }

    fn observe(&self, state: &mut State, sample: &Sample, device: &Device, held: &[Held<'_>]) -> bool {
        let facts = &device.facts;
        let mut known = state.devices.remove(&facts.uuid).unwrap_or_else(|| DeviceState::new(facts.label));
        known.present_us = sample.time_us;
        let mut outcome = Outcome::default();
        if let Some((listed, processes)) = readable(sample, device) {
            let (others, who) = (&state.devices, Attributor::new(&self.rules, sample));
            let own = held.iter().filter(|held| held.device.uuid == facts.uuid);
            let holders = own.map(|held| held.container).collect();
            let unsure = allocation::is_unsure(sample, facts);
            let observation = Observation { sample, device, listed, processes, others, who, holders, unsure };
            outcome = observation.apply(&mut known);
        }
        state.devices.insert(Arc::clone(&facts.uuid), known);
        let totals = state.gpus.entry(facts.label).or_default();
        Counter::add(&mut totals.unobserved, outcome.unobserved_seconds, sample.time_us);
        Counter::add(&mut totals.started, f64::from(outcome.started), sample.time_us);
        Counter::add(&mut totals.ended, 0.0, sample.time_us);
        outcome.ended
    }

    fn forget(&self, state: &mut State, sample: &Sample) {
        let recent = |at: i64| sample.time_us - at < RETAIN_US;
        let mut unwritten = 0;
        for device in state.devices.values_mut() {
            device.sessions.retain(|_, session| {
                let told = session.settled && (!self.ledger || session.ledgered);
                unwritten += usize::from(session.ended_us.is_some() && !told);
                session.ended_us.is_none_or(recent) || (!told && unwritten <= MAX_UNWRITTEN)
            });
        }
        let past = &mut state.past_allocations;
        past.retain(|(_, held)| self.ledger || held.pending != (0.0, 0.0));
        past.drain(..past.len().saturating_sub(MAX_UNWRITTEN));
        let sessions =
            state.devices.values().flat_map(|d| d.sessions.values().map(move |session| (d.label, session)));
        let live = sessions.filter(|(_, session)| session.is_live()).filter_map(|(label, session)| {
            let whose = &session.attribution;
            Some((label, Arc::clone(whose.namespace.as_ref()?), Arc::clone(whose.pod.as_ref()?)))
        });
        let held = state.allocations.iter();
        let held = held.map(|((_, ns, pod, _), known)| (known.gpu, Arc::clone(ns), Arc::clone(pod)));
        let live: BTreeSet<_> = live.chain(held).collect();
        // While a device cannot be read its pods use nothing, and are there all the same.
        state.pods.retain(|key, usage| recent(usage.last_us) || live.contains(key));
        // While the driver is down nobody knows which devices are gone.
        if sample.driver.is_some() {
            state.devices.retain(|_, device| recent(device.present_us) || !device.sessions.is_empty());
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

/// Notices that the wall clock was set: by more than it is ever slewed between two samples.
fn follow_clock(state: &mut State, sample: &Sample) {
    let same_boot = sample.boot_id.as_ref().is_none_or(|boot_id| *boot_id == state.boot_id);
    let passed_us = sample.monotonic_us - state.monotonic_us;
    let set_us = sample.time_us - state.time_us - passed_us;
    if state.time_us > 0 && same_boot && passed_us >= 0 {
        if set_us.abs() > CLOCK_SET_US {
            state.shift_clock(set_us);
            state.time_us += set_us;
        }
    } else if sample.time_us < state.time_us {
        state.clock_set_back(sample.time_us);
    }
}

/// After a boot every session of before is over; says whether there was one.
fn begin_boot(state: &mut State, sample: &Sample) -> bool {
    let Some(boot_id) = &sample.boot_id else { return false };
    if state.boot_id == *boot_id {
        return false;
    }
    let mut any = false;
    for device in state.devices.values_mut() {
        device.listed_us = None;
        device.energy = None;
        device.accounted.clear();
        for session in device.sessions.values_mut().filter(|s| s.is_live()) {
            session.ended_us = Some(session.last_seen_us);
            session.end = Some(End::Reboot);
            any = true;
        }
    }
    state.boot_id = Arc::clone(boot_id);
    any
}

/// A device that is gone (not one that cannot be read) takes its sessions with it; says whether there was one.
fn end_on_gone_devices(state: &mut State, sample: &Sample, driver: &Driver) -> bool {
    let mut any = false;
    let lost = |uuid: &Arc<str>, label: GpuLabel| {
        driver.lost.iter().any(|gpu| gpu.index == label.gpu || gpu.uuid.as_ref() == Some(uuid))
    };
    for (uuid, device) in &mut state.devices {
        if device.present_us == sample.time_us || lost(uuid, device.label) {
            continue;
        }
        device.listed_us = None;
        // One that is only not measured any more is there all the same.
        let gone = !driver.devices.iter().any(|device| device.facts.uuid == *uuid);
        for session in device.sessions.values_mut().filter(|s| s.is_live()) {
            session.ended_us = Some(sample.time_us);
            session.end = gone.then_some(End::DeviceGone);
            any = true;
        }
    }
    any
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
