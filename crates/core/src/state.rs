//! What survives from sample to sample and from run to run.

use crate::accounting::{Counter, Usage, Used};
use crate::allocation::{AllocationKey, AllocationState};
use crate::attribution::Attribution;
use crate::cgroup::Place;
use crate::ids::{GpuLabel, ProcessKey};
use crate::utilization::Cursor;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Version of the persisted form; another one is not read.
pub const STATE_VERSION: u32 = 1;

/// Sessions and counters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Boot of the last sample.
    pub boot_id: Arc<str>,
    /// Wall clock of the last sample, Unix microseconds; 0 before the first.
    pub time_us: i64,
    /// Boot clock of the last sample, microseconds.
    pub monotonic_us: i64,
    /// By UUID: devices now, and those that went a short while ago.
    pub devices: BTreeMap<Arc<str>, DeviceState>,
    /// Sums by device label and user; the empty user holds use that has no known user.
    #[serde(with = "pairs")]
    pub users: BTreeMap<(GpuLabel, Arc<str>), Usage>,
    /// Sums by device label and namespace; the empty one holds use outside any namespace that is known.
    #[serde(default, with = "pairs")]
    pub namespaces: BTreeMap<(GpuLabel, Arc<str>), Usage>,
    /// Sums by device label, namespace and pod, of pods that are there or were a short while ago.
    #[serde(default, with = "pairs")]
    pub pods: BTreeMap<(GpuLabel, Arc<str>, Arc<str>), Usage>,
    /// Allocations now, and those that were a short while ago.
    #[serde(default, with = "pairs")]
    pub allocations: BTreeMap<AllocationKey, AllocationState>,
    /// Errors by source and kind.
    #[serde(with = "pairs")]
    pub source_errors: BTreeMap<(Arc<str>, Arc<str>), Counter>,
    /// Sessions whose series were left out because of the limit.
    pub dropped: Option<Counter>,
}

/// A device, between two samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceState {
    /// Its label at the last sample.
    pub label: GpuLabel,
    /// Where the reading of per-process use stands.
    pub cursor: Option<Cursor>,
    /// Boot clock when the process lists were last read; `None` after a boot.
    pub listed_us: Option<i64>,
    /// Whether MPS clients were listed, or its server runs.
    #[serde(default)]
    pub mps: bool,
    /// An MPS server runs whose clients the driver does not list.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hidden_clients: bool,
    /// When it last turned out that someone had used the device whom nobody can name, Unix microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stray_us: Option<i64>,
    /// Pids whose accounting records were told.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub accounted: BTreeSet<u32>,
    /// When the device was last there, Unix microseconds.
    pub present_us: i64,
    /// Seconds whose use could not be measured.
    pub unobserved: Option<Counter>,
    /// Sessions now, and those that ended a short while ago.
    #[serde(with = "pairs")]
    pub sessions: BTreeMap<ProcessKey, Session>,
}

impl DeviceState {
    /// A device never read before.
    pub fn new(label: GpuLabel) -> Self {
        Self {
            label,
            cursor: None,
            listed_us: None,
            mps: false,
            hidden_clients: false,
            stray_us: None,
            accounted: BTreeSet::new(),
            present_us: 0,
            unobserved: None,
            sessions: BTreeMap::new(),
        }
    }
}

/// One process on one device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// Process name as first seen; `None` where /proc would not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Arc<str>>,
    /// Real uid of the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Where the process runs, by its cgroup; `None` where that could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// Whose it is.
    pub attribution: Attribution,
    /// When the process started, Unix microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_start_us: Option<i64>,
    /// First seen on the device, Unix microseconds.
    pub first_seen_us: i64,
    /// Last seen on the device, Unix microseconds.
    pub last_seen_us: i64,
    /// Last known to have used an engine, Unix microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_active_us: Option<i64>,
    /// When it was found to be over; `None` while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_us: Option<i64>,
    /// Bytes of the device's memory at the last reading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Shares of SM, memory, encoder and decoder time over the last window, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shares: Option<[f64; 4]>,
    /// Share of SM time where only the device's own figure is known (alone on a MIG instance).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_share: Option<f64>,
    /// Seconds of SM time, in time of this device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sm_seconds: Option<Counter>,
    /// Integral of memory over time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_byte_seconds: Option<Counter>,
    /// Its per-session series are left out because of the limit.
    #[serde(default)]
    pub dropped: bool,
    /// Engine time within the step that is being worked out, microseconds.
    #[serde(skip)]
    pub(crate) busy_us: [f64; 4],
    /// What is to be added to the counters at the end of that step.
    #[serde(skip)]
    pub(crate) used: Used,
}

impl Session {
    /// A session of which nothing is known yet but whose it is, first seen at this time.
    pub(crate) fn new(attribution: Attribution, process_start_us: Option<i64>, first_seen_us: i64) -> Self {
        Self {
            command: None,
            uid: None,
            place: None,
            attribution,
            process_start_us,
            first_seen_us,
            last_seen_us: first_seen_us,
            last_active_us: None,
            ended_us: None,
            memory_bytes: None,
            shares: None,
            device_share: None,
            sm_seconds: None,
            memory_byte_seconds: None,
            dropped: false,
            busy_us: [0.0; 4],
            used: Used::default(),
        }
    }

