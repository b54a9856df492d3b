//! `/healthz`: the loop lives; `/readyz`: what is answered is fresh. In plain text, without a name of anybody.

use super::Shared;
use axum::extract::State;
use axum::http::StatusCode;
use gpu_session_sources::clock::Clock;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// A loop that has not come round for so long hangs. It comes round at least every [`Heart::EVERY`], but the state's disk
/// may be slow.
const LONGEST_BEAT_US: i64 = 60_000_000;

/// Beats each time the loop comes round.
#[derive(Clone, Debug)]
pub struct Heart {
    beat_us: Arc<AtomicI64>,
    clock: Clock,
    born: Instant,
}

impl Heart {
    /// The loop is to come round this often, whatever it waits for.
    pub const EVERY: Duration = Duration::from_secs(10);

    /// A heart that has just beaten.
    pub fn new(clock: Clock) -> Self {
        let heart = Self { beat_us: Arc::default(), clock, born: Instant::now() };
        heart.beat();
        heart
    }

    /// While the machine sleeps nothing beats, so that is no silence.
    fn now_us(&self) -> i64 {
        match self.clock {
            Clock::Real => i64::try_from(self.born.elapsed().as_micros()).unwrap_or(i64::MAX),
            Clock::File(..) => self.clock.monotonic_us(),
        }
    }

    /// The loop has come round.
    pub fn beat(&self) {
        self.beat_us.store(self.now_us(), Relaxed);
    }

    /// Time since the last beat, microseconds.
    fn silence_us(&self) -> i64 {
        (self.now_us() - self.beat_us.load(Relaxed)).max(0)
    }
}

pub(super) async fn healthz(State(shared): State<Shared>) -> (StatusCode, String) {
    match shared.heart.silence_us() {
        silence if silence > LONGEST_BEAT_US => {
            let told = format!("the loop hangs: it has not come round for {}\n", whole_seconds(silence));
            (StatusCode::SERVICE_UNAVAILABLE, told)
        }
        _ => (StatusCode::OK, "ok\n".to_owned()),
    }
}

pub(super) async fn readyz(State(shared): State<Shared>) -> (StatusCode, String) {
    let published = Arc::clone(&shared.published.borrow());
    let now_us = shared.clock.monotonic_us();
    let reading = shared.progress.reading().map(|source| format!(", the source {source} is being read"));
    let reading = reading.unwrap_or_default();
    match published.age(now_us) {
        Some((age_us, false)) => {
            (StatusCode::OK, format!("ready: the last sample is {} old\n", whole_seconds(age_us)))
        }
        Some((age_us, true)) => {
            let limit = whole_seconds(published.stale_after_us());
            let age = whole_seconds(age_us);
            let told =
                format!("not ready: the last sample is {age} old, more than {limit} is stale{reading}\n");
            (StatusCode::SERVICE_UNAVAILABLE, told)
        }
        None => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: there is no sample yet{reading}\n")),
    }
}

fn whole_seconds(us: i64) -> String {
    format!("{} s", us / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heart_that_does_not_beat_is_silent() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let at = |second: i64| std::fs::write(file.path(), (second * 1_000_000).to_string()).unwrap();
        at(1000);
        let heart = Heart::new(Clock::file(file.path()).unwrap());
        at(1060);
        assert_eq!(heart.silence_us(), LONGEST_BEAT_US);
        heart.clone().beat();
        assert_eq!(heart.silence_us(), 0);
        at(1000);
        assert_eq!(heart.silence_us(), 0, "a clock that goes back");
    }
}
