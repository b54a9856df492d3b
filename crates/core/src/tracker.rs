//! Sessions of one device: who came, who left, what each used since the last sample.

mod energy;
mod unlisted;

use crate::accounting::Used;
use crate::attribution::{Attribution, Attributor, Holder, Known};
use crate::cgroup::{Kind, Place};
use crate::ids::{self, ProcessKey};
use crate::sample::{Activity, ContainerDevices, Device, DeviceProcess, Process, Sample};
use crate::state::{DeviceState, End, Session};
use crate::utilization::{self, Integrated, MAX_GAP_US, Slice};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How long before its start, as that is known, a process may be seen to work.
pub(crate) const START_SLACK_US: i64 = 1_500_000;

/// What one reading came to, beyond the sessions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// Seconds whose use could not be measured.
    pub unobserved_seconds: f64,
    /// Sessions that were not known before.
    pub started: u32,
    /// Whether a session ended.
    pub ended: bool,
}

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
    /// Brings the device's sessions up to this sample.
    pub fn apply(&self, state: &mut DeviceState) -> Outcome {
        let now = self.sample.time_us;
        let elapsed_us = state.listed_us.map(|then| (self.sample.monotonic_us - then).max(0));
        let known = state.sessions.len();
        let integrated = match &self.device.activity {
            Activity::Entries { entries, .. } => Some(utilization::integrate(state.cursor, entries, now)),
            Activity::Unsupported | Activity::Failed => None,
        };
        self.list(state, elapsed_us);
        let ended = self.end_missing(state);
        let unobserved_seconds = match &integrated {
            Some(done) => {
                self.credit(state, done, elapsed_us);
                state.cursor = Some(done.next);
                done.unobserved_us as f64 / 1e6
            }
            None => self.credit_device_figure(state, ended, elapsed_us),
        };
        self.measured(state, integrated.as_ref(), elapsed_us);
        self.account(state);
        energy::share(self.device, self.sample, state);
        self.attribute(state);
        if self.has_stray(state) {
            state.stray_us = Some(now);
        }
        let facts = &self.device.facts;
        state.label = facts.label;
        state.mig_profile.clone_from(&facts.mig_profile);
        state.compute_fraction = facts.compute_fraction;
        state.listed_us = Some(self.sample.monotonic_us);
        state.present_us = now;
        let servers = || state.sessions.values().filter(|session| session.is_live() && session.is_mps());
        // One that is someone's own hides nobody: a name that a process gives itself says nothing of others.
        let hidden = !self.device.mps && servers().any(|server| server.attribution.user.is_none());
        state.mps = self.device.mps || servers().next().is_some();
        state.hidden_clients = hidden;
        for session in state.sessions.values_mut() {
            session.busy_us = [0.0; 4];
            session.pending.add(&std::mem::take(&mut session.used));
        }
        let started = (state.sessions.len() - known) as u32;
        let ended = state.sessions.values().any(|session| session.ended_us == Some(now));
        Outcome { unobserved_seconds, started, ended }
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
            let elapsed = elapsed_us.unwrap_or(0);
            let bridged = elapsed.min(MAX_GAP_US) as f64 / 1e6;
            // One that left and comes back was elsewhere meanwhile.
            let stayed = session.last_seen_us >= now - elapsed - START_SLACK_US;
            let (byte_seconds, seconds) = if !stayed {
                (listed.memory_bytes.map(|_| 0.0), 0.0)
            } else if session.first_seen_us < now {
                // The mean of both ends, for the time between two readings of the lists.
                let ends = session.memory_bytes.zip(listed.memory_bytes);
                let mean = ends.map(|(before, after)| f64::midpoint(before as f64, after as f64));
                (mean.map(|mean| mean * bridged), bridged)
            } else {
                let lived = session.process_start_us.map_or(0.0, |start| (now - start) as f64 / 1e6);
                // A process that is older than the last reading came to the device at some time since.
                let seconds = if lived < bridged { lived.max(0.0) } else { 0.0 };
                (listed.memory_bytes.map(|held| held as f64 * seconds), seconds)
            };
            session.memory_bytes = listed.memory_bytes;
            session.memory_peak_bytes = session.memory_peak_bytes.max(listed.memory_bytes);
            session.last_seen_us = now;
            session.shares = None;
            session.device_share = None;
            session.busy_us = [0.0; 4];
            session.used = Used {
                memory_byte_seconds: byte_seconds.or(listed.memory_bytes.map(|_| 0.0)),
                session_seconds: seconds,
                ..Used::default()
            };
        }
    }

    /// When a process started, Unix microseconds.
    fn start_of(&self, ticks: Option<u64>) -> Option<i64> {
        self.sample.boot_us.zip(ticks).map(|(boot, ticks)| {
            let hz = u128::from(self.sample.ticks_per_second.max(1));
            boot.saturating_add((u128::from(ticks) * 1_000_000 / hz) as i64)
        })
    }

    fn begin(&self, key: &ProcessKey, process: &Process) -> Session {
        let start = self.start_of(key.start_ticks);
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

    /// Finds out whose the sessions are that may be known better by now: those that ended too, until they are counted.
    fn attribute(&self, state: &mut DeviceState) {
        let open = |session: &Session| session.attribution.open && (session.is_live() || !session.settled);
        if !state.sessions.values().any(open) {
            return;
        }
        let holder = self.holder(state);
        for session in state.sessions.values_mut().filter(|session| open(session)) {
            // Who holds the device now says nothing of who was on it before.
            let holder = if session.is_live() { holder } else { Holder::None };
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

    /// Ends what is no longer listed; says whether anything ended.
    fn end_missing(&self, state: &mut DeviceState) -> bool {
        let now = self.sample.time_us;
        let mut any = false;
        let missing = |session: &Session| session.is_live() && session.last_seen_us != now;
        for (key, session) in state.sessions.iter_mut().filter(|(_, session)| missing(session)) {
            session.ended_us = Some(now);
            session.end = self.how_ended(key);
            session.shares = None;
            session.device_share = None;
            session.busy_us = [0.0; 4];
            session.used = Used::default();
            any = true;
        }
        any
    }

    /// What became of a process that is no longer on the device.
    fn how_ended(&self, key: &ProcessKey) -> Option<End> {
        let start = key.start_ticks?;
        match self.processes.get(&key.pid).map(|process| process.start_ticks) {
            Some(Some(running)) if running == start => return Some(End::Released),
            // It could not be read.
            Some(None) => return None,
            _ => {}
        }
        let past = self.sample.past.get(&key.pid).into_iter().flatten();
        let seen = past.rev().find(|past| past.process.start_ticks == Some(start));
        Some(End::Exited(seen.and_then(|past| past.wait_status)))
    }

    /// Gives each slice to its session and works out the shares over the window.
    fn credit(&self, state: &mut DeviceState, done: &Integrated, elapsed_us: Option<i64>) {
        // The answer can reach back over readings that failed, to sessions that were found to be over then.
        let since = done.window.map_or(self.sample.time_us, |(from, _)| from);
        for process in done.processes() {
            let mut known = candidates(state, process.pid, since);
            let rest = spend(&mut known, process.slices());
            if !rest.is_empty() {
                self.unlisted(state, process.pid, &rest);
            }
        }
        let listed_before = self.sample.time_us - elapsed_us.unwrap_or(0);
        for session in state.sessions.values_mut().filter(|session| was_there(session, since)) {
            session.used.sm_seconds = Some(session.busy_us[0] / 1e6);
            if session.ended_us == Some(self.sample.time_us) {
                // It was there at least until it last worked.
                let longer = session.last_active_us.unwrap_or(0) - session.last_seen_us.max(listed_before);
                if longer > 0 {
                    session.stayed(longer);
                    session.last_seen_us += longer;
                }
            }
            // An answer of which nothing can be said pays nothing, and nobody else will.
            let owed = std::mem::take(&mut session.owed_seconds);
            if done.window.is_some() {
                session.used.measured_seconds = session.used.session_seconds + owed;
            }
            if let (Some((from, to)), true) = (done.window, session.is_live()) {
                let existed_us = to - from.max(session.process_start_us.unwrap_or(from));
                session.shares =
                    (existed_us > 0).then(|| session.busy_us.map(|busy| (busy / existed_us as f64).min(1.0)));
            }
        }
    }

    /// Where the driver does not say who used the device: its own figure is that of its only process.
    /// Returns the seconds that nobody could measure.
    fn credit_device_figure(&self, state: &mut DeviceState, ended: bool, elapsed_us: Option<i64>) -> f64 {
        if self.device.activity == Activity::Failed {
            // The next good answer covers this time.
            for session in state.sessions.values_mut() {
                session.owed_seconds += session.used.session_seconds;
            }
            return 0.0;
        }
        let now = self.sample.time_us;
        let figure = self.device.utilization.filter(|u| u.attributable && self.listed.len() <= 1 && !ended);
        let measured_us = figure.and_then(|u| u.measured_us).unwrap_or(0);
        let alone = state.sessions.values_mut().find(|session| session.is_live());
        if let (Some(figure), Some(session)) = (figure, alone) {
            session.device_share = Some(figure.ratio);
            if figure.ratio > 0.0 {
                session.last_active_us = Some(now);
            }
            // A figure over a time that nobody states adds no seconds: that is not 0 seconds.
            session.used.sm_seconds = figure.measured_us.map(|us| figure.ratio * us as f64 / 1e6);
            session.used.measured_seconds = session.used.session_seconds.min(measured_us as f64 / 1e6);
        }
        (elapsed_us.unwrap_or(0) - measured_us).max(0) as f64 / 1e6
    }
}

impl Observation<'_> {
    /// Notes since when it is known of each session whether it worked: work that nobody could measure may have been
    /// anyone's.
    fn measured(&self, state: &mut DeviceState, done: Option<&Integrated>, elapsed_us: Option<i64>) {
        let now = self.sample.time_us;
        let whole = match done {
            Some(done) => done.window.is_some() && done.unobserved_us == 0,
            None => elapsed_us.is_some_and(|elapsed| elapsed <= MAX_GAP_US),
        };
        for session in state.sessions.values_mut().filter(|session| session.is_live()) {
            session.measured_since_us = match (session.sm_share(), session.measured_since_us) {
                (None, _) => None,
                (Some(_), Some(since)) if whole => Some(since),
                (Some(_), _) => Some(now),
            };
        }
    }
}

/// It is on the device (still, or again); what could not be read of it before may be known now.
fn resume(session: &mut Session, process: &Process) {
    if session.ended_us.take().is_some() {
        session.end = None;
        session.ledgered = false;
    }
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

/// Gives each slice to the youngest session that was there in its middle, and not known to be over by then; returns the
/// busy ones of which no session is known.
///
/// Of a pid that was used again by a process that nobody listed, between the last look at a session and the look
/// that found it over, the driver's entries cannot be told apart: they go to that session.
fn spend(candidates: &mut [&mut Session], slices: impl Iterator<Item = Slice>) -> Vec<Slice> {
    let mut rest = Vec::new();
    for slice in slices {
        // A single value speaks of the process that is there now.
        let at = if slice.exact { i64::midpoint(slice.from_us, slice.to_us) } else { slice.to_us };
        let there = |session: &&mut Session, slack: i64| {
            session.process_start_us.is_none_or(|start| start <= at + slack) && was_there(session, at)
        };
        // A process's first slice can begin before it does, and its start may be known to the second only.
        let found = candidates.iter().rposition(|session| there(session, 0));
        let found = found.or_else(|| candidates.iter().position(|session| there(session, START_SLACK_US)));
        match found {
            Some(index) => spend_one(candidates[index], &slice),
            None if slice.is_busy() => rest.push(slice),
            None => {}
        }
    }
    rest
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