    /// Share of the time in which its kernels ran, 0 to 1, over the last window.
    pub fn sm_share(&self) -> Option<f64> {
        self.shares.map(|shares| shares[0]).or(self.device_share)
    }

    /// Whether it is an MPS server or daemon, which works for others. Only the name tells.
    pub fn is_mps(&self) -> bool {
        self.command.as_deref().is_some_and(|command| command.starts_with("nvidia-cuda-mps"))
    }

    /// Whether the process was on the device at the last sample.
    pub fn is_live(&self) -> bool {
        self.ended_us.is_none()
    }
}

/// Maps whose keys are no strings, as lists of pairs.
mod pairs {
    use serde::de::{SeqAccess, Visitor};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::collections::BTreeMap;
    use std::fmt::{self, Formatter};
    use std::marker::PhantomData;

    pub(super) fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub(super) fn deserialize<'de, K, V, D>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        K: Deserialize<'de> + Ord,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        deserializer.deserialize_seq(Pairs(PhantomData))
    }

    /// Fills the map pair by pair, so that it is never in memory twice.
    struct Pairs<K, V>(PhantomData<(K, V)>);

    impl<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>> Visitor<'de> for Pairs<K, V> {
        type Value = BTreeMap<K, V>;

        fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
            f.write_str("a list of pairs")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut map = BTreeMap::new();
            while let Some((key, value)) = list.next_element()? {
                map.insert(key, value);
            }
            Ok(map)
        }
    }
}

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
    /// The wall clock was set back: what has a stamp of later has been there for long, as far as can be told.
    pub(crate) fn clock_set_back(&mut self, now_us: i64) {
        let past = |at: &mut i64| *at = (*at).min(now_us);
        let old = |counter: &mut Option<Counter>| counter.iter_mut().for_each(|counter| counter.born_us = 0);
        for device in self.devices.values_mut() {
            old(&mut device.unobserved);
            device.stray_us.iter_mut().for_each(past);
            past(&mut device.present_us);
            for session in device.sessions.values_mut() {
                old(&mut session.sm_seconds);
                old(&mut session.memory_byte_seconds);
                past(&mut session.first_seen_us);
                session.last_active_us.iter_mut().chain(&mut session.ended_us).for_each(past);
            }
        }
        let sums = self.users.values_mut().chain(self.namespaces.values_mut()).chain(self.pods.values_mut());
        for usage in sums {
            old(&mut usage.sm_seconds);
            old(&mut usage.memory_byte_seconds);
            past(&mut usage.last_us);
        }
        for known in self.allocations.values_mut() {
            past(&mut known.since_us);
            past(&mut known.seen_us);
            known.last_active_us.iter_mut().for_each(past);
        }
    }

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
            Ok(Whole { format, version, state }) if known(&format, version) => {
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
            let own = [Some(device.present_us), device.listed_us, device.stray_us];
            let sessions = device.sessions.values().flat_map(|s| {
                [
                    Some(s.first_seen_us),
                    Some(s.last_seen_us),
                    s.last_active_us,
                    s.ended_us,
                    s.process_start_us,
                ]
            });
            cursor.chain(own.into_iter().chain(sessions).flatten())
        });
        let held =
            self.allocations.values().flat_map(|a| [Some(a.since_us), Some(a.seen_us), a.last_active_us]);
        let pods = self.pods.values().map(|usage| usage.last_us);
        devices.chain(held.flatten()).chain(pods).chain([self.time_us, self.monotonic_us])
    }

    /// Text reaches labels, figures reach counters: neither is trusted from a file.
    fn check(&self) -> Result<(), BadState> {
        let sessions = || self.devices.values().flat_map(|device| device.sessions.values());
        let counters = sessions().flat_map(|s| [s.sm_seconds, s.memory_byte_seconds]);
        let sums = self.users.values().chain(self.namespaces.values()).chain(self.pods.values());
        let sums = sums.flat_map(|u| [u.sm_seconds, u.memory_byte_seconds]);
        let own = self.devices.values().map(|device| device.unobserved).chain([self.dropped]);
        let all = counters.chain(sums).chain(own).flatten().chain(self.source_errors.values().copied());
        if all.into_iter().any(|counter| !counter.is_sane()) {
            return Err(BadState::Impossible("a counter is negative or not finite"));
        }
        if self.stamps().any(|stamp| !(0..MAX_STAMP_US).contains(&stamp)) {
            return Err(BadState::Impossible("a time is none"));
        }
        let mut texts: Vec<&Arc<str>> = sessions().flat_map(session_texts).collect();
        texts.extend(self.devices.keys());
        texts.extend(self.users.keys().chain(self.namespaces.keys()).map(|(_, name)| name));
        texts.extend(self.pods.keys().flat_map(|(_, namespace, pod)| [namespace, pod]));
        texts.extend(
            self.allocations.keys().flat_map(|(uuid, ns, pod, container)| [uuid, ns, pod, container]),
        );
        texts.extend(self.source_errors.keys().flat_map(|(source, kind)| [source, kind]));
        if texts.into_iter().any(|text| crate::text::clean(text) != **text) {
            return Err(BadState::Impossible("a name holds control characters or is too long"));
        }
        Ok(())
    }
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
