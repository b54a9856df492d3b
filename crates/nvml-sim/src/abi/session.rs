//! What lasts from the first `nvmlInit` to the last `nvmlShutdown`.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::Target;
use super::gpm::Reading;
use super::switches::Switches;
use crate::clock::Clock;
use crate::code::Code;
use crate::engine::{DriverState, Engine, Switch};
use crate::scenario::{Scenario, ScenarioError};
use crate::units::Micros;

/// Marks a handle; no pointer looks like this, so that a client that follows one finds out.
const HANDLE: usize = 0x4e56 << 48;
/// Marks a GPM sample.
const SAMPLE: usize = 0x4750 << 48;

/// An initialised library.
pub(super) struct Session {
    pub(super) engine: Engine,
    epoch_us: i64,
    clock: Clock,
    calls: Option<PathBuf>,
    /// Which initialisation it is: handles do not outlive theirs.
    generation: u16,
    /// How often the driver had changed when the library was initialised.
    changes: usize,
    /// Who switched accounting on or off.
    switches: Switches,
    samples: Mutex<Samples>,
}

/// GPM samples by handle.
#[derive(Default)]
struct Samples {
    made: usize,
    readings: HashMap<usize, Option<Reading>>,
}

#[derive(Default)]
struct State {
    references: u32,
    generation: u16,
    session: Option<Arc<Session>>,
}

static STATE: Mutex<Option<State>> = Mutex::new(None);
/// Where the scenario's zero is when the environment does not say; initialising again must not move it.
static FIRST_INIT: OnceLock<i64> = OnceLock::new();

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The session, if initialised.
pub(super) fn current() -> Option<Arc<Session>> {
    locked(&STATE).as_ref()?.session.clone()
}

/// One more reference; the first reads the environment and the scenario. Further ones ask nothing of the driver but
/// that it is there.
pub(super) fn init(function: &str) -> Result<(), Code> {
    let session = match current() {
        Some(session) => session,
        None => Arc::new(Session::open().map_err(|message| {
            complain(&message);
            Code::DRIVER_NOT_LOADED
        })?),
    };
    if !session.engine.scenario().driver_events.is_empty() && !session.driver().loaded {
        return Err(Code::DRIVER_NOT_LOADED);
    }
    // Without the lock: a fault can last.
    session.strike(function, None)?;
    let mut state = locked(&STATE);
    let state = state.get_or_insert_default();
    state.references += 1;
    if state.session.is_none() {
        state.generation = session.generation;
        state.session = Some(session);
    }
    Ok(())
}

/// One reference less; the last ends the session.
pub(super) fn shutdown() -> Result<(), Code> {
    let session = current().ok_or(Code::UNINITIALIZED)?;
    if let Some(path) = &session.calls
        && let Err(error) = super::calls::write(path)
    {
        complain(&format!("cannot write {}: {error}", path.display()));
    }
    session.strike("nvmlShutdown", None)?;
    let mut state = locked(&STATE);
    let state = state.as_mut().filter(|state| state.references > 0).ok_or(Code::UNINITIALIZED)?;
    state.references -= 1;
    if state.references == 0 {
        state.session = None;
    }
    Ok(())
}

#[expect(clippy::print_stderr, reason = "a driver has no other way to say why it cannot start")]
fn complain(message: &str) {
    eprintln!("nvml-sim: {message}");
}

impl Session {
    fn open() -> Result<Self, String> {
        let path = file("NVML_SIM_SCENARIO").ok_or("NVML_SIM_SCENARIO names no scenario")?;
        let here = |error: ScenarioError| format!("{}: {error}", path.display());
        let text = std::fs::read_to_string(&path).map_err(|error| here(error.into()))?;
        let scenario = Scenario::parse(&text).map_err(here)?;
        let clock =
            Clock::new(file("NVML_SIM_CLOCK")).map_err(|message| format!("NVML_SIM_CLOCK: {message}"))?;
        let epoch_us = match std::env::var("NVML_SIM_EPOCH") {
            Ok(text) => {
                epoch(&text).ok_or_else(|| format!("NVML_SIM_EPOCH: `{text}` is not a number of seconds"))?
            }
            Err(_) => *FIRST_INIT.get_or_init(|| clock.now_us()),
        };
        let generation = locked(&STATE).as_ref().map_or(1, |state| state.generation.wrapping_add(1));
        let engine = Engine::new(scenario);
        let changes = engine.driver_at(clock.now_us() - epoch_us).changes;
        Ok(Self {
            engine,
            epoch_us,
            clock,
            calls: file("NVML_SIM_CALLS"),
            generation,
            changes,
            switches: Switches::of(&text, file("NVML_SIM_STATE")),
            samples: Mutex::default(),
        })
    }

