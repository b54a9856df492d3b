//! NVML: devices, the processes on them, and how much each used.

pub mod api;
mod buffer;
pub mod code;
mod gpm;
mod guard;
mod layout;
mod reading;
mod records;

pub use guard::GuardedNvml;

use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::{Source, source_error};
use api::Api;
use code::{CallError, Code};
use gpm::Gpm;
use gpu_session_core::sample::{Driver, Request, Sample, SourceError};
use gpu_session_core::select::Selection;
use layout::Slot;
use reading::{Problems, Reader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Name of the library; a driver-only install has no unversioned link.
pub const DEFAULT_LIBRARY: &str = "libnvidia-ml.so.1";

/// Where driver containers keep it, tried when the loader does not know it.
const DRIVER_ROOTS: [&str; 3] = [
    "/run/nvidia/driver/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1",
    "/run/nvidia/driver/usr/lib/aarch64-linux-gnu/libnvidia-ml.so.1",
    "/run/nvidia/driver/usr/lib64/libnvidia-ml.so.1",
];

/// Longest time between two initialisations while the driver is down.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How to use the driver.
#[derive(Clone, Debug)]
pub struct Options {
    /// Path or name of the library ([`DEFAULT_LIBRARY`]).
    pub library: PathBuf,
    /// Which devices to measure.
    pub selection: Selection,
    /// Turn accounting mode on where it is off: a change of the device that stays until the driver is unloaded.
    pub enable_accounting: bool,
    /// Read the numbers of the device files, by which some device plugins name GPUs.
    pub minor_numbers: bool,
}

/// The driver, as NVML shows it.
pub struct Nvml {
    options: Options,
    clock: Clock,
    open: Option<Open>,
    /// Between two initialisations while the driver is down, or a GPU lost.
    backoff: Backoff,
    /// Why it is down, told again while it waits.
    trouble: Option<SourceError>,
}

/// The library while it is initialised, and what was read once.
struct Open {
    api: Api,
    gpm: Gpm,
    version: Option<Arc<str>>,
    slots: Vec<Slot>,
    /// A GPU is lost: only a new initialisation finds it again.
    lost: bool,
    /// What there is has just been read.
    fresh: bool,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.gpm.free(&self.api);
    }
}

fn driver_error(error: CallError) -> SourceError {
    source_error(error.code.name(), format!("the driver: {error}"))
}

impl Nvml {
    /// Measures the selected devices; initialised at the first reading.
    pub fn new(options: Options, clock: Clock) -> Self {
        Self { options, clock, open: None, backoff: Backoff::up_to(LONGEST_WAIT), trouble: None }
    }

    fn load(&self) -> Result<Api, SourceError> {
        let mut candidates = vec![self.options.library.as_path()];
        if self.options.library == Path::new(DEFAULT_LIBRARY) {
            candidates.extend(DRIVER_ROOTS.iter().map(Path::new).filter(|path| path.exists()));
        }
        let mut problem = String::new();
        for path in candidates {
            match Api::load(path) {
                Ok(Ok(api)) => return Ok(api),
                Ok(Err(call)) => return Err(driver_error(call)),
                Err(loader) if problem.is_empty() => problem = loader,
                Err(_) => {}
            }
        }
        Err(source_error(
            Code::LIBRARY_NOT_FOUND.name(),
            format!(
                "{problem}; install the NVIDIA driver, or name its libnvidia-ml.so.1 with --nvml-library"
            ),
        ))
    }

    /// Initialises where that is needed and its time has come.
    fn open(&mut self) -> Result<&mut Open, SourceError> {
        let now_us = self.clock.now_us();
        if self.open.as_ref().is_some_and(|open| open.lost) && self.backoff.is_over(now_us) {
            // The other GPUs are not disturbed: they are read again right away.
            self.backoff.failed(now_us);
            self.open = None;
        } else if self.open.is_none() && !self.backoff.is_over(now_us) {
            return Err(self.trouble.clone().unwrap_or_else(|| source_error("io", "waiting".to_owned())));
        }
        let open = match self.open.take() {
            Some(open) => open,
            None => match self.initialise() {
                Ok(open) => open,
                Err(error) => {
                    self.down(now_us, &error);
                    return Err(error);
                }
            },
        };
        Ok(self.open.insert(open))
    }

    fn initialise(&self) -> Result<Open, SourceError> {
        let api = self.load()?;
        let count = api.device_count().map_err(driver_error)?;
        let slots: Vec<_> = (0..count).map(|index| layout::read_gpu(&api, index, &self.options)).collect();
        let version = api.driver_version().ok().map(Into::into);
        Ok(Open { api, gpm: Gpm::default(), version, slots, lost: false, fresh: true })
    }

