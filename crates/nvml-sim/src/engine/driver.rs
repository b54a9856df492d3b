//! The driver's life: whether it is loaded, since when, and which version it is.

use super::Engine;
use crate::code::Code;
use crate::scenario::DriverEvent;

/// The driver at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DriverState<'a> {
    /// Whether it is there.
    pub loaded: bool,
    /// When it was loaded; `None` if it has been since before the scenario.
    pub since: Option<i64>,
    /// Its version.
    pub version: &'a str,
    /// How many changes there have been.
    pub changes: usize,
}

impl Engine {
    /// The driver at a moment.
    pub fn driver_at(&self, at: i64) -> DriverState<'_> {
        let past = self.events_until(at);
        let newest = past.last();
        DriverState {
            loaded: newest.is_none_or(DriverEvent::is_load),
            since: past.iter().rev().find(|event| event.is_load()).map(|event| event.at.0),
            version: past
                .iter()
                .rev()
                .find_map(DriverEvent::new_version)
                .unwrap_or(&self.scenario.driver.version),
            changes: past.len(),
        }
    }

    /// The version of NVML at a moment: it follows the driver's when that changes, behind the number of CUDA's
    /// generation.
    pub fn nvml_version_at(&self, at: i64) -> String {
        let nvml = &self.scenario.driver.nvml;
        let changed = self.events_until(at).iter().rev().find_map(DriverEvent::new_version);
        let generation = nvml.split('.').next().unwrap_or_default();
        changed.map_or_else(|| nvml.clone(), |version| format!("{generation}.{version}"))
    }

    /// What a client is told at a moment that initialised after so many changes. One that has seen the driver go knows
    /// nothing of the one that came after it.
    pub fn client_at(&self, changes: usize, at: i64) -> Result<(), Code> {
        let since = self.events_until(at).get(changes..).unwrap_or_default();
        if since.iter().any(|event| event.unloaded.is_some()) {
            return Err(Code::UNINITIALIZED);
        }
        if since.is_empty() { Ok(()) } else { Err(Code::LIB_RM_VERSION_MISMATCH) }
    }

    fn events_until(&self, at: i64) -> &[DriverEvent] {
        let events = &self.scenario.driver_events;
        &events[..events.partition_point(|event| event.at.0 <= at)]
    }
}
