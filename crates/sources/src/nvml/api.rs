//! The calls, and the only unsafe code outside the simulation.
//!
//! Every symbol is resolved on its own (an old driver lacks the newer ones), newest version first. Buffers are
//! the caller's and kept, so that a list costs one call and not a probe and a call.

#![allow(unsafe_code, reason = "NVML is a C library")]

use super::buffer::{Buffer, Record};
use super::code::{CallError, Code};
use super::records;
use gpu_session_core::sample::AccountingRecord;
use nvml_wrapper_sys::bindings as sys;
use std::ffi::{CStr, c_char, c_uint};
use std::path::Path;

/// Room for the largest `nvmlGpmMetricsGet_t` of any header: its array grew without a new version.
const GPM_METRICS_ROOM: usize = 512;

/// The value of an unsigned long long that is not available (`NVML_VALUE_NOT_AVAILABLE`).
const NOT_AVAILABLE: u64 = u64::MAX;

/// Largest text that NVML returns (`NVML_DEVICE_NAME_V2_BUFFER_SIZE`, `NVML_DEVICE_UUID_V2_BUFFER_SIZE`).
const TEXT_BYTES: usize = 96;

/// The library, loaded and initialised.
pub struct Api {
    lib: sys::NvmlLib,
    list: Buffer<ProcessInfo>,
    list_v1: Buffer<sys::nvmlProcessInfo_v1_t>,
    samples: Buffer<UtilizationSample>,
    pids: Buffer<u32>,
}

/// A device handle; valid until the library is shut down or, for a MIG instance, until the layout changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle(sys::nvmlDevice_t);

/// A GPM sample; freed with [`Api::gpm_free`].
#[derive(Debug)]
pub struct GpmSample(sys::nvmlGpmSample_t);

/// Which process list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// Processes with a compute context.
    Compute,
    /// Processes with a graphics context.
    Graphics,
    /// Clients of MPS.
    Mps,
}

/// An entry of a process list.
pub type ProcessInfo = sys::nvmlProcessInfo_v2_t;
/// An entry of the utilisation by process.
pub type UtilizationSample = sys::nvmlProcessUtilizationSample_t;

/// An entry as early R535 drivers wrote it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct WideProcessInfo {
    /// The entry of the header.
    pub info: ProcessInfo,
    /// Protected memory, which the header does not have.
    pub protected_memory: u64,
}

// SAFETY: structures of integers, as nvml.h has them.
unsafe impl Record for ProcessInfo {}
// SAFETY: likewise.
unsafe impl Record for WideProcessInfo {}
// SAFETY: likewise.
unsafe impl Record for sys::nvmlProcessInfo_v1_t {}
// SAFETY: likewise.
unsafe impl Record for UtilizationSample {}

// SAFETY: an integer.
unsafe impl Record for u32 {}

/// Bytes of a process, where the driver says.
pub fn memory_of(info: &ProcessInfo) -> Option<u64> {
    Some(info.usedGpuMemory).filter(|bytes| *bytes != NOT_AVAILABLE)
}

type Answer<T> = Result<T, CallError>;

/// Resolves a symbol of the library or returns FUNCTION_NOT_FOUND from the enclosing function.
macro_rules! symbol {
    ($api:expr, $name:ident) => {
        match &$api.lib.$name {
            Ok(function) => *function,
            Err(_) => return Err(CallError { function: stringify!($name), code: Code::FUNCTION_NOT_FOUND }),
        }
    };
}

/// Calls a symbol with arguments, FUNCTION_NOT_FOUND where this driver lacks it; the caller vouches for the
/// pointers.
macro_rules! call {
    ($api:expr, $name:ident($($arg:expr),*)) => {
        match &$api.lib.$name {
            // SAFETY: the signature is nvml.h's; pointers are to live locals or buffers of the stated size.
            Ok(function) => checked(stringify!($name), unsafe { function($($arg),*) }),
            Err(_) => Err(CallError { function: stringify!($name), code: Code::FUNCTION_NOT_FOUND }),
        }
    };
}

