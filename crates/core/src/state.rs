//! What survives from sample to sample and from run to run.

mod pairs;
mod persisted;
mod session;

pub use persisted::BadState;
pub use session::{End, Seen, Session};

use crate::accounting::{Counter, GpuTotals, Usage};
use crate::allocation::{AllocationKey, AllocationState};
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
    /// Allocations that ended and are not in the ledger yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub past_allocations: Vec<(AllocationKey, AllocationState)>,
    /// Totals by device label.
    #[serde(default, with = "pairs")]
    pub gpus: BTreeMap<GpuLabel, GpuTotals>,
    /// Errors by source and kind.
    #[serde(with = "pairs")]
    pub source_errors: BTreeMap<(Arc<str>, Arc<str>), Counter>,
    /// Failures to write, by what could not be written.
    #[serde(default)]
    pub write_errors: BTreeMap<Arc<str>, Counter>,
    /// Sessions whose series were left out because of the limit.
    pub dropped: Option<Counter>,
}

/// A device, between two samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceState {
    /// Its label at the last sample.
    pub label: GpuLabel,
    /// Its MIG profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mig_profile: Option<Arc<str>>,
    /// Its share of a GPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute_fraction: Option<f64>,
    /// Energy at the last reading, millijoules, and the boot clock then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy: Option<(u64, i64)>,
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
    /// Sessions now, and those that ended a short while ago.
    #[serde(with = "pairs")]
    pub sessions: BTreeMap<ProcessKey, Session>,
}

impl DeviceState {
    /// A device never read before.
    pub fn new(label: GpuLabel) -> Self {
        Self {
            label,
            mig_profile: None,
            compute_fraction: None,
            energy: None,
            cursor: None,
            listed_us: None,
            mps: false,
            hidden_clients: false,
            stray_us: None,
            accounted: BTreeSet::new(),
            present_us: 0,
            sessions: BTreeMap::new(),
        }
    }
}

impl State {
    /// The wall clock was set while the node ran: what was stamped before has these stamps by the new one.
    pub(crate) fn shift_clock(&mut self, by_us: i64) {
        self.each_stamp(&mut |at| *at = at.saturating_add(by_us).max(0));
        for device in self.devices.values_mut() {
            if let Some(cursor) = &mut device.cursor {
                cursor.clock_set(by_us);
            }
        }
    }

    /// The wall clock was set back, nobody knows by how much: what has a stamp of later has been there for long, as
    /// far as can be told.
    pub(crate) fn clock_set_back(&mut self, now_us: i64) {
        self.each_stamp(&mut |at| *at = (*at).min(now_us));
        self.each_counter(&mut |counter| counter.born_us = 0);
    }

    /// Every time of the wall clock that other times are compared with.
    fn each_stamp(&mut self, f: &mut impl FnMut(&mut i64)) {
        for device in self.devices.values_mut() {
            device.stray_us.iter_mut().for_each(&mut *f);
            f(&mut device.present_us);
            for session in device.sessions.values_mut() {
                f(&mut session.first_seen_us);
                f(&mut session.last_seen_us);
                let other = [
                    &mut session.last_active_us,
                    &mut session.measured_since_us,
                    &mut session.ended_us,
                    &mut session.process_start_us,
                ];
                other.into_iter().flatten().for_each(&mut *f);
            }
        }
        let sums = self.users.values_mut().chain(self.namespaces.values_mut()).chain(self.pods.values_mut());
        sums.for_each(|usage| f(&mut usage.last_us));
        let past = self.past_allocations.iter_mut().map(|(_, known)| known);
        for known in self.allocations.values_mut().chain(past) {
            f(&mut known.since_us);
            f(&mut known.seen_us);
            known.last_active_us.iter_mut().chain(&mut known.ended_us).for_each(&mut *f);
        }
        self.each_counter(&mut |counter| f(&mut counter.born_us));
    }

    fn each_counter(&mut self, f: &mut impl FnMut(&mut Counter)) {
        for session in self.devices.values_mut().flat_map(|device| device.sessions.values_mut()) {
            let [sole, share] = &mut session.energy_joules;
            let own = [&mut session.sm_seconds, &mut session.memory_byte_seconds, sole, share];
            own.into_iter().flatten().for_each(&mut *f);
        }
        let sums = self.users.values_mut().chain(self.namespaces.values_mut()).chain(self.pods.values_mut());
        sums.flat_map(Usage::counters_mut).for_each(&mut *f);
        for totals in self.gpus.values_mut() {
            let own = [&mut totals.unobserved, &mut totals.started, &mut totals.ended];
            own.into_iter().flatten().for_each(&mut *f);
        }
        let errors = self.source_errors.values_mut().chain(self.write_errors.values_mut());
        errors.chain(&mut self.dropped).for_each(f);
    }
}
