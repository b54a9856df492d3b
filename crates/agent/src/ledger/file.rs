//! The file and its connections.

use super::fault::Fault;
use super::schema;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use rustix::fs::{CWD, Mode, OFlags};
use std::fs::{Metadata, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The log of writes beside the file goes into it at this number of pages, and is cut to as many.
pub(super) const LOG_PAGES: u32 = 256;

/// Size of a page, bytes.
pub(super) const PAGE_BYTES: u32 = 4096;

/// How long another program's lock is waited for. The sampling waits too.
const PATIENCE: Duration = Duration::from_secs(1);

/// Files that belong together, by what their names end in.
const PARTS: [&str; 3] = ["", "-wal", "-shm"];

/// The ledger's name in the state folder.
const NAME: &str = "ledger.db";

/// What a name is given beside for a damaged ledger.
const DAMAGED: &str = ".damaged";

/// Names of all files in the state folder that are the ledger's, one that was set aside too.
pub fn names() -> impl Iterator<Item = String> {
    ["", DAMAGED].into_iter().flat_map(|which| PARTS.map(|part| format!("{NAME}{which}{part}")))
}

/// Path of the ledger. SQLite follows no link on the whole path, so the folder is named without any.
pub(super) fn path(state_dir: &Path) -> PathBuf {
    let folder = state_dir.canonicalize().unwrap_or_else(|_| state_dir.to_owned());
    folder.join(NAME)
}

/// Which file it is, so that one that was moved away or removed is noticed.
pub(super) fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Opens it for writing, as the tables of these steps; makes it where there is none.
pub(super) fn open(path: &Path, steps: &[&str]) -> Result<Connection, Fault> {
    match look_at(path) {
        Err(Fault::Missing) => create(path)?,
        Err(fault) => return Err(fault),
        Ok(metadata) => {
            // What is not ours is told from what is before anything can write to it.
            if metadata.len() > 0 {
                schema::version(&connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?, steps)?;
            }
            if metadata.mode() & 0o777 != 0o600 {
                std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
            }
        }
    }
    let mut db = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    // The log of a file that turns out to be damaged stays as it is.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    set_up(&db)?;
    schema::check(&db)?;
    schema::migrate(&mut db, steps)?;
    schema::check_tables(&db)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    Ok(db)
}

/// Opens it for reading.
pub(super) fn read(path: &Path) -> Result<Connection, Fault> {
    look_at(path)?;
    let db = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    match schema::version(&db, schema::STEPS)? {
        0 => Err(Fault::Missing),
        version if version < schema::STEPS.len() => Err(Fault::Older),
        _ => schema::check_tables(&db).map(|()| db),
    }
}

/// Without opening it: whoever opens and closes a file drops every lock that the process has on it.
fn look_at(path: &Path) -> Result<Metadata, Fault> {
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(e) if e.kind() == ErrorKind::NotFound => return Err(Fault::Missing),
        Err(e) => return Err(e.into()),
    };
    let own = rustix::process::geteuid().as_raw();
    match metadata.uid() {
        _ if !metadata.is_file() => Err(Fault::NotRegular),
        owner if owner != own && owner != 0 && own != 0 => Err(Fault::NotOurs(owner)),
        _ => Ok(metadata),
    }
}

fn create(path: &Path) -> Result<(), Fault> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::openat(CWD, path, flags, Mode::from_raw_mode(0o600));
    made.map(drop).map_err(|e| Fault::Io(e.into()))
}

fn connect(path: &Path, how: OpenFlags) -> Result<Connection, Fault> {
    let flags = how | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(PATIENCE)?;
    // Whatever the file says: no code in its tables runs, nothing is mapped, and nothing goes to a temporary file.
    db.execute_batch(
        "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0;
         PRAGMA temp_store = MEMORY; PRAGMA cache_size = -256;",
    )?;
    Ok(db)
}

fn set_up(db: &Connection) -> Result<(), Fault> {
    let log_bytes = LOG_PAGES * PAGE_BYTES;
    // Vacuuming has to be chosen before the first page is written.
    db.execute_batch(&format!(
        "PRAGMA page_size = {PAGE_BYTES}; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = {LOG_PAGES};
         PRAGMA journal_size_limit = {log_bytes};"
    ))?;
    Ok(())
}

/// Where a damaged file goes.
pub(super) fn aside(path: &Path) -> PathBuf {
    with_end(path, DAMAGED)
}

/// Sets it aside with what belongs to it; an earlier one that was set aside is replaced.
pub(super) fn set_aside(path: &Path) -> std::io::Result<PathBuf> {
    let aside = aside(path);
    for part in PARTS {
        let (from, to) = (with_end(path, part), with_end(&aside, part));
        // Or the log of an earlier one would be taken for this one's.
        for done in [std::fs::remove_file(&to), std::fs::rename(&from, &to)] {
            done.or_else(|e| if e.kind() == ErrorKind::NotFound { Ok(()) } else { Err(e) })?;
        }
    }
    Ok(aside)
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}
