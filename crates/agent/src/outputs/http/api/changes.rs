//! A snapshot as events, made once for all who follow, and what of them is new to one of them.

use super::filter::{is, is_on, label};
use super::query::OfChanges;
use axum::body::Bytes;
use gpu_session_api::{DeviceGone, Event, Sampled, SessionEnded, Source};
use gpu_session_core::ids::GpuLabel;
use gpu_session_core::json;
use gpu_session_core::snapshot::Snapshot;
use serde::Serialize;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// All that a snapshot has to tell.
pub(in super::super) struct Changes {
    time_us: i64,
    sessions: Vec<Told>,
    devices: Vec<Told>,
    sources: Vec<Source>,
}

/// A session or a device as an event.
struct Told {
    /// Public name of the session, UUID of the device.
    id: String,
    gpu: GpuLabel,
    user: Option<String>,
    namespace: Option<String>,
    hash: u64,
    event: Bytes,
}

impl Changes {
    /// Of this snapshot.
    pub(in super::super) fn of(snapshot: &Snapshot) -> Self {
        let time_us = snapshot.time_us;
        let session = |session: gpu_session_api::Session| {
            let (event, hash) = event(time_us, Event::SESSION, &session);
            let gpu = label(&session.gpu);
            Told { id: session.session, gpu, user: session.user, namespace: session.namespace, hash, event }
        };
        let device = |device: gpu_session_api::Device| {
            let (event, hash) = event(time_us, Event::DEVICE, &device);
            Told { gpu: label(&device.gpu), id: device.uuid, user: None, namespace: None, hash, event }
        };
        Self {
            time_us,
            sessions: json::sessions(snapshot).sessions.into_iter().map(session).collect(),
            devices: json::devices(snapshot).devices.into_iter().map(device).collect(),
            sources: json::sources(snapshot),
        }
    }
}

/// An event in the words of the stream, and a hash of its data. JSON has no line end within.
fn event(time_us: i64, name: &str, data: &impl Serialize) -> (Bytes, u64) {
    let json = serde_json::to_string(data).unwrap_or_default();
    let mut hasher = DefaultHasher::new();
    json.hash(&mut hasher);
    (format!("id: {time_us}\nevent: {name}\ndata: {json}\n\n").into(), hasher.finish())
}

/// What one reader was told.
pub(super) struct Follower {
    asked: OfChanges,
    sessions: HashMap<String, (GpuLabel, u64)>,
    devices: HashMap<String, (GpuLabel, u64)>,
    last_us: Option<i64>,
}

impl Follower {
    /// One who knows nothing yet.
    pub(super) fn new(asked: OfChanges) -> Self {
        Self { asked, sessions: HashMap::new(), devices: HashMap::new(), last_us: None }
    }

    /// What is new to it at this time, in the words of the stream; `None` where it has this sample.
    pub(super) fn news(&mut self, changes: &Changes, now_us: i64) -> Option<Bytes> {
        if self.last_us == Some(changes.time_us) {
            return None;
        }
        self.last_us = Some(changes.time_us);
        let mut news = Vec::new();
        let asked = &self.asked;
        let device = |told: &Told| is_on(asked.gpu, told.gpu);
        let session = |told: &Told| {
            device(told)
                && is(asked.user.as_ref(), told.user.as_deref())
                && is(asked.namespace.as_ref(), told.namespace.as_deref())
        };
        let ended =
            differ(&mut news, &mut self.sessions, changes.sessions.iter().filter(|told| session(told)));
        for (session, gpu) in ended {
            let data = SessionEnded { session, gpu: gpu.to_string() };
            news.extend_from_slice(&event(changes.time_us, Event::SESSION_ENDED, &data).0);
        }
        let gone = differ(&mut news, &mut self.devices, changes.devices.iter().filter(|told| device(told)));
        for (uuid, gpu) in gone {
            let data = DeviceGone { gpu: gpu.to_string(), uuid };
            news.extend_from_slice(&event(changes.time_us, Event::DEVICE_GONE, &data).0);
        }
        let sampled = Sampled {
            timestamp: json::seconds(changes.time_us),
            now: json::seconds(now_us),
            sources: changes.sources.clone(),
        };
        news.extend_from_slice(&event(changes.time_us, Event::SAMPLE, &sampled).0);
        Some(news.into())
    }
}

/// Adds what is new or not as it was, and returns who is no more there.
fn differ<'a>(
    news: &mut Vec<u8>,
    known: &mut HashMap<String, (GpuLabel, u64)>,
    told: impl Iterator<Item = &'a Told>,
) -> Vec<(String, GpuLabel)> {
    let mut before = std::mem::take(known);
    for told in told {
        let (id, now) = match before.remove_entry(&told.id) {
            Some((id, (_, hash))) => (id, hash != told.hash),
            None => (told.id.clone(), true),
        };
        if now {
            news.extend_from_slice(&told.event);
        }
        known.insert(id, (told.gpu, told.hash));
    }
    let mut gone: Vec<_> = before.into_iter().map(|(id, (gpu, _))| (id, gpu)).collect();
    gone.sort_by(|(a, gpu), (b, other)| (gpu, a).cmp(&(other, b)));
    gone
}
