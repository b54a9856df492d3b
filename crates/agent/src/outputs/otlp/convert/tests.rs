use super::*;
use gpu_session_core::accounting::{Counter, GpuTotals};
use gpu_session_core::metrics::{Context, each_series};
use gpu_session_core::snapshot::{CounterView, Snapshot};
use std::sync::Arc;

fn requests(snapshot: &Snapshot, labels: &Labels) -> Vec<ExportMetricsServiceRequest> {
    let mut requests = Vec::new();
    let mut give = |request| requests.push(request);
    let mut converter = Converter::new(resource("h", labels), labels, &mut give);
    converter.set_time(snapshot.time_us);
    each_series(snapshot, Context::default(), |_| true, &mut converter);
    converter.finish();
    requests
}

fn metrics(requests: &[ExportMetricsServiceRequest]) -> impl Iterator<Item = &OtlpMetric> {
    let resources = requests.iter().flat_map(|request| &request.resource_metrics);
    resources.flat_map(|resource| &resource.scope_metrics).flat_map(|scope| &scope.metrics)
}

fn points(metric: &OtlpMetric) -> &[NumberDataPoint] {
    match &metric.data {
        Some(Data::Gauge(gauge)) => &gauge.data_points,
        Some(Data::Sum(sum)) => &sum.data_points,
        _ => &[],
    }
}

fn snapshot(counters: CounterView) -> Snapshot {
    Snapshot {
        time_us: 100_000_000,
        hold_since_us: 60_000_000,
        counters: Arc::new(counters),
        ..Snapshot::default()
    }
}

#[test]
fn counters_begin_when_they_came_to_be_and_are_held_at_0() {
    let counter = |value, born_us| Some(Counter { value, born_us });
    let mut totals =
        GpuTotals { started: counter(5.0, 70_000_000), ended: counter(3.0, 7), ..GpuTotals::default() };
    totals.durations.counts[1] = 3;
    totals.durations.sum_seconds = 21.5;
    totals.unobserved = counter(4.0, 90_000_000);
    let label = gpu_session_core::ids::GpuLabel { gpu: 0, instance: None };
    let errors = vec![(Arc::from("nvml"), Arc::from("x"), 2.0)];
    let view = CounterView { gpus: vec![(label, totals)], source_errors: errors, ..CounterView::default() };
    let found = requests(&snapshot(view), &Labels::default());
    let of = |name: &str| metrics(&found).find(|metric| metric.name == name).unwrap();
    let number = |name: &str| {
        let metric = of(name);
        assert!(matches!(
            &metric.data,
            Some(Data::Sum(Sum { is_monotonic: true, aggregation_temporality: 2, .. }))
        ));
        assert_eq!(metric.unit, "", "receivers add it to the name");
        let [point] = points(metric) else { panic!("{metric:?}") };
        assert_eq!(point.time_unix_nano, 100_000_000_000);
        (point.value.unwrap(), point.start_time_unix_nano)
    };
    assert_eq!(number("gpu_sessions_started_total"), (NumberValue::AsDouble(0.0), 70_000_000_000));
    assert_eq!(number("gpu_sessions_ended_total"), (NumberValue::AsDouble(3.0), 7_000));
    let unobserved = number("gpu_session_collector_unobserved_seconds_total");
    assert_eq!(unobserved, (NumberValue::AsDouble(4.0), 90_000_000_000));
    let errors = number("gpu_session_collector_source_errors_total");
    assert_eq!(errors, (NumberValue::AsDouble(2.0), 0), "nobody knows since when");
    let Some(Data::Histogram(histogram)) = &of("gpu_session_duration_seconds").data else { panic!() };
    let [point] = &histogram.data_points[..] else { panic!() };
    assert_eq!((point.count, point.sum, point.start_time_unix_nano), (3, Some(21.5), 7_000));
    assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
    assert_eq!((point.bucket_counts[1], point.explicit_bounds[1]), (3, 10.0));
}

#[test]
fn requests_are_bounded_and_each_stands_alone() {
    let label = gpu_session_core::ids::GpuLabel { gpu: 0, instance: None };
    let used = |value| gpu_session_core::accounting::Usage {
        sm_seconds: Some(Counter { value, born_us: 1 }),
        ..Default::default()
    };
    let users = (0..4500).map(|n| (label, Arc::from(format!("u{n}")), used(f64::from(n)))).collect();
    let labels = Labels::new([("node", "n7"), ("rack", "r1")]).unwrap();
    let found = requests(&snapshot(CounterView { users, ..CounterView::default() }), &labels);
    let sizes: Vec<usize> = found
        .iter()
        .map(|request| metrics(std::slice::from_ref(request)).map(|metric| points(metric).len()).sum())
        .collect();
    assert!(sizes.len() == 3 && sizes[..2] == [MOST_POINTS; 2] && sizes[2] >= 500, "{sizes:?}");
    assert!(metrics(&found).all(|metric| !points(metric).is_empty()), "no metric without points");
    for request in &found {
        let attributes = &request.resource_metrics[0].resource.as_ref().unwrap().attributes;
        assert!(attributes.contains(&attribute(("service.instance.id", "n7"))), "{attributes:?}");
    }
    let mut values: Vec<f64> = metrics(&found)
        .filter(|metric| metric.name == "gpu_user_sm_seconds_total")
        .flat_map(points)
        .map(|point| {
            assert!(point.attributes.contains(&attribute(("rack", "r1"))));
            let Some(NumberValue::AsDouble(value)) = point.value else { panic!() };
            value
        })
        .collect();
    values.sort_by(f64::total_cmp);
    assert!(values.iter().map(|value| *value as usize).eq(0..4500));
}
