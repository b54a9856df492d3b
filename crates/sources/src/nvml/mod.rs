//! NVML: devices, the processes on them, and how much each used.

pub mod api;
pub mod code;
mod gpm;
mod guard;
mod layout;

pub use guard::GuardedNvml;

use crate::clock::Clock;
use crate::{Source, source_error};
use api::{Api, Handle, List, ProcessInfo, UtilizationSample};
use code::{CallError, Code};
use gpm::Gpm;
use gpu_session_core::sample::{
    Activity, ActivityEntry, Device, DeviceProcess, DeviceUtilization, Driver, Request, Sample, SourceError,
};
use gpu_session_core::select::Selection;
use layout::{Gpu, MeasuredDevice, Slot};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Name of the library; a driver-only install has no unversioned link.
pub const DEFAULT_LIBRARY: &str = "libnvidia-ml.so.1";

/// Where driver containers keep it, tried when the loader does not know it.
const DRIVER_ROOTS: [&str; 3] = [
    "/run/nvidia/driver/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1",
    "/run/nvidia/driver/usr/lib/aarch64-linux-gnu/libnvidia-ml.so.1",
    "/run/nvidia/driver/usr/lib64/libnvidia-ml.so.1",
];

/// On the first reading of a device this much of the past is asked for: enough to learn how the driver answers.
const FIRST_LOOK_US: i64 = 3_000_000;

/// The driver, as NVML shows it.
pub struct Nvml {
    library: PathBuf,
    selection: Selection,
    clock: Clock,
    open: Option<Open>,
    entries: Vec<ProcessInfo>,
    samples: Vec<UtilizationSample>,
}

/// The library while it is initialised, and what was read once.
struct Open {
    api: Api,
    gpm: Gpm,
    version: Option<Arc<str>>,
    slots: Vec<Slot>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.gpm.free(&self.api);
    }
}

/// Errors of one reading; the whole driver is down when `fatal` is set.
#[derive(Default)]
struct Problems {
    errors: Vec<SourceError>,
    fatal: bool,
}

impl Problems {
    fn call(&mut self, whose: &str, error: CallError) {
        self.fatal |= matches!(error.code, Code::UNINITIALIZED | Code::DRIVER_NOT_LOADED);
        self.errors.push(source_error(error.code.name(), format!("{whose}: {error}")));
    }

    /// The value; an unsupported call is an absent value, a failed one an error and an absent value.
    fn take<T>(&mut self, whose: &str, answer: Result<T, CallError>) -> Option<T> {
        match answer {
            Ok(value) => Some(value),
            Err(e) if e.is_unsupported() => None,
            Err(e) => {
                self.call(whose, e);
                None
            }
        }
    }

    fn lost_gpu(&self, since: usize) -> bool {
        self.errors[since..].iter().any(|error| &*error.kind == Code::GPU_IS_LOST.name())
    }
}

impl Nvml {
    /// Measures the selected devices through this library ([`DEFAULT_LIBRARY`] if not told otherwise).
    pub fn new(library: &Path, selection: Selection, clock: Clock) -> Self {
        let library = library.to_owned();
        Self { library, selection, clock, open: None, entries: Vec::new(), samples: Vec::new() }
    }

