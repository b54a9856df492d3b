//! Prometheus text format 0.0.4 and OpenMetrics 1.0.

use super::Context;
use super::series::{LabelSet, Number, Sink, each_series};
use super::table::{Kind, Metric, TABLE};
use crate::accounting::{DURATION_BOUNDS, Durations};
use crate::snapshot::Snapshot;
use std::fmt::Write as _;

/// Exposition format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `text/plain; version=0.0.4`, and node_exporter's textfiles.
    Text,
    /// `application/openmetrics-text; version=1.0.0`.
    OpenMetrics,
}

/// Labels that every series carries, such as `node`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// Rendered, each followed by a comma.
    rendered: String,
    pairs: Vec<(String, String)>,
}

/// A label that cannot be added to every series.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// Not a label name of Prometheus.
    #[error(
        "{0:?} is no label name: allowed are letters, digits and _, not beginning with a digit or with __"
    )]
    BadName(String),
    /// One of our metrics has it.
    #[error("the label {0:?} is one of the metrics' own")]
    Taken(String),
    /// Given twice.
    #[error("the label {0:?} is given twice")]
    Twice(String),
}

impl Labels {
    /// Checks and keeps the labels; values are cleaned as everything from outside is.
    pub fn new<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, LabelError> {
        let mut rendered = String::new();
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in labels {
            if !is_label_name(name) {
                return Err(LabelError::BadName(crate::text::clean(name)));
            }
            if name == "le" || TABLE.iter().any(|metric| metric.labels.contains(&name)) {
                return Err(LabelError::Taken(name.to_owned()));
            }
            if pairs.iter().any(|(seen, _)| seen == name) {
                return Err(LabelError::Twice(name.to_owned()));
            }
            let value = crate::text::clean(value);
            push_label(&mut rendered, name, &value);
            pairs.push((name.to_owned(), value));
        }
        Ok(Self { rendered, pairs })
    }

    /// Names and values, in the order in which they were given.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (&**name, &**value))
    }
}

fn is_label_name(name: &str) -> bool {
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    first && !name.starts_with("__") && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Writes the snapshot; a metric without series is left out whole.
pub fn render(snapshot: &Snapshot, context: Context<'_>, labels: &Labels, format: Format) -> String {
    render_only(snapshot, context, labels, format, |_| true)
}

/// As [`render`], only the metrics that `takes` takes.
pub fn render_only(
    snapshot: &Snapshot,
    context: Context<'_>,
    labels: &Labels,
    format: Format,
    takes: impl Fn(&Metric) -> bool,
) -> String {
    let out = String::with_capacity(8192 + snapshot.sessions.len() * 2048);
    let mut text = Text { out, name: "", labels, format };
    each_series(snapshot, context, takes, &mut text);
    let mut out = text.out;
    if format == Format::OpenMetrics {
        out.push_str("# EOF\n");
    }
    out
}

/// Writes series as text.
struct Text<'a> {
    out: String,
    /// Name of the metric that was begun.
    name: &'static str,
    labels: &'a Labels,
    format: Format,
}

impl Sink for Text<'_> {
    fn begin(&mut self, metric: &'static Metric) {
        let Metric { name, help, kind, .. } = metric;
        self.name = name;
        let kind_name = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Histogram => "histogram",
        };
        let family = match self.format {
            Format::Text => name,
            Format::OpenMetrics => {
                name.strip_suffix("_total").filter(|_| *kind == Kind::Counter).unwrap_or(name)
            }
        };
        let _ = writeln!(self.out, "# HELP {family} {help}\n# TYPE {family} {kind_name}");
    }

    fn number(&mut self, labels: &LabelSet<'_>, number: Number) {
        self.line("", number.value, labels.is_empty(), |out| push_labels(out, labels));
    }

    fn histogram(&mut self, labels: &LabelSet<'_>, durations: &Durations, _: Option<i64>) {
        let mut own = String::new();
        push_labels(&mut own, labels);
        // OpenMetrics wants them as floats; the text format has them as they are always written.
        let tail = if self.format == Format::OpenMetrics { ".0" } else { "" };
        let bounds = DURATION_BOUNDS.iter().map(|bound| format!("{bound}{tail}")).chain(["+Inf".to_owned()]);
        let mut count = 0;
        for (bound, in_bucket) in bounds.zip(durations.counts) {
            count += in_bucket;
            self.line("_bucket", count as f64, false, |out| {
                out.push_str(&own);
                push_label(out, "le", &bound);
            });
        }
        self.line("_sum", durations.sum_seconds, own.is_empty(), |out| out.push_str(&own));
        self.line("_count", count as f64, own.is_empty(), |out| out.push_str(&own));
    }
}

