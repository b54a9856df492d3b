//! Counters, and sums by user, that lose nothing between scrapes.

use crate::attribution::Attribution;
use crate::ids::GpuLabel;
use crate::state::State;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The user, namespace and pod that take what no longer fits under the limit, so that sums stay complete.
pub const OTHER: &str = "_other";

/// A number that only grows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Counter {
    /// Its value.
    pub value: f64,
    /// When it came to be, Unix microseconds.
    pub born_us: i64,
}

impl Counter {
    /// The value to write. `increase()` cannot see a series' first value, so a counter that came to be at or
    /// after `hold_since_us` is written as 0 first.
    pub fn exposed(&self, hold_since_us: i64) -> f64 {
        if self.born_us >= hold_since_us { 0.0 } else { self.value }
    }

    /// Adds, and brings the counter into being where it was not.
    pub fn add(slot: &mut Option<Self>, amount: f64, now_us: i64) {
        let counter = slot.get_or_insert(Self { value: 0.0, born_us: now_us });
        if amount.is_finite() && amount > 0.0 {
            counter.value += amount;
        }
    }

    /// Whether a file may have held this.
    pub fn is_sane(&self) -> bool {
        self.value.is_finite() && self.value >= 0.0
    }
}

/// How energy was given to sessions; every figure of energy says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The device's energy, whole, of time in which the session was alone on it.
    Sole,
    /// The device's energy, shared by SM time.
    SmShare,
}

impl Method {
    /// All, in the order in which figures by method are kept.
    pub const ALL: [Self; 2] = [Self::Sole, Self::SmShare];

    /// Value of the label `method`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sole => "sole",
            Self::SmShare => "sm_share",
        }
    }
}

/// What was used, summed. Times are in whole GPUs: a slice counts by its share of the GPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Seconds of SM time.
    pub sm_seconds: Option<Counter>,
    /// Byte-seconds of memory.
    pub memory_byte_seconds: Option<Counter>,
    /// Joules, by [`Method`].
    pub energy_joules: [Option<Counter>; 2],
    /// Seconds that sessions were on a device.
    pub session_seconds: Option<Counter>,
    /// That part of them in which SM time was measured.
    pub measured_seconds: Option<Counter>,
    /// Sessions that ended.
    pub sessions_ended: Option<Counter>,
    /// Seconds for which containers held a device.
    pub allocation_seconds: Option<Counter>,
    /// That part of them in which the device is known not to have worked for the container.
    pub idle_allocation_seconds: Option<Counter>,
    /// When something was last added, Unix microseconds.
    pub last_us: i64,
}

impl Usage {
    /// All its counters.
    pub(crate) fn counters_mut(&mut self) -> impl Iterator<Item = &mut Counter> {
        let Self {
            sm_seconds,
            memory_byte_seconds,
            energy_joules: [sole, share],
            session_seconds,
            measured_seconds,
            sessions_ended,
            allocation_seconds,
            idle_allocation_seconds,
            last_us: _,
        } = self;
        let all = [
            sm_seconds,
            memory_byte_seconds,
            sole,
            share,
            session_seconds,
            measured_seconds,
            sessions_ended,
            allocation_seconds,
            idle_allocation_seconds,
        ];
        all.into_iter().flatten()
    }
}

/// Upper bounds of the durations of sessions, seconds.
pub const DURATION_BOUNDS: [u32; 12] =
    [2, 10, 30, 60, 300, 900, 3600, 4 * 3600, 12 * 3600, 86_400, 3 * 86_400, 7 * 86_400];

/// How long sessions were.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Durations {
    /// Sessions by [`DURATION_BOUNDS`], each in the first that is not below it; the last are longer than all.
    pub counts: [u64; DURATION_BOUNDS.len() + 1],
    /// Sum of their durations, seconds.
    pub sum_seconds: f64,
}

impl Default for Durations {
    fn default() -> Self {
        Self { counts: [0; DURATION_BOUNDS.len() + 1], sum_seconds: 0.0 }
    }
}

impl Durations {
    fn add(&mut self, seconds: f64) {
        self.counts[DURATION_BOUNDS.partition_point(|bound| f64::from(*bound) < seconds)] += 1;
        self.sum_seconds += seconds;
    }
}

/// Totals of the devices that had one label, one after the other: MIG gives a label to new instances.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GpuTotals {
    /// Seconds whose use could not be measured.
    pub unobserved: Option<Counter>,
    /// Sessions that began.
    pub started: Option<Counter>,
    /// Sessions that ended.
    pub ended: Option<Counter>,
    /// Durations of those that ended; they came to be with `ended`.
    pub durations: Durations,
}