fn checked(function: &'static str, code: sys::nvmlReturn_t) -> Answer<()> {
    if code == 0 { Ok(()) } else { Err(CallError { function, code: Code(code) }) }
}

impl Api {
    /// Loads the library and initialises it. The outer error is the loader's, in words.
    pub fn load(path: &Path) -> Result<Answer<Self>, String> {
        // SAFETY: loading runs the library's constructors; the operator chose the library.
        let lib = unsafe { sys::NvmlLib::new(path) }.map_err(|e| e.to_string())?;
        let (list, list_v1, samples, pids) = Default::default();
        let api = Self { lib, list, list_v1, samples, pids };
        Ok(api.init().map(|()| api))
    }

    fn init(&self) -> Answer<()> {
        match call!(self, nvmlInit_v2()) {
            Err(e) if e.code == Code::FUNCTION_NOT_FOUND => call!(self, nvmlInit()),
            other => other,
        }
    }

    /// `nvmlSystemGetDriverVersion`.
    pub fn driver_version(&self) -> Answer<String> {
        text(|buffer, length| call!(self, nvmlSystemGetDriverVersion(buffer, length)))
    }

    /// `nvmlDeviceGetCount`.
    pub fn device_count(&self) -> Answer<u32> {
        let mut count = 0;
        match call!(self, nvmlDeviceGetCount_v2(&raw mut count)) {
            Err(e) if e.code == Code::FUNCTION_NOT_FOUND => call!(self, nvmlDeviceGetCount(&raw mut count)),
            other => other,
        }
        .map(|()| count)
    }

    /// `nvmlDeviceGetHandleByIndex`.
    pub fn handle(&self, index: u32) -> Answer<Handle> {
        let mut device = std::ptr::null_mut();
        match call!(self, nvmlDeviceGetHandleByIndex_v2(index, &raw mut device)) {
            Err(e) if e.code == Code::FUNCTION_NOT_FOUND => {
                call!(self, nvmlDeviceGetHandleByIndex(index, &raw mut device))
            }
            other => other,
        }
        .map(|()| Handle(device))
    }

    /// `nvmlDeviceGetUUID`.
    pub fn uuid(&self, device: Handle) -> Answer<String> {
        text(|buffer, length| call!(self, nvmlDeviceGetUUID(device.0, buffer, length)))
    }

    /// `nvmlDeviceGetName`.
    pub fn name(&self, device: Handle) -> Answer<String> {
        text(|buffer, length| call!(self, nvmlDeviceGetName(device.0, buffer, length)))
    }

    /// `nvmlDeviceGetPciInfo`: the bus id.
    pub fn pci_bus_id(&self, device: Handle) -> Answer<String> {
        // SAFETY: a C struct of integers and characters; all zeroes is a value of it.
        let mut info: sys::nvmlPciInfo_t = unsafe { std::mem::zeroed() };
        call!(self, nvmlDeviceGetPciInfo_v3(device.0, &raw mut info))?;
        Ok(from_c(&info.busId))
    }

    /// `nvmlDeviceGetMinorNumber`: `<n>` of `/dev/nvidia<n>`.
    pub fn minor_number(&self, device: Handle) -> Answer<u32> {
        let mut number = 0;
        call!(self, nvmlDeviceGetMinorNumber(device.0, &raw mut number))?;
        Ok(number)
    }

    /// Total and used bytes: `nvmlDeviceGetMemoryInfo_v2`, whose `used` leaves out what the driver reserves,
    /// else the unversioned call, whose `used` has it.
    pub fn memory(&self, device: Handle) -> Answer<(u64, u64)> {
        let version = size_of::<sys::nvmlMemory_v2_t>() as c_uint | (2 << 24);
        let mut v2 = sys::nvmlMemory_v2_t { version, total: 0, reserved: 0, free: 0, used: 0 };
        match call!(self, nvmlDeviceGetMemoryInfo_v2(device.0, &raw mut v2)) {
            Ok(()) => return Ok((v2.total, v2.used)),
            Err(e) if e.is_unsupported() || e.code == Code::ARGUMENT_VERSION_MISMATCH => {}
            Err(e) => return Err(e),
        }
        let mut v1 = sys::nvmlMemory_t { total: 0, free: 0, used: 0 };
        call!(self, nvmlDeviceGetMemoryInfo(device.0, &raw mut v1))?;
        Ok((v1.total, v1.used))
    }

