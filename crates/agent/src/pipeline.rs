//! The one path that every sample takes, live or from a capture.

use crate::settings::Settings;
use gpu_session_core::monitor::Monitor;
use gpu_session_core::sample::Sample;
use gpu_session_core::snapshot::Snapshot;
use gpu_session_core::state::State;
use gpu_session_sources::clock::Clock;
use gpu_session_sources::nvml::{GuardedNvml, Nvml};
use gpu_session_sources::proc::Proc;
use gpu_session_sources::users::Users;
use gpu_session_sources::{Source, read_all};
use std::time::Duration;

/// Sources, tracker and state.
pub struct Pipeline {
    sources: Vec<Box<dyn Source + Send>>,
    clock: Clock,
    monitor: Monitor,
    /// Sessions and counters.
    pub state: State,
}

/// The part of the settings that the core needs.
pub fn monitor(settings: &Settings) -> Monitor {
    Monitor {
        selection: settings.selection.clone(),
        session_limit: settings.sessions_limit,
        user_limit: settings.users_limit,
    }
}

/// All sources, in the order in which they need each other. A new source is one line here.
fn sources(settings: &Settings) -> std::io::Result<Vec<Box<dyn Source + Send>>> {
    let (library, selection) = (settings.nvml_library.clone(), settings.selection.clone());
    let clock = settings.clock.clone();
    let make = move || Nvml::new(&library, selection.clone(), clock.clone());
    let nvml = GuardedNvml::start(make, settings.timeout, settings.clock.clone())?;
    Ok(vec![
        Box::new(nvml),
        Box::new(Proc::new(&settings.proc_root, settings.clock.clone())),
        Box::new(Users::new(settings.passwd.clone())),
    ])
}

impl Pipeline {
    /// A pipeline over the live sources.
    pub fn live(settings: &Settings, state: State) -> std::io::Result<Self> {
        let clock = settings.clock.clone();
        Ok(Self { sources: sources(settings)?, clock, monitor: monitor(settings), state })
    }

    /// Reads all sources once and brings the state up to it.
    pub fn sample(&mut self) -> Sample {
        let sample = read_all(&mut self.sources, &self.clock, &Monitor::request(&self.state));
        self.monitor.step(&mut self.state, &sample);
        sample
    }

    /// As [`Self::sample`], with a first reading `window` before where one reading cannot tell: when there is
    /// none of before, when the operator asks for it, or when a source needs two.
    pub fn sample_over(&mut self, window: Duration, always: bool) -> Sample {
        if always || !Monitor::has_baseline(&self.state) {
            let first = self.sample();
            if first.driver.is_none() {
                return first;
            }
            self.clock.sleep(window);
        } else if self.prime() {
            self.clock.sleep(window);
        }
        self.sample()
    }

    /// Lets every source take its first reading, whatever the others say.
    fn prime(&mut self) -> bool {
        self.sources.iter_mut().map(|source| source.prime()).filter(|primed| *primed).count() > 0
    }

    /// The snapshot of the sample just taken.
    pub fn snapshot(&self, sample: &Sample, hold_since_us: i64) -> Snapshot {
        self.monitor.snapshot(&self.state, sample, hold_since_us)
    }
}
