//! What can be asked of a cluster.

use crate::cluster::{Filter, Idle, Page, State, Words};
use crate::outputs::http::api::page::{Limit, limit};
use crate::outputs::http::api::problem::Refusal;
use crate::outputs::http::api::query::{At, For, Gpu, period};
use crate::report::period::Period;
use serde::de::{Deserialize, Deserializer, Error as _};
use std::time::Duration;

/// Without `since` the last day is asked for.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest period that Prometheus is asked for: each of its days is read there for every device and user.
const LONGEST_DAYS: i64 = 92;
/// Longest text that is searched for, in bytes.
const LONGEST_SEARCH: usize = 500;

/// How many come before the page.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Offset(usize);

impl<'de> Deserialize<'de> for Offset {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let number = text.parse::<u32>().ok().filter(|_| digits);
        number.map(|number| Self(number as usize)).ok_or_else(|| {
            D::Error::custom(format_args!("{text:?} is not allowed: a number from 0 to {}", u32::MAX))
        })
    }
}

/// A state of nodes.
#[derive(Clone, Copy, Debug)]
pub(super) struct InState(State);

impl<'de> Deserialize<'de> for InState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map(Self).map_err(D::Error::custom)
    }
}

fn words(search: Option<&String>) -> Result<Words, Refusal> {
    match search {
        Some(text) if text.len() > LONGEST_SEARCH => Err(Refusal::bad(
            "search",
            format_args!("it is longer than {LONGEST_SEARCH} bytes: give fewer words"),
        )),
        text => Ok(text.map_or_else(Words::default, |text| Words::of(text))),
    }
}

fn page(offset: Option<Offset>, most: Option<Limit>) -> Page {
    Page { offset: offset.unwrap_or_default().0, limit: limit(most) }
}

/// The period, without `since` the day before its end, or before now.
pub(super) fn of_period(since: Option<At>, until: Option<At>, now_us: i64) -> Result<Period, Refusal> {
    let period = resolved(since, until, now_us)?;
    if period.until_us - period.since_us > LONGEST_DAYS * DAY.as_micros() as i64 {
        return Err(Refusal::bad(
            "since",
            format_args!(
                "the period is longer than {LONGEST_DAYS} days: begin later, or end earlier with until"
            ),
        ));
    }
    Ok(period)
}

fn resolved(since: Option<At>, until: Option<At>, now_us: i64) -> Result<Period, Refusal> {
    if let Some(since) = since {
        // With a begin there is a period.
        return Ok(period(Some(since), until, now_us)?.unwrap_or(day_before(now_us)));
    }
    match until {
        None => Ok(day_before(now_us)),
        Some(until) => {
            let until = period(None, Some(until), now_us)?.map_or(now_us, |period| period.until_us);
            Ok(day_before(until))
        }
    }
}

fn day_before(until_us: i64) -> Period {
    let whole = until_us - until_us.rem_euclid(1_000_000);
    Period { since_us: (whole - DAY.as_micros() as i64).max(0), until_us: whole }
}

/// Nodes.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfNodes {
    search: Option<String>,
    pub(super) sort: Option<String>,
    offset: Option<Offset>,
    limit: Option<Limit>,
    pub(super) node: Option<String>,
    state: Option<InState>,
}

impl OfNodes {
    pub(super) fn words(&self) -> Result<Words, Refusal> {
        words(self.search.as_ref())
    }

    pub(super) fn page(&self) -> Page {
        page(self.offset, self.limit)
    }

    pub(super) fn state(&self) -> Option<State> {
        self.state.map(|state| state.0)
    }
}

/// Sessions.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfSessions {
    search: Option<String>,
    pub(super) sort: Option<String>,
    offset: Option<Offset>,
    limit: Option<Limit>,
    node: Option<String>,
    gpu: Option<Gpu>,
    user: Option<String>,
    namespace: Option<String>,
    pod: Option<String>,
    idle_for: Option<For>,
}

impl OfSessions {
    pub(super) fn page(&self) -> Page {
        page(self.offset, self.limit)
    }

    pub(super) fn filter(&self) -> Result<Filter, Refusal> {
        Ok(Filter {
            words: words(self.search.as_ref())?,
            node: self.node.clone(),
            gpu: self.gpu.map(|gpu| gpu.0),
            user: self.user.clone(),
            namespace: self.namespace.clone(),
            pod: self.pod.clone(),
            idle_for: self.idle_for.map(|idle| Idle(idle.0)),
            idle: None,
        })
    }
}

/// Allocations.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfAllocations {
    search: Option<String>,
    pub(super) sort: Option<String>,
    offset: Option<Offset>,
    limit: Option<Limit>,
    node: Option<String>,
    gpu: Option<Gpu>,
    user: Option<String>,
    namespace: Option<String>,
    pod: Option<String>,
    idle_for: Option<For>,
    idle: Option<bool>,
}

impl OfAllocations {
    pub(super) fn page(&self) -> Page {
        page(self.offset, self.limit)
    }

    pub(super) fn filter(&self) -> Result<Filter, Refusal> {
        Ok(Filter {
            words: words(self.search.as_ref())?,
            node: self.node.clone(),
            gpu: self.gpu.map(|gpu| gpu.0),
            user: self.user.clone(),
            namespace: self.namespace.clone(),
            pod: self.pod.clone(),
            idle_for: self.idle_for.map(|idle| Idle(idle.0)),
            idle: self.idle,
        })
    }
}

/// Users.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfUsers {
    search: Option<String>,
    pub(super) sort: Option<String>,
    offset: Option<Offset>,
    limit: Option<Limit>,
    pub(super) user: Option<String>,
    pub(super) since: Option<At>,
    pub(super) until: Option<At>,
}

impl OfUsers {
    pub(super) fn words(&self) -> Result<Words, Refusal> {
        words(self.search.as_ref())
    }

    pub(super) fn page(&self) -> Page {
        page(self.offset, self.limit)
    }
}

/// A device over a time.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfDevice {
    pub(super) node: Option<String>,
    pub(super) gpu: Option<Gpu>,
    pub(super) since: Option<At>,
    pub(super) until: Option<At>,
}

/// A user over a time.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfUser {
    pub(super) user: Option<String>,
    pub(super) since: Option<At>,
    pub(super) until: Option<At>,
}

/// What has to be said.
pub(super) fn required<T>(name: &str, value: Option<T>, what: &str) -> Result<T, Refusal> {
    value.ok_or_else(|| Refusal::bad(name, format_args!("it is missing: give {what}")))
}
