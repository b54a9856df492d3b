//! The three lists of processes, in the three layouts that they have had, and in one that was a mistake.
#![allow(unsafe_code, reason = "the C ABI")]

use std::ffi::{c_uint, c_ulonglong};

use nvml_wrapper_sys::bindings::{nvmlDevice_st, nvmlDevice_t, nvmlProcessInfo_v1_t, nvmlProcessInfo_v2_t};

use super::ffi::Out;
use super::{Answer, Call, export};
use crate::branch::Branch;
use crate::code::Code;
use crate::engine::{Context, Device};
use crate::scenario::{Instance, Kind};

/// Instance ids of a process on a GPU without MIG.
const NO_INSTANCE: Instance = Instance { gpu_instance: u32::MAX, compute_instance: u32::MAX };

/// A layout.
trait Record: Sized {
    /// Whether the early drivers of R535 wrote something else in its place.
    const MISTAKEN: bool;

    fn new(pid: u32, memory: u64, instance: Instance) -> Self;
}

/// What drivers before 535.98 wrote where callers expect [`nvmlProcessInfo_v2_t`]: the same, and 8 bytes more.
#[repr(C)]
struct LongRecord {
    record: nvmlProcessInfo_v2_t,
    protected_memory: c_ulonglong,
}

impl Record for LongRecord {
    const MISTAKEN: bool = false;

    fn new(pid: u32, memory: u64, instance: Instance) -> Self {
        Self { record: Record::new(pid, memory, instance), protected_memory: 0 }
    }
}

impl Record for nvmlProcessInfo_v1_t {
    const MISTAKEN: bool = false;

    fn new(pid: u32, memory: u64, _: Instance) -> Self {
        Self { pid, usedGpuMemory: memory }
    }
}

impl Record for nvmlProcessInfo_v2_t {
    const MISTAKEN: bool = true;

    fn new(pid: u32, memory: u64, instance: Instance) -> Self {
        let Instance { gpu_instance, compute_instance } = instance;
        Self { pid, usedGpuMemory: memory, gpuInstanceId: gpu_instance, computeInstanceId: compute_instance }
    }
}

impl Call {
    fn list<T: Record>(
        &self,
        device: Out<nvmlDevice_st>,
        kind: Kind,
        count: Out<c_uint>,
        infos: Out<T>,
    ) -> Answer {
        let target = self.target(device)?;
        let mig = self.mig(target);
        let scenario = self.session.engine.scenario();
        let room = count.get()?;
        if self.gpu(target).mig.is_some() && mig.is_none() && !scenario.mig_monitor {
            return Err(Code::NO_PERMISSION);
        }
        let device = match mig {
            Some(mig) => Device::mig(target.gpu, mig.gpu_instance, mig.compute_instance),
            None => Device::gpu(target.gpu),
        };
        let now = self.now();
        let listed = || self.session.engine.listed_at(device, kind, now);
        let needed = listed().map(Context::count).sum();
        count.put(needed)?;
        if needed == 0 {
            return Ok(());
        }
        if infos.is_null() || room < needed {
            return Err(Code::INSUFFICIENT_SIZE);
        }
        if T::MISTAKEN && scenario.driver.branch == Some(Branch::R535Early) {
            // The real ones went on over the end of the caller's buffer; here only what fits is written.
            let (long, fitting) = infos.reinterpret::<LongRecord>(room as usize);
            return long.put_all(listed().flat_map(|context| records(context, now)).take(fitting));
        }
        infos.put_all(listed().flat_map(|context| records(context, now)))
    }
}

fn records<T: Record>(context: &Context, now: i64) -> impl Iterator<Item = T> {
    let memory = context.memory_at(now).bytes().unwrap_or(u64::MAX);
    let instance = context.instance.unwrap_or(NO_INSTANCE);
    context.pids.clone().map(move |pid| T::new(pid, memory, instance))
}

macro_rules! lists {
    ($($name:ident: $kind:ident, $record:ty;)+) => {
        export! {$(
            /// A list of processes.
            fn $name(device: nvmlDevice_t, count: *mut c_uint, infos: *mut $record) |call| {
                call.list(device, Kind::$kind, count, infos)
            }
        )+}
    };
}

lists! {
    nvmlDeviceGetComputeRunningProcesses: Compute, nvmlProcessInfo_v1_t;
    nvmlDeviceGetComputeRunningProcesses_v2: Compute, nvmlProcessInfo_v2_t;
    nvmlDeviceGetComputeRunningProcesses_v3: Compute, nvmlProcessInfo_v2_t;
    nvmlDeviceGetGraphicsRunningProcesses: Graphics, nvmlProcessInfo_v1_t;
    nvmlDeviceGetGraphicsRunningProcesses_v2: Graphics, nvmlProcessInfo_v2_t;
    nvmlDeviceGetGraphicsRunningProcesses_v3: Graphics, nvmlProcessInfo_v2_t;
    nvmlDeviceGetMPSComputeRunningProcesses: Mps, nvmlProcessInfo_v1_t;
    nvmlDeviceGetMPSComputeRunningProcesses_v2: Mps, nvmlProcessInfo_v2_t;
    nvmlDeviceGetMPSComputeRunningProcesses_v3: Mps, nvmlProcessInfo_v2_t;
}
