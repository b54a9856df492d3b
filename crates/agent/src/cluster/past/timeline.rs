//! Who had a device, when: a few instant queries.
//!
//! Metrics say when a session began, and are there while it goes on. When it was last there is found by looking at what was
//! scraped last at moments a step apart, for there is no function for it that every server has.

use super::ends;
use crate::cluster::promql::Series;
use crate::report::period::Period;
use crate::report::prometheus::client::Client;
use crate::view::prometheus::read::{self, Labels, Origin};
use gpu_session_api::{SCHEMA_VERSION, Timeline, TimelineSession};
use gpu_session_core::ids::GpuLabel;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Sessions of an answer.
const MOST: usize = 2_000;
/// Moments at which is looked whether a session is there.
const MOMENTS: i64 = 1_440;
/// Seconds between them, at least.
const LEAST_STEP: i64 = 15;

const INFO_LABELS: [&str; 8] = ["session", "gpu", "namespace", "pod", "container", "user", "pid", "command"];

/// What the metrics say of the period.
struct Told {
    /// Seconds between two moments.
    step: f64,
    /// When the node's last sample was taken.
    sampled: Option<f64>,
    /// Whether the node is scraped at the end of the period.
    is_there: bool,
    /// When each session began, by its name.
    begun: HashMap<String, f64>,
    /// When each was last scraped at the end of the period, of those that are there then.
    alive: HashMap<String, f64>,
    /// Sessions, with when these words were last told of them; several of one, where it came to be known better.
    seen: Vec<Seen>,
}

/// A session by one series.
struct Seen {
    session: TimelineSession,
    last: Option<f64>,
}

/// What is asked, and of which time.
struct Question {
    on_device: Series,
    of_node: Series,
    /// Seconds.
    length: i64,
    /// Seconds between two moments.
    step: i64,
}

/// Asks for the sessions of a device of a node.
pub(super) fn ask(
    client: &Client,
    matcher: &str,
    node: &str,
    gpu: GpuLabel,
    period: Period,
) -> anyhow::Result<Timeline> {
    let until = period.until_us / 1_000_000;
    let length = until - period.since_us / 1_000_000;
    let question = Question {
        on_device: Series::of_device(node, gpu, matcher),
        of_node: Series::of_node(node, matcher),
        length,
        step: (length / MOMENTS).max(LEAST_STEP),
    };
    let warnings = RefCell::new(BTreeSet::new());
    let told = question.ask(|expression| {
        let answer = client.query(expression, until)?;
        warnings.borrow_mut().extend(answer.warnings);
        Ok(answer.series.into_iter().map(read::Series::of).collect())
    })?;
    Ok(told.timeline(period, warnings.into_inner().into_iter().collect()))
}

const INFO: &str = "gpu_session_info";
const SAMPLE: &str = "gpu_session_collector_last_sample_timestamp_seconds";

impl Question {
    /// The last value in the period.
    fn last(&self, selector: &str) -> String {
        format!("last_over_time({selector}[{}s])", self.length)
    }

    /// When there was last a value, by moments a step apart.
    fn scraped(&self, selector: &str) -> String {
        format!("max_over_time(timestamp({selector})[{}s:{}s])", self.length, self.step)
    }

    fn ask(&self, ask: impl Fn(&str) -> anyhow::Result<Vec<read::Series>>) -> anyhow::Result<Told> {
        let on = |metric: &str, labels: &[&str], of: &dyn Fn(&str) -> String| {
            ask(&format!("max by ({}) ({})", read::by(labels), self.on_device.any(metric, of)))
        };
        let node = |metric: &str, labels: &[&str], of: &dyn Fn(&str) -> String| {
            ask(&format!("max by ({}) ({})", read::by(labels), self.of_node.any(metric, of)))
        };
        let (last, scraped) = (|s: &str| self.last(s), |s: &str| self.scraped(s));
        let infos = on(INFO, &INFO_LABELS, &last)?;
        let lasts = on(INFO, &INFO_LABELS, &scraped)?;
        let begun = on("gpu_session_start_time_seconds", &["session"], &last)?;
        let alive = on(INFO, &["session"], &|selector| format!("timestamp({selector})"))?;
        let sampled = node(SAMPLE, &[], &|selector| format!("max_over_time({selector}[{}s])", self.length))?;
        let there = node(SAMPLE, &[], &str::to_owned)?;
        let targets = node("gpu_device_info", &read::POD, &last)?;

        let mut of_origin: BTreeMap<Origin, BTreeSet<Labels>> = BTreeMap::new();
        for series in &targets {
            of_origin.entry(series.origin()).or_default().insert(series.target());
        }
        let lasts: HashMap<&Labels, f64> =
            lasts.iter().filter_map(|series| Some((series.labels(), series.value?))).collect();
        let seen = infos.iter().filter_map(|series| {
            let targets = of_origin.get(&series.origin()).cloned().unwrap_or_default();
            Some(Seen { session: session(series, &targets)?, last: lasts.get(series.labels()).copied() })
        });
        Ok(Told {
            step: self.step as f64,
            sampled: sampled.iter().filter_map(|series| series.value).reduce(f64::max),
            is_there: !there.is_empty(),
            seen: seen.collect(),
            begun: by_name(&begun),
            alive: by_name(&alive),
        })
    }
}

fn by_name(answer: &[read::Series]) -> HashMap<String, f64> {
    answer.iter().filter_map(|series| Some((series.text("session")?, series.value?))).collect()
}

/// Of `gpu_session_info`, whose targets have these labels.
fn session(series: &read::Series, targets: &BTreeSet<Labels>) -> Option<TimelineSession> {
    let [namespace, pod, container] = series.pod(targets);
    Some(TimelineSession {
        session: series.text("session")?,
        gpu: series.text("gpu")?,
        user: series.text("user"),
        namespace,
        pod,
        container,
        command: series.text("command"),
        pid: series.label("pid").and_then(|pid| pid.parse().ok()),
        start_time: 0.0,
        end_time: 0.0,
        ended: false,
    })
}

