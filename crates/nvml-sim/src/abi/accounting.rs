//! Accounting of processes.
#![allow(unsafe_code, reason = "the C ABI")]

use std::ffi::{c_uint, c_ulonglong};
use std::mem::offset_of;

use nvml_wrapper_sys::bindings::{nvmlAccountingStats_t, nvmlDevice_st, nvmlDevice_t, nvmlEnableState_t};

use super::ffi::Out;
use super::{Call, Target, export};
use crate::code::Code;
use crate::engine::Account;

/// `nvmlAccountingStats_v2_t` of nvml.h.
#[expect(non_snake_case, missing_docs, reason = "the names are nvml.h's")]
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct nvmlAccountingStats_v2_t {
    pub pid: c_uint,
    pub isRunning: c_uint,
    pub gpuUtilization: c_uint,
    pub memoryUtilization: c_uint,
    pub maxMemoryUsage: c_ulonglong,
    pub sampleCount: c_uint,
    pub sumGpuUtil: c_ulonglong,
    pub sumFbUtil: c_ulonglong,
    pub time: c_ulonglong,
    pub startTime: c_ulonglong,
}

/// A GPU whose accounting is on.
struct Recorder {
    target: Target,
    since: i64,
    now: i64,
}

impl Call {
    /// The handle of a GPU with accounting; nothing else has it.
    fn accountable(&self, device: Out<nvmlDevice_st>) -> Result<Target, Code> {
        let target = self.parent(device)?;
        if self.gpu(target).accounting.supported { Ok(target) } else { Err(Code::NOT_SUPPORTED) }
    }

    /// The same, where it is on.
    fn recorder(&self, device: Out<nvmlDevice_st>) -> Result<Recorder, Code> {
        let target = self.accountable(device)?;
        let now = self.now();
        let since = self.since(target, now).ok_or(Code::NOT_SUPPORTED)?;
        Ok(Recorder { target, since, now })
    }

    fn since(&self, target: Target, now: i64) -> Option<i64> {
        // Nobody could have switched it on.
        if self.gpu(target).mig.is_some() {
            return None;
        }
        self.session.engine.accounting_since(target.gpu, &self.session.switches(target.gpu), now)
    }

    fn account(&self, device: Out<nvmlDevice_st>, pid: u32) -> Result<Account, Code> {
        let Recorder { target, since, now } = self.recorder(device)?;
        self.session.engine.account(target.gpu, pid, since, now).ok_or(Code::NOT_FOUND)
    }
}

impl Account {
    /// Percentages as integers: SM and memory.
    fn percent(&self) -> [c_uint; 2] {
        [self.sm, self.mem].map(|percent| percent.round() as c_uint)
    }

    /// Milliseconds from its beginning to its end; 0 as long as it runs.
    fn milliseconds(&self) -> c_ulonglong {
        self.end.map_or(0, |end| ((end - self.start) / 1000) as c_ulonglong)
    }
}

export! {
    /// Whether accounting is on.
    fn nvmlDeviceGetAccountingMode(device: nvmlDevice_t, mode: *mut nvmlEnableState_t) |call| {
        let target = call.accountable(device)?;
        mode.put(u32::from(call.since(target, call.now()).is_some()))
    }

    /// Switches accounting on or off; everybody is root here.
    fn nvmlDeviceSetAccountingMode(device: nvmlDevice_t, mode: nvmlEnableState_t) |call| {
        let target = call.accountable(device)?;
        if mode > 1 {
            return Err(Code::INVALID_ARGUMENT);
        }
        if call.gpu(target).mig.is_some() {
            return Err(Code::NOT_SUPPORTED);
        }
        call.session.switch(target.gpu, mode == 1)
    }

    /// How many processes are remembered.
    fn nvmlDeviceGetAccountingBufferSize(device: nvmlDevice_t, size: *mut c_uint) |call| {
        let Recorder { target, .. } = call.recorder(device)?;
        size.put(call.gpu(target).accounting.buffer)
    }

    /// The pids that are remembered, the oldest first.
    fn nvmlDeviceGetAccountingPids(device: nvmlDevice_t, count: *mut c_uint, pids: *mut c_uint) |call| {
        let Recorder { target, since, now } = call.recorder(device)?;
        let room = if pids.is_null() { 0 } else { count.get()? };
        let recorded = call.session.engine.accounted(target.gpu, since, now);
        let needed = recorded.len() as u32;
        count.put(needed)?;
        if room < needed {
            return Err(Code::INSUFFICIENT_SIZE);
        }
        if needed == 0 { Ok(()) } else { pids.put_all(recorded.into_iter()) }
    }

    /// What is recorded of a process.
    fn nvmlDeviceGetAccountingStats(device: nvmlDevice_t, pid: c_uint, stats: *mut nvmlAccountingStats_t) |call| {
        stats.required()?;
        let account = call.account(device, pid)?;
        let [sm, mem] = account.percent();
        stats.put(nvmlAccountingStats_t {
            gpuUtilization: sm,
            memoryUtilization: mem,
            maxMemoryUsage: account.most_memory.unwrap_or(u64::MAX),
            time: account.milliseconds(),
            startTime: call.session.stamp(account.start),
            isRunning: u32::from(account.end.is_none()),
            reserved: [0; 5],
        })
    }

    /// What is recorded of a process, with sums.
    fn nvmlDeviceGetAccountingStats_v2(device: nvmlDevice_t, stats: *mut nvmlAccountingStats_v2_t) |call| {
        stats.required()?;
        // SAFETY: the offset and the type are those of the field; the caller need not have set any other.
        let pid = unsafe { stats.field::<c_uint>(offset_of!(nvmlAccountingStats_v2_t, pid)) }.get()?;
        let account = call.account(device, pid)?;
        let [sm, mem] = account.percent();
        let [sum_sm, sum_mem] = account.sums.map(|sum| (sum * 100.0).round() as c_ulonglong);
        stats.put(nvmlAccountingStats_v2_t {
            pid,
            isRunning: u32::from(account.end.is_none()),
            gpuUtilization: sm,
            memoryUtilization: mem,
            maxMemoryUsage: account.most_memory.unwrap_or(u64::MAX),
            sampleCount: account.samples,
            sumGpuUtil: sum_sm,
            sumFbUtil: sum_mem,
            time: account.milliseconds(),
            startTime: call.session.stamp(account.start),
        })
    }
}
