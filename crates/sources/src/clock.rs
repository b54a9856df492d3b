//! The clock, real or given by a file, so that tests and the simulated driver share one.

use rustix::time::{ClockId, clock_gettime};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A clock file is looked at this often.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Where time comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clock {
    /// `CLOCK_REALTIME` and `CLOCK_BOOTTIME`.
    Real,
    /// A file that holds Unix microseconds and, where the two clocks are to differ, those of `CLOCK_BOOTTIME` after them.
    /// Sleeping moves it on: nobody waits.
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
            Self::File(path) => read(path).map_or(0, |(now, _)| now),
        }
    }

    /// Clock that is never set, microseconds.
    pub fn monotonic_us(&self) -> i64 {
        match self {
            Self::Real => micros(ClockId::Boottime),
            Self::File(path) => read(path).map_or(0, |(now, boottime)| boottime.unwrap_or(now)),
        }
    }

    /// Wall clock at boot, Unix microseconds; `None` for a clock file that knows no boot.
    pub fn boot_us(&self) -> Option<i64> {
        match self {
            Self::Real => Some(micros(ClockId::Realtime) - micros(ClockId::Boottime)),
            Self::File(path) => read(path).ok().and_then(|(now, boottime)| Some(now - boottime?)),
        }
    }

    /// How long to wait at most before looking whether [`Self::monotonic_us`] has come to `until_us`. A clock file is
    /// moved by others, who do not say when.
    pub fn patience(&self, until_us: i64) -> Duration {
        let left = Duration::from_micros(u64::try_from(until_us - self.monotonic_us()).unwrap_or(0));
        match self {
            Self::Real => left,
            Self::File(_) => left.min(LOOK_EVERY),
        }
    }

    /// Waits.
    pub fn sleep(&self, duration: Duration) {
        match self {
            Self::Real => std::thread::sleep(duration),
            Self::File(path) => {
                let by_us = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 2);
                let Ok((now, boottime)) = read(path) else { return };
                let boottime = boottime.map(|boottime| format!(" {}", boottime + by_us)).unwrap_or_default();
                // A file that cannot be written stands still, as a stopped clock does.
                let _ = std::fs::write(path, format!("{}{boottime}", now + by_us));
            }
        }
    }
}

fn micros(id: ClockId) -> i64 {
    let time = clock_gettime(id);
    time.tv_sec * 1_000_000 + time.tv_nsec / 1000
}

fn read(path: &Path) -> Result<(i64, Option<i64>), ClockError> {
    let fail = |problem: String| ClockError { path: path.display().to_string(), problem };
    let text = std::fs::read_to_string(path).map_err(|e| fail(e.to_string()))?;
    let numbers: Option<Vec<i64>> = text.split_whitespace().map(|number| number.parse().ok()).collect();
    match numbers.as_deref() {
        Some([now]) => Ok((*now, None)),
        Some([now, boottime]) => Ok((*now, Some(*boottime))),
        _ => Err(fail("it must hold Unix microseconds, a whole number".to_owned())),
    }
}
