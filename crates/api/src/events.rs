//! What changes: the events of `/api/v1/stream`.

use crate::{Device, Session, Source};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An event of the stream: its name there says which, its data is the document within.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// `session`: one that is new to the reader, or not as it was.
    Session(Box<Session>),
    /// `device`: one that is new to the reader, or not as it was.
    Device(Box<Device>),
    /// `session_ended`.
    SessionEnded(SessionEnded),
    /// `device_gone`.
    DeviceGone(DeviceGone),
    /// `sample`: the reader has all of this sample now.
    Sample(Sampled),
}

impl Event {
    /// Name of [`Event::Session`] in the stream.
    pub const SESSION: &'static str = "session";
    /// Name of [`Event::Device`] in the stream.
    pub const DEVICE: &'static str = "device";
    /// Name of [`Event::SessionEnded`] in the stream.
    pub const SESSION_ENDED: &'static str = "session_ended";
    /// Name of [`Event::DeviceGone`] in the stream.
    pub const DEVICE_GONE: &'static str = "device_gone";
    /// Name of [`Event::Sample`] in the stream.
    pub const SAMPLE: &'static str = "sample";
}

/// A session that is no more among those that are asked for: it ended, its device cannot be read, or the filter takes it
/// no longer.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, ToSchema)]
pub struct SessionEnded {
    /// Its public name.
    pub session: String,
    /// Device label.
    pub gpu: String,
}

/// A device that is no more measured: it was lost, or is not to be.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, ToSchema)]
pub struct DeviceGone {
    /// Device label.
    pub gpu: String,
    /// UUID.
    pub uuid: String,
}

/// The end of the events of a sample.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Sampled {
    /// When the sample was taken.
    pub timestamp: f64,
    /// The node's time when this was told, Unix seconds: less `timestamp` it is the age of the sample.
    pub now: f64,
    /// How each source fared.
    pub sources: Vec<Source>,
}
