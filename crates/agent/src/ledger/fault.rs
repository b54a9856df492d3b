//! What can be wrong with the file.

use rusqlite::{Error, ErrorCode};

/// Why the ledger could not be opened, read or written. The file's name is for the caller to add.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// SQLite's words.
    #[error("{}", explained(.0))]
    Sql(#[from] Error),
    /// The file cannot be made or looked at.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// What was written is not what is there.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// The same, for one who only reads.
    #[error("it is damaged: {0}; `serve` sets it aside and begins a new one")]
    Unreadable(String),
    /// Another program's.
    #[error(
        "it is another program's (application_id {0:#x}) and left alone; move it away, or name another folder with --state-dir"
    )]
    Foreign(i32),
    /// A later release's.
    #[error(
        "it is of a later release (version {version} of its tables; this one knows {known}) and left alone; run that release, or move the file away"
    )]
    Newer {
        /// Its version.
        version: usize,
        /// The last that is known here.
        known: usize,
    },
    /// An earlier release's, and we may only read.
    #[error("it is of an earlier release; `serve` of this one brings it up to date")]
    Older,
    /// A link, a folder or the like.
    #[error("it is no regular file, and left alone; move it away, or name another folder with --state-dir")]
    NotRegular,
    /// Another user's.
    #[error("it belongs to uid {0}, neither ours nor root's; chown it, or move it away")]
    NotOurs(u32),
    /// Nobody wrote one.
    #[error("there is none; `serve` keeps one in its --state-dir")]
    Missing,
    /// A write on what was opened for reading, or any use of what could not be opened again.
    #[error("it is not open for this")]
    Closed,
}

impl Fault {
    /// With the remedy for one who only reads.
    pub(super) fn for_reader(self) -> Self {
        match self {
            Self::Damaged(how) => Self::Unreadable(how),
            fault if fault.is_damage() => Self::Unreadable(fault.to_string()),
            fault => fault,
        }
    }

    /// Whether the file is not, or no longer, a whole database: nothing can be done with it but to set it aside.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            Self::Damaged(_) => true,
            Self::Sql(Error::SqliteFailure(failure, _)) => {
                matches!(failure.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
            }
            // Columns are strict, so SQLite itself would not have taken these.
            Self::Sql(error) => matches!(
                error,
                Error::InvalidColumnType(..) | Error::FromSqlConversionFailure(..) | Error::Utf8Error(..)
            ),
            _ => false,
        }
    }
}

/// SQLite's words, and the remedy where it is not plain.
fn explained(error: &Error) -> String {
    let remedy = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "; free space",
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "; another program writes to it: end that"
        }
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            "; its folder has to be writable, for reading too"
        }
        _ => "",
    };
    format!("{error}{remedy}")
}
