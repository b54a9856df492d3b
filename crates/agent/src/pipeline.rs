//! The one path that every sample takes, live or from a capture.

use crate::settings::Settings;
use gpu_session_core::monitor::Monitor;
use gpu_session_core::sample::Sample;
use gpu_session_core::snapshot::Snapshot;
use gpu_session_core::state::State;
use gpu_session_sources::clock::Clock;
use gpu_session_sources::dcgm::Dcgm;
use gpu_session_sources::nvml::{GuardedNvml, Nvml, Options};
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
    let options = Options {
        library: settings.nvml_library.clone(),
        selection: settings.selection.clone(),
        enable_accounting: settings.enable_accounting,
    };
    let clock = settings.clock.clone();
    let make = move || Nvml::new(options.clone(), clock.clone());
    let nvml = GuardedNvml::start(make, settings.timeout, settings.clock.clone())?;
    let dcgm = settings.dcgm_url.clone().map(|url| Dcgm::new(url, settings.selection.clone()));
    let mut all: Vec<Box<dyn Source + Send>> = vec![
        Box::new(nvml),
        Box::new(Proc::new(&settings.proc_root, settings.clock.clone())),
        Box::new(Users::new(settings.passwd.clone())),
    ];
    // Last: a slow exporter must not come between the driver's lists and /proc.
    all.extend(dcgm.map(|dcgm| Box::new(dcgm) as Box<dyn Source + Send>));
    Ok(all)
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
