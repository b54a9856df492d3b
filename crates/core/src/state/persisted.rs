//! The state in its file.

use super::{STATE_VERSION, Session, State};
use crate::attribution::Attribution;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A persisted state that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadState {
    /// Not our JSON.
    #[error("it is damaged: {0}")]
    Damaged(#[from] serde_json::Error),
    /// Another program's or another version's.
    #[error(
        "it is of another format ({format:?} version {version}; this program reads {FORMAT:?} version {STATE_VERSION})"
    )]
    Foreign {
        /// The format it names.
        format: String,
        /// The version it names.
        version: u32,
    },
    /// Figures that no run of ours writes.
    #[error("it holds impossible figures: {0}")]
    Impossible(&'static str),
}

/// Far in the future, and far from where sums of times overflow.
const MAX_STAMP_US: i64 = 1 << 60;

const FORMAT: &str = "gpu-session-monitor state";

#[derive(Serialize)]
struct Envelope<'a> {
    format: &'a str,
    version: u32,
    state: &'a State,
}

#[derive(Deserialize)]
struct Header {
    format: String,
    version: u32,
}

#[derive(Deserialize)]
struct Whole {
    format: String,
    version: u32,
    state: State,
}

impl State {
    /// The persisted form.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut out = serde_json::to_vec(&Envelope { format: FORMAT, version: STATE_VERSION, state: self })?;
        out.push(b'\n');
        Ok(out)
    }

    /// Reads the persisted form; what is not wholly ours is refused.
    pub fn from_json(bytes: &[u8]) -> Result<Self, BadState> {
        let known = |format: &str, version| format == FORMAT && version == STATE_VERSION;
        match serde_json::from_slice::<Whole>(bytes) {
            Ok(Whole { format, version, mut state }) if known(&format, version) => {
                state.check()?;
                Ok(state)
            }
            Ok(Whole { format, version, .. }) => Err(BadState::Foreign { format, version }),
            // Another version need not have our body.
            Err(e) => match serde_json::from_slice::<Header>(bytes) {
                Ok(Header { format, version }) if !known(&format, version) => {
                    Err(BadState::Foreign { format, version })
                }
                _ => Err(e.into()),
            },
        }
    }

    /// Every time in it, microseconds.
    fn stamps(&self) -> impl Iterator<Item = i64> {
        let devices = self.devices.values().flat_map(|device| {
            let cursor = device.cursor.iter().flat_map(|cursor| [cursor.stamp_us, cursor.covered_us]);
            let own = [device.listed_us, device.energy.map(|(_, at)| at)];
            let opened = device.sessions.values().map(|session| session.opened_us);
            cursor.chain(own.into_iter().flatten()).chain(opened)
        });
        let past = self.past_allocations.iter().map(|(_, known)| known);
        let opened = self.allocations.values().chain(past).map(|known| known.opened_us);
        devices.chain(opened).chain([self.time_us, self.monotonic_us])
    }

    /// Text reaches labels, figures reach counters: neither is trusted from a file.
    fn check(&mut self) -> Result<(), BadState> {
        let mut sane = true;
        self.each_counter(&mut |counter| sane &= counter.is_sane());
        let positive = |figure: f64| figure.is_finite() && figure >= 0.0;
        let sessions = || self.devices.values().flat_map(|device| device.sessions.values());
        sane &= sessions().all(|s| {
            let pending = [s.pending.sm_seconds, s.pending.memory_byte_seconds];
            let optional = pending.into_iter().chain(s.pending.energy_joules).flatten();
            let own = [s.session_seconds, s.measured_seconds, s.owed_seconds];
            let used = [s.pending.session_seconds, s.pending.measured_seconds];
            optional.chain(own).chain(used).all(positive)
        });
        let allocations = || {
            let past = self.past_allocations.iter().map(|(key, known)| (key, known));
            self.allocations.iter().chain(past)
        };
        sane &= allocations().all(|(_, held)| {
            let figures = [held.allocated_seconds, held.idle_seconds, held.pending.0, held.pending.1];
            figures.into_iter().chain(held.compute_fraction).all(positive)
        });
        sane &= self.gpus.values().all(|totals| positive(totals.durations.sum_seconds));
        sane &= self.devices.values().all(|device| device.compute_fraction.is_none_or(positive));
        if !sane {
            return Err(BadState::Impossible("a counter is negative or not finite"));
        }
        let mut texts: Vec<&Arc<str>> = sessions().flat_map(session_texts).collect();
        texts.extend(self.devices.keys());
        texts.extend(self.devices.values().filter_map(|device| device.mig_profile.as_ref()));
        texts.extend(self.users.keys().chain(self.namespaces.keys()).map(|(_, name)| name));
        texts.extend(self.pods.keys().flat_map(|(_, namespace, pod)| [namespace, pod]));
        texts.extend(allocations().flat_map(|((uuid, ns, pod, container), held)| {
            [Some(uuid), Some(ns), Some(pod), Some(container), held.user.as_ref(), held.pod_uid.as_ref()]
                .into_iter()
                .flatten()
        }));
        texts.extend(self.source_errors.keys().flat_map(|(source, kind)| [source, kind]));
        texts.extend(self.write_errors.keys());
        if texts.into_iter().any(|text| crate::text::clean(text) != **text) {
            return Err(BadState::Impossible("a name holds control characters or is too long"));
        }
        let mut possible = self.stamps().all(is_possible);
        self.each_stamp(&mut |at| possible &= is_possible(*at));
        if possible { Ok(()) } else { Err(BadState::Impossible("a time is none")) }
    }
}

