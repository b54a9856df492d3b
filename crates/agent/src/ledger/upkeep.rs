//! What keeps the file small: old slices become one per hour, and the oldest goes.

use super::Retention;
use super::file::{LOG_PAGES, PAGE_BYTES};
use super::kind::{KINDS, Kind};
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior};
use std::collections::BTreeMap;

const HOUR_US: i64 = 3_600_000_000;

/// Slices that ended longer ago are merged by hour.
const FINE_US: i64 = 48 * HOUR_US;

/// What was written this recently goes last: it may go on.
const RECENT_US: i64 = 24 * HOUR_US;

/// Slices and things that one call looks at or deletes, so that the sampling does not wait for it.
const WORK: usize = 5_000;

/// Pages that one call gives back to the file system.
const PAGES: u64 = 512;

/// Pages that are used.
pub(super) fn used_bytes(db: &Connection) -> rusqlite::Result<u64> {
    let pages = pragma(db, "page_count")?.saturating_sub(pragma(db, "freelist_count")?);
    Ok(pages * u64::from(PAGE_BYTES))
}

fn pragma(db: &Connection, name: &str) -> rusqlite::Result<u64> {
    db.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map(|number| number.max(0) as u64)
}

/// Does some of it; says whether there is more to do.
pub(super) fn step(db: &mut Connection, keep: Retention, now_us: i64) -> rusqlite::Result<bool> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut work = WORK;
    delete_old(&transaction, keep, now_us, &mut work)?;
    delete_excess(&transaction, keep, now_us, &mut work)?;
    compact(&transaction, now_us, &mut work)?;
    transaction.commit()?;
    Ok(give_back(db)? || work == 0)
}

fn delete_old(db: &Transaction<'_>, keep: Retention, now_us: i64, work: &mut usize) -> rusqlite::Result<()> {
    let age_us = i64::try_from(keep.age.as_micros()).unwrap_or(i64::MAX);
    for kind in KINDS {
        delete(db, kind, &format!("end_us < {}", now_us.saturating_sub(age_us)), work)?;
    }
    Ok(())
}

/// Deletes things, the oldest first, with their slices, until the work is done. Returns whether there were any.
fn delete(db: &Transaction<'_>, kind: &Kind, which: &str, work: &mut usize) -> rusqlite::Result<bool> {
    let Kind { table, uses, .. } = kind;
    let mut oldest = db.prepare(&format!("SELECT id FROM {table} WHERE {which} ORDER BY end_us LIMIT 1"))?;
    let mut slices = db.prepare(&format!("DELETE FROM {uses} WHERE id = ?1"))?;
    let mut thing = db.prepare(&format!("DELETE FROM {table} WHERE id = ?1"))?;
    let mut any = false;
    while *work > 0
        && let Some(id) = oldest.query_row([], |row| row.get::<_, i64>(0)).optional()?
    {
        let deleted = slices.execute([id])? + thing.execute([id])?;
        *work = work.saturating_sub(deleted);
        any = true;
    }
    Ok(any)
}

fn delete_excess(
    db: &Transaction<'_>,
    keep: Retention,
    now_us: i64,
    work: &mut usize,
) -> rusqlite::Result<()> {
    let log_bytes = u64::from(LOG_PAGES * PAGE_BYTES);
    let recent = now_us.saturating_sub(RECENT_US);
    while *work > 0 && used_bytes(db)? + log_bytes > keep.bytes {
        let over = format!("(ended = 1 OR end_us < {recent})");
        // An hour at a time, so that neither kind outlives the other.
        let until = oldest(db, |kind| format!("SELECT min(end_us) FROM {} WHERE {over}", kind.table))?;
        let until = until.map(|oldest| oldest.saturating_add(HOUR_US));
        let mut any = false;
        for kind in KINDS {
            if let Some(until) = until {
                any |= delete(db, kind, &format!("{over} AND end_us <= {until}"), work)?;
            }
        }
        // What goes on has filled it alone: its totals stay, and when it was goes.
        if !any && !delete_slices(db, work)? {
            break;
        }
    }
    Ok(())
}

