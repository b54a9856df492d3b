//! Sessions of one device: who came, who left, what each used since the last sample.

use crate::accounting::{Counter, Used};
use crate::attribution::{Attribution, Attributor, Holder, Known};
use crate::cgroup::{Kind, Place};
use crate::ids::{self, ProcessKey};
use crate::sample::{AccountingRecord, Activity, ContainerDevices, Device, DeviceProcess, Process, Sample};
use crate::state::{DeviceState, Session};
use crate::utilization::{self, Integrated, MAX_GAP_US, Slice};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a session used in this step, and whose it is.
pub type Charge = (Attribution, Used);

/// One reading of a device whose sessions can be told.
pub struct Observation<'a> {
    /// The sample it is part of.
    pub sample: &'a Sample,
    /// The device.
    pub device: &'a Device,
    /// Its process lists, merged.
    pub listed: &'a [DeviceProcess],
    /// What /proc said of them.
    pub processes: &'a BTreeMap<u32, Process>,
    /// The other devices, for what is already known of a process that comes here from there.
    pub others: &'a BTreeMap<Arc<str>, DeviceState>,
    /// Says whose a process is.
    pub who: Attributor<'a>,
    /// Containers that the kubelet lists for the device, those of pods that may be over too.
    pub holders: Vec<&'a ContainerDevices>,
    /// Some other container may hold it.
    pub unsure: bool,
}