fn is_possible(stamp: i64) -> bool {
    (0..MAX_STAMP_US).contains(&stamp)
}

/// Every text of a session.
fn session_texts(session: &Session) -> impl Iterator<Item = &Arc<str>> {
    let Attribution { user, user_rule, namespace, pod, container, attributed_by, unattributed, open: _ } =
        &session.attribution;
    let place = session.place.iter().flat_map(|place| [&place.pod_uid, &place.container_id, &place.name]);
    [&session.command, user, user_rule, namespace, pod, container, attributed_by, unattributed]
        .into_iter()
        .chain(place)
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounting::Counter;
    use crate::ids::{GpuLabel, ProcessKey};
    use crate::state::DeviceState;
    use std::collections::BTreeMap;

    fn state() -> State {
        let key = ProcessKey { pid: 7, start_ticks: Some(9), boot: 5 };
        let session = Session {
            command: Some("python3".into()),
            uid: Some(1000),
            memory_bytes: Some(3),
            shares: Some([0.1, 0.2, 0.3, 1.0 / 3.0]),
            sm_seconds: Some(Counter { value: 0.1 + 0.2, born_us: 5 }),
            ..Session::new(Attribution::default(), None, 1)
        };
        let mut device = DeviceState::new(GpuLabel { gpu: 0, instance: Some((1, 0)) });
        device.sessions.insert(key, session);
        State { devices: BTreeMap::from([("GPU-a".into(), device)]), ..State::default() }
    }

    #[test]
    fn the_persisted_form_gives_back_every_bit() {
        let bytes = state().to_json().expect("serialises");
        assert_eq!(State::from_json(&bytes).expect("reads"), state());
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        let good = String::from_utf8(state().to_json().expect("serialises")).expect("UTF-8");
        assert!(matches!(State::from_json(&good.as_bytes()[..good.len() / 2]), Err(BadState::Damaged(_))));
        assert!(matches!(State::from_json(b"{}"), Err(BadState::Damaged(_))));
        let foreign = good.replace("\"version\":1", "\"version\":99");
        assert!(matches!(State::from_json(foreign.as_bytes()), Err(BadState::Foreign { version: 99, .. })));
        let negative = good.replace("0.30000000000000004", "-5.0");
        assert!(matches!(State::from_json(negative.as_bytes()), Err(BadState::Impossible(_))));
        let hostile = good.replace("python3", "a\\u001bb");
        assert!(matches!(State::from_json(hostile.as_bytes()), Err(BadState::Impossible(_))));
        let hostile = good.replace("GPU-a", "GPU\\u000a");
        assert!(matches!(State::from_json(hostile.as_bytes()), Err(BadState::Impossible(_))));
        let errors = "\"source_errors\":[[[\"nvml\",\"x\"],{\"value\":-1.0,\"born_us\":0}]]";
        let negative = good.replace("\"source_errors\":[]", errors);
        assert!(matches!(State::from_json(negative.as_bytes()), Err(BadState::Impossible(_))));
    }
}
