//! One reading of a GPU: who is on its devices and what they use.

use super::api::{self, Api, List, ProcessInfo, UtilizationSample};
use super::code::{CallError, Code};
use super::gpm::Gpm;
use super::layout::{AccountingMode, Gpu, MeasuredDevice};
use crate::clock::Clock;
use crate::source_error;
use gpu_session_core::sample::{
    Accounting, Activity, ActivityEntry, Device, DeviceProcess, DeviceUtilization, Request, SourceError,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// On the first reading of a device this much of the past is asked for: enough to learn how the driver answers.
const FIRST_LOOK_US: i64 = 3_000_000;

/// Errors of one reading.
#[derive(Default)]
pub(super) struct Problems {
    pub(super) errors: Vec<SourceError>,
    /// The driver as a whole is gone, or was changed under us.
    pub(super) fatal: bool,
    /// A GPU fell off the bus since it was last there.
    pub(super) lost: bool,
}

impl Problems {
    pub(super) fn call(&mut self, whose: &str, error: CallError) {
        self.fatal |= error.is_of_whole_driver();
        self.lost |= error.code == Code::GPU_IS_LOST;
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

    fn lost_since(&self, count: usize) -> bool {
        self.errors[count..].iter().any(|error| &*error.kind == Code::GPU_IS_LOST.name())
    }
}

/// What a reading works with.
pub(super) struct Reader<'a> {
    pub(super) api: &'a mut Api,
    pub(super) gpm: &'a mut Gpm,
    pub(super) clock: &'a Clock,
    pub(super) request: &'a Request,
    pub(super) problems: Problems,
}

impl Reader<'_> {
    /// The GPU's devices; `None` if it is lost.
    pub(super) fn gpu(&mut self, gpu: &mut Gpu) -> Option<Vec<Device>> {
        let before = self.problems.errors.len();
        let used_then: Vec<_> = gpu.devices.iter_mut().map(|device| device.used_bytes.take()).collect();
        let mut listed = if gpu.mig() { self.parent_lists(gpu) } else { None };
        let mut devices = Vec::with_capacity(gpu.devices.len());
        for (device, used_then) in gpu.devices.iter().zip(used_then) {
            let lists = match &mut listed {
                Some(lists) => Some(lists.remove(&device.facts.label.instance).unwrap_or_default()),
                None => self.lists(device),
            };
            devices.push(self.device(gpu, device, lists, used_then));
        }
        (!self.problems.lost_since(before)).then_some(devices)
    }

    fn device(
        &mut self,
        gpu: &Gpu,
        device: &MeasuredDevice,
        mut lists: Option<Lists>,
        used_then: Option<u64>,
    ) -> Device {
        let whose = format!("device {}", device.facts.label);
        let read = || self.problems.take(&whose, self.api.memory(device.handle)).map(|(_, used)| used);
        let memory_used_bytes = used_then.or_else(read);
        let (utilization, activity, energy) = if gpu.mig() {
            // Energy is measured for the whole board only.
            (self.gpm_figure(gpu, device), Activity::Unsupported, None)
        } else {
            let rate = self.problems.take(&whose, self.api.utilization(device.handle));
            let utilization = rate.filter(|rate| *rate <= 100).map(|rate| DeviceUtilization {
                ratio: f64::from(rate) / 100.0,
                measured_us: None,
                attributable: false,
            });
            let energy = self.problems.take(&whose, self.api.energy_millijoules(device.handle));
            (utilization, self.activity(device), energy)
        };
        if let (Some(lists), Activity::Entries { entries, .. }) = (&mut lists, &activity) {
            self.late_clients(device, lists, entries);
        }
        Device {
            facts: Arc::clone(&device.facts),
            memory_used_bytes,
            utilization,
            energy_millijoules: energy,
            mps: lists.as_ref().is_some_and(|lists| lists.mps),
            processes: lists.map(Lists::into_processes),
            activity,
            accounting: self.accounting(device),
        }
    }

    /// The ring of accounting mode. Each record costs a call, so those told before are not asked for again; a
    /// pid that was used again since its record was told is missed.
    fn accounting(&mut self, device: &MeasuredDevice) -> Option<Accounting> {
        let whose = format!("device {}", device.facts.label);
        match device.accounting {
            AccountingMode::On => {}
            AccountingMode::Off => return None,
            AccountingMode::Denied(e) => {
                self.problems.call(&format!("{whose} (nvml.accounting: enable)"), e);
                return None;
            }
        }
        let pids: BTreeSet<u32> = match self.api.accounting_pids(device.handle) {
            Ok(pids) => pids.iter().copied().collect(),
            Err(e) => {
                self.problems.call(&whose, e);
                return None;
            }
        };
        let told = self.request.accounted.get(&device.facts.uuid);
        let mut ended = Vec::new();
        for pid in pids.iter().filter(|pid| told.is_none_or(|told| !told.contains(pid))) {
            let record = self.problems.take(&whose, self.api.accounting_record(device.handle, *pid));
            ended.extend(record.flatten());
        }
        Some(Accounting { pids, ended })
    }

    /// All instances' processes by the parent, in one call a list, where we may; `None` where each instance
    /// has to be asked. Never both: each process would count twice.
    fn parent_lists(&mut self, gpu: &Gpu) -> Option<BTreeMap<Option<(u32, u32)>, Lists>> {
        let mut by_instance: BTreeMap<Option<(u32, u32)>, Lists> = BTreeMap::new();
        let mps = gpu.devices.iter().any(|device| self.wants_mps(&device.facts.uuid));
        for list in lists_to_ask(mps) {
            let entries = match self.api.processes(*list, gpu.handle) {
                Ok(entries) => entries,
                Err(e) if *list != List::Compute && e.is_unsupported() => continue,
                Err(e) if e.code == Code::NO_PERMISSION || e.is_unsupported() => return None,
                Err(e) => {
                    self.problems.call(&format!("GPU {}", gpu.name.index), e);
                    return None;
                }
            };
            // Without ids nobody can say whose instance it is: ask the instances.
            if entries.iter().any(|entry| entry.gpuInstanceId == u32::MAX) {
                return None;
            }
            for entry in &entries {
                let instance = Some((entry.gpuInstanceId, entry.computeInstanceId));
                by_instance.entry(instance).or_default().add(*list, entry);
            }
        }
        Some(by_instance)
    }

    /// The lists of one device; `None` where they could not be read.
    fn lists(&mut self, device: &MeasuredDevice) -> Option<Lists> {
        let mut lists = Lists::default();
        for list in lists_to_ask(self.wants_mps(&device.facts.uuid)) {
            match self.api.processes(*list, device.handle) {
                Ok(entries) => entries.iter().for_each(|entry| lists.add(*list, entry)),
                Err(e) if *list != List::Compute && e.is_unsupported() => {}
                Err(e) => {
                    self.problems.call(&format!("device {}", device.facts.label), e);
                    return None;
                }
            }
        }
        Some(lists)
    }

    /// A device that is new is asked once whether it has MPS clients.
    fn wants_mps(&self, uuid: &Arc<str>) -> bool {
        self.request.mps.contains(uuid) || !self.request.seen.contains(uuid)
    }

    /// Someone works whom no list has: over by now, or a client of an MPS server that came since the last reading.
    fn late_clients(&mut self, device: &MeasuredDevice, lists: &mut Lists, entries: &[ActivityEntry]) {
        let listed = entries.iter().all(|entry| lists.memory.contains_key(&entry.pid));
        if listed || self.wants_mps(&device.facts.uuid) {
            return;
        }
        match self.api.processes(List::Mps, device.handle) {
            Ok(clients) => clients.iter().for_each(|client| lists.add(List::Mps, client)),
            Err(e) if e.is_unsupported() => {}
            Err(e) => self.problems.call(&format!("device {}", device.facts.label), e),
        }
    }

    fn activity(&mut self, device: &MeasuredDevice) -> Activity {
        let known = self.request.since_us.get(&device.facts.uuid).copied();
        let since_us = known.unwrap_or_else(|| self.clock.now_us() - FIRST_LOOK_US).max(0);
        match self.api.process_utilization(device.handle, since_us.cast_unsigned()) {
            Ok(samples) => Activity::Entries { since_us, entries: samples.iter().map(entry).collect() },
            Err(e) if e.is_unsupported() => Activity::Unsupported,
            Err(e) => {
                self.problems.call(&format!("device {}", device.facts.label), e);
                Activity::Failed
            }
        }
    }

    /// GPM's figure of an instance, which begins anew where there is no sample of before.
    pub(super) fn gpm_figure(&mut self, gpu: &Gpu, device: &MeasuredDevice) -> Option<DeviceUtilization> {
        let (gi, _) = device.facts.label.instance?;
        if !gpu.gpm || !device.alone_in_gpu_instance {
            return None;
        }
        match self.gpm.read(self.api, (gpu.name.index, gpu.handle), gi, self.clock.now_us()) {
            // A container without MIG monitor rights may not: the figure is absent, as on hardware without GPM.
            Err(e) if e.code == Code::NO_PERMISSION => None,
            answer => self.problems.take(&format!("device {}", device.facts.label), answer).flatten(),
        }
    }
}

/// The lists to ask for; MPS only where it is in use.
fn lists_to_ask(mps: bool) -> &'static [List] {
    if mps { &[List::Compute, List::Graphics, List::Mps] } else { &[List::Compute, List::Graphics] }
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
