//! What was seen of each device and session since the start, the last of it.

use super::lines::Key;
use crate::view::View;
use std::collections::{BTreeMap, VecDeque};

/// Points that are kept of each; as many as fit side by side on a wide terminal.
const MOST_POINTS: usize = 240;
/// Points that are kept of all together, some 15 MiB: of more than 2 000 devices and sessions fewer of each.
const MOST_IN_ALL: usize = 480_000;

/// One look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    /// When, Unix seconds.
    pub(super) at: f64,
    /// Share of the time in which kernels ran, 0 to 1.
    pub(super) compute: Option<f32>,
    /// Memory in use, bytes.
    pub(super) memory: Option<u64>,
}

/// Points of all that is there now, the oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    tracks: BTreeMap<Key, VecDeque<Point>>,
}

impl History {
    /// Takes a view in; what is not in it is forgotten.
    pub(super) fn add(&mut self, view: &View) {
        let mut before = std::mem::take(&mut self.tracks);
        let tracks: usize = view.nodes.iter().map(|node| node.devices.len() + node.sessions.len()).sum();
        let most = most(tracks);
        for node in &view.nodes {
            let Some(at) = node.timestamp else { continue };
            let devices = node.devices.iter().map(|device| {
                let compute = device.utilization_ratio.map(|ratio| ratio as f32);
                (Key::device(&node.node, device), Point { at, compute, memory: device.memory_used_bytes })
            });
            let sessions = node.sessions.iter().map(|session| {
                let compute = session.sm_utilization_ratio.map(|ratio| ratio as f32);
                (Key::session(&node.node, session), Point { at, compute, memory: session.memory_used_bytes })
            });
            for (key, point) in devices.chain(sessions) {
                let mut track = before.remove(&key).unwrap_or_default();
                // A recording can be stepped back; a look that brings nothing new comes again.
                while track.back().is_some_and(|last| last.at >= at) {
                    track.pop_back();
                }
                if track.len() >= most {
                    track.drain(..=track.len() - most);
                    if track.capacity() > 4 * most {
                        track.shrink_to(most);
                    }
                }
                track.push_back(point);
                self.tracks.insert(key, track);
            }
        }
    }

    /// The points of one, the newest first.
    pub(super) fn newest(&self, key: &Key) -> impl Iterator<Item = &Point> {
        self.tracks.get(key).into_iter().flat_map(|track| track.iter().rev())
    }
}

/// Points that are kept of each of so many.
fn most(tracks: usize) -> usize {
    (MOST_IN_ALL / tracks.max(1)).clamp(1, MOST_POINTS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::NodeView;
    use gpu_session_api::Device;

    fn device(ratio: f64) -> Device {
        let text = format!(
            r#"{{"gpu": "0", "uuid": "GPU-1", "memory_used_bytes": 5, "utilization_ratio": {ratio}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn at(time: u32, devices: Vec<Device>) -> View {
        let node = NodeView { timestamp: Some(f64::from(time)), devices, ..NodeView::default() };
        View { nodes: vec![node] }
    }

    #[test]
    fn it_is_bounded_goes_back_and_forgets_what_is_gone() {
        let mut history = History::default();
        let key = Key::device(&None, &device(0.0));
        for time in 0..1000 {
            history.add(&at(time, vec![device(f64::from(time) / 1000.0)]));
            history.add(&at(time, vec![device(0.25)]));
        }
        assert_eq!(history.newest(&key).count(), MOST_POINTS);
        let newest = history.newest(&key).next().unwrap();
        assert_eq!(*newest, Point { at: 999.0, compute: Some(0.25), memory: Some(5) });
        history.add(&at(900, vec![device(0.5)]));
        assert_eq!(history.newest(&key).map(|point| point.at).take(2).collect::<Vec<_>>(), [900.0, 899.0]);
        history.add(&at(901, Vec::new()));
        assert_eq!(history.newest(&key).count(), 0);
    }

    #[test]
    fn many_tracks_have_fewer_points_each() {
        for tracks in [0, 1, 2000, 2001, 48_000, MOST_IN_ALL] {
            assert!(most(tracks) * tracks <= MOST_IN_ALL && most(tracks) > 0, "{tracks}");
        }
        let (mut history, one) = (History::default(), device(0.0));
        for time in 0..MOST_POINTS as u32 {
            history.add(&at(time, vec![one.clone()]));
        }
        let others = (0..MOST_IN_ALL / 10 - 1).map(|n| Device { uuid: format!("MIG-{n}"), ..one.clone() });
        history.add(&at(1000, others.chain([one.clone()]).collect()));
        assert_eq!(history.newest(&Key::device(&None, &one)).count(), 10);
    }
}
