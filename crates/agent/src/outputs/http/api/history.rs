//! How things stood, from the ledger. A page keeps the period of the first: one that ends `now` would move on.

use super::page::{self, Limit};
use super::problem::Refusal;
use super::query::{OfAllocations, OfDevices, OfSessions, OfUsers, only_now};
use super::{Api, filter};
use crate::ledger::{self, Ledger, Place, Trouble};
use crate::outputs::http::LedgerIs;
use crate::report::period::Period;
use crate::report::{By, Line};
use axum::Json;
use axum::response::{IntoResponse as _, Response};
use gpu_session_api::{
    AllocationHistory, DeviceUsage, DeviceUsages, SCHEMA_VERSION, SessionHistory, Usage, UserUsage,
    UserUsages,
};
use gpu_session_core::json::seconds;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest that a query takes, and that it waits for others.
const LONGEST: Duration = Duration::from_secs(5);

/// Period of the first page, and the place of the last one on this.
type Cursor = (i64, i64, Place);

/// Sessions of the period.
pub(super) async fn sessions(api: &Api, asked: OfSessions, period: Period) -> Result<Response, Refusal> {
    only_now("allocated", asked.allocated.as_ref())?;
    only_now("idle_for", asked.idle_for.as_ref())?;
    let texts = [
        ("session", asked.session),
        ("user", asked.user),
        ("namespace", asked.namespace),
        ("pod", asked.pod),
        ("container", asked.container),
        ("command", asked.command),
    ];
    let (period, after) = resumed(period, asked.cursor.as_ref())?;
    let limit = page::limit(asked.limit);
    let wanted = ledger::Asked {
        gpu: asked.gpu.map(|gpu| gpu.0),
        pid: asked.pid,
        ..rows(period, after, limit, texts)
    };
    let found = read(api, move |ledger| ledger.sessions(&wanted)).await?;
    let (sessions, next_cursor) = cut(found, period, limit);
    let (since, until) = (seconds(period.since_us), seconds(period.until_us));
    let answer = SessionHistory { schema_version: SCHEMA_VERSION, since, until, sessions, next_cursor };
    Ok(Json(answer).into_response())
}

/// Allocations of the period.
pub(super) async fn allocations(
    api: &Api,
    asked: OfAllocations,
    period: Period,
) -> Result<Response, Refusal> {
    only_now("idle_for", asked.idle_for.as_ref())?;
    let texts = [
        ("namespace", asked.namespace),
        ("pod", asked.pod),
        ("container", asked.container),
        ("user", asked.user),
    ];
    let (period, after) = resumed(period, asked.cursor.as_ref())?;
    let limit = page::limit(asked.limit);
    let wanted = ledger::Asked { gpu: asked.gpu.map(|gpu| gpu.0), ..rows(period, after, limit, texts) };
    let found = read(api, move |ledger| ledger.allocations(&wanted)).await?;
    let (allocations, next_cursor) = cut(found, period, limit);
    let (since, until) = (seconds(period.since_us), seconds(period.until_us));
    let answer = AllocationHistory { schema_version: SCHEMA_VERSION, since, until, allocations, next_cursor };
    Ok(Json(answer).into_response())
}

/// What was used of each device in the period.
pub(super) async fn devices(api: &Api, asked: OfDevices, period: Period) -> Result<Response, Refusal> {
    only_now("uuid", asked.uuid.as_ref())?;
    only_now("user", asked.user.as_ref())?;
    only_now("free", asked.free.as_ref())?;
    whole(asked.cursor.as_ref())?;
    let takes = |name: &str| filter::is_on(asked.gpu, filter::label(name));
    let lines = used(api, period, By::Device, asked.limit, takes).await?;
    let devices = lines.into_iter().map(|line| DeviceUsage { gpu: name(&line), usage: Usage::from(&line) });
    let (since, until) = (seconds(period.since_us), seconds(period.until_us));
    let (schema_version, devices) = (SCHEMA_VERSION, devices.collect());
    Ok(Json(DeviceUsages { schema_version, since, until, devices }).into_response())
}

/// What each user used in the period.
pub(super) async fn users(api: &Api, asked: OfUsers, period: Period) -> Result<Response, Refusal> {
    only_now("gpu", asked.gpu.as_ref())?;
    whole(asked.cursor.as_ref())?;
    let takes = |name: &str| filter::is(asked.user.as_ref(), Some(name));
    let lines = used(api, period, By::User, asked.limit, takes).await?;
    let known = |line: &Line| Some(name(line)).filter(|name| !name.is_empty());
    let users = lines.into_iter().map(|line| UserUsage { user: known(&line), usage: Usage::from(&line) });
    let (since, until) = (seconds(period.since_us), seconds(period.until_us));
    let (schema_version, users) = (SCHEMA_VERSION, users.collect());
    Ok(Json(UserUsages { schema_version, since, until, users }).into_response())
}

