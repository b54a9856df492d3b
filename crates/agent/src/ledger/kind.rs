//! The two things that are kept, by their columns.

use gpu_session_core::ledger::{AllocationRow, DeviceOfRow, SessionRow};
use rusqlite::types::Value;
use std::sync::Arc;

/// A table of things, and the table of what they used by time.
pub(super) struct Kind {
    /// Table of the things.
    pub(super) table: &'static str,
    /// Table of slices.
    pub(super) uses: &'static str,
    /// Columns that name a thing.
    pub(super) key: &'static [&'static str],
    /// Columns in which the newest value counts.
    pub(super) facts: &'static [&'static str],
    /// Columns in which the highest value counts.
    pub(super) peaks: &'static [&'static str],
    /// Columns that are sums of its slices, in both tables; the first is the time that it lasted.
    pub(super) amounts: &'static [&'static str],
    /// When it began is what was first said.
    pub(super) keeps_start: bool,
}

/// Sessions.
pub(super) const SESSION: Kind = Kind {
    table: "session",
    uses: "session_use",
    key: &["session", "opened_us"],
    facts: &[
        "gpu",
        "device_uuid",
        "mig_profile",
        "compute_fraction",
        "pid",
        "process_start_us",
        "command",
        "uid",
        "user",
        "user_rule",
        "namespace",
        "pod",
        "container",
        "pod_uid",
        "container_id",
        "place",
        "attributed_by",
        "seen",
        "ended_how",
    ],
    peaks: &["memory_peak_bytes"],
    amounts: &[
        "session_seconds",
        "measured_seconds",
        "sm_seconds",
        "memory_byte_seconds",
        "energy_sole_joules",
        "energy_sm_share_joules",
    ],
    keeps_start: false,
};

/// Allocations.
pub(super) const ALLOCATION: Kind = Kind {
    table: "allocation",
    uses: "allocation_use",
    key: &["device_uuid", "namespace", "pod", "container", "opened_us"],
    facts: &["gpu", "compute_fraction", "pod_uid", "user"],
    peaks: &[],
    amounts: &["allocated_seconds", "idle_seconds"],
    keeps_start: true,
};

/// All kinds.
pub(super) const KINDS: [&Kind; 2] = [&SESSION, &ALLOCATION];

/// A thing with its values, in the order of its kind's columns.
pub(super) struct Thing {
    /// What names it.
    pub(super) key: Vec<Value>,
    /// Facts.
    pub(super) facts: Vec<Value>,
    /// Peaks.
    pub(super) peaks: Vec<Value>,
    /// Amounts; `None` where not known.
    pub(super) amounts: Vec<Option<f64>>,
    /// From when to when it was seen so far.
    pub(super) start_us: i64,
    /// See there.
    pub(super) end_us: i64,
    /// Whether it is over.
    pub(super) ended: bool,
}

/// A session as a thing.
pub(super) fn session(row: &SessionRow) -> Thing {
    let (session, whose) = (&row.session, &row.session.attribution);
    let place = session.place.as_ref();
    let [gpu, uuid, mig_profile, compute_fraction] = device(&row.device);
    let [sole, share] = row.energy_joules();
    Thing {
        key: vec![row.id.to_string().into(), row.opened_us.into()],
        facts: vec![
            gpu,
            uuid,
            mig_profile,
            compute_fraction,
            row.pid.into(),
            session.process_start_us.into(),
            text(session.command.as_ref()),
            session.uid.into(),
            text(whose.user.as_ref()),
            text(whose.user_rule.as_ref()),
            text(whose.namespace.as_ref()),
            text(whose.pod.as_ref()),
            text(whose.container.as_ref()),
            text(place.and_then(|place| place.pod_uid.as_ref())),
            text(place.and_then(|place| place.container_id.as_ref())),
            place.map(ToString::to_string).filter(|name| !name.is_empty()).into(),
            text(whose.attributed_by.as_ref()),
            session.seen.name().to_owned().into(),
            row.end().filter(|_| row.has_ended()).into(),
        ],
        peaks: vec![session.memory_peak_bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX)).into()],
        amounts: vec![
            Some(session.session_seconds),
            Some(session.measured_seconds),
            row.sm_seconds(),
            row.memory_byte_seconds(),
            sole,
            share,
        ],
        start_us: session.first_seen_us,
        end_us: session.last_seen_us,
        ended: row.has_ended(),
    }
}

/// An allocation as a thing.
pub(super) fn allocation(row: &AllocationRow) -> Thing {
    let (held, (uuid, namespace, pod, container)) = (&row.allocation, &row.key);
    let [gpu, _, _, compute_fraction] = device(&row.device);
    let names = [uuid, namespace, pod, container].map(|name| text(Some(name)));
    // It is counted from when the container was given the device, which may be before it was first seen.
    let counted_from_us = held.seen_us - (held.allocated_seconds * 1e6).round() as i64;
    Thing {
        key: names.into_iter().chain([held.opened_us.into()]).collect(),
        facts: vec![gpu, compute_fraction, text(held.pod_uid.as_ref()), text(held.user.as_ref())],
        peaks: Vec::new(),
        amounts: vec![Some(held.allocated_seconds), Some(held.idle_seconds)],
        start_us: held.opened_us.min(counted_from_us),
        end_us: held.seen_us,
        ended: held.ended_us.is_some(),
    }
}

/// Label, UUID, MIG profile, share of a GPU.
fn device(device: &DeviceOfRow) -> [Value; 4] {
    let DeviceOfRow { gpu, uuid, mig_profile, compute_fraction } = device;
    let gpu = gpu.to_string().into();
    [gpu, text(Some(uuid)), text(mig_profile.as_ref()), (*compute_fraction).into()]
}

fn text(text: Option<&Arc<str>>) -> Value {
    text.map(ToString::to_string).into()
}
