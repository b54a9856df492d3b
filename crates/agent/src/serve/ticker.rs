//! When samples are due.

/// Ticks at multiples of the interval: one that is late does not make the next late, and one that is missed is not made
/// up for. Times are of the clock that is never set, microseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticker {
    base: i64,
    interval: i64,
    next: i64,
}

impl Ticker {
    /// The first tick is at once.
    pub(super) fn new(now_us: i64, interval: std::time::Duration) -> Self {
        let interval = i64::try_from(interval.as_micros()).unwrap_or(i64::MAX).max(1);
        Self { base: now_us, interval, next: now_us }
    }

    /// When the next one is due.
    pub(super) fn next_us(&self) -> i64 {
        self.next
    }

    /// Whether a tick is due; the next one is then the first multiple that lies ahead.
    pub(super) fn is_due(&mut self, now_us: i64) -> bool {
        if now_us < self.next {
            return false;
        }
        let passed = (now_us - self.base).div_euclid(self.interval);
        self.next = self.base + (passed + 1) * self.interval;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn ticks_keep_to_multiples_and_are_not_made_up_for() {
        let mut ticker = Ticker::new(1_000, Duration::from_micros(100));
        let mut due = Vec::new();
        for now in [1_000, 1_050, 1_099, 1_103, 1_199, 1_200, 1_550, 1_551, 1_599, 1_600] {
            if ticker.is_due(now) {
                due.push((now, ticker.next_us()));
            }
        }
        assert_eq!(due, [(1_000, 1_100), (1_103, 1_200), (1_200, 1_300), (1_550, 1_600), (1_600, 1_700)]);
    }
}
