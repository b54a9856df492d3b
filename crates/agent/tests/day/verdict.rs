//! The ledger, the counters and the report, held against the truth.

use crate::counters::{self, Seen};
use crate::truth::{Session, Truth, USERS, clock_set, wall_us};
use crate::{DAY, INTERVAL};
use gpu_session_monitor::ledger::Ledger;
use gpu_session_monitor::report::By;
use rusqlite::{Connection, OpenFlags};
use std::collections::BTreeMap;
use std::path::Path;

/// A session of the ledger.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    gpu: String,
    pid: u32,
    start_us: i64,
    end_us: i64,
    ended: bool,
    seen: String,
}

pub(crate) fn ledger(folder: &Path) -> Vec<Row> {
    let path = folder.join("state/ledger.db");
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let sql = "SELECT gpu, pid, start_us, end_us, ended, seen FROM session";
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| {
        Ok(Row {
            gpu: row.get(0)?,
            pid: row.get(1)?,
            start_us: row.get(2)?,
            end_us: row.get(3)?,
            ended: row.get(4)?,
            seen: row.get(5)?,
        })
    });
    rows.unwrap().map(Result::unwrap).collect()
}

/// Whether the row is of the session, by when that was by the clock of the node: with room for a period of the driver at
/// each end and the second that start times are known to. When the clock is set back, stamps of what is under way, or
/// not written yet, go with it.
fn may_be(session: &Session, row: &Row) -> bool {
    let (at, by) = clock_set();
    let (from, until) = (wall_us(session.from / 10), wall_us(session.until / 10));
    let by = by * 1_000_000;
    let begins = if session.from / 10 < at && session.until / 10 >= at { from + by } else { from };
    let near = |from: i64, until: i64| row.start_us < until + 2_000_000 && row.end_us > from - 2_000_000;
    let just_before = (at - 60..at).contains(&(session.until / 10));
    near(begins, until) || (just_before && near(from + by, until + by))
}

pub(crate) fn sessions(truth: &Truth, rows: &[Row]) {
    let mut by_pid: BTreeMap<(String, u32), Vec<&Row>> = BTreeMap::new();
    for row in rows {
        assert!(row.ended || row.end_us > wall_us(*DAY - 60), "it goes on at the end only: {row:?}");
        by_pid.entry((row.gpu.clone(), row.pid)).or_default().push(row);
    }
    let (mut missing, mut twice, mut short) = (Vec::new(), Vec::new(), 0);
    for session in &truth.sessions {
        let gpu =
            session.instance.map_or_else(|| session.gpu.to_string(), |gi| format!("{}_{gi}_0", session.gpu));
        let of_pid = by_pid.get(&(gpu, session.pid)).map_or(&[][..], Vec::as_slice);
        let found = of_pid.iter().filter(|row| may_be(session, row)).count();
        // Under MIG nobody tells of one that fits between two samples.
        let sure = session.instance.is_none() || session.seconds() > INTERVAL as f64;
        match found {
            0 if sure => missing.push(session),
            0 => short += 1,
            1 => {}
            _ => twice.push((session, of_pid)),
        }
    }
    let most = truth.sessions.len();
    assert!(
        missing.is_empty(),
        "{} of {most} are missing: {:?}",
        missing.len(),
        &missing[..missing.len().min(5)]
    );
    assert!(
        twice.is_empty(),
        "{} of {most} are there twice: {:?}",
        twice.len(),
        &twice[..twice.len().min(3)]
    );
    assert_eq!(rows.len(), most - short, "rows beyond the truth");
    let unlisted = rows.iter().filter(|row| row.seen != "listed").count();
    assert!(unlisted as i64 > *DAY / 1_000, "{unlisted} came and went between two samples");
}

pub(crate) fn users(truth: &Truth, seen: &Seen) {
    let (mut all, mut counted) = (0.0, 0.0);
    for user in 0..USERS {
        let plain = truth.plain().filter(|session| session.user == user);
        let used: f64 = plain.map(Session::sm_seconds).sum();
        let name = format!(" user-{user}");
        let found: f64 = (0..7).map(|gpu| seen.get(&format!("sm {gpu}{name}")).copied().unwrap_or(0.0)).sum();
        assert!((found - used).abs() <= 0.01 * used, "user-{user}: {found} counted, {used} used");
        all += used;
        counted += found;
    }
    assert!(counted <= all + 1.0, "more than there was: {counted} {all}");
    let ended = counters::sum(seen, "ended-on", "");
    let by_user: f64 = seen.iter().filter(|(key, _)| key.starts_with("ended ")).map(|(_, n)| n).sum();
    assert!((ended - by_user).abs() < 1e-6, "each ended session is in one user's sum: {ended} {by_user}");
}

/// The report of the whole day is what the counters say.
pub(crate) fn report(truth: &Truth, folder: &Path) {
    let ledger = Ledger::read(&folder.join("state")).unwrap();
    let lines = ledger.usage(wall_us(0) - 3_600_000_000, wall_us(*DAY) + 3_600_000_000, By::User).unwrap();
    let seen = counters::last(folder);
    assert!(lines.len() >= USERS as usize);
    for line in &lines {
        let end = format!(" {}", line.key[0]);
        let of = |name: &str| counters::sum(&seen, name, &end);
        let near = |a: Option<f64>, b: f64, what: &str| {
            let a = a.unwrap_or(0.0) * 3600.0;
            assert!(
                (a - b).abs() <= 0.001 * b.max(60.0),
                "{what} of {:?}: {a} in the ledger, {b} counted",
                line.key
            );
        };
        near(line.sm_hours, of("sm"), "SM time");
        near(line.session_hours, of("session"), "session time");
        assert_eq!(line.sessions, of("ended").round() as u64, "{:?}", line.key);
    }
    let total: u64 = lines.iter().map(|line| line.sessions).sum();
    assert!(total as usize <= truth.sessions.len());
}