    /// Microseconds since the anchor.
    pub(super) fn now(&self) -> i64 {
        self.clock.now_us() - self.epoch_us
    }

    /// The driver as it is.
    fn driver(&self) -> DriverState<'_> {
        self.engine.driver_at(self.now())
    }

    /// Whether the driver is still the one that the library was initialised with.
    pub(super) fn attached(&self) -> Result<(), Code> {
        if self.engine.scenario().driver_events.is_empty() {
            return Ok(());
        }
        self.engine.client_at(self.changes, self.now())
    }

    /// Records that accounting of a GPU is switched on or off now.
    pub(super) fn switch(&self, gpu: usize, on: bool) -> Result<(), Code> {
        self.switches.add(gpu, self.clock.now_us(), on).map_err(|message| {
            complain(&message);
            Code::UNKNOWN
        })
    }

    /// The switches of a GPU's accounting, in the order of time.
    pub(super) fn switches(&self, gpu: usize) -> Vec<Switch> {
        let all = self.switches.of_gpu(gpu).into_iter();
        all.map(|(at_us, on)| Switch { at: at_us - self.epoch_us, on }).collect()
    }

    /// A moment as a time stamp of NVML.
    pub(super) fn stamp(&self, at: i64) -> u64 {
        u64::try_from(at + self.epoch_us + self.engine.scenario().clock_set_by(at)).unwrap_or(0)
    }

    /// A time stamp of NVML as a moment; 0 is none. Where the clock was set, by what it says now.
    pub(super) fn moment(&self, stamp: u64) -> Option<i64> {
        let set = self.engine.scenario().clock_set_by(self.now());
        (stamp > 0).then(|| i64::try_from(stamp).unwrap_or(i64::MAX) - self.epoch_us - set)
    }

    /// Applies the faults of a function: those without a GPU, or those of one GPU.
    pub(super) fn strike(&self, function: &str, gpu: Option<usize>) -> Result<(), Code> {
        let mut faults = self.engine.scenario().faults.iter().filter(|fault| fault.gpu == gpu).peekable();
        if faults.peek().is_none() {
            return Ok(());
        }
        let now = Micros(self.now());
        for fault in faults.filter(|fault| fault.matches(function, now)) {
            if let Some(Micros(delay)) = fault.delay {
                std::thread::sleep(Duration::from_micros(u64::try_from(delay).unwrap_or(0)));
            }
            if fault.hang {
                hang();
            }
            if let Some(code) = fault.result {
                return if code == Code::SUCCESS { Ok(()) } else { Err(code) };
            }
        }
        Ok(())
    }

    /// The handle of a GPU or MIG device.
    pub(super) fn encode(&self, target: Target) -> usize {
        let mig = target.mig.map_or(0, |position| position + 1);
        HANDLE | usize::from(self.generation) << 32 | target.gpu << 16 | mig
    }

    /// What a handle stands for, if it is one of this session's.
    pub(super) fn decode(&self, handle: usize) -> Option<Target> {
        let target = Target { gpu: (handle >> 16) & 0xffff, mig: (handle & 0xffff).checked_sub(1) };
        let gpu = self.engine.scenario().gpus.get(target.gpu)?;
        let exists =
            target.mig.is_none_or(|position| gpu.mig.as_ref().is_some_and(|migs| position < migs.len()));
        (exists && self.encode(target) == handle).then_some(target)
    }

    /// A new GPM sample's handle.
    pub(super) fn allocate(&self) -> usize {
        let mut samples = locked(&self.samples);
        samples.made += 1;
        let handle = SAMPLE | usize::from(self.generation) << 32 | samples.made;
        samples.readings.insert(handle, None);
        handle
    }

    /// Frees a GPM sample.
    pub(super) fn free(&self, sample: usize) -> Result<(), Code> {
        locked(&self.samples).readings.remove(&sample).map(|_| ()).ok_or(Code::INVALID_ARGUMENT)
    }

    /// Fills a GPM sample.
    pub(super) fn record(&self, sample: usize, reading: Reading) -> Result<(), Code> {
        let mut samples = locked(&self.samples);
        *samples.readings.get_mut(&sample).ok_or(Code::INVALID_ARGUMENT)? = Some(reading);
        Ok(())
    }

    /// What a GPM sample holds.
    pub(super) fn reading(&self, sample: usize) -> Result<Reading, Code> {
        locked(&self.samples).readings.get(&sample).copied().flatten().ok_or(Code::INVALID_ARGUMENT)
    }
}

/// Never returns, as a call that is stuck in the driver.
fn hang() -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

fn file(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Unix seconds as microseconds; not before 1970, so that time stamps have no sign.
fn epoch(text: &str) -> Option<i64> {
    let seconds: f64 = text.trim().parse().ok()?;
    (0.0..=4e9).contains(&seconds).then(|| (seconds * 1e6).round() as i64)
}
