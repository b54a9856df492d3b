//! The ledger: every session and allocation, with what it used and when, in SQLite.
//!
//! `file` opens it, `schema` has its tables, `kind` their columns; `rows` writes, `upkeep` keeps it small, `usage` sums,
//! `history` lists.

mod fault;
mod file;
mod history;
mod kind;
mod rows;
mod schema;
#[cfg(test)]
mod tests;
mod upkeep;
mod usage;

pub use file::names;
pub use history::{Asked, Place};

use crate::report::{By, Line};
use crate::say;
use anyhow::Context as _;
use fault::Fault;
use gpu_session_api::{AllocationRecord, SessionRecord};
use gpu_session_core::ledger::Rows;
use kind::{ALLOCATION, SESSION};
use rows::Writer;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Sessions and allocations that go on are written this often, at the next sample then.
pub const WRITE_RUNNING_EVERY_US: i64 = 5 * 60 * 1_000_000;

/// The ledger is looked after this often.
const UPKEEP_EVERY_US: i64 = 600 * 1_000_000;

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Nothing that ended longer ago.
    pub age: Duration,
    /// Nothing beyond this size of the file and of the log beside it, the oldest first, bytes.
    pub bytes: u64,
}

/// A reader with a time limit looks at the clock each time that SQLite has done so many steps of its machine.
const STEPS_BETWEEN_LOOKS: i32 = 10_000;

/// Why a reader got nothing, where that is to be told from a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// There is no ledger.
    Missing,
    /// It took too long.
    TooLong,
    /// What the error says.
    Fault,
}

impl Trouble {
    /// Of an error of [`Ledger`].
    pub fn of(error: &anyhow::Error) -> Self {
        match error.downcast_ref() {
            Some(Fault::Missing) => Self::Missing,
            Some(Fault::Sql(e)) if e.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
                Self::TooLong
            }
            _ => Self::Fault,
        }
    }
}

/// The open ledger.
pub struct Ledger {
    path: PathBuf,
    /// `None` where it may only be read.
    keep: Option<Retention>,
    /// `None` where the last try to open it failed; the next write tries again.
    db: Option<Connection>,
    /// Device and inode of what is open.
    identity: Option<(u64, u64)>,
    /// When it is to be looked after again; before the first write, and while there is more to do, at once.
    upkeep_us: Option<i64>,
}

impl Ledger {
    /// Opens the ledger in the state folder, makes it where there is none, brings an older one up to this version, and
    /// sets a damaged one aside. The folder has to be locked: two that write do no harm but wait for each other.
    ///
    /// Fails, and leaves the file alone, where it is of a later version, another program's, or no regular file; and
    /// where the file system does.
    pub fn open(state_dir: &Path, keep: Retention) -> anyhow::Result<Self> {
        let path = file::path(state_dir);
        let mut ledger = Self { path, keep: Some(keep), db: None, identity: None, upkeep_us: None };
        ledger.reopen().with_context(|| ledger.name())?;
        Ok(ledger)
    }

    /// Opens it for reading only, beside a program that writes to it.
    pub fn read(state_dir: &Path) -> anyhow::Result<Self> {
        let path = file::path(state_dir);
        let db = file::read(&path)
            .map_err(Fault::for_reader)
            .with_context(|| format!("ledger {}", path.display()))?;
        Ok(Self { path, keep: None, db: Some(db), identity: None, upkeep_us: None })
    }

    /// As [`Ledger::read`]; what has not come by then is given up.
    pub fn read_until(state_dir: &Path, until: Instant) -> anyhow::Result<Self> {
        let mut ledger = Self::read(state_dir)?;
        if let Some(db) = &mut ledger.db {
            db.progress_handler(STEPS_BETWEEN_LOOKS, Some(move || Instant::now() >= until))?;
        }
        Ok(ledger)
    }

