//! The last snapshot, as it is answered.

use super::api::Changes;
use super::gzip::Beginning;
use crate::{REVISION, VERSION};
use axum::body::Bytes;
use gpu_session_core::metrics::{Context, Format, Labels, Metric, Sink, each_series, render_only, table};
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
    ledger: LedgerIs,
    text: Rendered,
    open_metrics: Rendered,
    changes: OnceLock<Changes>,
}

/// Whether the ledger has what it should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LedgerIs {
    /// Everything up to now is written to it.
    Kept,
    /// None is kept.
    Off,
    /// It cannot be written.
    Failing,
}

/// Everything but the age, in one format.
#[derive(Default)]
struct Rendered {
    plain: Form<Bytes>,
    /// `None` where it could not be compressed.
    gzip: Form<Option<Beginning>>,
}

struct Form<T> {
    body: OnceLock<T>,
    /// How often it was asked for.
    asked: AtomicUsize,
}

impl<T> Default for Form<T> {
    fn default() -> Self {
        Self { body: OnceLock::new(), asked: AtomicUsize::new(0) }
    }
}

impl<T> Form<T> {
    fn is_wanted(&self) -> bool {
        self.asked.load(Relaxed) > 1
    }
}

impl Published {
    /// `reload` is of [`Context::reload`]; older than `stale_after_us` the snapshot is stale.
    pub fn new(
        reading: Reading,
        labels: Labels,
        reload: Option<(bool, f64)>,
        stale_after_us: i64,
        ledger: LedgerIs,
    ) -> Self {
        let (text, open_metrics) = (Rendered::default(), Rendered::default());
        let changes = OnceLock::new();
        Self { reading, labels, reload, stale_after_us, ledger, text, open_metrics, changes }
    }

    /// Name of the node, where it was named.
    pub(super) fn node(&self) -> Option<&str> {
        self.labels.pairs().find(|(name, _)| *name == "node").map(|(_, value)| value)
    }

    /// How it is with the ledger.
    pub(super) fn ledger(&self) -> LedgerIs {
        self.ledger
    }

    /// Renders what was asked for more than once of the one before: whoever asks that often is not to wait for it.
    pub fn prepare(&self, before: &Self) {
        for format in [Format::Text, Format::OpenMetrics] {
            if before.rendered(format).plain.is_wanted() {
                self.body(format);
            }
            if before.rendered(format).gzip.is_wanted() {
                self.compressed(format);
            }
        }
    }

    /// Age of the snapshot at this time, microseconds, and whether it is stale; `None` before the first.
    pub(super) fn age(&self, now_us: i64) -> Option<(i64, bool)> {
        let age_us = (now_us - self.reading.taken_us?).max(0);
        Some((age_us, age_us > self.stale_after_us))
    }

    /// Age above which the snapshot is stale, microseconds.
    pub(super) fn stale_after_us(&self) -> i64 {
        self.stale_after_us
    }

    /// The answer at this time, in parts, so that what is large need not be copied for each request.
    pub(super) fn answer(&self, format: Format, now_us: i64) -> [Bytes; 2] {
        self.rendered(format).plain.asked.fetch_add(1, Relaxed);
        [self.body(format), self.tail(now_us, format)]
    }

    /// As [`Self::answer`], in gzip; `None` where it could not be compressed.
    pub(super) fn gzip_answer(&self, format: Format, now_us: i64) -> Option<[Bytes; 2]> {
        self.rendered(format).gzip.asked.fetch_add(1, Relaxed);
        self.compressed(format)?.end(&self.tail(now_us, format)).ok()
    }

    /// Gives the sink the series that the answer has, but for the age.
    pub fn series(&self, sink: &mut dyn Sink) {
        each_series(&self.reading.snapshot, self.context(), |metric| self.has(metric), sink);
    }

    /// Gives the sink the series of the age; none before the first snapshot.
    pub fn age_series(&self, now_us: i64, sink: &mut dyn Sink) {
        if let Some(context) = self.age_context(now_us) {
            each_series(&Snapshot::default(), context, is_age, sink);
        }
    }

    /// Labels of every series.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    fn rendered(&self, format: Format) -> &Rendered {
        match format {
            Format::Text => &self.text,
            Format::OpenMetrics => &self.open_metrics,
        }
    }

    fn body(&self, format: Format) -> Bytes {
        let render = || {
            let snapshot = &self.reading.snapshot;
            let text = render_only(snapshot, self.context(), &self.labels, format, |metric| self.has(metric));
            Bytes::from(without_end(text))
        };
        self.rendered(format).plain.body.get_or_init(render).clone()
    }

    fn compressed(&self, format: Format) -> Option<&Beginning> {
        let compress = || Beginning::of(&self.body(format)).ok();
        self.rendered(format).gzip.body.get_or_init(compress).as_ref()
    }

    /// The same as events; `None` before the first sample.
    pub(super) fn changes(&self) -> Option<&Changes> {
        self.reading.taken_us?;
        Some(self.changes.get_or_init(|| Changes::of(&self.reading.snapshot)))
    }

    /// The metrics of the age, and the end.
    fn tail(&self, now_us: i64, format: Format) -> Bytes {
        let Some(context) = self.age_context(now_us) else { return end(String::new(), format) };
        let text = render_only(&Snapshot::default(), context, &self.labels, format, is_age);
        end(without_end(text), format)
    }

    fn context(&self) -> Context<'_> {
        Context { version: VERSION, revision: REVISION, reload: self.reload, ..Context::default() }
    }

    fn age_context(&self, now_us: i64) -> Option<Context<'static>> {
        let (age_us, stale) = self.age(now_us)?;
        Some(Context { age: Some((age_us as f64 / 1e6, stale)), ..Context::default() })
    }

    /// Before the first sample nothing is known of devices, and counters of before could be of other ones.
    fn has(&self, metric: &Metric) -> bool {
        self.reading.taken_us.is_some() || metric.section == table::COLLECTOR
    }
}

fn is_age(metric: &Metric) -> bool {
    table::AGE.contains(&metric.name)
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
            Published::new(reading, Labels::default(), None, 0, LedgerIs::Off)
        };
        let ready = |after: &Published, format| {
            let next = published();
            next.prepare(after);
            let rendered = next.rendered(format);
            (rendered.plain.body.get().is_some(), rendered.gzip.body.get().is_some())
        };
        let before = published();
        before.answer(Format::Text, 0);
        assert_eq!(
            ready(&before, Format::Text),
            (false, false),
            "whoever scrapes seldom costs nothing between"
        );
        before.answer(Format::Text, 0);
        assert_eq!(ready(&before, Format::Text), (true, false));
        assert_eq!(ready(&before, Format::OpenMetrics), (false, false));
        for _ in 0..2 {
            assert!(before.gzip_answer(Format::OpenMetrics, 0).is_some());
        }
        assert_eq!(ready(&before, Format::OpenMetrics), (true, true), "the one is made from the other");
    }
}