    fn load(&self) -> Result<Api, SourceError> {
        let mut candidates = vec![self.library.as_path()];
        if self.library == Path::new(DEFAULT_LIBRARY) {
            candidates.extend(DRIVER_ROOTS.iter().map(Path::new).filter(|path| path.exists()));
        }
        let mut problem = String::new();
        for path in candidates {
            match Api::load(path) {
                Ok(Ok(api)) => return Ok(api),
                Ok(Err(call)) => return Err(source_error(call.code.name(), format!("the driver: {call}"))),
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

    fn open(&mut self) -> Result<(), SourceError> {
        if self.open.is_some() {
            return Ok(());
        }
        let api = self.load()?;
        let fail = |e: CallError| source_error(e.code.name(), format!("the driver: {e}"));
        let count = api.device_count().map_err(fail)?;
        let slots = (0..count).map(|index| layout::read_gpu(&api, index, &self.selection)).collect();
        let version = api.driver_version().ok().map(Into::into);
        self.open = Some(Open { api, gpm: Gpm::default(), version, slots });
        Ok(())
    }

    fn read_driver(&mut self, open: &mut Open, request: &Request) -> (Driver, Problems) {
        let mut driver = Driver { version: open.version.clone(), ..Driver::default() };
        let mut problems = Problems::default();
        let Open { api, gpm, slots, .. } = open;
        for slot in slots {
            let gpu = match slot {
                Slot::Lost(name, error) => {
                    if self.selection.takes_gpu(name) {
                        problems.call(&format!("GPU {}", name.index), *error);
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
            let before = problems.errors.len();
            let devices = self.read_gpu(api, gpm, gpu, request, &mut problems);
            if problems.lost_gpu(before) {
                driver.lost.push(gpu.name.clone());
            } else {
                driver.devices.extend(devices);
            }
        }
        for missing in self.selection.missing(&driver) {
            let message = format!("gpu.devices: {missing} is not on this node (doctor lists what is)");
            problems.errors.push(source_error("device_missing", message));
        }
        (driver, problems)
    }

    fn read_gpu(
        &mut self,
        api: &mut Api,
        gpm: &mut Gpm,
        gpu: &mut Gpu,
        request: &Request,
        problems: &mut Problems,
    ) -> Vec<Device> {
        let used_then: Vec<_> = gpu.devices.iter_mut().map(|device| device.used_bytes.take()).collect();
        let gpu = &*gpu;
        let listed = if gpu.mig { self.parent_lists(api, gpu, request, problems) } else { None };
        let mut devices = Vec::with_capacity(gpu.devices.len());
        for (device, used_then) in gpu.devices.iter().zip(used_then) {
            let whose = format!("device {}", device.facts.label);
            let lists = match &listed {
                Some(lists) => Some(lists.get(&device.facts.label.instance).cloned().unwrap_or_default()),
                None => {
                    self.lists(api, device.handle, wants_mps(request, &device.facts.uuid), &whose, problems)
                }
            };
            let read = || problems.take(&whose, api.memory(device.handle)).map(|(_, used)| used);
            let memory_used_bytes = used_then.or_else(read);
            let (utilization, activity) = if gpu.mig {
                (gpm_figure(api, gpm, gpu, device, &self.clock, problems), Activity::Unsupported)
            } else {
                let rate = problems.take(&whose, api.utilization(device.handle)).filter(|rate| *rate <= 100);
                let utilization = rate.map(|rate| DeviceUtilization {
                    ratio: f64::from(rate) / 100.0,
                    measured_us: None,
                    attributable: false,
                });
                (utilization, self.activity(api, device, request, problems))
            };
            devices.push(Device {
                facts: Arc::clone(&device.facts),
                memory_used_bytes,
                utilization,
                mps: lists.as_ref().is_some_and(|lists| lists.mps),
                processes: lists.map(Lists::into_processes),
                activity,
            });
        }
        devices
    }

    /// All instances' processes by the parent, in one call a list, where we may; `None` where each instance
    /// has to be asked. Never both: each process would count twice.
    fn parent_lists(
        &mut self,
        api: &mut Api,
        gpu: &Gpu,
        request: &Request,
        problems: &mut Problems,
    ) -> Option<BTreeMap<Option<(u32, u32)>, Lists>> {
        let mut by_instance: BTreeMap<Option<(u32, u32)>, Lists> = BTreeMap::new();
        let mps = gpu.devices.iter().any(|device| wants_mps(request, &device.facts.uuid));
        for list in lists_to_ask(mps) {
            match api.processes(*list, gpu.handle, &mut self.entries) {
                Ok(()) => {}
                Err(e) if *list != List::Compute && e.is_unsupported() => continue,
                Err(e) if e.code == Code::NO_PERMISSION || e.is_unsupported() => return None,
                Err(e) => {
                    problems.call(&format!("GPU {}", gpu.name.index), e);
                    return None;
                }
            }
            // Without ids nobody can say whose instance it is: ask the instances.
            if self.entries.iter().any(|entry| entry.gpuInstanceId == u32::MAX) {
                return None;
            }
            for entry in &self.entries {
                let instance = Some((entry.gpuInstanceId, entry.computeInstanceId));
                by_instance.entry(instance).or_default().add(*list, entry);
            }
        }
        Some(by_instance)
    }

    /// The lists of one device; `None` where they could not be read.
    fn lists(
        &mut self,
        api: &mut Api,
        device: Handle,
        mps: bool,
        whose: &str,
        problems: &mut Problems,
    ) -> Option<Lists> {
        let mut lists = Lists::default();
        for list in lists_to_ask(mps) {
            match api.processes(*list, device, &mut self.entries) {
                Ok(()) => self.entries.iter().for_each(|entry| lists.add(*list, entry)),
                Err(e) if *list != List::Compute && e.is_unsupported() => {}
                Err(e) => {
                    problems.call(whose, e);
                    return None;
                }
            }
        }
        Some(lists)
    }

    fn activity(
        &mut self,
        api: &Api,
        device: &MeasuredDevice,
        request: &Request,
        problems: &mut Problems,
    ) -> Activity {
        let known = request.since_us.get(&device.facts.uuid).copied();
        let since_us = known.unwrap_or_else(|| self.clock.now_us() - FIRST_LOOK_US).max(0);
        match api.process_utilization(device.handle, since_us.cast_unsigned(), &mut self.samples) {
            Ok(()) => Activity::Entries { since_us, entries: self.samples.iter().map(entry).collect() },
            Err(e) if e.is_unsupported() => Activity::Unsupported,
            Err(e) => {
                problems.call(&format!("device {}", device.facts.label), e);
                Activity::Failed
            }
        }
    }
}

/// The lists to ask for; MPS only where it is in use.
fn lists_to_ask(mps: bool) -> &'static [List] {
    if mps { &[List::Compute, List::Graphics, List::Mps] } else { &[List::Compute, List::Graphics] }
}

/// A device that is new is asked once whether it has MPS clients.
fn wants_mps(request: &Request, uuid: &Arc<str>) -> bool {
    request.mps.contains(uuid) || !request.seen.contains(uuid)
}

/// Process lists, merged: a process can be in several, and is one, with the larger memory figure.
#[derive(Clone, Default)]
struct Lists {
    memory: BTreeMap<u32, Option<u64>>,
    mps: bool,
}

impl Lists {
    fn add(&mut self, list: List, info: &ProcessInfo) {
        self.mps |= list == List::Mps;
        let memory = self.memory.entry(info.pid).or_default();
        *memory = (*memory).max(api::memory_of(info));
    }

    fn into_processes(self) -> Vec<DeviceProcess> {
        let process = |(pid, memory_bytes)| DeviceProcess { pid, memory_bytes };
        self.memory.into_iter().map(process).collect()
    }
}

fn entry(sample: &UtilizationSample) -> ActivityEntry {
    ActivityEntry {
        pid: sample.pid,
        time_us: i64::try_from(sample.timeStamp).unwrap_or(i64::MAX),
        sm: sample.smUtil,
        mem: sample.memUtil,
        enc: sample.encUtil,
        dec: sample.decUtil,
    }
}

fn gpm_figure(
    api: &Api,
    gpm: &mut Gpm,
    gpu: &Gpu,
    device: &MeasuredDevice,
    clock: &Clock,
    problems: &mut Problems,
) -> Option<DeviceUtilization> {
    let (gi, _) = device.facts.label.instance?;
    if !gpu.gpm || !device.alone_in_gpu_instance {
        return None;
    }
    let answer = gpm.read(api, (gpu.name.index, gpu.handle), gi, clock.now_us());
    match answer {
        // A container without MIG monitor rights may not: the figure is absent, as on hardware without GPM.
        Err(e) if e.code == Code::NO_PERMISSION => None,
        answer => problems.take(&format!("device {}", device.facts.label), answer).flatten(),
    }
}

impl Source for Nvml {
    fn name(&self) -> &'static str {
        "nvml"
    }

    fn prime(&mut self) -> bool {
        if self.open().is_err() {
            return false;
        }
        let Some(Open { api, gpm, slots, .. }) = &mut self.open else {
            return false;
        };
        // Errors show again, and are told, in the reading that follows.
        let mut problems = Problems::default();
        let mut any = false;
        for slot in slots.iter_mut() {
            let Slot::Gpu(gpu) = slot else { continue };
            for device in gpu.devices.iter().filter(|_| gpu.gpm) {
                gpm_figure(api, gpm, gpu, device, &self.clock, &mut problems);
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
        if let Err(error) = self.open() {
            return vec![error];
        }
        let Some(mut open) = self.open.take() else {
            return Vec::new();
        };
        let (driver, problems) = self.read_driver(&mut open, request);
        if problems.fatal {
            // Half of a driver that went away says nothing of the node. The next reading begins anew.
            return problems.errors;
        }
        self.open = Some(open);
        sample.driver = Some(driver);
        problems.errors
    }
}
