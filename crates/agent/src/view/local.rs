//! This node, by its driver. The state of `collect` is read, so that it is known since when sessions are, and left alone.

use super::{Looks, NodeView, View};
use crate::pipeline::Pipeline;
use crate::settings::Settings;
use crate::state_file;
use gpu_session_core::sample::Sample;
use gpu_session_sources::kubernetes::Mode;

/// The pipeline, and the last sample that it took.
pub struct Local {
    settings: Settings,
    pipeline: Pipeline,
    last: Option<Sample>,
}

impl Local {
    /// Looks once (`Mode::Once`) or again and again (`Mode::Watch`).
    pub fn new(settings: &Settings, mode: Mode) -> anyhow::Result<Self> {
        let state = state_file::peek(&settings.state_dir).unwrap_or_default();
        let pipeline = Pipeline::live(settings, state, mode)?;
        Ok(Self { settings: settings.clone(), pipeline, last: None })
    }

    /// What was read last.
    pub fn sample(&self) -> Option<&Sample> {
        self.last.as_ref()
    }
}

impl Looks for Local {
    fn look(&mut self) -> anyhow::Result<View> {
        // The first look has no reading before it to compare with.
        let sample = self.pipeline.sample_over(self.settings.window, self.last.is_none());
        let node = self.settings.labels.pairs().find(|(name, _)| *name == "node");
        let node = node.map(|(_, value)| value.to_owned());
        let view = NodeView::of(&self.pipeline.snapshot(&sample, i64::MAX), node);
        self.last = Some(sample);
        Ok(View { nodes: vec![view] })
    }
}
