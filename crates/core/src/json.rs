//! JSON of the snapshot: `ps --json` and `/api/v1/sessions`.

use crate::snapshot::{SessionView, Snapshot};
use serde::Serialize;
use std::sync::Arc;

/// Version of the JSON documents; grows when a field changes its meaning or goes.
pub const SCHEMA_VERSION: u32 = 1;

/// All sessions of a node.
#[derive(Debug, Serialize)]
pub struct Sessions<'a> {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Unix seconds of the sample.
    pub timestamp: f64,
    /// How each source fared.
    pub sources: Vec<Source<'a>>,
    /// Sessions on a device now.
    pub sessions: Vec<SessionJson<'a>>,
}

/// A source and how it fared.
#[derive(Debug, Serialize)]
pub struct Source<'a> {
    /// Name.
    pub source: &'a str,
    /// Whether it answered everything.
    pub up: bool,
    /// Seconds that the reading took.
    pub duration_seconds: f64,
    /// What went wrong.
    pub errors: Vec<&'a str>,
}

/// A session; what is unknown is `null`.
#[derive(Debug, Serialize)]
pub struct SessionJson<'a> {
    session: String,
    gpu: String,
    device_uuid: &'a str,
    mig_profile: Option<&'a str>,
    pid: u32,
    command: Option<&'a str>,
    start_time: f64,
    uid: Option<u32>,
    user: Option<&'a str>,
    user_rule: Option<&'a str>,
    namespace: Option<&'a str>,
    pod: Option<&'a str>,
    container: Option<&'a str>,
    pod_uid: Option<&'a str>,
    container_id: Option<&'a str>,
    place: Option<String>,
    attributed_by: Option<&'a str>,
    memory_used_bytes: Option<u64>,
    sm_utilization_ratio: Option<f64>,
    memory_busy_ratio: Option<f64>,
    encoder_utilization_ratio: Option<f64>,
    decoder_utilization_ratio: Option<f64>,
    sm_seconds: Option<f64>,
    memory_byte_seconds: Option<f64>,
    last_active_time: Option<f64>,
    allocated: Option<bool>,
}

/// The document for a snapshot.
pub fn sessions(snapshot: &Snapshot) -> Sessions<'_> {
    let sources = snapshot.health.iter().map(|health| Source {
        source: &health.source,
        up: health.up,
        duration_seconds: health.duration_us as f64 / 1e6,
        errors: health.errors.iter().map(|error| error.message.as_str()).collect(),
    });
    Sessions {
        schema_version: SCHEMA_VERSION,
        timestamp: seconds(snapshot.time_us),
        sources: sources.collect(),
        sessions: snapshot.sessions.iter().filter(|view| view.live).map(session).collect(),
    }
}

fn session(view: &SessionView) -> SessionJson<'_> {
    let session = &view.session;
    let attribution = &session.attribution;
    let place = session.place.as_ref();
    let share = |engine: usize| session.shares.map(|shares| shares[engine]);
    SessionJson {
        session: view.id.to_string(),
        gpu: view.gpu.to_string(),
        device_uuid: &view.device_uuid,
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
        allocated: view.allocated,
    }
}

fn text(slot: &Option<Arc<str>>) -> Option<&str> {
    slot.as_deref()
}

/// Unix seconds of Unix microseconds.
pub fn seconds(us: i64) -> f64 {
    us as f64 / 1e6
}
