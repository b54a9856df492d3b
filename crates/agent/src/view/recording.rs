//! A recording, sample by sample.

use super::{NodeView, View};
use crate::pipeline;
use crate::settings::Settings;
use gpu_session_core::monitor::Monitor;
use gpu_session_core::sample::Sample;
use gpu_session_core::state::State;
use gpu_session_sources::capture::Capture;
use std::path::Path;
use std::sync::Arc;

/// Its samples, and the state that comes of the first of them.
pub struct Recording {
    monitor: Monitor,
    samples: Vec<Sample>,
    state: State,
    /// How many samples the state has taken.
    taken: usize,
}

impl Recording {
    /// Reads a capture.
    pub fn load(path: &Path, settings: &Settings) -> anyhow::Result<Self> {
        let samples = Capture::load(path)?.samples;
        anyhow::ensure!(!samples.is_empty(), "{}: it holds no sample", path.display());
        Ok(Self { monitor: pipeline::monitor(settings), samples, state: State::default(), taken: 0 })
    }

    /// How many samples there are, one at least.
    pub fn samples(&self) -> usize {
        self.samples.len()
    }

    /// How things stood at a sample, counted from 0; at the last where there are fewer. To go back it is played from the
    /// beginning.
    pub fn view(&mut self, sample: usize) -> View {
        let at = sample.min(self.samples.len() - 1);
        if self.taken > at + 1 {
            (self.state, self.taken) = (State::default(), 0);
        }
        let Self { monitor, samples, state, taken } = self;
        for sample in &samples[*taken..=at] {
            monitor.step(state, sample);
            monitor.settle(state);
        }
        *taken = at + 1;
        let sample = &samples[at];
        let snapshot = monitor.snapshot(state, sample, sample.time_us, &Arc::new(state.counters()));
        View { nodes: vec![NodeView::of(&snapshot, None)] }
    }
}
