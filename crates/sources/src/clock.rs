//! The clock, real or given by a file, so that tests and the simulated driver share one.

use rustix::time::{ClockId, clock_gettime};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where time comes from.
#[derive(Clone, Debug)]
pub enum Clock {
    /// `CLOCK_REALTIME` and `CLOCK_BOOTTIME`.
    Real,
    /// A file that holds Unix microseconds. Sleeping moves it on: nobody waits.
    File(PathBuf),
}

/// A clock file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the clock file {path}: {problem}")]
pub struct ClockError {
    path: String,
    problem: String,
}

impl Clock {
    /// The clock in a file, which must be there and readable.
    pub fn file(path: &Path) -> Result<Self, ClockError> {
        read(path).map(|_| Self::File(path.to_owned()))
    }

    /// Wall clock, Unix microseconds.
    pub fn now_us(&self) -> i64 {
        match self {
            Self::Real => micros(ClockId::Realtime),
            Self::File(path) => read(path).unwrap_or(0),
        }
    }

    /// Clock that is never set, microseconds.
    pub fn monotonic_us(&self) -> i64 {
        match self {
            Self::Real => micros(ClockId::Boottime),
            Self::File(_) => self.now_us(),
        }
    }

    /// Wall clock at boot, Unix microseconds; `None` for a clock file, which knows no boot.
    pub fn boot_us(&self) -> Option<i64> {
        match self {
            Self::Real => Some(micros(ClockId::Realtime) - micros(ClockId::Boottime)),
            Self::File(_) => None,
        }
    }

    /// Waits.
    pub fn sleep(&self, duration: Duration) {
        match self {
            Self::Real => std::thread::sleep(duration),
            Self::File(path) => {
                let later = self.now_us() + i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 2);
                // A file that cannot be written stands still, as a stopped clock does.
                let _ = std::fs::write(path, later.to_string());
            }
        }
    }
}

fn micros(id: ClockId) -> i64 {
    let time = clock_gettime(id);
    time.tv_sec * 1_000_000 + time.tv_nsec / 1000
}

fn read(path: &Path) -> Result<i64, ClockError> {
    let fail = |problem: String| ClockError { path: path.display().to_string(), problem };
    let text = std::fs::read_to_string(path).map_err(|e| fail(e.to_string()))?;
    text.trim().parse().map_err(|_| fail("it must hold Unix microseconds, a whole number".to_owned()))
}
