//! The state that comes of a stream.

use gpu_session_api::{Device, Event, Sampled, Session};
use std::collections::BTreeMap;

/// How things stand by the events of one stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    /// Sessions, by their public names.
    pub sessions: BTreeMap<String, Session>,
    /// Devices, by UUID.
    pub devices: BTreeMap<String, Device>,
    /// The sample that all of it is of; `None` before the first.
    pub sample: Option<Sampled>,
}

impl View {
    /// Takes an event in; returns whether the view is whole now: that of a sample.
    pub fn apply(&mut self, event: Event) -> bool {
        match event {
            Event::Session(session) => {
                self.sessions.insert(session.session.clone(), *session);
            }
            Event::Device(device) => {
                self.devices.insert(device.uuid.clone(), *device);
            }
            Event::SessionEnded(ended) => {
                self.sessions.remove(&ended.session);
            }
            Event::DeviceGone(gone) => {
                self.devices.remove(&gone.uuid);
            }
            Event::Sample(sample) => {
                self.sample = Some(sample);
                return true;
            }
        }
        false
    }
}
