//! The documents of the API from a snapshot: `ps --json` and `/api/v1`.

use crate::snapshot::{AllocationView, DeviceView, SessionView, Snapshot};
use gpu_session_api::{
    Allocation, Allocations, Device, DeviceSessions, Devices, ReasonSessions, Session, Sessions, Source,
    User, UserSessions, Users,
};
use std::collections::BTreeMap;
use std::sync::Arc;

pub use gpu_session_api::SCHEMA_VERSION;

/// All sessions of a node.
pub fn sessions(snapshot: &Snapshot) -> Sessions {
    Sessions {
        schema_version: SCHEMA_VERSION,
        timestamp: seconds(snapshot.time_us),
        sources: sources(snapshot),
        sessions: snapshot.sessions.iter().filter(|view| view.live).map(session).collect(),
        next_cursor: None,
    }
}

/// All devices of a node.
pub fn devices(snapshot: &Snapshot) -> Devices {
    Devices {
        schema_version: SCHEMA_VERSION,
        timestamp: seconds(snapshot.time_us),
        sources: sources(snapshot),
        driver_version: text(&snapshot.driver_version),
        devices: snapshot.devices.iter().map(device).collect(),
        next_cursor: None,
    }
}

/// All users of a node.
pub fn users(snapshot: &Snapshot) -> Users {
    let mut users: BTreeMap<&Arc<str>, User> = BTreeMap::new();
    for device in &snapshot.devices {
        for (name, sessions) in device.occupancy.iter().flat_map(|occupancy| &occupancy.users) {
            let user = users.entry(name).or_insert_with(|| User {
                user: name.to_string(),
                sessions: 0,
                devices: Vec::new(),
                memory_used_bytes: None,
                sm_utilization: None,
            });
            user.sessions += sessions;
            user.devices.push(DeviceSessions { gpu: device.facts.label.to_string(), sessions: *sessions });
        }
    }
    for (name, user) in &mut users {
        let own = || {
            snapshot.sessions.iter().filter(|v| v.live && v.session.attribution.user.as_ref() == Some(name))
        };
        // Those beyond the limit of sessions have no view.
        if own().count() as u64 == user.sessions {
            user.memory_used_bytes = own().map(|view| view.session.memory_bytes).sum();
            user.sm_utilization = own().map(|view| view.session.sm_share()).sum();
        }
    }
    Users {
        schema_version: SCHEMA_VERSION,
        timestamp: seconds(snapshot.time_us),
        sources: sources(snapshot),
        users: users.into_values().collect(),
        next_cursor: None,
    }
}

/// All allocations of a node.
pub fn allocations(snapshot: &Snapshot) -> Allocations {
    Allocations {
        schema_version: SCHEMA_VERSION,
        timestamp: seconds(snapshot.time_us),
        sources: sources(snapshot),
        allocations: snapshot.allocations.iter().map(allocation).collect(),
        next_cursor: None,
    }
}

/// How each source fared.
pub fn sources(snapshot: &Snapshot) -> Vec<Source> {
    let source = |health: &crate::sample::SourceHealth| Source {
        source: health.source.to_string(),
        up: health.up,
        duration_seconds: health.duration_us as f64 / 1e6,
        errors: health.errors.iter().map(|error| error.message.clone()).collect(),
    };
    snapshot.health.iter().map(source).collect()
}

/// A session.
pub fn session(view: &SessionView) -> Session {
    let session = &view.session;
    let attribution = &session.attribution;
    let place = session.place.as_ref();
    let share = |engine: usize| session.shares.map(|shares| shares[engine]);
    Session {
        session: view.id.to_string(),
        gpu: view.gpu.to_string(),
        device_uuid: view.device_uuid.to_string(),
        mig_profile: text(&view.mig_profile),
        pid: view.pid,
        command: text(&session.command),
        start_time: seconds(session.first_seen_us),
        uid: session.uid,
        user: text(&attribution.user),
        user_rule: text(&attribution.user_rule),
        namespace: text(&attribution.namespace),
        pod: text(&attribution.pod),
        container: text(&attribution.container),
        pod_uid: place.and_then(|place| text(&place.pod_uid)),
        container_id: place.and_then(|place| text(&place.container_id)),
        place: place.map(ToString::to_string).filter(|place| !place.is_empty()),
        attributed_by: text(&attribution.attributed_by),
        memory_used_bytes: session.memory_bytes,
        sm_utilization_ratio: session.sm_share(),
        memory_busy_ratio: share(1),
        encoder_utilization_ratio: share(2),
        decoder_utilization_ratio: share(3),
        sm_seconds: session.sm_seconds.map(|counter| counter.value),
        memory_byte_seconds: session.memory_byte_seconds.map(|counter| counter.value),
        last_active_time: session.last_active_us.map(seconds),
        measured_since_time: session.measured_since_us.map(seconds),
        allocated: view.allocated,
    }
}

/// A device.
pub fn device(view: &DeviceView) -> Device {
    let occupancy = view.occupancy.as_ref();
    let users = |users: &[(Arc<str>, u64)]| {
        users.iter().map(|(user, n)| UserSessions { user: user.to_string(), sessions: *n }).collect()
    };
    let reasons = |reasons: &[(Arc<str>, u64)]| {
        reasons.iter().map(|(why, n)| ReasonSessions { reason: why.to_string(), sessions: *n }).collect()
    };
    let facts = &view.facts;
    Device {
        gpu: facts.label.to_string(),
        uuid: facts.uuid.to_string(),
        parent_uuid: text(&facts.parent_uuid),
        model: text(&facts.model),
        mig_profile: text(&facts.mig_profile),
        pci_bus_id: text(&facts.pci_bus_id),
        compute_fraction: facts.compute_fraction,
        memory_total_bytes: facts.memory_total_bytes,
        memory_used_bytes: view.memory_used_bytes,
        utilization_ratio: view.utilization_ratio,
        energy_joules: view.energy_joules,
        sessions: occupancy.map(|occupancy| occupancy.sessions),
        users: occupancy.map(|occupancy| users(&occupancy.users)),
        unattributed: occupancy.map(|occupancy| reasons(&occupancy.unattributed)),
        allocations: view.allocations,
    }
}

/// An allocation.
pub fn allocation(view: &AllocationView) -> Allocation {
    Allocation {
        gpu: view.gpu.to_string(),
        device_uuid: view.device_uuid.to_string(),
        namespace: view.namespace.to_string(),
        pod: view.pod.to_string(),
        container: view.container.to_string(),
        user: text(&view.user),
        sessions: view.sessions,
        idle_seconds: view.idle_us.map(|us| us as f64 / 1e6),
    }
}

fn text(slot: &Option<Arc<str>>) -> Option<String> {
    slot.as_deref().map(str::to_owned)
}

/// Unix seconds of Unix microseconds.
pub fn seconds(us: i64) -> f64 {
    us as f64 / 1e6
}
