//! The state of a scenario at a moment. Pure: time is an argument, in microseconds since the anchor.

mod accounting;
mod bus_id;
mod driver;
mod load;
mod power;
mod samples;

use std::ops::Range;

pub use accounting::{Account, Switch};
pub use bus_id::{BusId, parse_bus_id};
pub use driver::DriverState;
pub use load::Load;
pub use samples::Sample;

use crate::scenario::{DeviceUse, Gpu, Instance, Kind, Process, Scenario};
use crate::units::{Memory, Micros};
use load::Segment;
use power::Meter;

/// A GPU, or one of its MIG devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Device {
    /// Index of the GPU.
    pub gpu: usize,
    /// The MIG device; the whole GPU without.
    pub instance: Option<Instance>,
}

impl Device {
    /// A whole GPU.
    pub fn gpu(gpu: usize) -> Self {
        Self { gpu, instance: None }
    }

    /// A MIG device.
    pub fn mig(gpu: usize, gpu_instance: u32, compute_instance: u32) -> Self {
        Self { gpu, instance: Some(Instance { gpu_instance, compute_instance }) }
    }
}

/// A process on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Host pid.
    pub pid: u32,
    /// Memory held; `None` where the driver cannot tell.
    pub memory: Option<u64>,
    /// The MIG device that it is on.
    pub instance: Option<Instance>,
    /// Index in the scenario's list of processes.
    pub process: usize,
}

/// One use of a device by one process, or by several alike.
#[derive(Debug)]
pub struct Context {
    /// Host pids.
    pub pids: Range<u32>,
    /// Index in the scenario's list of processes.
    pub process: usize,
    /// The MIG device.
    pub instance: Option<Instance>,
    kinds: [bool; 3],
    from: i64,
    /// `i64::MAX` where it stays.
    until: i64,
    segments: Vec<Segment>,
}

impl Context {
    /// How many processes there are.
    pub fn count(&self) -> u32 {
        self.pids.end - self.pids.start
    }

    /// Memory of each at a moment.
    pub fn memory_at(&self, at: i64) -> Memory {
        load::segment_at(&self.segments, at).memory
    }

    fn alive_at(&self, at: i64) -> bool {
        self.from <= at && at < self.until
    }

    fn is_on(&self, device: Device) -> bool {
        device.instance.is_none_or(|instance| self.instance == Some(instance))
    }
}

/// A scenario, arranged so that a question about a device costs as much as there are processes on it.
#[derive(Debug)]
pub struct Engine {
    scenario: Scenario,
    /// By GPU.
    contexts: Vec<Vec<Context>>,
    /// By GPU: positions of the contexts in the order of their opening.
    openings: Vec<Vec<usize>>,
    /// By GPU.
    meters: Vec<Meter>,
}

impl Engine {
    /// Arranges a scenario that has been checked (as [`Scenario::parse`] does).
    pub fn new(scenario: Scenario) -> Self {
        let mut contexts: Vec<Vec<Context>> = scenario.gpus.iter().map(|_| Vec::new()).collect();
        for (index, process) in scenario.processes.iter().enumerate() {
            for usage in &process.devices {
                contexts[usage.gpu].push(context(&scenario, index, process, usage));
            }
        }
        let meters = scenario.gpus.iter().zip(&contexts).map(|(gpu, on)| Meter::new(gpu, on)).collect();
        let openings = contexts.iter().map(|on| accounting::openings(on)).collect();
        Self { scenario, contexts, openings, meters }
    }

    /// The scenario.
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// The contexts on a device at a moment, in the scenario's order. A device that is not there has none.
    pub fn contexts_at(&self, device: Device, at: i64) -> impl Iterator<Item = &Context> {
        self.on_gpu(device.gpu).iter().filter(move |context| context.alive_at(at) && context.is_on(device))
    }

    /// The contexts in one of the three lists.
    pub fn listed_at(&self, device: Device, kind: Kind, at: i64) -> impl Iterator<Item = &Context> {
        self.contexts_at(device, at).filter(move |context| context.kinds[kind as usize])
    }

