//! From the table to an output: every format takes the series of a snapshot from here.

use super::table::{Kind, Metric, TABLE};
use super::{Context, View};
use crate::accounting::{Counter, Durations, GpuTotals};
use crate::snapshot::Snapshot;
use std::cell::OnceCell;

/// Takes the series of a snapshot, metric by metric.
pub trait Sink {
    /// The series that follow are of this metric; one without series is not begun.
    fn begin(&mut self, metric: &'static Metric);

    /// A series of a gauge or a counter.
    fn number(&mut self, labels: &LabelSet<'_>, number: Number);

    /// A series of a histogram over [`crate::accounting::DURATION_BOUNDS`].
    fn histogram(&mut self, labels: &LabelSet<'_>, durations: &Durations, born_us: Option<i64>);
}

/// Value of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Number {
    /// The value; of a counter that is new, 0.
    pub value: f64,
    /// When the counter came to be, Unix microseconds; `None` where that is not known, and for a gauge.
    pub born_us: Option<i64>,
}

/// Labels of a series, without those that every series carries.
pub enum LabelSet<'a> {
    /// Of this series alone.
    Own(&'static [&'static str], &'a [&'a str]),
    /// Of many series.
    Shared(&'a Shared),
}

impl LabelSet<'_> {
    /// Names and values, in the order of the table.
    pub fn each(&self, mut take: impl FnMut(&'static str, &str)) {
        match self {
            Self::Own(names, values) => names.iter().zip(*values).for_each(|(name, value)| take(name, value)),
            Self::Shared(shared) => {
                shared.names.iter().zip(&shared.values).for_each(|(name, value)| take(name, value));
            }
        }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Own(names, _) => names.is_empty(),
            Self::Shared(shared) => shared.names.is_empty(),
        }
    }
}

/// Labels that many series share, so that each output puts them into its form once.
pub struct Shared {
    names: &'static [&'static str],
    values: Vec<Box<str>>,
    pub(super) rendered: OnceCell<String>,
}

impl Shared {
    pub(super) fn new(names: &'static [&'static str], values: &[&str]) -> Self {
        debug_assert_eq!(names.len(), values.len());
        let values = values.iter().map(|value| Box::from(*value)).collect();
        Self { names, values, rendered: OnceCell::new() }
    }
}

/// Gives the sink the series of the metrics that `takes` takes.
pub fn each_series(
    snapshot: &Snapshot,
    context: Context<'_>,
    takes: impl Fn(&Metric) -> bool,
    sink: &mut dyn Sink,
) {
    let view = View::new(snapshot, context);
    for metric in TABLE {
        if (metric.kind != Kind::Gauge && context.without_counters) || !takes(metric) {
            continue;
        }
        let hold_since_us = snapshot.hold_since_us;
        (metric.emit)(&view, &mut Series { sink, metric, begun: false, hold_since_us });
    }
}

/// Takes the series of one metric from its row of the table.
pub(super) struct Series<'a> {
    sink: &'a mut dyn Sink,
    metric: &'static Metric,
    begun: bool,
    hold_since_us: i64,
}

impl Series<'_> {
    /// Writes a series; `values` go with the metric's label names.
    pub(super) fn write(&mut self, values: &[&str], value: f64) {
        self.number(values, Number { value, born_us: None });
    }

    /// Writes a series unless its value is unknown.
    pub(super) fn maybe(&mut self, values: &[&str], value: Option<f64>) {
        if let Some(value) = value {
            self.write(values, value);
        }
    }

    /// Writes a series whose labels many metrics share.
    pub(super) fn shared(&mut self, labels: &Shared, value: f64) {
        self.take(&LabelSet::Shared(labels), Number { value, born_us: None });
    }

    /// As [`Self::maybe`], with shared labels.
    pub(super) fn maybe_shared(&mut self, labels: &Shared, value: Option<f64>) {
        if let Some(value) = value {
            self.shared(labels, value);
        }
    }

    /// Writes a counter that exists, as 0 while it is new.
    pub(super) fn counter(&mut self, values: &[&str], counter: Option<Counter>) {
        if let Some(counter) = counter {
            self.number(values, self.exposed(counter));
        }
    }

    /// As [`Self::counter`], with shared labels.
    pub(super) fn counter_shared(&mut self, labels: &Shared, counter: Option<Counter>) {
        if let Some(counter) = counter {
            self.take(&LabelSet::Shared(labels), self.exposed(counter));
        }
    }

    /// As [`Self::counter`], with its value even while it is new.
    pub(super) fn counter_at_once(&mut self, values: &[&str], counter: Option<Counter>) {
        if let Some(Counter { value, born_us }) = counter {
            self.number(values, Number { value, born_us: Some(born_us) });
        }
    }

    /// Writes the durations of a device's sessions; they came to be with the counter of those that ended.
    pub(super) fn histogram(&mut self, values: &[&str], totals: &GpuTotals) {
        let Some(ended) = totals.ended else { return };
        let new = ended.born_us >= self.hold_since_us;
        let durations = if new { &Durations::default() } else { &totals.durations };
        self.begin();
        self.sink.histogram(&LabelSet::Own(self.metric.labels, values), durations, Some(ended.born_us));
    }

    fn exposed(&self, counter: Counter) -> Number {
        Number { value: counter.exposed(self.hold_since_us), born_us: Some(counter.born_us) }
    }

    fn number(&mut self, values: &[&str], number: Number) {
        debug_assert_eq!(values.len(), self.metric.labels.len(), "{}", self.metric.name);
        self.take(&LabelSet::Own(self.metric.labels, values), number);
    }

    fn take(&mut self, labels: &LabelSet<'_>, number: Number) {
        self.begin();
        self.sink.number(labels, number);
    }

    fn begin(&mut self) {
        if !self.begun {
            self.begun = true;
            self.sink.begin(self.metric);
        }
    }
}
