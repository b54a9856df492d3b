//! What a query takes. What is not known is taken by no condition but the empty one.

use super::query::{For, Gpu, OfAllocations, OfDevices, OfSessions, OfUsers};
use crate::view::filter::takes;
pub(super) use crate::view::filter::{is, label};
use gpu_session_api::{Allocation, Device, Session, User};
use gpu_session_core::ids::GpuLabel;

/// An index takes all instances of the GPU.
pub(super) fn is_on(wanted: Option<Gpu>, label: GpuLabel) -> bool {
    wanted.is_none_or(|Gpu(gpu)| takes(gpu, label))
}

fn is_idle(wanted: Option<For>, idle_seconds: Option<f64>) -> bool {
    wanted.is_none_or(|For(wanted)| idle_seconds.is_some_and(|idle| idle >= wanted.as_secs_f64()))
}

impl OfSessions {
    /// Whether it takes the session, `now` in Unix seconds.
    pub(super) fn takes(&self, session: &Session, now: f64) -> bool {
        let idle_since = session
            .measured_since_time
            .map(|since| session.last_active_time.map_or(since, |at| at.max(since)));
        is(self.session.as_ref(), Some(&session.session))
            && is_on(self.gpu, label(&session.gpu))
            && is(self.user.as_ref(), session.user.as_deref())
            && is(self.namespace.as_ref(), session.namespace.as_deref())
            && is(self.pod.as_ref(), session.pod.as_deref())
            && is(self.container.as_ref(), session.container.as_deref())
            && is(self.command.as_ref(), session.command.as_deref())
            && self.pid.is_none_or(|pid| pid == session.pid)
            && self.allocated.is_none_or(|wanted| session.allocated == Some(wanted))
            && is_idle(self.idle_for, idle_since.map(|since| now - since))
    }
}

impl OfDevices {
    /// Whether it takes the device.
    pub(super) fn takes(&self, device: &Device) -> bool {
        let named = |wanted: &String| {
            let is = |uuid: &String| uuid.eq_ignore_ascii_case(wanted);
            is(&device.uuid) || device.parent_uuid.as_ref().is_some_and(is)
        };
        let held_by = |wanted: &String| {
            if wanted.is_empty() {
                return device.unattributed.as_ref().is_some_and(|reasons| !reasons.is_empty());
            }
            device.users.as_ref().is_some_and(|users| users.iter().any(|user| user.user == *wanted))
        };
        is_on(self.gpu, label(&device.gpu))
            && self.uuid.as_ref().is_none_or(named)
            && self.user.as_ref().is_none_or(held_by)
            && self.free.is_none_or(|free| device.allocations.is_some_and(|held| (held == 0) == free))
    }
}

impl OfUsers {
    /// Whether it takes the user.
    pub(super) fn takes(&self, user: &User) -> bool {
        is(self.user.as_ref(), Some(&user.user))
            && user.devices.iter().any(|device| is_on(self.gpu, label(&device.gpu)))
    }
}

impl OfAllocations {
    /// Whether it takes the allocation.
    pub(super) fn takes(&self, allocation: &Allocation) -> bool {
        is_on(self.gpu, label(&allocation.gpu))
            && is(self.namespace.as_ref(), Some(&allocation.namespace))
            && is(self.pod.as_ref(), Some(&allocation.pod))
            && is(self.container.as_ref(), Some(&allocation.container))
            && is(self.user.as_ref(), allocation.user.as_deref())
            && is_idle(self.idle_for, allocation.idle_seconds)
    }
}
