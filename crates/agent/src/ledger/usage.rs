//! Sums over a period.

use super::kind::{ALLOCATION, Kind, SESSION};
use crate::report::{self, By, Line, Sums};
use rusqlite::{Connection, Row};
use std::collections::BTreeMap;

/// Half-open, Unix microseconds.
#[derive(Clone, Copy)]
struct Period {
    since_us: i64,
    until_us: i64,
}

impl Period {
    fn holds(self, at_us: i64) -> bool {
        self.since_us <= at_us && at_us < self.until_us
    }

    /// The part of a slice that lies inside, 0 to 1.
    fn part_of(self, from_us: i64, to_us: i64) -> f64 {
        if from_us >= to_us {
            return f64::from(u8::from(self.holds(to_us)));
        }
        let inside = to_us.min(self.until_us).saturating_sub(from_us.max(self.since_us)).max(0);
        inside as f64 / to_us.saturating_sub(from_us) as f64
    }
}

/// What was used in the period.
pub(super) fn usage(db: &Connection, since_us: i64, until_us: i64, by: By) -> rusqlite::Result<Vec<Line>> {
    let period = Period { since_us, until_us };
    let mut lines = BTreeMap::new();
    // One view of both.
    let view = db.unchecked_transaction()?;
    add(&view, period, by, &SESSION, &mut lines)?;
    if by != By::Command {
        add(&view, period, by, &ALLOCATION, &mut lines)?;
    }
    drop(view);
    let mut lines: Vec<_> = lines.into_iter().filter_map(|(key, sums)| sums.line(key)).collect();
    report::sort(&mut lines);
    Ok(lines)
}

fn keys(by: By) -> &'static [&'static str] {
    match by {
        By::User => &["user"],
        By::Namespace => &["namespace"],
        By::Pod => &["namespace", "pod"],
        By::Device => &["gpu"],
        By::Command => &["command"],
    }
}

type Lines = BTreeMap<Vec<String>, Sums>;

fn add(db: &Connection, period: Period, by: By, kind: &Kind, lines: &mut Lines) -> rusqlite::Result<()> {
    let keys = keys(by);
    let amounts: Vec<_> = kind.amounts.iter().map(|amount| format!("u.{amount}")).collect();
    let mut statement = db.prepare(&format!(
        "SELECT u.from_us, u.to_us, u.ended, t.compute_fraction, {}, {} FROM {} u JOIN {} t ON t.id = u.id
         WHERE u.to_us >= ?1 AND u.from_us < ?2",
        amounts.join(", "),
        keys.join(", "),
        kind.uses,
        kind.table
    ))?;
    let mut rows = statement.query([period.since_us, period.until_us])?;
    while let Some(row) = rows.next()? {
        let (from_us, to_us): (i64, i64) = (row.get(0)?, row.get(1)?);
        let part = period.part_of(from_us, to_us);
        let ended = row.get(2)? && period.holds(to_us);
        if part <= 0.0 && !ended {
            continue;
        }
        let first = 4 + amounts.len();
        let key =
            (first..first + keys.len()).map(|n| Ok(row.get::<_, Option<String>>(n)?.unwrap_or_default()));
        let sums = lines.entry(key.collect::<rusqlite::Result<_>>()?).or_default();
        if part > 0.0 {
            add_slice(sums, kind, row, part)?;
        }
        if ended && kind.table == SESSION.table {
            Sums::add(&mut sums.ended, 1.0);
        }
    }
    Ok(())
}

/// Adds a part of a slice.
fn add_slice(sums: &mut Sums, kind: &Kind, row: &Row<'_>, part: f64) -> rusqlite::Result<()> {
    let fraction: Option<f64> = row.get(3)?;
    for (n, amount) in kind.amounts.iter().enumerate() {
        let (sum, is_time) = match *amount {
            "session_seconds" => (&mut sums.session_seconds, true),
            "measured_seconds" => (&mut sums.measured_seconds, true),
            "sm_seconds" => (&mut sums.sm_seconds, true),
            "memory_byte_seconds" => (&mut sums.memory_byte_seconds, false),
            "allocated_seconds" => (&mut sums.allocated_seconds, true),
            "idle_seconds" => (&mut sums.idle_seconds, true),
            _ => (&mut sums.joules, false),
        };
        // How much of a GPU a slice of unknown share is, nobody knows.
        let weight = if is_time { fraction } else { Some(1.0) };
        let amount: Option<f64> = row.get(4 + n)?;
        if let (Some(weight), Some(amount)) = (weight, amount) {
            Sums::add(sum, amount * weight * part);
        }
    }
    Ok(())
}
