//! What the ledger keeps: sessions and allocations with their totals, those that ended and those that go on.

use crate::accounting::Counter;
use crate::allocation::{AllocationKey, AllocationState};
use crate::ids::{GpuLabel, ProcessKey, SessionId, session_id};
use crate::state::{DeviceState, Session, State};
use std::sync::Arc;

/// A device as a row names it.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceOfRow {
    /// Label.
    pub gpu: GpuLabel,
    /// UUID.
    pub uuid: Arc<str>,
    /// MIG profile.
    pub mig_profile: Option<Arc<str>>,
    /// Share of a GPU; `None` where unknown.
    pub compute_fraction: Option<f64>,
}

/// A session and what it used so far. `id` and `opened_us` name the row: written again, it takes the place of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionRow {
    /// Public name.
    pub id: SessionId,
    /// What the clock said when it was first seen, Unix microseconds; a process that comes back to a device after long
    /// is a further row.
    pub opened_us: i64,
    /// Where.
    pub device: DeviceOfRow,
    /// Host pid.
    pub pid: u32,
    /// What is known of it. Its counters are in time of the device.
    pub session: Session,
}

impl SessionRow {
    /// Whether it is over.
    pub fn has_ended(&self) -> bool {
        !self.session.is_live()
    }

    /// How it ended, where it did and that is known: `exited`, `exit:1`, `signal:9`, `released`, `device_gone`, `reboot`.
    pub fn end(&self) -> Option<String> {
        self.session.end.map(|end| end.to_string())
    }

    /// SM seconds of the device; `None` where not measured.
    pub fn sm_seconds(&self) -> Option<f64> {
        value(self.session.sm_seconds)
    }

    /// Byte-seconds of memory; `None` where not known.
    pub fn memory_byte_seconds(&self) -> Option<f64> {
        value(self.session.memory_byte_seconds)
    }

    /// Joules by [`crate::accounting::Method`].
    pub fn energy_joules(&self) -> [Option<f64>; 2] {
        self.session.energy_joules.map(value)
    }
}

fn value(counter: Option<Counter>) -> Option<f64> {
    counter.map(|counter| counter.value)
}

/// An allocation and its totals so far; device, namespace, pod, container and `opened_us` name the row.
#[derive(Clone, Debug, PartialEq)]
pub struct AllocationRow {
    /// Where.
    pub device: DeviceOfRow,
    /// Device UUID, namespace, pod and container.
    pub key: AllocationKey,
    /// What is known of it.
    pub allocation: AllocationState,
}

/// What is to be written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// Sessions.
    pub sessions: Vec<SessionRow>,
    /// Allocations.
    pub allocations: Vec<AllocationRow>,
}

impl Rows {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.allocations.is_empty()
    }
}

/// What ended and is counted but not in the ledger; with `running`, what goes on too.
pub fn rows(state: &State, running: bool) -> Rows {
    let sessions = state.devices.iter().flat_map(|(uuid, device)| {
        let of_device = device.sessions.iter().map(move |(key, session)| (uuid, device, key, session));
        of_device.filter(move |(.., session)| is_to_be_written(session, running))
    });
    let past = state.past_allocations.iter().filter(|(_, held)| held.pending == (0.0, 0.0));
    let current = state.allocations.iter().filter(|_| running);
    let allocations = past.map(|(key, held)| (key, held)).chain(current);
    Rows {
        sessions: sessions.map(|(uuid, device, key, session)| row(uuid, device, key, session)).collect(),
        allocations: allocations.map(|(key, held)| allocation_row(key, held)).collect(),
    }
}

fn is_to_be_written(session: &Session, running: bool) -> bool {
    if session.is_live() { running } else { session.settled && !session.ledgered }
}

/// Notes that the rows of [`rows`] are in the ledger.
pub fn written(state: &mut State) {
    for session in state.devices.values_mut().flat_map(|device| device.sessions.values_mut()) {
        session.ledgered |= is_to_be_written(session, false);
    }
    state.past_allocations.retain(|(_, held)| held.pending != (0.0, 0.0));
}

fn row(uuid: &Arc<str>, device: &DeviceState, key: &ProcessKey, session: &Session) -> SessionRow {
    let device = DeviceOfRow {
        gpu: device.label,
        uuid: Arc::clone(uuid),
        mig_profile: device.mig_profile.clone(),
        compute_fraction: device.compute_fraction,
    };
    SessionRow {
        id: session_id(uuid, key),
        opened_us: session.opened_us,
        device,
        pid: key.pid,
        session: session.clone(),
    }
}

fn allocation_row(key: &AllocationKey, held: &AllocationState) -> AllocationRow {
    let device = DeviceOfRow {
        gpu: held.gpu,
        uuid: Arc::clone(&key.0),
        mig_profile: None,
        compute_fraction: held.compute_fraction,
    };
    AllocationRow { device, key: key.clone(), allocation: held.clone() }
}
