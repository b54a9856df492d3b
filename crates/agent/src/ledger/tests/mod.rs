//! Tests of the ledger.

mod damage;
mod files;
mod history;
mod kill;
mod upkeep;
mod usage;
mod write;

use super::{Ledger, Retention};
use gpu_session_core::accounting::Counter;
use gpu_session_core::allocation::AllocationState;
use gpu_session_core::ids::{GpuLabel, SessionId};
use gpu_session_core::ledger::{AllocationRow, DeviceOfRow, Rows, SessionRow};
use gpu_session_core::state::Session;
use rusqlite::Connection;
use serde_json::json;
use std::path::Path;
use std::time::Duration;

/// The beginning of an hour, and of a day.
const NOW: i64 = 1_800_057_600_000_000;
const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3600 * SECOND;
const DAY: i64 = 24 * HOUR;

const KEEP: Retention = Retention { age: Duration::from_secs(90 * 86_400), bytes: 256 << 20 };

/// Bytes that are used in its file.
fn used(ledger: &Ledger) -> u64 {
    super::upkeep::used_bytes(ledger.db.as_ref().unwrap()).unwrap()
}

fn open(folder: &Path) -> Ledger {
    Ledger::open(folder, KEEP).unwrap()
}

#[expect(clippy::unnecessary_wraps, reason = "as the fields are")]
fn counter(value: f64) -> Option<Counter> {
    Some(Counter { value, born_us: 0 })
}

fn device() -> DeviceOfRow {
    DeviceOfRow {
        gpu: GpuLabel { gpu: 3, instance: None },
        uuid: "GPU-3".into(),
        mig_profile: None,
        compute_fraction: Some(1.0),
    }
}

/// A session that goes on, with half of its time on the SMs.
fn session(id: u64, start_us: i64, end_us: i64) -> SessionRow {
    let empty = json!({ "attribution": {}, "first_seen_us": start_us, "last_seen_us": end_us });
    let seconds = (end_us - start_us) as f64 / 1e6;
    let mut session: Session = serde_json::from_value(empty).unwrap();
    session.opened_us = start_us;
    session.session_seconds = seconds;
    session.measured_seconds = seconds;
    session.sm_seconds = counter(seconds / 2.0);
    SessionRow { id: SessionId(id), opened_us: start_us, device: device(), pid: 7, session }
}

fn ended(mut row: SessionRow) -> SessionRow {
    row.session.ended_us = Some(row.session.last_seen_us);
    row
}

/// A session that is over.
fn past(id: u64, start_us: i64, end_us: i64) -> SessionRow {
    ended(session(id, start_us, end_us))
}

/// An allocation that goes on, idle for a quarter of its time.
fn allocation(pod: &str, start_us: i64, end_us: i64) -> AllocationRow {
    let seconds = (end_us - start_us) as f64 / 1e6;
    let empty = json!({ "since_us": start_us, "seen_us": end_us, "opened_us": start_us });
    let mut allocation: AllocationState = serde_json::from_value(empty).unwrap();
    allocation.allocated_seconds = seconds;
    allocation.idle_seconds = seconds / 4.0;
    let key = ("GPU-3".into(), "team".into(), pod.into(), "main".into());
    AllocationRow { device: device(), key, allocation }
}

fn sessions(sessions: impl IntoIterator<Item = SessionRow>) -> Rows {
    Rows { sessions: sessions.into_iter().collect(), allocations: Vec::new() }
}

fn allocations(allocations: impl IntoIterator<Item = AllocationRow>) -> Rows {
    Rows { sessions: Vec::new(), allocations: allocations.into_iter().collect() }
}

fn db(ledger: &Ledger) -> &Connection {
    ledger.db.as_ref().unwrap()
}

/// The rows of a query, each as text.
fn rows_of(db: &Connection, sql: &str) -> Vec<String> {
    let mut statement = db.prepare(sql).unwrap();
    let width = statement.column_count();
    let mut rows = statement.query([]).unwrap();
    let mut all = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        let values = (0..width).map(|n| match row.get(n).unwrap() {
            rusqlite::types::Value::Null => "-".to_owned(),
            rusqlite::types::Value::Integer(number) => number.to_string(),
            rusqlite::types::Value::Real(number) => number.to_string(),
            rusqlite::types::Value::Text(text) => text,
            rusqlite::types::Value::Blob(_) => "blob".to_owned(),
        });
        all.push(values.collect::<Vec<_>>().join(" "));
    }
    all
}

fn one(db: &Connection, sql: &str) -> String {
    rows_of(db, sql).remove(0)
}

/// All that is kept.
fn all(db: &Connection) -> Vec<String> {
    ["session", "session_use", "allocation", "allocation_use"]
        .iter()
        .flat_map(|table| rows_of(db, &format!("SELECT * FROM {table} ORDER BY 1, 2, 3")))
        .collect()
}

/// Slices of sessions: seconds from [`NOW`] to and to, whether it ended, seconds of the session and of SM time.
fn slices(db: &Connection) -> Vec<String> {
    let sql = format!(
        "SELECT (from_us - {NOW}) / {SECOND}, (to_us - {NOW}) / {SECOND}, ended, session_seconds, sm_seconds
         FROM session_use ORDER BY id, to_us"
    );
    rows_of(db, &sql)
}
