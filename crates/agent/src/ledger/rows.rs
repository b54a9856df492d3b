//! Writing: each thing in the place of itself, and what it used since it was last written as a slice.

use super::kind::{Kind, Thing};
use rusqlite::types::Value;
use rusqlite::{OptionalExtension as _, Row, Statement, ToSql, Transaction, params_from_iter};

/// Statements for the things of a kind.
pub(super) struct Writer<'t> {
    kind: &'static Kind,
    transaction: &'t Transaction<'t>,
    find: Statement<'t>,
    insert: Statement<'t>,
    update: Statement<'t>,
    slice: Statement<'t>,
    was_counted: Statement<'t>,
}

/// What the table has of a thing.
struct Known {
    start_us: i64,
    end_us: i64,
    ended: bool,
    amounts: Vec<Option<f64>>,
}

impl<'t> Writer<'t> {
    /// Writes within the transaction.
    pub(super) fn new(kind: &'static Kind, transaction: &'t Transaction<'t>) -> rusqlite::Result<Self> {
        let Kind { table, uses, .. } = kind;
        let amounts = kind.amounts.join(", ");
        let key: Vec<_> = kind.key.iter().enumerate().map(|(n, key)| format!("{key} = ?{}", n + 1)).collect();
        let all: Vec<_> = changing(kind).chain(kind.key.iter().copied()).collect();
        let set: Vec<_> = changing(kind).enumerate().map(|(n, column)| set(kind, column, n + 1)).collect();
        let add =
            kind.amounts.iter().map(|c| format!("{c} = coalesce({c} + excluded.{c}, {c}, excluded.{c})"));
        let statements = [
            format!("SELECT id, start_us, end_us, ended, {amounts} FROM {table} WHERE {}", key.join(" AND ")),
            format!("INSERT INTO {table} ({}) VALUES ({})", all.join(", "), marks(all.len())),
            format!("UPDATE {table} SET {} WHERE id = ?{}", set.join(", "), set.len() + 1),
            // What comes later of the same time goes to the slice that ends there.
            format!(
                "INSERT INTO {uses} (id, from_us, to_us, ended, {amounts}) VALUES ({})
                 ON CONFLICT DO UPDATE SET from_us = min(from_us, excluded.from_us),
                 ended = max(ended, excluded.ended), {}",
                marks(4 + kind.amounts.len()),
                add.collect::<Vec<_>>().join(", ")
            ),
            format!("SELECT EXISTS (SELECT 1 FROM {uses} WHERE id = ?1 AND ended = 1)"),
        ];
        let [find, insert, update, slice, was_counted] = statements.map(|sql| transaction.prepare(&sql));
        Ok(Self {
            kind,
            transaction,
            find: find?,
            insert: insert?,
            update: update?,
            slice: slice?,
            was_counted: was_counted?,
        })
    }

    /// Writes a thing; again, and nothing changes. Its amounts never go down: one that an older state brings back has
    /// to come up to what was written before it adds to it.
    pub(super) fn write(&mut self, new: &Thing) -> rusqlite::Result<()> {
        let width = self.kind.amounts.len();
        let found = self.find.query_row(params_from_iter(&new.key), |row| known(row, width)).optional()?;
        let nothing = || Known {
            start_us: new.start_us,
            end_us: new.start_us,
            ended: false,
            amounts: vec![None; width],
        };
        let (id, old) = found.map_or_else(|| (None, nothing()), |(id, old)| (Some(id), old));
        let older = new.amounts[0] < old.amounts[0];
        let end_us = if older { old.end_us.max(new.end_us) } else { new.end_us };
        let start_us =
            if id.is_some() && (older || self.kind.keeps_start) { old.start_us } else { new.start_us };
        let deltas: Vec<_> =
            new.amounts.iter().zip(&old.amounts).map(|(new, old)| delta(*new, *old)).collect();
        let amounts = new
            .amounts
            .iter()
            .zip(&old.amounts)
            .map(|(new, old)| old.map_or(*new, |old| Some(old.max(new.unwrap_or(old)))));
        let times = [Value::from(start_us), end_us.into(), new.ended.into()];
        let values = new.facts.iter().cloned().chain(new.peaks.iter().cloned()).chain(times);
        let mut values: Vec<Value> = values.chain(amounts.map(Value::from)).collect();
        let id = if let Some(id) = id {
            values.push(id.into());
            self.update.execute(params_from_iter(values))?;
            id
        } else {
            values.extend(new.key.iter().cloned());
            self.insert.execute(params_from_iter(values))?;
            self.transaction.last_insert_rowid()
        };
        let ends =
            new.ended && !old.ended && !self.was_counted.query_row([id], |row| row.get::<_, bool>(0))?;
        let came_to_be_known =
            new.amounts.iter().zip(&old.amounts).any(|(new, old)| new.is_some() && old.is_none());
        let used = deltas.iter().flatten().any(|delta| *delta > 0.0);
        if ends || used || came_to_be_known || end_us != old.end_us {
            let from_us = begin(&old, start_us, end_us, deltas[0]);
            let head: [&dyn ToSql; 4] = [&id, &from_us, &end_us, &ends];
            let amounts = deltas.iter().map(|delta| -> &dyn ToSql { delta });
            self.slice.execute(params_from_iter(head.into_iter().chain(amounts)))?;
        }
        Ok(())
    }
}

/// The columns that a later write may change, in the order of their values.
fn changing(kind: &Kind) -> impl Iterator<Item = &'static str> {
    let times = ["start_us", "end_us", "ended"];
    kind.facts.iter().chain(kind.peaks).copied().chain(times).chain(kind.amounts.iter().copied())
}

fn set(kind: &Kind, column: &str, n: usize) -> String {
    if kind.peaks.contains(&column) {
        format!("{column} = max(ifnull({column}, ?{n}), ifnull(?{n}, {column}))")
    } else {
        format!("{column} = ?{n}")
    }
}

fn marks(count: usize) -> String {
    vec!["?"; count].join(", ")
}

fn known(row: &Row<'_>, width: usize) -> rusqlite::Result<(i64, Known)> {
    let amounts = (4..4 + width).map(|n| row.get(n)).collect::<Result<_, _>>()?;
    let known = Known { start_us: row.get(1)?, end_us: row.get(2)?, ended: row.get(3)?, amounts };
    Ok((row.get(0)?, known))
}

fn delta(new: Option<f64>, old: Option<f64>) -> Option<f64> {
    new.map(|new| (new - old.unwrap_or(0.0)).max(0.0))
}

/// When a slice begins: where the one before ended. A clock that was set back since leaves only how long it was.
fn begin(old: &Known, start_us: i64, end_us: i64, seconds: Option<f64>) -> i64 {
    if old.end_us <= end_us {
        return old.end_us;
    }
    let length_us = (seconds.unwrap_or(0.0) * 1e6).round() as i64;
    end_us.saturating_sub(length_us).max(start_us).min(end_us)
}
