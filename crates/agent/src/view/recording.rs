//! A recording, sample by sample.

use super::{Looks, NodeView, View};
use crate::pipeline;
use crate::settings::Settings;
use gpu_session_core::state::State;
use gpu_session_sources::capture::Capture;
use std::path::Path;
use std::sync::Arc;

/// The views of all samples, and which comes next.
pub struct Recording {
    views: Vec<View>,
    next: usize,
}

impl Recording {
    /// Reads a capture.
    pub fn load(path: &Path, settings: &Settings) -> anyhow::Result<Self> {
        let capture = Capture::load(path)?;
        anyhow::ensure!(!capture.samples.is_empty(), "{}: it holds no sample", path.display());
        let monitor = pipeline::monitor(settings);
        let mut state = State::default();
        let views = capture.samples.iter().map(|sample| {
            monitor.step(&mut state, sample);
            monitor.settle(&mut state);
            let snapshot = monitor.snapshot(&state, sample, sample.time_us, &Arc::new(state.counters()));
            View { nodes: vec![NodeView::of(&snapshot, None)] }
        });
        Ok(Self { views: views.collect(), next: 0 })
    }

    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.views.len()
    }

    /// Whether there are none, which `load` rules out.
    pub fn is_empty(&self) -> bool {
        self.views.is_empty()
    }

    /// Goes to a sample, counted from 0; the last where there are fewer.
    pub fn seek(&mut self, to: usize) {
        self.next = to.min(self.views.len() - 1);
    }
}

impl Looks for Recording {
    /// The next sample; the last one again at the end.
    fn look(&mut self) -> anyhow::Result<View> {
        let view = self.views[self.next].clone();
        self.seek(self.next + 1);
        Ok(view)
    }
}
