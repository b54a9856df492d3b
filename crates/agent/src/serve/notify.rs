//! What the service manager is told (sd_notify). Where there is none, nobody is.

use sd_notify::NotifyState;
use std::time::{Duration, Instant};

/// Tells the service manager, and keeps its watchdog quiet. That is for the loop: while the driver hangs it goes on, and
/// a restart would mend nothing.
#[derive(Debug)]
pub(super) struct Notifier {
    /// How often the watchdog is told; `None` where there is none.
    every: Option<Duration>,
    due: Instant,
    ready: bool,
    status: String,
}

impl Notifier {
    pub(super) fn new() -> Self {
        // A third: told less than half as often as is asked for, even if the loop is late.
        let every = sd_notify::watchdog_enabled().map(|limit| limit / 3);
        Self { every, due: Instant::now(), ready: false, status: String::new() }
    }

    /// There is something to be read.
    pub(super) fn ready(&mut self, status: String) {
        if !self.ready {
            self.ready = true;
            tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
        } else if self.status != status {
            tell(&[NotifyState::Status(&status)]);
        }
        self.status = status;
    }

    /// The settings are being read anew; [`Self::reloaded`] follows.
    pub(super) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) if self.ready => tell(&[NotifyState::Reloading, now]),
            _ => {}
        }
    }

    pub(super) fn reloaded(&self) {
        if self.ready {
            tell(&[NotifyState::Ready]);
        }
    }

    /// Tells the watchdog where it is time to.
    pub(super) fn beat(&mut self) {
        let now = Instant::now();
        if let Some(every) = self.every
            && now >= self.due
        {
            tell(&[NotifyState::Watchdog]);
            self.due = now + every;
        }
    }

    /// Time until the watchdog wants to hear something; `None` where there is none.
    pub(super) fn patience(&self) -> Option<Duration> {
        self.every.map(|_| self.due.saturating_duration_since(Instant::now()))
    }
}

/// The end has begun.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(states: &[NotifyState<'_>]) {
    // A service manager that does not listen is no reason to stop measuring.
    let _ = sd_notify::notify(states);
}