    /// `nvmlDeviceGetUtilizationRates`: percent of time in which a kernel ran.
    pub fn utilization(&self, device: Handle) -> Answer<u32> {
        let mut rates = sys::nvmlUtilization_t { gpu: 0, memory: 0 };
        call!(self, nvmlDeviceGetUtilizationRates(device.0, &raw mut rates))?;
        Ok(rates.gpu)
    }

    /// `nvmlDeviceGetMigMode`: whether MIG is on now (not whether it will be after a reset); `None` where the
    /// GPU has no MIG.
    pub fn mig_enabled(&self, device: Handle) -> Answer<Option<bool>> {
        let (mut current, mut pending) = (0, 0);
        match call!(self, nvmlDeviceGetMigMode(device.0, &raw mut current, &raw mut pending)) {
            Ok(()) => Ok(Some(current == 1)),
            Err(e) if e.is_unsupported() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// `nvmlDeviceGetMaxMigDeviceCount`.
    pub fn max_mig_devices(&self, device: Handle) -> Answer<u32> {
        let mut count = 0;
        call!(self, nvmlDeviceGetMaxMigDeviceCount(device.0, &raw mut count)).map(|()| count)
    }

    /// `nvmlDeviceGetMigDeviceHandleByIndex`; `None` where no instance has this index.
    pub fn mig_handle(&self, device: Handle, index: u32) -> Answer<Option<Handle>> {
        let mut mig = std::ptr::null_mut();
        match call!(self, nvmlDeviceGetMigDeviceHandleByIndex(device.0, index, &raw mut mig)) {
            Ok(()) => Ok(Some(Handle(mig))),
            Err(e) if e.code == Code::NOT_FOUND => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// GPU instance and compute instance of a MIG handle.
    pub fn instance_ids(&self, mig: Handle) -> Answer<(u32, u32)> {
        let (mut gi, mut ci) = (0, 0);
        call!(self, nvmlDeviceGetGpuInstanceId(mig.0, &raw mut gi))?;
        call!(self, nvmlDeviceGetComputeInstanceId(mig.0, &raw mut ci))?;
        Ok((gi, ci))
    }

    /// `nvmlDeviceGetAttributes_v2`: compute slices of a MIG instance.
    pub fn compute_slices(&self, mig: Handle) -> Answer<u32> {
        // SAFETY: a C struct of integers; all zeroes is a value of it.
        let mut attributes: sys::nvmlDeviceAttributes_t = unsafe { std::mem::zeroed() };
        call!(self, nvmlDeviceGetAttributes_v2(mig.0, &raw mut attributes))?;
        Ok(attributes.computeInstanceSliceCount)
    }

    /// A process list: `_v3`, `_v2` or unversioned, whichever is there. One that makes no sense is
    /// [`Code::IMPLAUSIBLE`].
    pub fn processes(&mut self, list: List, device: Handle) -> Answer<Vec<ProcessInfo>> {
        let lib = &self.lib;
        let (v3, v2, v1, function) = match list {
            List::Compute => (
                &lib.nvmlDeviceGetComputeRunningProcesses_v3,
                &lib.nvmlDeviceGetComputeRunningProcesses_v2,
                &lib.nvmlDeviceGetComputeRunningProcesses,
                "nvmlDeviceGetComputeRunningProcesses",
            ),
            List::Graphics => (
                &lib.nvmlDeviceGetGraphicsRunningProcesses_v3,
                &lib.nvmlDeviceGetGraphicsRunningProcesses_v2,
                &lib.nvmlDeviceGetGraphicsRunningProcesses,
                "nvmlDeviceGetGraphicsRunningProcesses",
            ),
            List::Mps => (
                &lib.nvmlDeviceGetMPSComputeRunningProcesses_v3,
                &lib.nvmlDeviceGetMPSComputeRunningProcesses_v2,
                &lib.nvmlDeviceGetMPSComputeRunningProcesses,
                "nvmlDeviceGetMPSComputeRunningProcesses",
            ),
        };
        if let Ok(call) = v3.as_ref().or(v2.as_ref()) {
            // SAFETY: the buffer has room for what the driver is told, and for longer records too.
            self.list.fill(function, |count, buffer| unsafe { call(device.0, count, buffer) })?;
            let believed = records::believable(self.list.records(), self.list.records_as());
            return believed.ok_or(CallError { function, code: Code::IMPLAUSIBLE });
        }
        let Ok(call) = v1 else { return Err(CallError { function, code: Code::FUNCTION_NOT_FOUND }) };
        // SAFETY: as above, with the shorter record.
        self.list_v1.fill(function, |count, buffer| unsafe { call(device.0, count, buffer) })?;
        let widen = |info: &sys::nvmlProcessInfo_v1_t| ProcessInfo {
            pid: info.pid,
            usedGpuMemory: info.usedGpuMemory,
            gpuInstanceId: u32::MAX,
            computeInstanceId: u32::MAX,
        };
        let entries: Vec<_> = self.list_v1.records().iter().map(widen).collect();
        records::believable(&entries, &[]).ok_or(CallError { function, code: Code::IMPLAUSIBLE })
    }

    /// `nvmlDeviceGetProcessUtilization` since a stamp; nobody active is an empty list.
    pub fn process_utilization(&mut self, device: Handle, since_us: u64) -> Answer<&[UtilizationSample]> {
        let function = symbol!(self, nvmlDeviceGetProcessUtilization);
        // SAFETY: the buffer has room for `count` entries.
        let answer = self.samples.fill("nvmlDeviceGetProcessUtilization", |count, buffer| unsafe {
            function(device.0, buffer, count, since_us)
        });
        match answer {
            Err(e) if e.code == Code::NOT_FOUND => self.samples.clear(),
            other => other?,
        }
        Ok(self.samples.records())
    }

    /// `nvmlDeviceGetTotalEnergyConsumption`: millijoules since the driver was loaded.
    pub fn energy_millijoules(&self, device: Handle) -> Answer<u64> {
        let mut energy = 0;
        call!(self, nvmlDeviceGetTotalEnergyConsumption(device.0, &raw mut energy)).map(|()| energy)
    }

    /// `nvmlDeviceGetAccountingMode`; `None` where the device has no such mode.
    pub fn accounting_enabled(&self, device: Handle) -> Answer<Option<bool>> {
        let mut mode = 0;
        match call!(self, nvmlDeviceGetAccountingMode(device.0, &raw mut mode)) {
            Ok(()) => Ok(Some(mode == 1)),
            Err(e) if e.is_unsupported() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// `nvmlDeviceSetAccountingMode`: turns it on, for all users of the device until the driver is unloaded.
    pub fn enable_accounting(&self, device: Handle) -> Answer<()> {
        call!(self, nvmlDeviceSetAccountingMode(device.0, 1))
    }

    /// `nvmlDeviceGetAccountingPids`: processes, running and over, that there are records of.
    pub fn accounting_pids(&mut self, device: Handle) -> Answer<&[u32]> {
        let function = symbol!(self, nvmlDeviceGetAccountingPids);
        // SAFETY: the buffer has room for `count` pids.
        self.pids.fill("nvmlDeviceGetAccountingPids", |count, buffer| unsafe {
            function(device.0, count, buffer)
        })?;
        Ok(self.pids.records())
    }

    /// `nvmlDeviceGetAccountingStats`; `None` while the process runs, or where its record is gone already.
    pub fn accounting_record(&self, device: Handle, pid: u32) -> Answer<Option<AccountingRecord>> {
        // SAFETY: a C struct of integers; all zeroes is a value of it.
        let mut stats: sys::nvmlAccountingStats_t = unsafe { std::mem::zeroed() };
        match call!(self, nvmlDeviceGetAccountingStats(device.0, pid, &raw mut stats)) {
            Ok(()) => {}
            Err(e) if e.code == Code::NOT_FOUND => return Ok(None),
            Err(e) => return Err(e),
        }
        let micros = |value: u64| i64::try_from(value).ok();
        let record = || {
            Some(AccountingRecord {
                pid,
                start_us: micros(stats.startTime)?,
                duration_us: micros(stats.time.checked_mul(1000)?)?,
                sm: Some(stats.gpuUtilization).filter(|percent| *percent <= 100),
                max_memory_bytes: Some(stats.maxMemoryUsage).filter(|bytes| *bytes != NOT_AVAILABLE),
            })
        };
        Ok(if stats.isRunning == 0 { record() } else { None })
    }

    /// `nvmlGpmQueryDeviceSupport`.
    pub fn gpm_supported(&self, device: Handle) -> bool {
        let mut support = sys::nvmlGpmSupport_t { version: 1, isSupportedDevice: 0 };
        let answer = call!(self, nvmlGpmQueryDeviceSupport(device.0, &raw mut support));
        answer.is_ok() && support.isSupportedDevice == 1
    }

    /// `nvmlGpmSampleAlloc`.
    pub fn gpm_alloc(&self) -> Answer<GpmSample> {
        let mut sample = std::ptr::null_mut();
        call!(self, nvmlGpmSampleAlloc(&raw mut sample)).map(|()| GpmSample(sample))
    }

    /// `nvmlGpmSampleFree`.
    pub fn gpm_free(&self, sample: &GpmSample) -> Answer<()> {
        call!(self, nvmlGpmSampleFree(sample.0))
    }

    /// `nvmlGpmMigSampleGet`: the counters of a GPU instance now.
    pub fn gpm_read(&self, device: Handle, gpu_instance: u32, sample: &GpmSample) -> Answer<()> {
        call!(self, nvmlGpmMigSampleGet(device.0, gpu_instance, sample.0))
    }

    /// `nvmlGpmMetricsGet` of `NVML_GPM_METRIC_GRAPHICS_UTIL`: percent of the time between two samples in
    /// which any kernel ran.
    pub fn gpm_graphics_utilization(&self, before: &GpmSample, after: &GpmSample) -> Answer<f64> {
        let function = symbol!(self, nvmlGpmMetricsGet);
        let bytes =
            size_of::<sys::nvmlGpmMetricsGet_t>() + GPM_METRICS_ROOM * size_of::<sys::nvmlGpmMetric_t>();
        let mut room = vec![0_u64; bytes.div_ceil(8)];
        let query = room.as_mut_ptr().cast::<sys::nvmlGpmMetricsGet_t>();
        // SAFETY: the buffer is zeroed, aligned to 8 as the struct is, and larger than it in any header.
        unsafe {
            (*query).version = 1;
            (*query).numMetrics = 1;
            (*query).sample1 = before.0;
            (*query).sample2 = after.0;
            (*query).metrics[0].metricId = 1;
            checked("nvmlGpmMetricsGet", function(query))?;
            let metric = (*query).metrics[0];
            checked("nvmlGpmMetricsGet", metric.nvmlReturn)?;
            Ok(metric.value)
        }
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        // Nothing to be done about a driver that does not want to be left.
        let _ = call!(self, nvmlShutdown());
    }
}

fn text(get: impl FnOnce(*mut c_char, c_uint) -> Answer<()>) -> Answer<String> {
    let mut buffer = [0 as c_char; TEXT_BYTES];
    get(buffer.as_mut_ptr(), TEXT_BYTES as c_uint)?;
    Ok(from_c(&buffer))
}

/// Text up to the first NUL, or all of it, made harmless.
fn from_c(buffer: &[c_char]) -> String {
    let bytes: Vec<u8> = buffer.iter().map(|c| c.cast_unsigned()).collect();
    let text = CStr::from_bytes_until_nul(&bytes).map_or(&bytes[..], CStr::to_bytes);
    gpu_session_core::text::clean_bytes(text)
}