    /// Writes the rows, each in the place of itself, all or none. What is written again changes nothing; what they used
    /// since they were last written is noted under that time.
    ///
    /// A file that turns out to be damaged is set aside, and the rows go into a new one.
    pub fn write(&mut self, rows: &Rows, now_us: i64) -> anyhow::Result<()> {
        let written = match self.attempt(rows, now_us) {
            Err(fault) if fault.is_damage() => {
                self.set_aside(&fault).and_then(|()| self.attempt(rows, now_us))
            }
            other => other,
        };
        written.with_context(|| format!("{} cannot be written, so nothing was", self.name()))
    }

    /// What was used in a period, Unix microseconds: from `since_us` on, before `until_us`. The most used first.
    pub fn usage(&self, since_us: i64, until_us: i64, by: By) -> anyhow::Result<Vec<Line>> {
        self.ask(|db| usage::usage(db, since_us, until_us, by))
    }

    /// Sessions of a period, with their places in the order: those that began last first.
    pub fn sessions(&self, asked: &Asked) -> anyhow::Result<Vec<(Place, SessionRecord)>> {
        self.ask(|db| history::sessions(db, asked))
    }

    /// Allocations of a period, in the same order.
    pub fn allocations(&self, asked: &Asked) -> anyhow::Result<Vec<(Place, AllocationRecord)>> {
        self.ask(|db| history::allocations(db, asked))
    }

    fn ask<T>(&self, question: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> anyhow::Result<T> {
        let db = self.db.as_ref().ok_or(Fault::Closed);
        let answer = db.and_then(|db| Ok(question(db)?));
        answer.map_err(Fault::for_reader).with_context(|| format!("{} cannot be read", self.name()))
    }

    fn name(&self) -> String {
        format!("ledger {}", self.path.display())
    }

    fn attempt(&mut self, rows: &Rows, now_us: i64) -> Result<(), Fault> {
        let keep = self.keep.ok_or(Fault::Closed)?;
        if self.db.is_none() || self.identity != file::identity(&self.path) {
            self.reopen()?;
        }
        let db = self.db.as_mut().ok_or(Fault::Closed)?;
        write(db, rows)?;
        let due = self.upkeep_us.is_none_or(|at| now_us >= at || now_us < at - UPKEEP_EVERY_US);
        if due {
            let more = match upkeep::step(db, keep, now_us).map_err(Fault::Sql) {
                // The rows are written, whatever becomes of this.
                Err(fault) if !fault.is_damage() => {
                    say::warn(format_args!("ledger {}: upkeep: {fault}", self.path.display()));
                    false
                }
                done => done?,
            };
            self.upkeep_us = (!more).then_some(now_us + UPKEEP_EVERY_US);
        }
        Ok(())
    }

    fn reopen(&mut self) -> Result<(), Fault> {
        self.db = None;
        let db = match file::open(&self.path, schema::STEPS) {
            Err(fault) if fault.is_damage() => {
                self.set_aside(&fault)?;
                file::open(&self.path, schema::STEPS)?
            }
            other => other?,
        };
        self.identity = file::identity(&self.path);
        self.db = Some(db);
        Ok(())
    }

    fn set_aside(&mut self, fault: &Fault) -> Result<(), Fault> {
        if let Some(db) = self.db.take() {
            // As it is, with its log.
            db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        }
        self.upkeep_us = None;
        let aside = file::set_aside(&self.path)?;
        let (path, aside) = (self.path.display(), aside.display());
        say::warn(format_args!("ledger {path}: {fault}; set aside as {aside}, a new one is begun"));
        Ok(())
    }
}

fn write(db: &mut Connection, rows: &Rows) -> Result<(), Fault> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut sessions = Writer::new(&SESSION, &transaction)?;
    for row in &rows.sessions {
        sessions.write(&kind::session(row))?;
    }
    drop(sessions);
    let mut allocations = Writer::new(&ALLOCATION, &transaction)?;
    for row in &rows.allocations {
        allocations.write(&kind::allocation(row))?;
    }
    drop(allocations);
    transaction.commit()?;
    Ok(())
}
