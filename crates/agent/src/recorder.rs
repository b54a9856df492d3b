//! What every sample of `serve` goes through: sessions, counters, the state on disk, the ledger, the snapshot.

use crate::ledger::{Ledger, WRITE_RUNNING_EVERY_US};
use crate::say::Conditions;
use crate::state_file::StateFolder;
use gpu_session_core::accounting::Counter;
use gpu_session_core::ledger;
use gpu_session_core::monitor::Monitor;
use gpu_session_core::sample::{Request, Sample};
use gpu_session_core::snapshot::{CounterView, Snapshot};
use gpu_session_core::state::State;
use std::sync::Arc;

/// Without news the state is saved this often. Until then readers see the counters that were saved last.
const SAVE_EVERY_US: i64 = 15_000_000;

/// Brings samples to the state, and what came of them to disk.
///
/// Counters move only just before the state is saved, and readers see them only when it is: whatever is killed when, no
/// counter that was ever seen is ahead of the state. What was used since the last save is not lost with it, for the
/// state also says up to where the driver's answers were counted. The ledger is written from a state that is saved, row
/// by row in the place of itself, so that a write that is repeated changes nothing.
pub struct Recorder {
    monitor: Monitor,
    folder: StateFolder,
    ledger: Option<Ledger>,
    state: State,
    counters: Arc<CounterView>,
    /// What could not be written the last time.
    failing: Conditions,
    /// Whether the last rows could not be written.
    ledger_fails: bool,
    /// Boot clock of the last save, and of the last time that what goes on was written.
    saved_us: Option<i64>,
    running_us: Option<i64>,
}

impl Recorder {
    /// Goes on from the state in the folder.
    pub fn open(monitor: Monitor, folder: StateFolder, ledger: Option<Ledger>) -> anyhow::Result<Self> {
        let state = folder.load()?;
        let counters = Arc::new(state.counters());
        let failing = Conditions::default();
        Ok(Self {
            monitor,
            folder,
            ledger,
            state,
            counters,
            failing,
            ledger_fails: false,
            saved_us: None,
            running_us: None,
        })
    }

    /// The counters of the state as it is on disk.
    pub fn counters(&self) -> &Arc<CounterView> {
        &self.counters
    }

    /// What to ask the sources for.
    pub fn request(&self) -> Request {
        Monitor::request(&self.state)
    }

    /// Measures in another way from now on.
    pub fn set_monitor(&mut self, monitor: Monitor) {
        self.monitor = monitor;
    }

    /// Keeps this ledger from now on.
    pub fn set_ledger(&mut self, ledger: Option<Ledger>) {
        self.ledger = ledger;
        self.ledger_fails = false;
        self.running_us = None;
    }

    /// Brings the state up to the sample and shows what came of it. Counters that came to be at or after
    /// `hold_since_us` are shown as 0.
    pub fn take(&mut self, sample: &Sample, hold_since_us: i64) -> Snapshot {
        let ended = self.monitor.step(&mut self.state, sample);
        let due = self.saved_us.is_none_or(|at| sample.monotonic_us - at >= SAVE_EVERY_US);
        if ended || due {
            self.save();
        }
        self.monitor.snapshot(&self.state, sample, hold_since_us, &self.counters)
    }

    /// Saves everything: the last thing before the end. Says whether the state is saved.
    pub fn finish(&mut self) -> bool {
        self.running_us = None;
        self.save()
    }

    fn save(&mut self) -> bool {
        self.monitor.settle(&mut self.state);
        let monotonic_us = self.state.monotonic_us;
        match self.folder.save(&self.state) {
            Ok(()) => {
                self.succeeded("state");
                self.saved_us = Some(monotonic_us);
                self.counters = Arc::new(self.state.counters());
                self.write_ledger(monotonic_us);
                true
            }
            Err(e) => {
                self.failed("state", &e);
                false
            }
        }
    }

    fn write_ledger(&mut self, monotonic_us: i64) {
        let Some(ledger) = &mut self.ledger else { return };
        let running = self.running_us.is_none_or(|at| monotonic_us - at >= WRITE_RUNNING_EVERY_US);
        let rows = ledger::rows(&self.state, running);
        if rows.is_empty() {
            return;
        }
        match ledger.write(&rows, self.state.time_us) {
            Ok(()) => {
                self.ledger_fails = false;
                self.succeeded("ledger");
                ledger::written(&mut self.state);
                if running {
                    self.running_us = Some(monotonic_us);
                }
            }
            Err(e) => {
                self.ledger_fails = true;
                self.failed("ledger", &e);
            }
        }
    }

    /// Whether rows were refused by the ledger when they were last written.
    pub fn ledger_fails(&self) -> bool {
        self.ledger_fails
    }

    /// Counts a failure to write, and tells it where it is new.
    pub fn failed(&mut self, target: &str, error: &anyhow::Error) {
        self.failing.holds(target, &[(target, format!("{error:#}"))], self.state.monotonic_us);
        let mut slot = self.state.write_errors.remove(target);
        Counter::add(&mut slot, 1.0, self.state.time_us);
        self.state.write_errors.extend(slot.map(|counter| (target.into(), counter)));
    }

    /// Tells that something is written again, where it could not be.
    pub fn succeeded(&mut self, target: &str) {
        self.failing.ended(target, "is written again");
    }
}
