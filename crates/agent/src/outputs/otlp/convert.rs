//! From series to OTLP's requests. The names, labels and values are those of `/metrics`: no unit is set, for receivers
//! would make a suffix of it.

use super::messages::{
    AggregationTemporality, AnyValue, Data, ExportMetricsServiceRequest, Gauge, Histogram,
    HistogramDataPoint, InstrumentationScope, KeyValue, Metric as OtlpMetric, NumberDataPoint, NumberValue,
    Resource, ResourceMetrics, ScopeMetrics, Sum, Value,
};
use crate::VERSION;
use gpu_session_core::accounting::{DURATION_BOUNDS, Durations};
use gpu_session_core::metrics::{Kind, LabelSet, Labels, Metric, Number, Sink};

/// Data points in one request, so that neither side needs much memory.
const MOST_POINTS: usize = 2000;

const NAME: &str = "gpu-session-monitor";

/// Who the metrics are from.
pub(super) fn resource(host: &str, labels: &Labels) -> Resource {
    // In a container the host's name is the pod's; a node that is named is known by that.
    let host = labels.pairs().find(|(name, _)| *name == "node").map_or(host, |(_, node)| node);
    let attributes = [
        ("service.name", NAME),
        ("service.version", VERSION),
        ("service.instance.id", host),
        ("host.name", host),
    ];
    Resource { attributes: attributes.map(attribute).into(), ..Resource::default() }
}

/// Makes requests of series, each given away when it is full.
pub(super) struct Converter<'a> {
    resource: Resource,
    /// Of every data point.
    labels: Vec<KeyValue>,
    time_ns: u64,
    metric: Option<&'static Metric>,
    /// The last of `metrics` is the one that was begun.
    open: bool,
    metrics: Vec<OtlpMetric>,
    points: usize,
    give: &'a mut dyn FnMut(ExportMetricsServiceRequest),
}

impl<'a> Converter<'a> {
    pub(super) fn new(
        resource: Resource,
        labels: &Labels,
        give: &'a mut dyn FnMut(ExportMetricsServiceRequest),
    ) -> Self {
        let labels = labels.pairs().map(attribute).collect();
        let (metric, metrics) = (None, Vec::new());
        Self { resource, labels, time_ns: 0, metric, open: false, metrics, points: 0, give }
    }

    /// What follows is of this time, Unix microseconds.
    pub(super) fn set_time(&mut self, time_us: i64) {
        self.time_ns = nanos(time_us);
    }

    /// Gives away what is left.
    pub(super) fn finish(mut self) {
        self.flush();
    }

    fn flush(&mut self) {
        self.points = 0;
        self.open = false;
        let metrics = std::mem::take(&mut self.metrics);
        if metrics.is_empty() {
            return;
        }
        let scope = InstrumentationScope { name: NAME.into(), version: VERSION.into(), ..Default::default() };
        let scope_metrics = vec![ScopeMetrics { scope: Some(scope), metrics, schema_url: String::new() }];
        let resource = Some(self.resource.clone());
        let resource_metrics = vec![ResourceMetrics { resource, scope_metrics, schema_url: String::new() }];
        (self.give)(ExportMetricsServiceRequest { resource_metrics });
    }

    /// Where the next data point goes.
    fn data(&mut self) -> Option<&mut Data> {
        if self.points == MOST_POINTS {
            self.flush();
        }
        self.points += 1;
        if !self.open {
            self.metrics.extend(self.metric.map(empty));
            self.open = true;
        }
        self.metrics.last_mut()?.data.as_mut()
    }

    fn attributes(&self, labels: &LabelSet<'_>) -> Vec<KeyValue> {
        let mut attributes = Vec::with_capacity(self.labels.len() + 8);
        labels.each(|name, value| attributes.push(attribute((name, value))));
        attributes.extend_from_slice(&self.labels);
        attributes
    }
}

impl Sink for Converter<'_> {
    fn begin(&mut self, metric: &'static Metric) {
        self.metric = Some(metric);
        self.open = false;
    }

    fn number(&mut self, labels: &LabelSet<'_>, number: Number) {
        let point = NumberDataPoint {
            attributes: self.attributes(labels),
            start_time_unix_nano: start(number.born_us),
            time_unix_nano: self.time_ns,
            value: Some(NumberValue::AsDouble(number.value)),
            ..NumberDataPoint::default()
        };
        match self.data() {
            Some(Data::Gauge(gauge)) => gauge.data_points.push(point),
            Some(Data::Sum(sum)) => sum.data_points.push(point),
            _ => {}
        }
    }

    fn histogram(&mut self, labels: &LabelSet<'_>, durations: &Durations, born_us: Option<i64>) {
        let point = HistogramDataPoint {
            attributes: self.attributes(labels),
            start_time_unix_nano: start(born_us),
            time_unix_nano: self.time_ns,
            count: durations.counts.iter().sum(),
            sum: Some(durations.sum_seconds),
            bucket_counts: durations.counts.to_vec(),
            explicit_bounds: DURATION_BOUNDS.map(f64::from).to_vec(),
            ..HistogramDataPoint::default()
        };
        if let Some(Data::Histogram(histogram)) = self.data() {
            histogram.data_points.push(point);
        }
    }
}

/// The metric without data points.
fn empty(metric: &'static Metric) -> OtlpMetric {
    let aggregation_temporality = AggregationTemporality::Cumulative.into();
    let data = match metric.kind {
        Kind::Gauge => Data::Gauge(Gauge::default()),
        Kind::Counter => Data::Sum(Sum { aggregation_temporality, is_monotonic: true, ..Sum::default() }),
        Kind::Histogram => Data::Histogram(Histogram { aggregation_temporality, ..Histogram::default() }),
    };
    OtlpMetric {
        name: metric.name.to_owned(),
        description: metric.help.to_owned(),
        data: Some(data),
        ..OtlpMetric::default()
    }
}

fn attribute((name, value): (&str, &str)) -> KeyValue {
    let value = AnyValue { value: Some(Value::StringValue(value.to_owned())) };
    KeyValue { key: name.to_owned(), value: Some(value), ..KeyValue::default() }
}

/// 0 is "not known" by the protocol: a counter that survives this program did not begin with it.
fn start(born_us: Option<i64>) -> u64 {
    born_us.map_or(0, nanos)
}

fn nanos(us: i64) -> u64 {
    u64::try_from(us).unwrap_or(0).saturating_mul(1000)
}

#[cfg(test)]
mod tests;