impl Observation<'_> {
    /// Brings the device's sessions up to this sample and returns what is to be charged.
    pub fn apply(&self, state: &mut DeviceState) -> Vec<Charge> {
        let now = self.sample.time_us;
        let elapsed_us = state.listed_us.map(|then| (self.sample.monotonic_us - then).max(0));
        let integrated = match &self.device.activity {
            Activity::Entries { entries, .. } => Some(utilization::integrate(state.cursor, entries, now)),
            Activity::Unsupported | Activity::Failed => None,
        };
        self.list(state, elapsed_us);
        let ended = self.end_missing(state);
        self.attribute(state);
        match &integrated {
            Some(done) => {
                self.credit(state, done);
                Counter::add(&mut state.unobserved, done.unobserved_us as f64 / 1e6, now);
                state.cursor = Some(done.next);
            }
            None => self.credit_device_figure(state, ended, elapsed_us),
        }
        self.account_unseen(state);
        state.label = self.device.facts.label;
        state.listed_us = Some(self.sample.monotonic_us);
        state.present_us = now;
        let servers = || state.sessions.values().filter(|session| session.is_live() && session.is_mps());
        // One that is someone's own hides nobody: a name that a process gives itself says nothing of others.
        let hidden = !self.device.mps && servers().any(|server| server.attribution.user.is_none());
        state.mps = self.device.mps || servers().next().is_some();
        state.hidden_clients = hidden;
        self.charges(state)
    }

    /// Adds each session's use to its counters.
    fn charges(&self, state: &mut DeviceState) -> Vec<Charge> {
        let now = self.sample.time_us;
        let charge = |session: &mut Session| {
            let used = std::mem::take(&mut session.used);
            session.busy_us = [0.0; 4];
            if let Some(seconds) = used.sm_seconds {
                Counter::add(&mut session.sm_seconds, seconds, now);
            }
            if let Some(byte_seconds) = used.memory_byte_seconds {
                Counter::add(&mut session.memory_byte_seconds, byte_seconds, now);
            }
            (session.attribution.clone(), used)
        };
        let spent = state.sessions.values_mut().filter(|session| session.used != Used::default());
        spent.map(charge).collect()
    }

    fn key(&self, pid: u32, process: &Process) -> ProcessKey {
        let boot = ids::boot(self.sample.boot_id.as_deref().unwrap_or(""));
        ProcessKey { pid, start_ticks: process.start_ticks, boot }
    }

    /// Updates the sessions in the lists and begins new ones. A process that /proc no longer has is none.
    fn list(&self, state: &mut DeviceState, elapsed_us: Option<i64>) {
        let now = self.sample.time_us;
        for listed in self.listed {
            let Some(process) = self.processes.get(&listed.pid) else {
                continue;
            };
            let key = self.key(listed.pid, process);
            let session = state
                .sessions
                .entry(key)
                .and_modify(|session| resume(session, process))
                .or_insert_with(|| self.begin(&key, process));
            let byte_seconds = match (session.memory_bytes, listed.memory_bytes, elapsed_us) {
                // The mean of both ends, for the time between two readings of the lists.
                (Some(before), Some(after), Some(elapsed)) if session.first_seen_us < now => {
                    let bridged = elapsed.min(MAX_GAP_US) as f64 / 1e6;
                    Some(f64::midpoint(before as f64, after as f64) * bridged)
                }
                (_, Some(_), _) => Some(0.0),
                _ => None,
            };
            session.memory_bytes = listed.memory_bytes;
            session.last_seen_us = now;
            session.shares = None;
            session.device_share = None;
            session.busy_us = [0.0; 4];
            session.used = Used { sm_seconds: None, memory_byte_seconds: byte_seconds };
        }
    }

    fn begin(&self, key: &ProcessKey, process: &Process) -> Session {
        let start = self.sample.boot_us.zip(key.start_ticks).map(|(boot, ticks)| {
            let hz = u128::from(self.sample.ticks_per_second.max(1));
            boot.saturating_add((u128::from(ticks) * 1_000_000 / hz) as i64)
        });
        let new = Session::new(Attribution::open(), start, self.sample.time_us);
        // What is known of a process is the same on every device.
        if process.cgroup.is_none()
            && let Some(known) = self.others.values().find_map(|device| device.sessions.get(key))
        {
            let (command, place, attribution) =
                (known.command.clone(), known.place.clone(), known.attribution.clone());
            return Session { command, uid: known.uid, place, attribution, ..new };
        }
        let place = process.cgroup.as_deref().map(Place::of);
        Session { command: process.command.clone(), uid: process.uid, place, ..new }
    }

    /// Finds out whose the sessions are that may be known better by now.
    fn attribute(&self, state: &mut DeviceState) {
        if !state.sessions.values().any(|session| session.is_live() && session.attribution.open) {
            return;
        }
        let holder = self.holder(state);
        for session in state.sessions.values_mut().filter(|s| s.is_live() && s.attribution.open) {
            let known = Known {
                place: session.place.as_ref(),
                uid: session.uid,
                mps: session.is_mps(),
                so_far: &session.attribution,
            };
            session.attribution = self.who.attribute(known, holder);
        }
    }

    /// The container that a pod's process on the device must be of: the kubelet gave the device to no other, and
    /// the processes of one container only are on it.
    fn holder(&self, state: &DeviceState) -> Holder<'_> {
        let live = state.sessions.values().filter(|session| session.is_live() && !session.is_mps());
        let places =
            live.filter_map(|session| session.place.as_ref()).filter(|place| place.kind == Kind::Pod);
        let places: Vec<_> = places.map(|place| (&place.pod_uid, &place.container_id)).collect();
        // Two of which only the kind is known need not be of one container.
        let nameless = places.len() > 1 && places.contains(&(&None, &None));
        let containers: BTreeSet<_> = places.into_iter().collect();
        match (self.holders.as_slice(), containers.len()) {
            _ if self.unsure => Holder::Ambiguous,
            ([], _) => Holder::None,
            ([holder], 1) if !nameless => Holder::One(holder),
            ([_], 2..) => Holder::Contested,
            _ => Holder::Ambiguous,
        }
    }

    /// Sessions that came and went between two readings of the lists: accounting mode has them.
    ///
    /// What began before the last reading was listed there; at a first reading the past is nobody's.
    fn account_unseen(&self, state: &mut DeviceState) {
        let Some(accounting) = &self.device.accounting else { return };
        let (now, told) = (self.sample.time_us, std::mem::take(&mut state.accounted));
        state.accounted = told.into_iter().filter(|pid| accounting.pids.contains(pid)).collect();
        state.accounted.extend(accounting.ended.iter().map(|record| record.pid));
        let Some(listed) = state.listed_us else { return };
        let since = now - (self.sample.monotonic_us - listed);
        let listed_now = |pid: u32| self.listed.iter().any(|process| process.pid == pid);
        for record in accounting.ended.iter().filter(|record| record.start_us > since) {
            // One that ended while the driver was read is in the lists still.
            if listed_now(record.pid) {
                continue;
            }
            let end = record.start_us.saturating_add(record.duration_us).min(now);
            let key = self.key_of_record(record);
            let seconds =
                record.sm.map(|sm| f64::from(sm) / 100.0 * (end - record.start_us).max(0) as f64 / 1e6);
            let mut session =
                Session::new(Attribution::unknown("ended_unseen"), Some(record.start_us), record.start_us);
            session.last_seen_us = end;
            session.ended_us = Some(now);
            session.used.sm_seconds = seconds;
            state.stray_us = Some(now);
            state.sessions.insert(key, session);
        }
    }

    /// The driver names no start in ticks; its own start tells records of one pid apart.
    fn key_of_record(&self, record: &AccountingRecord) -> ProcessKey {
        let hz = i128::from(self.sample.ticks_per_second);
        let since_boot = self.sample.boot_us.map(|boot| i128::from(record.start_us - boot));
        let start_ticks = since_boot.and_then(|us| u64::try_from(us * hz / 1_000_000).ok());
        self.key(record.pid, &Process { start_ticks, ..Process::default() })
    }

    /// Ends what is no longer listed; says whether anything ended.
    fn end_missing(&self, state: &mut DeviceState) -> bool {
        let now = self.sample.time_us;
        let mut any = false;
        for session in state.sessions.values_mut().filter(|s| s.is_live() && s.last_seen_us != now) {
            session.ended_us = Some(now);
            session.shares = None;
            session.device_share = None;
            session.busy_us = [0.0; 4];
            session.used = Used::default();
            any = true;
        }
        any
    }

    /// Gives each slice to its session and works out the shares over the window.
    fn credit(&self, state: &mut DeviceState, done: &Integrated) {
        // The answer can reach back over readings that failed, to sessions that were found to be over then.
        let since = done.window.map_or(self.sample.time_us, |(from, _)| from);
        for process in done.processes() {
            let mut known = candidates(state, process.pid, since);
            if known.is_empty() && process.slices().any(|slice| slice.is_busy()) {
                state.stray_us = Some(self.sample.time_us);
                continue;
            }
            spend(&mut known, process.slices());
        }
        for session in state.sessions.values_mut().filter(|session| was_there(session, since)) {
            session.used.sm_seconds = Some(session.busy_us[0] / 1e6);
            if let (Some((from, to)), true) = (done.window, session.is_live()) {
                let existed_us = to - from.max(session.process_start_us.unwrap_or(from));
                session.shares =
                    (existed_us > 0).then(|| session.busy_us.map(|busy| (busy / existed_us as f64).min(1.0)));
            }
        }
    }

    /// Where the driver does not say who used the device: its own figure is that of its only process.
    fn credit_device_figure(&self, state: &mut DeviceState, ended: bool, elapsed_us: Option<i64>) {
        if self.device.activity == Activity::Failed {
            // The next good answer covers this time.
            return;
        }
        let now = self.sample.time_us;
        let figure = self.device.utilization.filter(|u| u.attributable && self.listed.len() <= 1 && !ended);
        let measured_us = figure.and_then(|u| u.measured_us).unwrap_or(0);
        if let (Some(elapsed), true) = (elapsed_us, measured_us < elapsed_us.unwrap_or(0)) {
            Counter::add(&mut state.unobserved, (elapsed - measured_us) as f64 / 1e6, now);
        }
        let alone = state.sessions.values_mut().find(|session| session.is_live());
        if let (Some(figure), Some(session)) = (figure, alone) {
            session.device_share = Some(figure.ratio);
            if figure.ratio > 0.0 {
                session.last_active_us = Some(now);
            }
            // A figure over a time that nobody states adds no seconds: that is not 0 seconds.
            session.used.sm_seconds = figure.measured_us.map(|us| figure.ratio * us as f64 / 1e6);
        }
    }
}

