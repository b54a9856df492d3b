//! The last snapshot, as it is answered.

use super::api::Changes;
use crate::{REVISION, VERSION};
use axum::body::Bytes;
use gpu_session_core::metrics::{Context, Format, Labels, render_only, table};
use gpu_session_core::snapshot::{CounterView, Snapshot};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

const END_OF_OPENMETRICS: &str = "# EOF\n";

/// A snapshot, and when it was taken.
#[derive(Clone)]
pub struct Reading {
    /// The snapshot.
    pub snapshot: Arc<Snapshot>,
    /// By the clock that is never set, microseconds; `None` before the first sample.
    pub taken_us: Option<i64>,
}

impl Reading {
    /// What there is before the first sample: the counters of the run before.
    pub fn before_the_first(counters: Arc<CounterView>) -> Self {
        Self { snapshot: Arc::new(Snapshot { counters, ..Snapshot::default() }), taken_us: None }
    }
}

/// A snapshot as it is answered. What is the same in all answers is rendered when it is first asked for, and shared.
pub struct Published {
    /// The snapshot.
    pub reading: Reading,
    labels: Labels,
    reload: Option<(bool, f64)>,
    stale_after_us: i64,
    text: Rendered,
    open_metrics: Rendered,
    changes: OnceLock<Changes>,
}

/// Everything but the age, in one format.
#[derive(Default)]
struct Rendered {
    body: OnceLock<Bytes>,
    /// How often it was asked for.
    asked: AtomicUsize,
}

impl Published {
    /// `reload` is of [`Context::reload`]; older than `stale_after_us` the snapshot is stale.
    pub fn new(reading: Reading, labels: Labels, reload: Option<(bool, f64)>, stale_after_us: i64) -> Self {
        let (text, open_metrics) = (Rendered::default(), Rendered::default());
        let changes = OnceLock::new();
        Self { reading, labels, reload, stale_after_us, text, open_metrics, changes }
    }

    /// Renders what was asked for more than once of the one before: whoever asks that often is not to wait for it.
    pub fn prepare(&self, before: &Self) {
        for format in [Format::Text, Format::OpenMetrics] {
            if before.rendered(format).asked.load(Relaxed) > 1 {
                self.body(format);
            }
        }
    }

    fn rendered(&self, format: Format) -> &Rendered {
        match format {
            Format::Text => &self.text,
            Format::OpenMetrics => &self.open_metrics,
        }
    }

    /// What is answered, but for the age.
    pub(super) fn asked(&self, format: Format) -> Bytes {
        self.rendered(format).asked.fetch_add(1, Relaxed);
        self.body(format)
    }

    fn body(&self, format: Format) -> Bytes {
        let render = || {
            let context =
                Context { version: VERSION, revision: REVISION, reload: self.reload, ..Context::default() };
            // Before the first sample nothing is known of devices, and counters of before could be of other ones.
            let all = self.reading.taken_us.is_some();
            let snapshot = &self.reading.snapshot;
            let text = render_only(snapshot, context, &self.labels, format, |metric| {
                all || metric.section == table::COLLECTOR
            });
            Bytes::from(without_end(text))
        };
        self.rendered(format).body.get_or_init(render).clone()
    }

    /// The same as events; `None` before the first sample.
    pub(super) fn changes(&self) -> Option<&Changes> {
        self.reading.taken_us?;
        Some(self.changes.get_or_init(|| Changes::of(&self.reading.snapshot)))
    }

    /// The metrics of the age, and the end.
    pub(super) fn tail(&self, now_us: i64, format: Format) -> Bytes {
        let Some(taken_us) = self.reading.taken_us else { return end(String::new(), format) };
        let age_us = (now_us - taken_us).max(0);
        let context =
            Context { age: Some((age_us as f64 / 1e6, age_us > self.stale_after_us)), ..Context::default() };
        let text = render_only(&Snapshot::default(), context, &self.labels, format, |metric| {
            table::AGE.contains(&metric.name)
        });
        end(without_end(text), format)
    }
}

fn without_end(mut text: String) -> String {
    if let Some(rest) = text.strip_suffix(END_OF_OPENMETRICS) {
        text.truncate(rest.len());
    }
    text
}

fn end(mut text: String, format: Format) -> Bytes {
    if format == Format::OpenMetrics {
        text.push_str(END_OF_OPENMETRICS);
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_more_than_once_is_ready_in_the_next() {
        let published = || {
            let reading = Reading::before_the_first(Arc::new(CounterView::default()));
            Published::new(reading, Labels::default(), None, 0)
        };
        let ready = |after: &Published, format| {
            let next = published();
            next.prepare(after);
            next.rendered(format).body.get().is_some()
        };
        let before = published();
        assert!(!ready(&before, Format::Text));
        before.asked(Format::Text);
        assert!(!ready(&before, Format::Text), "whoever scrapes seldom costs nothing between");
        before.asked(Format::Text);
        assert!(ready(&before, Format::Text));
        assert!(!ready(&before, Format::OpenMetrics));
    }
}
