//! The simulated driver's time.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Real time, or a file that a test moves.
#[derive(Debug)]
pub struct Clock {
    file: Option<PathBuf>,
    /// The newest reading: whoever writes the file may have just truncated it.
    last: AtomicI64,
}

impl Clock {
    /// Real time without a file; with one, the unix microseconds that it holds. The file must be readable now.
    pub fn new(file: Option<PathBuf>) -> Result<Self, String> {
        let last = match &file {
            Some(path) => read(path)?,
            None => 0,
        };
        Ok(Self { file, last: AtomicI64::new(last) })
    }

    /// Unix microseconds.
    pub fn now_us(&self) -> i64 {
        let Some(path) = &self.file else { return real_us() };
        match read(path) {
            Ok(now) => {
                self.last.store(now, Ordering::Relaxed);
                now
            }
            Err(_) => self.last.load(Ordering::Relaxed),
        }
    }
}

fn read(path: &Path) -> Result<i64, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let text = text.trim();
    text.parse().map_err(|_| format!("{}: `{text}` is not a number of unix microseconds", path.display()))
}

fn real_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_truncated_file_keeps_the_last_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clock");
        assert!(Clock::new(Some(path.clone())).is_err());
        std::fs::write(&path, "12\n").unwrap();
        let clock = Clock::new(Some(path.clone())).unwrap();
        std::fs::write(&path, "34").unwrap();
        assert_eq!(clock.now_us(), 34);
        std::fs::write(&path, "").unwrap();
        assert_eq!(clock.now_us(), 34);
    }

    #[test]
    fn real_time_moves() {
        assert!(Clock::new(None).unwrap().now_us() > 1_600_000_000_000_000);
    }
}