/// It is on the device (still, or again); what could not be read of it before may be known now.
fn resume(session: &mut Session, process: &Process) {
    session.ended_us = None;
    if session.place.is_none()
        && let Some(cgroup) = &process.cgroup
    {
        session.place = Some(Place::of(cgroup));
        session.uid = session.uid.or(process.uid);
        session.command = session.command.take().or_else(|| process.command.clone());
        session.attribution = Attribution::open();
    }
}

/// Whether the session may have been on the device at some time since then.
fn was_there(session: &Session, since_us: i64) -> bool {
    session.ended_us.is_none_or(|ended| ended >= since_us)
}

/// The sessions of a pid that the time since then can belong to, the youngest process last.
fn candidates(state: &mut DeviceState, pid: u32, since_us: i64) -> Vec<&mut Session> {
    let first = ProcessKey { pid, start_ticks: None, boot: 0 };
    let last = ProcessKey { pid, start_ticks: Some(u64::MAX), boot: u64::MAX };
    let mut found: Vec<&mut Session> = state
        .sessions
        .range_mut(first..=last)
        .map(|(_, session)| session)
        .filter(|session| was_there(session, since_us))
        .collect();
    found.sort_by_key(|session| session.process_start_us);
    found
}

/// Gives each slice to the youngest session that was there in its middle, and not known to be over by then.
///
/// Of a pid that was used again by a process that nobody listed, between the last look at a session and the look
/// that found it over, the driver's entries cannot be told apart: they go to that session.
fn spend(candidates: &mut [&mut Session], slices: impl Iterator<Item = Slice>) {
    for slice in slices {
        // A single value speaks of the process that is there now.
        let at = if slice.exact { i64::midpoint(slice.from_us, slice.to_us) } else { slice.to_us };
        let there = |session: &&mut Session| {
            session.process_start_us.is_none_or(|start| start <= at) && was_there(session, at)
        };
        if let Some(youngest) = candidates.iter().rposition(there) {
            spend_one(candidates[youngest], &slice);
        }
    }
}

fn spend_one(session: &mut Session, slice: &Slice) {
    let from_us = match session.process_start_us {
        Some(start) if !slice.exact => slice.from_us.max(start),
        _ => slice.from_us,
    };
    let length = (slice.to_us - from_us) as f64;
    for (busy, share) in session.busy_us.iter_mut().zip(slice.shares) {
        *busy += share * length;
    }
    if slice.is_busy() {
        session.last_active_us = session.last_active_us.max(Some(slice.to_us));
    }
}
