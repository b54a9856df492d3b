//! When to try again what failed.

use std::time::Duration;

/// First wait.
const FIRST_US: i64 = 1_000_000;

/// Waits that double while something keeps failing.
#[derive(Debug)]
pub(crate) struct Backoff {
    /// All in microseconds.
    longest: i64,
    delay: i64,
    not_before: i64,
}

impl Backoff {
    /// Waits of 1 s up to the longest.
    pub(crate) fn up_to(longest: Duration) -> Self {
        let longest = i64::try_from(longest.as_micros()).unwrap_or(i64::MAX / 4);
        Self { longest, delay: 0, not_before: 0 }
    }

    /// Whether the wait is over. A clock that was set back ends it too.
    pub(crate) fn is_over(&self, now_us: i64) -> bool {
        now_us >= self.not_before || self.not_before - now_us > self.longest
    }

    /// It failed: waits twice as long as the last time.
    pub(crate) fn failed(&mut self, now_us: i64) {
        self.delay = (self.delay * 2).clamp(FIRST_US, self.longest);
        self.not_before = now_us + self.delay;
    }

    /// It went well.
    pub(crate) fn succeeded(&mut self) {
        (self.delay, self.not_before) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute_and_begin_anew_after_success() {
        let mut backoff = Backoff::up_to(Duration::from_secs(60));
        let mut now = 0;
        let mut waits = Vec::new();
        for _ in 0..9 {
            backoff.failed(now);
            let begin = now;
            while !backoff.is_over(now) {
                now += FIRST_US;
            }
            waits.push((now - begin) / FIRST_US);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert!(backoff.is_over(now - 3_600_000_000), "the clock was set back an hour");
        backoff.succeeded();
        assert!(backoff.is_over(now));
    }
}
