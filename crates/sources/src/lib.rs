//! Readers: each source is one file behind [`Source`], and knows nothing of outputs.

mod backoff;
pub mod capture;
pub mod clock;
pub mod cri;
pub mod dcgm;
pub mod exposition;
pub mod kubelet;
pub mod kubernetes;
pub mod nvml;
pub mod pods;
pub mod proc;
pub mod process_events;
mod socket;
pub mod users;

use clock::Clock;
use gpu_session_core::sample::{Request, Sample, SourceError, SourceHealth};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Something that a part of a sample is read from.
pub trait Source {
    /// Name in health metrics and messages.
    fn name(&self) -> &'static str;

    /// Takes the first of two readings, for what can only be measured between two; says whether it did.
    fn prime(&mut self) -> bool {
        false
    }

    /// Fills its part of the sample and returns what went wrong. What could not be read stays absent.
    fn read(&mut self, request: &Request, sample: &mut Sample) -> Vec<SourceError>;
}

/// Reads all sources in their order, which is the order in which they need each other: the driver first.
pub fn read_all(
    sources: &mut [Box<dyn Source + Send>],
    clock: &Clock,
    request: &Request,
    progress: &Progress,
) -> Sample {
    let mut sample =
        Sample { ticks_per_second: rustix::param::clock_ticks_per_second(), ..Sample::default() };
    for source in sources {
        let begin = Instant::now();
        progress.is_at(Some(source.name()));
        let errors = source.read(request, &mut sample);
        if sample.time_us == 0 {
            // The driver's figures are of now; what the later sources say does not age them.
            sample.time_us = clock.now_us();
            sample.monotonic_us = clock.monotonic_us();
        }
        sample.health.push(SourceHealth {
            source: source.name().into(),
            up: errors.is_empty(),
            duration_us: u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX),
            errors,
        });
    }
    progress.is_at(None);
    sample
}

/// Which source is being read, for whoever asks why a sample does not come.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Mutex<Option<&'static str>>>);

impl Progress {
    /// The source that is being read; `None` between readings.
    pub fn reading(&self) -> Option<&'static str> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_at(&self, source: Option<&'static str>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = source;
    }
}

/// An error in the form in which samples hold it.
pub(crate) fn source_error(kind: &str, message: String) -> SourceError {
    SourceError { kind: kind.into(), message }
}
