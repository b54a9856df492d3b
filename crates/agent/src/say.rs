//! Words for the operator, on standard error, harmless whatever they quote.

use gpu_session_core::sample::Sample;
use gpu_session_core::snapshot::Snapshot;
use gpu_session_core::text::{clean_value, is_hostile};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::io::Write as _;

/// Writes a warning.
pub fn warn(message: impl Display) {
    line("warning", &message.to_string());
}

/// Writes what is no problem.
pub fn info(message: impl Display) {
    line("info", &message.to_string());
}

/// Writes an error.
pub fn error(message: impl Display) {
    line("error", &message.to_string());
}

/// Warns of everything that the sources of a sample could not read.
pub fn health(sample: &Sample) {
    for source in &sample.health {
        for problem in &source.errors {
            warn(clean_value(&format!("{}: {}", source.source, problem.message)));
        }
    }
}

/// What was seen, in one line: how much, and which sources did not say all. No names, which workloads choose.
pub fn seen(snapshot: &Snapshot) -> String {
    let read = snapshot.devices.iter().filter_map(|device| device.occupancy.as_ref());
    let users: BTreeSet<&str> =
        read.clone().flat_map(|on| on.users.iter().map(|(name, _)| &**name)).collect();
    let sessions: u64 = read.map(|on| on.sessions).sum();
    let unknown = if snapshot.total_sessions.is_none() { "at least " } else { "" };
    let failed: Vec<&str> =
        snapshot.health.iter().filter(|source| !source.up).map(|source| &*source.source).collect();
    let sources = if failed.is_empty() {
        "every source answered".to_owned()
    } else {
        format!("incomplete: {}", failed.join(", "))
    };
    format!(
        "{}, {unknown}{} of {}; {sources}",
        counted(snapshot.devices.len() as u64, "device"),
        counted(sessions, "session"),
        counted(users.len() as u64, "user")
    )
}

/// So many of it.
pub(crate) fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Where only words changed, what is wrong is told again after this time.
const TELL_AGAIN_US: i64 = 10 * 60 * 1_000_000;

/// Of one thing no more than this is told at once.
const MOST_LINES: usize = 20;

/// What is wrong, told when it begins, changes and ends, and not in between.
#[derive(Debug, Default)]
pub struct Conditions {
    known: BTreeMap<String, Condition>,
}

#[derive(Debug)]
struct Condition {
    kinds: Vec<String>,
    messages: Vec<String>,
    told_us: i64,
}

impl Conditions {
    /// Tells what is new in the sources of a sample.
    pub fn health(&mut self, sample: &Sample) {
        for source in &sample.health {
            let name = &*source.source;
            let problems = source.errors.iter();
            let problems: Vec<_> =
                problems.map(|problem| (&*problem.kind, format!("{name}: {}", problem.message))).collect();
            if problems.is_empty() {
                self.ended(name, "answers again");
            } else {
                self.holds(name, &problems, sample.monotonic_us);
            }
        }
    }

    /// These problems, by kind and words, hold now. Where the kinds are those of before, other words alone are told only
    /// now and then: some say for how long.
    pub fn holds(&mut self, what: &str, problems: &[(&str, String)], now_us: i64) {
        self.news(what, problems, now_us).iter().for_each(warn);
    }

    /// Nothing is wrong with it now.
    pub fn ended(&mut self, what: &str, words: &str) {
        if self.known.remove(what).is_some() {
            info(format_args!("{what}: {words}"));
        }
    }

    fn news(&mut self, what: &str, problems: &[(&str, String)], now_us: i64) -> Vec<String> {
        let mut kinds: Vec<String> = problems.iter().map(|(kind, _)| (*kind).to_owned()).collect();
        kinds.sort();
        let messages: Vec<String> = problems.iter().map(|(_, message)| message.clone()).collect();
        let before = self.known.get(what);
        if before.is_some_and(|b| {
            b.kinds == kinds && (b.messages == messages || now_us - b.told_us < TELL_AGAIN_US)
        }) {
            return Vec::new();
        }
        let is_new = |message: &&String| before.is_none_or(|before| !before.messages.contains(message));
        let mut news: Vec<String> = messages.iter().filter(is_new).cloned().collect();
        if news.is_empty() {
            news.clone_from(&messages);
        }
        let more = news.len().saturating_sub(MOST_LINES);
        news.truncate(MOST_LINES);
        if more > 0 {
            news.push(format!("{what}: and {more} more"));
        }
        self.known.insert(what.to_owned(), Condition { kinds, messages, told_us: now_us });
        news
    }
}

fn line(level: &str, message: &str) {
    let message: String =
        message.chars().map(|c| if is_hostile(c) && c != '\n' { '\u{fffd}' } else { c }).collect();
    // Nobody is left to tell if standard error is gone.
    let _ = writeln!(std::io::stderr().lock(), "gpu-session-monitor: {level}: {message}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems<'a>(list: &[(&'a str, &str)]) -> Vec<(&'a str, String)> {
        list.iter().map(|(kind, message)| (*kind, (*message).to_owned())).collect()
    }

    #[test]
    fn what_is_wrong_is_told_when_it_begins_changes_and_begins_again() {
        let mut told = Conditions::default();
        let mut news = |list: &[(&str, &str)], at: i64| told.news("nvml", &problems(list), at * 1_000_000);
        let (lost, other) = (("LOST", "GPU 2 is lost"), ("LOST", "GPU 3 is lost"));
        assert_eq!(news(&[lost], 0), ["GPU 2 is lost"]);
        assert!(news(&[lost], 5).is_empty());
        assert_eq!(news(&[lost, other], 10), ["GPU 3 is lost"]);
        assert_eq!(news(&[other], 15), ["GPU 3 is lost"]);
        assert_eq!(news(&[("UNKNOWN", "?")], 20), ["?"]);
        told.ended("nvml", "answers again");
        assert_eq!(told.news("nvml", &problems(&[lost]), 25_000_000), ["GPU 2 is lost"]);
    }

    #[test]
    fn other_words_alone_are_told_now_and_then() {
        let mut told = Conditions::default();
        let mut news =
            |words: &str, at: i64| told.news("x", &problems(&[("timeout", words)]), at * 1_000_000);
        assert_eq!(news("for 5 s", 0).len(), 1);
        assert!(news("for 10 s", 5).is_empty());
        assert_eq!(news("for 605 s", 605), ["for 605 s"]);
        assert!(news("for 605 s", 2000).is_empty());
    }

    #[test]
    fn many_problems_are_not_many_lines() {
        let mut told = Conditions::default();
        let list: Vec<_> = (0..100).map(|n| ("k", format!("problem {n}"))).collect();
        let news = told.news("x", &list, 0);
        assert_eq!((news.len(), news[20].as_str()), (21, "x: and 80 more"));
    }
}