impl Text<'_> {
    fn line(&mut self, suffix: &str, value: f64, bare: bool, labels: impl FnOnce(&mut String)) {
        self.out.push_str(self.name);
        self.out.push_str(suffix);
        if !bare || !self.labels.rendered.is_empty() {
            self.out.push('{');
            labels(&mut self.out);
            self.out.push_str(&self.labels.rendered);
            self.out.pop();
            self.out.push('}');
        }
        // Rust writes the shortest text that reads back as the same f64, never an exponent or a comma. Whole
        // numbers, the most of all, need not go through that.
        let whole = value.fract() == 0.0 && value.abs() < 9e15;
        let _ = if whole { writeln!(self.out, " {}", value as i64) } else { writeln!(self.out, " {value}") };
    }
}

/// Each label followed by a comma.
fn push_labels(out: &mut String, labels: &LabelSet<'_>) {
    match labels {
        LabelSet::Own(..) => labels.each(|name, value| push_label(out, name, value)),
        LabelSet::Shared(shared) => {
            let render = || {
                let mut rendered = String::with_capacity(128);
                labels.each(|name, value| push_label(&mut rendered, name, value));
                rendered
            };
            out.push_str(shared.rendered.get_or_init(render));
        }
    }
}

/// `name="value",` with the escapes of both formats.
fn push_label(out: &mut String, name: &str, value: &str) {
    out.push_str(name);
    out.push_str("=\"");
    if value.bytes().any(|b| matches!(b, b'\\' | b'"' | b'\n')) {
        for c in value.chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                '"' => out.push_str("\\\""),
                '\n' => out.push_str("\\n"),
                c => out.push(c),
            }
        }
    } else {
        out.push_str(value);
    }
    out.push_str("\",");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_table_keeps_prometheus_rules() {
        let names: BTreeSet<_> = TABLE.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), TABLE.len());
        for metric in TABLE {
            assert_eq!(metric.kind == Kind::Counter, metric.name.ends_with("_total"), "{}", metric.name);
            assert!(metric.labels.iter().all(|label| is_label_name(label)), "{}", metric.name);
            assert!(!metric.help.contains(['\n', '\\']), "{}", metric.name);
        }
    }

    #[test]
    fn labels_are_checked() {
        let rendered = Labels::new([("node", "a\"b\\c"), ("rack", "r\n1")]).map(|l| l.rendered);
        assert_eq!(rendered.as_deref(), Ok("node=\"a\\\"b\\\\c\",rack=\"r\u{fffd}1\","));
        for bad in ["", "1a", "__x", "a-b", "é", "a b"] {
            assert!(matches!(Labels::new([(bad, "v")]), Err(LabelError::BadName(_))), "{bad}");
        }
        assert!(matches!(Labels::new([("gpu", "v")]), Err(LabelError::Taken(_))));
        assert!(matches!(Labels::new([("a", "v"), ("a", "w")]), Err(LabelError::Twice(_))));
    }

    #[test]
    fn an_empty_snapshot_has_only_what_is_known() {
        let context = Context { version: "1", revision: "abc", ..Context::default() };
        let text = render(&Snapshot::default(), context, &Labels::default(), Format::Text);
        assert!(!text.contains("gpu_session_count") && !text.contains("gpu_total_sessions"));
        assert!(text.contains("gpu_session_collector_build_info{version=\"1\",revision=\"abc\"} 1\n"));
        let open = render(&Snapshot::default(), context, &Labels::default(), Format::OpenMetrics);
        assert!(open.ends_with("# EOF\n"));
        assert!(open.contains("# TYPE gpu_session_collector_series_dropped counter\n"));
    }
}
