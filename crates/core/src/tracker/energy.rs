//! Energy of a device, given to the sessions that were on it.

use crate::accounting::Method;
use crate::sample::{Activity, Device, Sample};
use crate::state::{DeviceState, Session};
use crate::utilization::MAX_GAP_US;

/// Gives what the device used since the last reading to the only session, or shares it by SM time. What was used while
/// nobody worked, or while nobody can tell who did, is nobody's.
pub(super) fn share(device: &Device, sample: &Sample, state: &mut DeviceState) {
    let Some(now) = device.energy_millijoules else { return };
    if device.activity == Activity::Failed {
        // The next good answer says who worked in this time too.
        return;
    }
    let Some((before, at)) = state.energy.replace((now, sample.monotonic_us)) else { return };
    // The driver counts from when it was loaded.
    let Some(used) = now.checked_sub(before).filter(|_| sample.monotonic_us - at <= MAX_GAP_US) else {
        return;
    };
    let joules = used as f64 / 1e3;
    let there = |session: &&mut Session| {
        session.is_live() || session.used.session_seconds > 0.0 || busy(session) > 0.0
    };
    let mut present: Vec<&mut Session> = state.sessions.values_mut().filter(there).collect();
    if let [only] = present.as_mut_slice()
        && only.is_live()
        && only.first_seen_us < sample.time_us
    {
        only.used.energy_joules[Method::Sole as usize] = Some(joules);
        return;
    }
    let all: f64 = present.iter().map(|session| busy(session)).sum();
    for session in present.into_iter().filter(|session| all > 0.0 && busy(session) > 0.0) {
        session.used.energy_joules[Method::SmShare as usize] = Some(joules * busy(session) / all);
    }
}

/// SM time in this step, microseconds.
fn busy(session: &Session) -> f64 {
    session.busy_us[0]
}