/// What one session used and is not yet counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Used {
    /// Seconds of SM time of the device; `None` where not measured.
    pub sm_seconds: Option<f64>,
    /// Byte-seconds; `None` where not known.
    pub memory_byte_seconds: Option<f64>,
    /// Joules, by [`Method`]; `None` where the method gave it none.
    pub energy_joules: [Option<f64>; 2],
    /// Seconds that it was on the device.
    pub session_seconds: f64,
    /// That part of them in which SM time was measured.
    pub measured_seconds: f64,
}

impl Used {
    /// Adds what was used in one step.
    pub fn add(&mut self, step: &Self) {
        let add = |total: &mut Option<f64>, step: Option<f64>| {
            if let Some(step) = step {
                *total = Some(total.unwrap_or(0.0) + step);
            }
        };
        add(&mut self.sm_seconds, step.sm_seconds);
        add(&mut self.memory_byte_seconds, step.memory_byte_seconds);
        for (total, step) in self.energy_joules.iter_mut().zip(step.energy_joules) {
            add(total, step);
        }
        self.session_seconds += step.session_seconds;
        self.measured_seconds += step.measured_seconds;
    }
}

/// Whose something is that is counted.
struct Account<'a> {
    device: (GpuLabel, Option<f64>),
    user: &'a Option<Arc<str>>,
    namespace: &'a Option<Arc<str>>,
    pod: &'a Option<Arc<str>>,
}

/// Moves everything that was used, and everything that ended, into the counters: nothing else does, so that what
/// readers see can be saved first.
///
/// What has no known user yet waits for one, for `hold_us` since the session was first seen. Each of the three kinds
/// of sums keeps `limit` accounts, and one for the rest.
pub fn settle(state: &mut State, hold_us: i64, limit: usize) {
    settle_sessions(state, hold_us, limit);
    settle_allocations(state, hold_us, limit);
}

fn settle_sessions(state: &mut State, hold_us: i64, limit: usize) {
    let now_us = state.time_us;
    // Taken out so that sessions and sums can be changed together.
    let mut devices = std::mem::take(&mut state.devices);
    for device in devices.values_mut() {
        let of = (device.label, device.compute_fraction);
        for session in device.sessions.values_mut().filter(|session| session.is_due(now_us, hold_us)) {
            let used = std::mem::take(&mut session.pending);
            session.count(&used, now_us);
            let ended = !session.is_live() && !session.settled;
            if ended {
                session.settled = true;
                let totals = state.gpus.entry(device.label).or_default();
                Counter::add(&mut totals.ended, 1.0, now_us);
                totals.durations.add(session.session_seconds);
            }
            let Attribution { user, namespace, pod, .. } = &session.attribution;
            charge(state, &Account { device: of, user, namespace, pod }, limit, |usage, fraction| {
                add_used(usage, &used, fraction, ended, now_us);
            });
        }
    }
    state.devices = devices;
}

fn settle_allocations(state: &mut State, hold_us: i64, limit: usize) {
    let now_us = state.time_us;
    let mut current = std::mem::take(&mut state.allocations);
    let mut past = std::mem::take(&mut state.past_allocations);
    for (key, held) in current.iter_mut().chain(past.iter_mut().map(|(key, held)| (&*key, held))) {
        if held.pending == (0.0, 0.0) || held.waits(hold_us) {
            continue;
        }
        let (allocated, idle) = std::mem::take(&mut held.pending);
        held.allocated_seconds += allocated;
        held.idle_seconds += idle;
        let (_, namespace, pod, _) = key;
        let (namespace, pod) = (Some(Arc::clone(namespace)), Some(Arc::clone(pod)));
        let device = (held.gpu, held.compute_fraction);
        let account = Account { device, user: &held.user, namespace: &namespace, pod: &pod };
        charge(state, &account, limit, |usage, fraction| {
            if let Some(fraction) = fraction {
                Counter::add(&mut usage.allocation_seconds, allocated * fraction, now_us);
                Counter::add(&mut usage.idle_allocation_seconds, idle * fraction, now_us);
            }
            usage.last_us = now_us;
        });
    }
    state.allocations = current;
    state.past_allocations = past;
}

/// `fraction` is the device's share of a GPU; without it time cannot be summed over devices.
fn add_used(usage: &mut Usage, used: &Used, fraction: Option<f64>, ended: bool, now_us: i64) {
    if let Some(fraction) = fraction {
        if let Some(seconds) = used.sm_seconds {
            Counter::add(&mut usage.sm_seconds, seconds * fraction, now_us);
        }
        Counter::add(&mut usage.session_seconds, used.session_seconds * fraction, now_us);
        Counter::add(&mut usage.measured_seconds, used.measured_seconds * fraction, now_us);
    }
    if let Some(byte_seconds) = used.memory_byte_seconds {
        Counter::add(&mut usage.memory_byte_seconds, byte_seconds, now_us);
    }
    for (counter, joules) in usage.energy_joules.iter_mut().zip(used.energy_joules) {
        if let Some(joules) = joules {
            Counter::add(counter, joules, now_us);
        }
    }
    Counter::add(&mut usage.sessions_ended, f64::from(u8::from(ended)), now_us);
    usage.last_us = now_us;
}

