//! The tables, and how a file of an earlier version gets them.

use super::fault::Fault;
use rusqlite::{Connection, TransactionBehavior};

/// Says that a file of SQLite is a ledger: `GpuL`.
pub(super) const APPLICATION_ID: i32 = 0x4770_754c;

/// Every step from one version to the next, the first from nothing. Steps that were released are never changed.
pub(super) const STEPS: &[&str] = &[include_str!("1.sql")];

/// Number of the tables that this program reads and writes.
const TABLES: i64 = 5;

/// Version of the tables; 0 in a file that holds nothing yet. What is not ours, or is of a later version, is not to be
/// touched.
pub(super) fn version(db: &Connection, steps: &[&str]) -> Result<usize, Fault> {
    let number = |pragma| db.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
    let version = number("user_version")?;
    match number("application_id")? {
        APPLICATION_ID => match usize::try_from(version) {
            Ok(version) if (1..=steps.len()).contains(&version) => Ok(version),
            Ok(version) if version > steps.len() => Err(Fault::Newer { version, known: steps.len() }),
            _ => Err(Fault::Damaged(format!("version {version} of the tables is impossible"))),
        },
        0 if version == 0 && is_empty(db)? => Ok(0),
        id => Err(Fault::Foreign(id)),
    }
}

fn is_empty(db: &Connection) -> rusqlite::Result<bool> {
    db.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0))
}

/// Takes the steps that the file lacks, each whole or not at all.
pub(super) fn migrate(db: &mut Connection, steps: &[&str]) -> Result<(), Fault> {
    let from = version(db, steps)?;
    for (number, step) in steps.iter().enumerate().skip(from) {
        let step_of = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        step_of.execute_batch(step)?;
        step_of.pragma_update(None, "application_id", APPLICATION_ID)?;
        step_of.pragma_update(None, "user_version", i32::try_from(number + 1).unwrap_or(i32::MAX))?;
        step_of.commit()?;
    }
    Ok(())
}

/// Looks through the whole file.
pub(super) fn check(db: &Connection) -> Result<(), Fault> {
    let verdict: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    // The line before the last only says which database.
    if verdict == "ok" {
        Ok(())
    } else {
        Err(Fault::Damaged(verdict.lines().last().unwrap_or_default().into()))
    }
}

/// Whether all tables are there.
pub(super) fn check_tables(db: &Connection) -> Result<(), Fault> {
    let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'table'
        AND name IN ('session', 'session_use', 'allocation', 'allocation_use', 'upkeep')";
    match db.query_row(sql, [], |row| row.get(0))? {
        TABLES => Ok(()),
        found => Err(Fault::Damaged(format!("{found} of its {TABLES} tables are there"))),
    }
}
