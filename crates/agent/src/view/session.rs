//! What is worked out of a session for people.

use super::NodeView;
use gpu_session_api::Session;

/// For how long a session has done nothing, as far as that is known.
///
/// Metrics do not say since when it was measured without a gap. There its last work counts, or of a session that never did
/// any its begin, where it is measured and idle now.
pub fn idle_seconds(session: &Session, now: f64) -> Option<f64> {
    let since = match (session.measured_since_time, session.last_active_time) {
        (Some(measured), Some(active)) => measured.max(active),
        (Some(measured), None) => measured,
        (None, active) => {
            session.sm_utilization_ratio.filter(|ratio| *ratio <= 0.0)?;
            match active {
                Some(active) => active,
                None => session.sm_seconds.filter(|used| *used <= 0.0).map(|_| session.start_time)?,
            }
        }
    };
    Some((now - since).max(0.0))
}

/// Share of its device's memory that it holds, 0 to 1.
pub fn memory_ratio(session: &Session, node: &NodeView) -> Option<f64> {
    let device = node.devices.iter().find(|device| device.uuid == session.device_uuid)?;
    let total = device.memory_total_bytes.filter(|total| *total > 0)?;
    Some((session.memory_used_bytes? as f64 / total as f64).min(1.0))
}

/// The pod, or where else it runs.
pub fn place(session: &Session) -> Option<String> {
    match (&session.namespace, &session.pod) {
        (Some(namespace), Some(pod)) => Some(format!("{namespace}/{pod}")),
        _ => session.place.clone(),
    }
}

/// Sum of counts; `None` where one is not known.
pub fn sum(mut counts: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    counts.try_fold(0_u64, |sum, count| Some(sum.saturating_add(count?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(measured: Option<f64>, active: Option<f64>, sm: Option<f64>, used: Option<f64>) -> Session {
        let text = serde_json::json!({
            "session": "a", "gpu": "0", "device_uuid": "GPU-a", "pid": 1, "start_time": 100.0,
            "measured_since_time": measured, "last_active_time": active, "sm_utilization_ratio": sm, "sm_seconds": used,
        });
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn idle_is_what_is_known_to_be() {
        for (measured, active, sm, used, wanted) in [
            // By the driver: since the later of the two.
            (Some(200.0), Some(150.0), Some(0.5), Some(9.0), Some(800.0)),
            (Some(200.0), Some(900.0), None, None, Some(100.0)),
            (Some(200.0), None, None, None, Some(800.0)),
            // By metrics: only while it is measured and idle.
            (None, Some(400.0), Some(0.0), Some(9.0), Some(600.0)),
            (None, Some(400.0), Some(0.1), Some(9.0), None),
            (None, Some(400.0), None, Some(9.0), None),
            (None, None, Some(0.0), Some(0.0), Some(900.0)),
            (None, None, Some(0.0), None, None),
        ] {
            let session = session(measured, active, sm, used);
            assert_eq!(idle_seconds(&session, 1000.0), wanted, "{session:?}");
        }
    }
}