fn oldest(db: &Transaction<'_>, sql: impl Fn(&Kind) -> String) -> rusqlite::Result<Option<i64>> {
    let mut least: Option<i64> = None;
    for kind in KINDS {
        let found: Option<i64> = db.query_row(&sql(kind), [], |row| row.get(0))?;
        least = least.into_iter().chain(found).min();
    }
    Ok(least)
}

/// Deletes some of the oldest slices; returns whether there were any.
fn delete_slices(db: &Transaction<'_>, work: &mut usize) -> rusqlite::Result<bool> {
    let mut all = 0;
    for Kind { uses, .. } in KINDS {
        let which = format!("SELECT id, to_us FROM {uses} ORDER BY to_us LIMIT 100");
        all += db.execute(&format!("DELETE FROM {uses} WHERE (id, to_us) IN ({which})"), [])?;
    }
    *work = work.saturating_sub(all);
    Ok(all > 0)
}

/// Merges the slices of each thing by the hour in which they ended.
fn compact(db: &Transaction<'_>, now_us: i64, work: &mut usize) -> rusqlite::Result<()> {
    let horizon = hour(now_us.saturating_sub(FINE_US));
    let done: i64 = db.query_row("SELECT max(compacted_us) FROM upkeep", [], |row| row.get(0))?;
    let mut next = done.min(horizon);
    while *work > 0 && next < horizon {
        let first = oldest(db, |kind| format!("SELECT min(to_us) FROM {} WHERE to_us >= {next}", kind.uses))?;
        let Some(begin) = first.map(hour).filter(|first| *first < horizon) else {
            next = horizon;
            break;
        };
        for kind in KINDS {
            *work = work.saturating_sub(merge(db, kind, begin)?);
        }
        next = begin + HOUR_US;
    }
    // A clock that was set back has the hours since looked at again.
    if next != done {
        db.execute("UPDATE upkeep SET compacted_us = ?1", [next])?;
    }
    Ok(())
}

fn hour(at_us: i64) -> i64 {
    at_us.div_euclid(HOUR_US) * HOUR_US
}

/// Merges those that ended in the hour; returns how many were looked at.
fn merge(db: &Transaction<'_>, kind: &Kind, begin: i64) -> rusqlite::Result<usize> {
    let (uses, names) = (kind.uses, kind.amounts.join(", "));
    let (end, mut looked_at) = (begin + HOUR_US, 0);
    let mut slices: BTreeMap<i64, u32> = BTreeMap::new();
    let mut ids = db.prepare(&format!("SELECT id FROM {uses} WHERE to_us >= ?1 AND to_us < ?2"))?;
    let mut rows = ids.query([begin, end])?;
    while let Some(row) = rows.next()? {
        *slices.entry(row.get(0)?).or_default() += 1;
        looked_at += 1;
    }
    let sums: Vec<_> = kind.amounts.iter().map(|amount| format!("sum({amount})")).collect();
    let sums = sums.join(", ");
    let of_hour = "id = ?1 AND to_us >= ?2 AND to_us < ?3";
    let last = format!("(SELECT max(to_us) FROM {uses} WHERE {of_hour})");
    let mut sum = db.prepare(&format!(
        "UPDATE {uses} SET (from_us, ended, {names}) =
         (SELECT min(from_us), max(ended), {sums} FROM {uses} WHERE {of_hour}) WHERE id = ?1 AND to_us = {last}"
    ))?;
    let mut delete = db.prepare(&format!("DELETE FROM {uses} WHERE {of_hour} AND to_us < {last}"))?;
    for (id, _) in slices.into_iter().filter(|(_, slices)| *slices > 1) {
        sum.execute([id, begin, end])?;
        delete.execute([id, begin, end])?;
    }
    Ok(looked_at)
}

/// Gives unused pages back; says whether there are more.
fn give_back(db: &Connection) -> rusqlite::Result<bool> {
    let unused = pragma(db, "freelist_count")?;
    if unused == 0 {
        return Ok(false);
    }
    // It goes on page by page for as long as it is asked to.
    let mut vacuum = db.prepare(&format!("PRAGMA incremental_vacuum({PAGES})"))?;
    let mut rows = vacuum.query([])?;
    while rows.next()?.is_some() {}
    Ok(unused > PAGES)
}
