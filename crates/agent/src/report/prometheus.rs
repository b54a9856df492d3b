//! Use in a period from the cluster's counters, by the HTTP API of Prometheus, which Thanos, Mimir and
//! VictoriaMetrics speak too.
//!
//! One instant query per column, `sum by (…) (increase(counter[length of the period]))` at its end: the plainest
//! expression there is, which every one of them has. `increase` knows resets, and a counter that began in the period
//! counts whole, for its first value is 0. It takes the mean slope for the part of a scrape interval between the last
//! value and the end of the period, or, where the series ended before, for half an interval after its last value; so
//! for each counter that is how far it can be off. The last value minus the first would know no resets.

pub(crate) mod answer;
pub(crate) mod client;

use super::period::Period;
use super::{By, Line, Sums};
use anyhow::Context as _;
use client::Client;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::time::Duration;

/// What is summed of each user, namespace or pod, and where it goes.
type Counter = (&'static str, fn(&mut Sums) -> &mut Option<f64>);
const COUNTERS: [Counter; 8] = [
    ("sessions_ended", |sums| &mut sums.ended),
    ("session_seconds", |sums| &mut sums.session_seconds),
    ("sm_seconds", |sums| &mut sums.sm_seconds),
    ("measured_session_seconds", |sums| &mut sums.measured_seconds),
    ("memory_byte_seconds", |sums| &mut sums.memory_byte_seconds),
    ("energy_joules", |sums| &mut sums.joules),
    ("allocation_seconds", |sums| &mut sums.allocated_seconds),
    ("idle_allocation_seconds", |sums| &mut sums.idle_seconds),
];

/// Whom to ask and how.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// Base of the API; may hold a user and a password.
    pub url: &'a str,
    /// File with a bearer token.
    pub token_file: Option<&'a Path>,
    /// PromQL label matchers that every series must meet.
    pub matcher: Option<&'a str>,
    /// Longest wait for each answer.
    pub timeout: Duration,
}

/// A server that can be asked.
pub struct Prometheus {
    client: Client,
    matcher: String,
}

/// What it said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The lines, the most used first.
    pub lines: Vec<Line>,
    /// Its own warnings: something may be missing.
    pub warnings: BTreeSet<String>,
    /// What is to be done about how it scrapes.
    pub notes: Vec<String>,
}

impl fmt::Display for Prometheus {
    /// Its address, without a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.client.fmt(f)
    }
}

impl Prometheus {
    /// Reads the options, without a request; what is wrong with them is wrong usage.
    pub fn new(options: &Options<'_>) -> anyhow::Result<Self> {
        let matcher = options.matcher.unwrap_or("").trim().to_owned();
        Ok(Self { client: Client::new(options)?, matcher })
    }

    /// The same, all of whose answers together have to come within twice the time that one may take.
    pub(crate) fn for_one_question(&self) -> Self {
        Self { client: self.client.for_one_question(), matcher: self.matcher.clone() }
    }

    /// What was used in the period.
    pub fn usage(&self, period: &Period, by: By) -> anyhow::Result<Answer> {
        let mut sums: BTreeMap<Vec<String>, Sums> = BTreeMap::new();
        let mut answer = Answer::default();
        let mut renamed = BTreeSet::new();
        for (counter, sum) in COUNTERS {
            let query = self.query(counter, period, by)?;
            let said = self.client.query(&query, period.until_us / 1_000_000)?;
            answer.warnings.extend(said.warnings);
            for series in said.series {
                let key = key(&series.labels, by, &mut renamed);
                let Some(value) = series.value else { continue };
                Sums::add(sum(sums.entry(key).or_default()), value);
            }
        }
        answer.lines = sums.into_iter().filter_map(|(key, sums)| sums.line(key)).collect();
        super::sort(&mut answer.lines);
        answer.notes = renamed.into_iter().map(|label| self.note(label)).collect();
        Ok(answer)
    }