    /// The processes on a device at a moment, each once.
    pub fn processes_at(&self, device: Device, at: i64) -> Vec<Listed> {
        self.contexts_at(device, at).flat_map(|context| expand(context, at)).collect()
    }

    /// Memory that processes hold at a moment on a GPU, or in a GPU instance (whose compute instances share it).
    pub fn memory_used(&self, gpu: usize, gpu_instance: Option<u32>, at: i64) -> u64 {
        self.contexts_at(Device::gpu(gpu), at)
            .filter(|context| in_gpu_instance(context, gpu_instance))
            .map(|context| {
                context.memory_at(at).bytes().unwrap_or(0).saturating_mul(u64::from(context.count()))
            })
            .fold(0, u64::saturating_add)
    }

    /// The exact mean percentage of SM time that a pid used on a device between two moments.
    pub fn load(&self, pid: u32, device: Device, from: i64, to: i64) -> f64 {
        let contexts = self.on_gpu(device.gpu).iter();
        let mine = contexts.filter(|context| context.is_on(device) && context.pids.contains(&pid));
        mine.fold(Load::default(), |sum, context| sum.plus(context.integral(from, to)))
            .mean_over(to - from)
            .sm
    }

    /// The mean of the summed load of a GPU, or of a GPU instance, between two moments, each part at most 100.
    pub fn total_load(&self, gpu: usize, gpu_instance: Option<u32>, from: i64, to: i64) -> Load {
        let contexts = self.on_gpu(gpu).iter().filter(|context| in_gpu_instance(context, gpu_instance));
        let sum = contexts.fold(Load::default(), |sum, context| {
            sum.plus(context.integral(from, to).times(f64::from(context.count())))
        });
        sum.mean_over(to - from).capped()
    }

    /// The process that has a pid at a moment, as an index in the scenario's list.
    pub fn process_at(&self, pid: u32, at: i64) -> Option<usize> {
        self.scenario.processes.iter().position(|process| {
            pid.checked_sub(process.pid).is_some_and(|offset| offset < process.count)
                && process.alive_at(Micros(at))
        })
    }

    fn on_gpu(&self, gpu: usize) -> &[Context] {
        self.contexts.get(gpu).map_or(&[], Vec::as_slice)
    }
}

fn expand(context: &Context, at: i64) -> impl Iterator<Item = Listed> {
    let memory = context.memory_at(at).bytes();
    let (instance, process) = (context.instance, context.process);
    context.pids.clone().map(move |pid| Listed { pid, memory, instance, process })
}

fn in_gpu_instance(context: &Context, gpu_instance: Option<u32>) -> bool {
    gpu_instance.is_none_or(|wanted| context.instance.is_some_and(|found| found.gpu_instance == wanted))
}

/// The MIG device with these ids at a moment, as an index in the GPU's list.
pub fn find_instance(gpu: &Gpu, instance: Instance, at: Micros) -> Option<usize> {
    gpu.mig.as_deref().unwrap_or_default().iter().position(|mig| {
        (mig.gpu_instance, mig.compute_instance) == (instance.gpu_instance, instance.compute_instance)
            && mig.exists_at(at)
    })
}

fn context(scenario: &Scenario, index: usize, process: &Process, usage: &DeviceUse) -> Context {
    let from = usage.from.unwrap_or(process.start);
    let gpu = &scenario.gpus[usage.gpu];
    // A MIG device takes its processes with it.
    let mig = usage.instance.and_then(|instance| find_instance(gpu, instance, from));
    let destroyed = mig.and_then(|position| gpu.mig.as_ref()?.get(position)?.until);
    let ends = [usage.until, process.end, destroyed];
    Context {
        pids: process.pid..process.pid + process.count,
        process: index,
        instance: usage.instance,
        kinds: [Kind::Compute, Kind::Graphics, Kind::Mps].map(|kind| usage.kind.contains(&kind)),
        from: from.0,
        until: ends.into_iter().flatten().min().map_or(i64::MAX, |end| end.0),
        segments: load::segments(from, usage),
    }
}

#[cfg(test)]
mod tests;
