//! What was used, summed, and the line that it makes: the same for both sources.

use super::Line;

const HOUR: f64 = 3_600.0;
const GIB: f64 = (1_u64 << 30) as f64;
const JOULES_PER_KWH: f64 = 3.6e6;

/// Sums of one line, times in whole GPUs. What nobody knew anything of is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    /// Sessions that ended.
    pub ended: Option<f64>,
    /// Seconds of sessions.
    pub session_seconds: Option<f64>,
    /// Seconds of SM time.
    pub sm_seconds: Option<f64>,
    /// Seconds of sessions in which SM time was measured.
    pub measured_seconds: Option<f64>,
    /// Byte-seconds of memory.
    pub memory_byte_seconds: Option<f64>,
    /// Joules.
    pub joules: Option<f64>,
    /// Seconds of allocations.
    pub allocated_seconds: Option<f64>,
    /// Seconds of allocations in which the device did not work.
    pub idle_seconds: Option<f64>,
}

impl Sums {
    /// Adds to one of the sums.
    pub fn add(sum: &mut Option<f64>, amount: f64) {
        *sum = Some(sum.unwrap_or(0.0) + amount);
    }

    /// The line; `None` where nothing was used: who came once is known for ever.
    pub fn line(&self, key: Vec<String>) -> Option<Line> {
        let Self { ended, session_seconds, sm_seconds, measured_seconds, memory_byte_seconds, .. } = *self;
        let Self { joules, allocated_seconds, idle_seconds, .. } = *self;
        let all = [ended, session_seconds, sm_seconds, measured_seconds, memory_byte_seconds, joules];
        if all.into_iter().chain([allocated_seconds, idle_seconds]).flatten().all(|sum| sum == 0.0) {
            return None;
        }
        let hours = |seconds: Option<f64>| seconds.map(|seconds| seconds / HOUR);
        let measured = measured_seconds.filter(|seconds| *seconds > 0.0);
        // Both are estimated at the ends of the period: together they may exceed what can be.
        let mean = sm_seconds.zip(measured).map(|(sm, measured)| (sm / measured).min(1.0));
        Some(Line {
            key,
            sessions: ended.unwrap_or(0.0).round() as u64,
            session_hours: hours(session_seconds),
            sm_hours: hours(sm_seconds),
            mean_utilization: mean,
            memory_gib_hours: hours(memory_byte_seconds).map(|byte_hours| byte_hours / GIB),
            energy_kwh: joules.map(|joules| joules / JOULES_PER_KWH),
            allocated_hours: hours(allocated_seconds),
            idle_allocated_hours: hours(idle_seconds),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_used_nothing_has_no_line_and_a_mean_is_at_most_one() {
        let nothing = Sums { ended: Some(0.0), sm_seconds: Some(0.0), ..Sums::default() };
        assert_eq!((nothing.line(vec![]), Sums::default().line(vec![])), (None, None));
        let sums = Sums {
            session_seconds: Some(7_200.0),
            sm_seconds: Some(3_601.0),
            measured_seconds: Some(3_600.0),
            joules: Some(3.6e6),
            idle_seconds: Some(0.0),
            ..Sums::default()
        };
        let line = sums.line(vec!["a".into()]).unwrap();
        assert_eq!((line.sessions, line.session_hours, line.mean_utilization), (0, Some(2.0), Some(1.0)));
        assert_eq!(
            (line.energy_kwh, line.memory_gib_hours, line.idle_allocated_hours),
            (Some(1.0), None, Some(0.0))
        );
    }
}