    fn query(&self, counter: &str, period: &Period, by: By) -> anyhow::Result<String> {
        let prefix = match by {
            // A device's use is that of its users, the unknown and the others among them.
            By::User | By::Device => "user",
            By::Namespace => "namespace",
            By::Pod => "pod",
            By::Command => return Err(anyhow::anyhow!("no counter has the command")).context("--by command"),
        };
        let mut labels: Vec<String> = Vec::new();
        for label in labels_of(by) {
            labels.push((*label).to_owned());
            labels.push(exported(label));
        }
        labels.extend((by == By::Device).then(|| "instance".to_owned()));
        let labels = labels.join(", ");
        let matcher = if self.matcher.is_empty() { String::new() } else { format!("{{{}}}", self.matcher) };
        let seconds = period.length().as_secs();
        Ok(format!("sum by ({labels}) (increase(gpu_{prefix}_{counter}_total{matcher}[{seconds}s]))"))
    }

    fn note(&self, label: &str) -> String {
        format!(
            "{self}: series carry {}: it was scraped without `honor_labels: true`, and there {label} is the \
             collector's own. The right one was taken where there is one; what has no {label} counts with that of the \
             collector. Set honor_labels (honorLabels in a ServiceMonitor or PodMonitor)",
            exported(label)
        )
    }
}

/// The labels, given by the program itself, that make the key.
fn labels_of(by: By) -> &'static [&'static str] {
    match by {
        By::Device => &["node", "gpu"],
        other => other.key_columns(),
    }
}

/// What Prometheus calls a label that its target has too, if it was not told to honor it.
fn exported(label: &str) -> String {
    format!("exported_{label}")
}

/// The key of a line. Labels that were renamed are noted.
fn key(labels: &BTreeMap<String, String>, by: By, renamed: &mut BTreeSet<&'static str>) -> Vec<String> {
    let mut own = |label: &'static str| {
        let original = labels.get(&exported(label)).filter(|value| !value.is_empty());
        if original.is_some() {
            renamed.insert(label);
        }
        original.or_else(|| labels.get(label)).cloned().unwrap_or_default()
    };
    let parts: Vec<String> = labels_of(by).iter().map(|label| own(label)).collect();
    let (By::Device, [node, gpu]) = (by, parts.as_slice()) else { return parts };
    let instance = labels.get("instance").filter(|_| node.is_empty());
    match instance.unwrap_or(node).as_str() {
        "" => vec![gpu.clone()],
        host => vec![format!("{host}/{gpu}")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(matcher: Option<&str>, by: By) -> String {
        let options =
            Options { url: "http://p:9090", token_file: None, matcher, timeout: Duration::from_secs(1) };
        let period = Period { since_us: 0, until_us: 604_800_000_000 };
        Prometheus::new(&options).unwrap().query("sm_seconds", &period, by).unwrap()
    }

    #[test]
    fn the_expression_is_a_sum_of_increases() {
        assert_eq!(
            asked(None, By::User),
            "sum by (user, exported_user) (increase(gpu_user_sm_seconds_total[604800s]))"
        );
        assert_eq!(
            asked(Some("cluster=\"a\""), By::Pod),
            "sum by (namespace, exported_namespace, pod, exported_pod) \
             (increase(gpu_pod_sm_seconds_total{cluster=\"a\"}[604800s]))"
        );
        assert_eq!(
            asked(None, By::Device),
            "sum by (node, exported_node, gpu, exported_gpu, instance) \
             (increase(gpu_user_sm_seconds_total[604800s]))"
        );
    }

    fn keyed(by: By, labels: &[(&str, &str)]) -> (String, Vec<&'static str>) {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let mut renamed = BTreeSet::new();
        let key = key(&labels, by, &mut renamed).join("|");
        (key, renamed.into_iter().collect())
    }

    #[test]
    fn a_key_is_of_the_labels_that_we_wrote() {
        assert_eq!(keyed(By::User, &[]), (String::new(), vec![]));
        assert_eq!(keyed(By::Device, &[("node", "n1"), ("instance", "i:1"), ("gpu", "0")]).0, "n1/0");
        assert_eq!(keyed(By::Device, &[("instance", "i:1"), ("gpu", "0_1_0")]).0, "i:1/0_1_0");
        assert_eq!(keyed(By::Device, &[("gpu", "0")]).0, "0");
        let renamed = [("namespace", "gpu-operator"), ("exported_namespace", "ml"), ("exported_pod", "p")];
        assert_eq!(keyed(By::Pod, &renamed), ("ml|p".to_owned(), vec!["namespace", "pod"]));
    }
}