/// Adds to the sums of a user, a namespace and a pod.
fn charge(state: &mut State, whose: &Account<'_>, limit: usize, add: impl Fn(&mut Usage, Option<f64>)) {
    let (label, fraction) = whose.device;
    let name = |name: &Option<Arc<str>>| name.clone().unwrap_or_else(|| "".into());
    let (user, namespace) = ((label, name(whose.user)), (label, name(whose.namespace)));
    let other = || (label, OTHER.into());
    // What is nobody's has its place, whatever the limit.
    let nobodys = |key: &(GpuLabel, Arc<str>)| key.1.is_empty();
    add(account(&mut state.users, nobodys(&user), user, other, limit), fraction);
    add(account(&mut state.namespaces, nobodys(&namespace), namespace, other, limit), fraction);
    if let (Some(namespace), Some(pod)) = (whose.namespace, whose.pod) {
        let key = (label, Arc::clone(namespace), Arc::clone(pod));
        let other = || (label, OTHER.into(), OTHER.into());
        add(account(&mut state.pods, false, key, other, limit), fraction);
    }
}

/// The account for a key: its own, or the common one beyond the limit.
fn account<K: Ord>(
    accounts: &mut BTreeMap<K, Usage>,
    always: bool,
    key: K,
    other: impl FnOnce() -> K,
    limit: usize,
) -> &mut Usage {
    let own = always || accounts.len() < limit || accounts.contains_key(&key);
    accounts.entry(if own { key } else { other() }).or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GPU: GpuLabel = GpuLabel { gpu: 0, instance: None };

    fn charge_user(
        state: &mut State,
        user: &str,
        used: &Used,
        device: (GpuLabel, Option<f64>),
        limit: usize,
    ) {
        let account = Account { device, user: &Some(user.into()), namespace: &None, pod: &None };
        charge(state, &account, limit, |usage, fraction| add_used(usage, used, fraction, false, 10));
    }

    #[test]
    fn a_new_counter_is_written_as_zero_first() {
        let counter = Counter { value: 5.0, born_us: 10 };
        assert_eq!((counter.exposed(10), counter.exposed(11)), (0.0, 5.0));
    }

    #[test]
    fn counters_never_go_down() {
        let mut slot = None;
        for amount in [1.0, -5.0, f64::NAN, f64::INFINITY, 2.0] {
            Counter::add(&mut slot, amount, 0);
        }
        assert_eq!(slot.map(|c| c.value), Some(3.0));
    }

    #[test]
    fn beyond_the_limit_sums_stay_complete() {
        let mut state = State::default();
        let second = Used { sm_seconds: Some(1.0), ..Used::default() };
        for i in 0..10 {
            charge_user(&mut state, &format!("u{i}"), &second, (GPU, Some(1.0)), 4);
            charge_user(&mut state, "u0", &second, (GPU, Some(1.0)), 4);
        }
        let total: f64 = state.users.values().filter_map(|u| u.sm_seconds).map(|c| c.value).sum();
        assert!((total - 20.0).abs() < 1e-9);
        assert_eq!(state.users.len(), 5);
        let other = state.users[&(GPU, OTHER.into())].sm_seconds.map(|c| c.value);
        assert_eq!(other, Some(6.0));
    }

    #[test]
    fn a_slice_counts_by_its_share() {
        let mut state = State::default();
        let used = Used {
            sm_seconds: Some(7.0),
            memory_byte_seconds: Some(3.0),
            session_seconds: 14.0,
            ..Used::default()
        };
        charge_user(&mut state, "", &used, (GPU, Some(1.0 / 7.0)), 4);
        let usage = state.users[&(GPU, "".into())];
        let value = |counter: Option<Counter>| counter.map_or(-1.0, |c| c.value);
        assert!((value(usage.sm_seconds) - 1.0).abs() < 1e-12);
        assert!((value(usage.session_seconds) - 2.0).abs() < 1e-12);
        assert_eq!(usage.memory_byte_seconds.map(|c| c.value), Some(3.0));
        assert_eq!((usage.energy_joules, usage.sessions_ended.map(|c| c.value)), ([None, None], Some(0.0)));
    }

    #[test]
    fn a_duration_is_in_the_first_bucket_that_holds_it() {
        let mut durations = Durations::default();
        for seconds in [0.5, 2.0, 2.5, 1e9] {
            durations.add(seconds);
        }
        assert_eq!((durations.counts[0], durations.counts[1], durations.counts[12]), (2, 1, 1));
    }
}
