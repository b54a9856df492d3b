//! When to try again what failed.

/// First wait.
const FIRST_US: i64 = 1_000_000;
/// Longest wait.
const LONGEST_US: i64 = 60_000_000;

/// Waits that double while something keeps failing.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    delay_us: i64,
    not_before_us: i64,
}

impl Backoff {
    /// Whether the wait is over. A clock that was set back ends it too.
    pub(super) fn is_over(&self, now_us: i64) -> bool {
        now_us >= self.not_before_us || self.not_before_us - now_us > LONGEST_US
    }

    /// It failed: waits twice as long as the last time.
    pub(super) fn failed(&mut self, now_us: i64) {
        self.delay_us = (self.delay_us * 2).clamp(FIRST_US, LONGEST_US);
        self.not_before_us = now_us + self.delay_us;
    }

    /// It went well.
    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute_and_begin_anew_after_success() {
        let mut backoff = Backoff::default();
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