/// The period of the first page, and the place of the last one so far.
fn resumed(period: Period, cursor: Option<&String>) -> Result<(Period, Option<Place>), Refusal> {
    Ok(match page::place::<Cursor>(cursor)? {
        Some((since_us, until_us, last)) => (Period { since_us, until_us }, Some(last)),
        None => (period, None),
    })
}

fn rows<const N: usize>(
    period: Period,
    after: Option<Place>,
    limit: usize,
    texts: [(&'static str, Option<String>); N],
) -> ledger::Asked {
    let texts = texts.into_iter().filter_map(|(column, text)| Some((column, text?))).collect();
    let Period { since_us, until_us } = period;
    // One more says whether there are more.
    ledger::Asked { since_us, until_us, texts, after, limit: limit + 1, ..ledger::Asked::default() }
}

fn cut<T>(mut found: Vec<(Place, T)>, period: Period, limit: usize) -> (Vec<T>, Option<String>) {
    let more = found.len() > limit;
    found.truncate(limit);
    let last = found.last().filter(|_| more).map(|(place, _)| *place);
    let cursor = last.and_then(|last| page::cursor(&(period.since_us, period.until_us, last)));
    (found.into_iter().map(|(_, row)| row).collect(), cursor)
}

/// What was used, whoever used most first.
async fn used(
    api: &Api,
    period: Period,
    by: By,
    limit: Option<Limit>,
    takes: impl Fn(&str) -> bool,
) -> Result<Vec<Line>, Refusal> {
    let Period { since_us, until_us } = period;
    let mut lines = read(api, move |ledger| ledger.usage(since_us, until_us, by)).await?;
    lines.retain(|line| takes(&name(line)));
    lines.truncate(limit.map_or(usize::MAX, |limit| page::limit(Some(limit))));
    Ok(lines)
}

/// Figures of what goes on are written later, so that a place among them would not stay where it is.
fn whole(cursor: Option<&String>) -> Result<(), Refusal> {
    match cursor {
        None => Ok(()),
        Some(_) => {
            Err(Refusal::bad("cursor", "sums of the past come whole, without next_cursor: leave it out"))
        }
    }
}

fn name(line: &Line) -> String {
    line.key.first().cloned().unwrap_or_default()
}

/// Asks the ledger, on a thread that may wait for the disk.
async fn read<T: Send + 'static>(
    api: &Api,
    question: impl FnOnce(&Ledger) -> anyhow::Result<T> + Send + 'static,
) -> Result<T, Refusal> {
    // What a file of before, or one that cannot be written, has of the past is not all of it.
    let ledger = api.shared.published.borrow().ledger();
    match ledger {
        LedgerIs::Kept => {}
        LedgerIs::Off => {
            return Err(Refusal::absent("no ledger is kept; set ledger.enabled: true, or ask Prometheus"));
        }
        LedgerIs::Failing => {
            return Err(Refusal::unavailable(
                "the ledger cannot be written, so that it does not have all of the past: see this program's log",
            ));
        }
    }
    let turn = Arc::clone(&api.queries).acquire_owned();
    let Ok(Ok(turn)) = tokio::time::timeout(LONGEST, turn).await else {
        return Err(Refusal::unavailable("other queries of the ledger take long; ask again later"));
    };
    let state_dir = api.shared.state_dir.clone();
    let asked = tokio::task::spawn_blocking(move || {
        // Until it is done, also where nobody waits for it any more.
        let _turn = turn;
        question(&Ledger::read_until(&state_dir, Instant::now() + LONGEST)?)
    });
    match asked.await {
        Ok(answer) => answer.map_err(|e| refusal(&e)),
        Err(e) => Err(Refusal::unavailable(format_args!("the ledger was not read: {e}"))),
    }
}

fn refusal(error: &anyhow::Error) -> Refusal {
    match Trouble::of(error) {
        Trouble::Missing => Refusal::absent(format_args!(
            "{error:#}; where ledger.enabled is true, the first is begun with the program"
        )),
        Trouble::TooLong => Refusal::unavailable(format_args!(
            "it was not answered within {} s; ask of a shorter period, or read the ledger itself with `report`",
            LONGEST.as_secs()
        )),
        Trouble::Fault => Refusal::unavailable(format_args!("{error:#}")),
    }
}
