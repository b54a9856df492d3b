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

/// What was used, summed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Seconds of SM time in whole GPUs: a slice counts by its share of the GPU.
    pub sm_seconds: Option<Counter>,
    /// Byte-seconds of memory.
    pub memory_byte_seconds: Option<Counter>,
    /// When something was last added, Unix microseconds.
    #[serde(default)]
    pub last_us: i64,
}

/// What one session used in one step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Used {
    /// Seconds of SM time of the device; `None` where not measured.
    pub sm_seconds: Option<f64>,
    /// Byte-seconds; `None` where not known.
    pub memory_byte_seconds: Option<f64>,
}

/// Adds what a session used to the sums of its user, its namespace and its pod.
///
/// `compute_fraction` is the device's share of a GPU; without it SM time cannot be summed over devices. Each of the
/// three kinds of sums keeps `limit` accounts, and one for the rest.
pub fn charge(
    state: &mut State,
    device: (GpuLabel, Option<f64>),
    whose: &Attribution,
    used: Used,
    limit: usize,
    now_us: i64,
) {
    let (label, compute_fraction) = device;
    let name = |name: &Option<Arc<str>>| name.clone().unwrap_or_else(|| "".into());
    let add = |usage: &mut Usage| {
        if let (Some(seconds), Some(fraction)) = (used.sm_seconds, compute_fraction) {
            Counter::add(&mut usage.sm_seconds, seconds * fraction, now_us);
        }
        if let Some(byte_seconds) = used.memory_byte_seconds {
            Counter::add(&mut usage.memory_byte_seconds, byte_seconds, now_us);
        }
        usage.last_us = now_us;
    };
    let (user, namespace) = ((label, name(&whose.user)), (label, name(&whose.namespace)));
    let other = || (label, OTHER.into());
    // What is nobody's has its place, whatever the limit.
    let nobodys = |key: &(GpuLabel, Arc<str>)| key.1.is_empty();
    add(account(&mut state.users, nobodys(&user), user, other, limit));
    add(account(&mut state.namespaces, nobodys(&namespace), namespace, other, limit));
    if let (Some(namespace), Some(pod)) = (&whose.namespace, &whose.pod) {
        let key = (label, Arc::clone(namespace), Arc::clone(pod));
        add(account(&mut state.pods, false, key, || (label, OTHER.into(), OTHER.into()), limit));
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

    fn charge_user(state: &mut State, user: &str, seconds: f64, limit: usize) {
        let used = Used { sm_seconds: Some(seconds), memory_byte_seconds: None };
        let whose = Attribution { user: Some(user.into()), ..Attribution::default() };
        charge(state, (GPU, Some(1.0)), &whose, used, limit, 10);
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
        for i in 0..10 {
            charge_user(&mut state, &format!("u{i}"), 1.0, 4);
            charge_user(&mut state, "u0", 1.0, 4);
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
        let used = Used { sm_seconds: Some(7.0), memory_byte_seconds: Some(3.0) };
        charge(&mut state, (GPU, Some(1.0 / 7.0)), &Attribution::default(), used, 4, 0);
        let usage = state.users[&(GPU, "".into())];
        assert!((usage.sm_seconds.map_or(0.0, |c| c.value) - 1.0).abs() < 1e-12);
        assert_eq!(usage.memory_byte_seconds.map(|c| c.value), Some(3.0));
    }
}
