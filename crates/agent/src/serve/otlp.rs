//! OTLP, on a thread and a schedule of its own: a receiver that hangs delays nobody.

use super::ticker::Ticker;
use crate::outputs::http::Published;
use crate::outputs::otlp::{Moment, Retry, Target, export};
use gpu_session_sources::clock::Clock;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// After a failure the next attempt is made after about this time, then after twice as long, and so on.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A receiver that asks for a longer pause is asked again all the same.
const LONGEST_ASKED: Duration = Duration::from_secs(60 * 60);

/// Metrics arrived, with what the receiver had to say; or why they did not.
pub(super) type Delivery = anyhow::Result<Option<String>>;

/// The loop's end of the thread, which ends when this is dropped, and what it is sending is sent.
pub(super) struct Exporter {
    _end: Sender<()>,
}

impl Exporter {
    /// Starts the thread, which sends what is published.
    pub(super) fn start(
        target: Target,
        published: watch::Receiver<Arc<Published>>,
        clock: Clock,
        tell: impl Fn(Delivery) + Send + 'static,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (end, ended) = channel();
        let schedule = Schedule::new(clock.clone(), target.interval);
        let mut sending = Sending { target, published, clock, schedule, sent: None };
        let run = move || {
            sending.run(&runtime, &ended, tell);
            // A name service that hangs is left behind.
            runtime.shutdown_background();
        };
        std::thread::Builder::new().name("otlp".to_owned()).spawn(run)?;
        Ok(Self { _end: end })
    }
}

struct Sending {
    target: Target,
    published: watch::Receiver<Arc<Published>>,
    clock: Clock,
    schedule: Schedule,
    /// The last snapshot that is done with, by when it was taken: it arrived, or was refused for good.
    sent: Option<i64>,
}

impl Sending {
    fn run(&mut self, runtime: &Runtime, ended: &Receiver<()>, tell: impl Fn(Delivery)) {
        while ended.recv_timeout(self.schedule.patience()) == Err(RecvTimeoutError::Timeout) {
            if !self.schedule.is_due() {
                continue;
            }
            // Nothing waits in a queue: what is sent is always the newest.
            let published = Arc::clone(&self.published.borrow());
            let Some(taken_us) = published.reading.taken_us else {
                self.schedule.pause(FIRST_PAUSE);
                continue;
            };
            let moment = Moment {
                now_us: self.clock.now_us(),
                monotonic_us: self.clock.monotonic_us(),
                repeated: self.sent == Some(taken_us),
            };
            match export(runtime, &self.target, &published, moment) {
                Ok(said) => {
                    self.sent = Some(taken_us);
                    self.schedule.succeeded();
                    tell(Ok(said));
                }
                Err(failed) => {
                    if failed.retry == Retry::Never {
                        // The same would be refused again.
                        self.sent = Some(taken_us);
                    }
                    self.schedule.failed(failed.retry);
                    tell(Err(failed.error));
                }
            }
        }
    }
}

/// When to send.
struct Schedule {
    clock: Clock,
    ticker: Ticker,
    /// Out of turn, and not before.
    again: Option<Instant>,
    /// Failures since the last success.
    failures: u32,
}

impl Schedule {
    fn new(clock: Clock, interval: Duration) -> Self {
        let ticker = Ticker::new(clock.monotonic_us(), interval);
        Self { clock, ticker, again: None, failures: 0 }
    }

    fn patience(&self) -> Duration {
        match self.again {
            Some(at) => at.saturating_duration_since(Instant::now()),
            None => self.clock.patience(self.ticker.next_us()),
        }
    }

    fn is_due(&mut self) -> bool {
        match self.again {
            Some(at) => Instant::now() >= at,
            None => self.ticker.is_due(self.clock.monotonic_us()),
        }
    }

    fn pause(&mut self, pause: Duration) {
        self.again = Instant::now().checked_add(pause);
    }

    fn succeeded(&mut self) {
        (self.again, self.failures) = (None, 0);
    }

    fn failed(&mut self, retry: Retry) {
        match retry {
            Retry::Never => self.succeeded(),
            Retry::Soon => self.pause(grown(self.failures, random())),
            Retry::After(asked) => self.pause(asked.clamp(FIRST_PAUSE, LONGEST_ASKED)),
        }
        self.failures = self.failures.saturating_add(1);
    }
}

/// Half of it by chance, so that all nodes do not come back at once.
fn grown(failures: u32, chance: f64) -> Duration {
    let whole = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(failures)).min(LONGEST_PAUSE);
    whole.mul_f64(0.5 + chance / 2.0)
}

/// From 0 to 1; the middle where the system has none.
fn random() -> f64 {
    getrandom::u32().map_or(0.5, |random| f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit() {
        let seconds: Vec<f64> = (0..8).map(|n| grown(n, 1.0).as_secs_f64()).collect();
        assert_eq!(seconds, [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]);
        assert_eq!(grown(u32::MAX, 0.0), LONGEST_PAUSE / 2);
    }

    #[test]
    fn a_failure_is_repeated_out_of_turn_only_where_that_can_help() {
        let mut schedule = Schedule::new(Clock::Real, Duration::from_secs(3600));
        assert!(schedule.is_due() && !schedule.is_due());
        schedule.failed(Retry::Never);
        assert!(schedule.again.is_none());
        schedule.failed(Retry::After(Duration::from_secs(500)));
        assert!(schedule.patience() > Duration::from_secs(100) && !schedule.is_due());
        schedule.failed(Retry::After(Duration::MAX));
        assert!(schedule.patience() <= LONGEST_ASKED);
        schedule.succeeded();
        assert!(schedule.again.is_none() && schedule.failures == 0);
    }
}