    fn down(&mut self, now_us: i64, error: &SourceError) {
        self.open = None;
        self.backoff.failed(now_us);
        self.trouble = Some(error.clone());
    }
}

impl Open {
    /// Follows MIG instances that were made or destroyed since.
    fn follow_layout(&mut self, options: &Options) -> Result<(), CallError> {
        if std::mem::take(&mut self.fresh) {
            return Ok(());
        }
        if self.api.device_count()? as usize != self.slots.len() {
            self.lost = true;
        }
        for slot in &mut self.slots {
            let Slot::Gpu(gpu) = slot else { continue };
            // A failure shows, and is told, when the GPU is read.
            if layout::has_changed(&self.api, gpu).unwrap_or(false) {
                let index = gpu.name.index;
                self.gpm.forget(&self.api, index);
                *slot = layout::read_gpu(&self.api, index, options);
            }
        }
        Ok(())
    }

    fn read(&mut self, selection: &Selection, clock: &Clock, request: &Request) -> (Driver, Problems) {
        let mut driver = Driver { version: self.version.clone(), ..Driver::default() };
        let Self { api, gpm, slots, .. } = self;
        let mut reader = Reader { api, gpm, clock, request, problems: Problems::default() };
        for slot in slots {
            let gpu = match slot {
                Slot::Lost(name, error) => {
                    // A GPU that nobody asked for is no reason to disturb the others.
                    if selection.takes_gpu(name) {
                        reader.problems.lost = true;
                        reader.problems.call(&format!("GPU {}", name.index), *error);
                    }
                    driver.lost.push(name.clone());
                    continue;
                }
                Slot::Gpu(gpu) => gpu,
            };
            if gpu.empty {
                driver.without_instances.push(gpu.name.clone());
            }
            if gpu.devices.is_empty() {
                continue;
            }
            match reader.gpu(gpu) {
                Some(devices) => driver.devices.extend(devices),
                None => driver.lost.push(gpu.name.clone()),
            }
        }
        let mut problems = reader.problems;
        for missing in selection.missing(&driver) {
            let message = format!("gpu.devices: {missing} is not on this node (doctor lists what is)");
            problems.errors.push(source_error("device_missing", message));
        }
        self.lost |= problems.lost;
        (driver, problems)
    }
}

impl Source for Nvml {
    fn name(&self) -> &'static str {
        "nvml"
    }

    fn prime(&mut self) -> bool {
        let clock = self.clock.clone();
        let Ok(Open { api, gpm, slots, .. }) = self.open() else { return false };
        // Errors show again, and are told, in the reading that follows.
        let (request, problems) = (&Request::default(), Problems::default());
        let mut reader = Reader { api, gpm, clock: &clock, request, problems };
        let mut any = false;
        for slot in slots.iter_mut() {
            let Slot::Gpu(gpu) = slot else { continue };
            for device in gpu.devices.iter().filter(|_| gpu.gpm) {
                reader.gpm_figure(gpu, device);
                any |= device.alone_in_gpu_instance;
            }
        }
        if any {
            // A window passes before the reading: what was read with the layout is too old for it.
            let gpus = slots.iter_mut().filter_map(|slot| match slot {
                Slot::Gpu(gpu) => Some(gpu),
                Slot::Lost(..) => None,
            });
            gpus.flat_map(|gpu| &mut gpu.devices).for_each(|device| device.used_bytes = None);
        }
        any
    }

    fn read(&mut self, request: &Request, sample: &mut Sample) -> Vec<SourceError> {
        let (options, clock) = (self.options.clone(), self.clock.clone());
        let read = match self.open() {
            Err(error) => return vec![error],
            Ok(open) => match open.follow_layout(&options) {
                Err(call) => Err(driver_error(call)),
                Ok(()) => Ok((open.read(&options.selection, &clock, request), open.lost)),
            },
        };
        let now_us = clock.now_us();
        match read {
            Err(error) => {
                self.down(now_us, &error);
                vec![error]
            }
            Ok(((driver, problems), lost)) => {
                if let Some(error) = problems.errors.iter().find(|_| problems.fatal).cloned() {
                    // Half of a driver that went away says nothing of the node. The next reading begins anew.
                    self.down(now_us, &error);
                } else {
                    if !lost {
                        self.backoff.succeeded();
                    }
                    sample.driver = Some(driver);
                }
                problems.errors
            }
        }
    }
}
