//! The textfile, on a schedule of its own.

use super::settings::{ServeSettings, Textfile};
use super::ticker::Ticker;
use crate::outputs::textfile;
use crate::say::Conditions;
use crate::{REVISION, VERSION};
use gpu_session_core::metrics::{Context, Format, Labels, render};
use gpu_session_core::snapshot::Snapshot;

/// Writes the first snapshot at or after each of its ticks, so that a file is never written without news.
pub(super) struct TextfileWriter {
    textfile: Textfile,
    ticker: Ticker,
}

impl TextfileWriter {
    /// `None` where no textfile is named.
    pub(super) fn new(settings: &ServeSettings, now_us: i64) -> Option<Self> {
        let textfile = settings.textfile.clone()?;
        let ticker = Ticker::new(now_us, textfile.interval);
        Some(Self { textfile, ticker })
    }

    /// Whether a snapshot of this time is to be written.
    pub(super) fn is_due(&mut self, now_us: i64) -> bool {
        self.ticker.is_due(now_us)
    }

    pub(super) fn write(
        &self,
        snapshot: &Snapshot,
        labels: &Labels,
        reload: Option<(bool, f64)>,
        with_counters: bool,
        conditions: &mut Conditions,
    ) -> anyhow::Result<()> {
        let path = &self.textfile.path;
        let foreign = textfile::foreign(path);
        let problems = foreign.iter().map(|other| ("foreign", textfile::foreign_warning(other)));
        let problems: Vec<_> = problems.collect();
        if problems.is_empty() {
            conditions.ended("textfile folder", "no other file defines metrics of the same names now");
        } else {
            conditions.holds("textfile folder", &problems, snapshot.time_us);
        }
        let context = Context {
            version: VERSION,
            revision: REVISION,
            foreign_textfiles: Some(foreign.len() as u64),
            reload,
            without_counters: !with_counters,
            ..Context::default()
        };
        textfile::write(path, &render(snapshot, context, labels, Format::Text))
    }
}
