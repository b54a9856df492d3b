//! Sessions that came and went between two readings of the lists.

use super::{Observation, START_SLACK_US};
use crate::attribution::Attribution;
use crate::cgroup::Kind;
use crate::ids::ProcessKey;
use crate::sample::{AccountingRecord, PastProcess, Process};
use crate::state::{DeviceState, End, Seen, Session};
use crate::utilization::Slice;
use std::collections::btree_map::Entry;

/// What is known of a process that the lists do not have.
enum Found<'a> {
    /// It runs.
    Alive(&'a Process),
    /// It is over.
    Past(&'a PastProcess),
    /// Nothing.
    Unknown,
}

impl<'a> Found<'a> {
    fn process(&self) -> Option<&'a Process> {
        match self {
            Self::Alive(process) => Some(process),
            Self::Past(past) => Some(&past.process),
            Self::Unknown => None,
        }
    }
}

impl Observation<'_> {
    /// Use by a pid of which no session is known.
    pub(super) fn unlisted(&self, state: &mut DeviceState, pid: u32, slices: &[Slice]) {
        for slice in slices {
            let session = self.unlisted_session(state, pid, slice);
            session.ended_us = Some(self.sample.time_us);
            session.ledgered = false;
            for (busy, share) in session.busy_us.iter_mut().zip(slice.shares) {
                *busy += share * (slice.to_us - slice.from_us) as f64;
            }
            session.last_active_us = session.last_active_us.max(Some(slice.to_us));
            let longer = slice.to_us - session.last_seen_us;
            if longer > 0 {
                session.used.session_seconds += longer as f64 / 1e6;
                session.last_seen_us = slice.to_us;
            }
        }
    }

    /// The session that the slice is of: it may be known from an answer before.
    fn unlisted_session<'s>(&self, state: &'s mut DeviceState, pid: u32, slice: &Slice) -> &'s mut Session {
        let found = self.find(pid, i64::midpoint(slice.from_us, slice.to_us));
        let process = found.process();
        let start = process.and_then(|process| self.start_of(process.start_ticks));
        let from = start.map_or(slice.from_us, |start| slice.from_us.max(start)).min(slice.to_us);
        let key = match process {
            Some(process) => self.key(pid, process),
            None => went_on(state, pid, from).unwrap_or_else(|| self.key_at(pid, from)),
        };
        let session = state.sessions.entry(key).or_insert_with(|| Session {
            seen: Seen::Utilization,
            opened_us: from,
            first_seen_us: from,
            last_seen_us: from,
            ..self.begin_unlisted(&key, process)
        });
        match found {
            // It may be listed yet.
            Found::Alive(_) => session.end = None,
            Found::Past(past) => session.end = Some(End::Exited(past.wait_status)),
            Found::Unknown => {}
        }
        session
    }

    /// What accounting mode says of processes that are over: exact times and peaks of sessions that are known, and
    /// sessions that nothing else has shown.
    ///
    /// What began before the last reading was listed there; at a first reading the past is nobody's.
    pub(super) fn account(&self, state: &mut DeviceState) {
        let Some(accounting) = &self.device.accounting else { return };
        let told = std::mem::take(&mut state.accounted);
        state.accounted = told.into_iter().filter(|pid| accounting.pids.contains(pid)).collect();
        state.accounted.extend(accounting.ended.iter().map(|record| record.pid));
        let Some(listed) = state.listed_us else { return };
        let since = self.sample.time_us - (self.sample.monotonic_us - listed);
        for record in &accounting.ended {
            // One that ended while the driver was read is in the lists still.
            let listed_now = self.listed.iter().any(|process| process.pid == record.pid);
            if !listed_now && !self.complete(state, record) && record.start_us > since {
                self.account_unseen(state, record);
            }
        }
    }

    /// Completes the session that the record speaks of; says whether there is one.
    fn complete(&self, state: &mut DeviceState, record: &AccountingRecord) -> bool {
        let (now, end) = (self.sample.time_us, self.end_of(record));
        let of_pid = state.sessions.iter_mut().filter(|(key, session)| {
            let over = session.ended_us.is_some_and(|ended| record.start_us <= ended);
            key.pid == record.pid && over && session.first_seen_us <= end + START_SLACK_US
        });
        let Some((_, session)) = of_pid.max_by_key(|(_, session)| session.first_seen_us) else {
            return false;
        };
        session.memory_peak_bytes = session.memory_peak_bytes.max(record.max_memory_bytes);
        let mut longer = (end - session.last_seen_us).max(0);
        session.last_seen_us += longer;
        if session.seen == Seen::Utilization && record.start_us < session.first_seen_us {
            longer += session.first_seen_us - record.start_us;
            session.first_seen_us = record.start_us;
        }
        if session.ended_us == Some(now) && longer > 0 {
            session.stayed(longer);
            session.used.measured_seconds +=
                if session.used.sm_seconds.is_some() { longer as f64 / 1e6 } else { 0.0 };
        }
        session.ledgered = false;
        true
    }

    fn account_unseen(&self, state: &mut DeviceState, record: &AccountingRecord) {
        let end = self.end_of(record);
        let found = self.find(record.pid, record.start_us);
        let known = found.process();
        let key = known.map_or_else(
            || self.key_at(record.pid, record.start_us),
            |process| self.key(record.pid, process),
        );
        let seconds = (end - record.start_us).max(0) as f64 / 1e6;
        let mut session = Session {
            seen: Seen::Accounting,
            opened_us: record.start_us,
            first_seen_us: record.start_us,
            last_seen_us: end,
            memory_peak_bytes: record.max_memory_bytes,
            ended_us: Some(self.sample.time_us),
            end: match found {
                Found::Past(past) => Some(End::Exited(past.wait_status)),
                Found::Alive(_) => Some(End::Released),
                // A record is of a process that is over.
                Found::Unknown => Some(End::Exited(None)),
            },
            ..self.begin_unlisted(&key, known)
        };
        session.process_start_us = session.process_start_us.or(Some(record.start_us));
        session.used.session_seconds = seconds;
        session.used.sm_seconds = record.sm.map(|sm| f64::from(sm) / 100.0 * seconds);
        session.used.measured_seconds = if record.sm.is_some() { seconds } else { 0.0 };
        match state.sessions.entry(key) {
            Entry::Vacant(new) => {
                new.insert(session);
            }
            // The process was here before, and left.
            Entry::Occupied(known) => {
                let known = known.into_mut();
                known.used.add(&session.used);
                known.memory_peak_bytes = known.memory_peak_bytes.max(session.memory_peak_bytes);
                (known.last_seen_us, known.ended_us, known.end) = (end, session.ended_us, session.end);
                known.ledgered = false;
            }
        }
    }

    fn end_of(&self, record: &AccountingRecord) -> i64 {
        record.start_us.saturating_add(record.duration_us).min(self.sample.time_us)
    }

    /// Whether someone used the device since the last reading who may be of any pod.
    pub(super) fn has_stray(&self, state: &DeviceState) -> bool {
        let pod = |session: &Session| session.place.as_ref().is_none_or(|place| place.kind == Kind::Pod);
        state.sessions.values().any(|session| {
            let new = session.seen != Seen::Listed && session.ended_us == Some(self.sample.time_us);
            new && session.attribution.pod.is_none() && pod(session)
        })
    }

    /// The process that had the pid at a moment.
    fn find(&self, pid: u32, at_us: i64) -> Found<'_> {
        // Starts may be known to the second only: one that began just after is meant where none began before.
        let found = self.find_within(pid, at_us, 0);
        if matches!(found, Found::Unknown) { self.find_within(pid, at_us, START_SLACK_US) } else { found }
    }

    fn find_within(&self, pid: u32, at_us: i64, slack_us: i64) -> Found<'_> {
        let began = |process: &Process| {
            let start = self.start_of(process.start_ticks)?;
            (start <= at_us + slack_us).then_some(start)
        };
        let alive =
            self.processes.get(&pid).and_then(|process| Some((began(process)?, Found::Alive(process))));
        let past = self.sample.past.get(&pid).into_iter().flatten();
        let past = past.filter(|past| past.ended_us.is_none_or(|ended| at_us <= ended + START_SLACK_US));
        let past = past.filter_map(|past| Some((began(&past.process)?, Found::Past(past))));
        past.chain(alive).max_by_key(|(start, _)| *start).map_or(Found::Unknown, |(_, found)| found)
    }

    fn begin_unlisted(&self, key: &ProcessKey, process: Option<&Process>) -> Session {
        match process {
            Some(process) => self.begin(key, process),
            None => Session::new(Attribution::unknown("ended_unseen"), None, self.sample.time_us),
        }
    }

    /// The driver names no start; when it was first seen to work tells processes of one pid apart.
    fn key_at(&self, pid: u32, at_us: i64) -> ProcessKey {
        let hz = i128::from(self.sample.ticks_per_second);
        let since_boot = self.sample.boot_us.map(|boot| i128::from(at_us - boot));
        let start_ticks = since_boot.and_then(|us| u64::try_from(us * hz / 1_000_000).ok());
        self.key(pid, &Process { start_ticks, ..Process::default() })
    }
}

/// The unlisted session of the pid that worked until just before.
fn went_on(state: &DeviceState, pid: u32, from_us: i64) -> Option<ProcessKey> {
    let of_pid =
        state.sessions.iter().filter(|(key, session)| key.pid == pid && session.seen == Seen::Utilization);
    let near = of_pid.filter(|(_, session)| from_us - session.last_seen_us <= START_SLACK_US);
    near.max_by_key(|(_, session)| session.last_seen_us).map(|(key, _)| *key)
}