impl Told {
    fn timeline(self, period: Period, warnings: Vec<String>) -> Timeline {
        let (since, until) = ends(period);
        let mut by_name: HashMap<String, Seen> = HashMap::new();
        for seen in self.seen {
            match by_name.get_mut(&seen.session.session) {
                // What was told last is what is known best; its last time is that of the session.
                Some(known) if rank(known) >= rank(&seen) => {}
                Some(known) => *known = seen,
                None => drop(by_name.insert(seen.session.session.clone(), seen)),
            }
        }
        let mut sessions: Vec<TimelineSession> = Vec::new();
        for Seen { mut session, last } in by_name.into_values() {
            // One whose begin is not told was scraped between two answers.
            let Some(begun) = self.begun.get(&session.session) else { continue };
            let alive = self.alive.get(&session.session).copied();
            // Too short to be there at one of the moments: its begin is known, and that it ended within a step.
            let end = alive.or(last).unwrap_or(begun.max(since)).min(self.sampled.unwrap_or(f64::INFINITY));
            session.start_time = *begun;
            session.end_time = end.min(until).max(*begun);
            // Where the node was not heard of since, nobody knows.
            let heard = self.is_there || self.sampled.is_some_and(|at| at > session.end_time + self.step);
            session.ended = alive.is_none() && heard;
            sessions.push(session);
        }
        let length = |session: &TimelineSession| session.end_time - session.start_time;
        let truncated = sessions.len() > MOST;
        if truncated {
            sessions.sort_by(|a, b| length(b).total_cmp(&length(a)).then_with(|| a.session.cmp(&b.session)));
            sessions.truncate(MOST);
        }
        sessions
            .sort_by(|a, b| a.start_time.total_cmp(&b.start_time).then_with(|| a.session.cmp(&b.session)));
        let resolution_seconds = self.step;
        Timeline {
            schema_version: SCHEMA_VERSION,
            since,
            until,
            resolution_seconds,
            warnings,
            truncated,
            sessions,
        }
    }
}

/// Of two that tell of one session the later is taken, and of two alike the one that knows the user and the pod.
fn rank(seen: &Seen) -> (f64, bool, bool) {
    (seen.last.unwrap_or(0.0), seen.session.user.is_some(), seen.session.pod.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: f64 = 1_748_736_000.0;

    fn seen(name: &str, user: Option<&str>, last: Option<f64>) -> Seen {
        let text = serde_json::json!({
            "session": name, "gpu": "0", "user": user, "start_time": 0.0, "end_time": 0.0, "ended": false,
        });
        Seen { session: serde_json::from_value(text).unwrap(), last: last.map(|at| BEGIN + at) }
    }

    fn told(seen: Vec<Seen>) -> Told {
        let begun = seen.iter().map(|seen| (seen.session.session.clone(), BEGIN + 10.0)).collect();
        Told {
            step: 60.0,
            sampled: Some(BEGIN + 3_590.0),
            is_there: true,
            begun,
            alive: HashMap::new(),
            seen,
        }
    }

    fn timeline(told: Told) -> Timeline {
        let period =
            Period { since_us: BEGIN as i64 * 1_000_000, until_us: (BEGIN as i64 + 3_600) * 1_000_000 };
        told.timeline(period, Vec::new())
    }

    #[test]
    fn a_session_that_came_to_be_known_is_one() {
        let told = told(vec![
            seen("a", Some("alice"), Some(600.0)),
            seen("a", None, Some(120.0)),
            seen("b", None, Some(300.0)),
            seen("b", Some("bob"), Some(300.0)),
        ]);
        let found = timeline(told);
        let users: Vec<_> =
            found.sessions.iter().map(|s| (s.user.as_deref(), s.end_time - BEGIN, s.ended)).collect();
        assert_eq!(users, [(Some("alice"), 600.0, true), (Some("bob"), 300.0, true)]);
    }

    #[test]
    fn what_goes_on_has_not_ended_and_what_nobody_knows_neither() {
        let mut going = told(vec![seen("a", None, Some(3_540.0))]);
        going.alive.insert("a".to_owned(), BEGIN + 3_595.0);
        let session = &timeline(going).sessions[0];
        assert_eq!(
            (session.end_time, session.ended),
            (BEGIN + 3_590.0, false),
            "until the node's last sample"
        );
        let mut gone = told(vec![seen("a", None, Some(1_200.0)), seen("b", None, Some(600.0))]);
        (gone.is_there, gone.sampled) = (false, Some(BEGIN + 1_210.0));
        let ended: Vec<bool> = timeline(gone).sessions.iter().map(|session| session.ended).collect();
        assert_eq!(ended, [false, true], "the node went away with the first");
    }

    #[test]
    fn a_session_between_two_moments_has_its_begin() {
        let session = &timeline(told(vec![seen("a", None, None)])).sessions[0];
        assert_eq!((session.start_time, session.end_time, session.ended), (BEGIN + 10.0, BEGIN + 10.0, true));
        let mut unknown = told(vec![seen("a", None, None)]);
        unknown.begun.clear();
        assert!(timeline(unknown).sessions.is_empty());
    }

    #[test]
    fn of_too_many_the_longest_stay() {
        let many = (0..2_100).map(|n| seen(&format!("{n:05}"), None, Some(f64::from(n + 11)))).collect();
        let found = timeline(told(many));
        assert!(found.truncated && found.sessions.len() == MOST);
        assert!(found.sessions.iter().all(|session| session.session.as_str() >= "00100"));
    }
}
