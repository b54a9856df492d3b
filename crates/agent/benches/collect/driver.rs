//! The driver calls that nobody can do without, bare. What this loop calls is the measure of what `collect` calls.

#![allow(unsafe_code, reason = "NVML is a C library")]

use crate::inside::{median, timed};
use anyhow::{bail, ensure};
use nvml_wrapper_sys::bindings as sys;
use std::ffi::{c_char, c_uint};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Room for the largest answer of any case, so that each list takes one call. What is not written costs nothing.
const PROCESSES: usize = 1 << 14;
const SAMPLES: usize = 1 << 18;
/// GPM figures of less than 100 ms mean nothing.
const GPM_WINDOW: Duration = Duration::from_millis(110);
/// `nvmlGpmMetricsGet_t` as large as in any header.
const GPM_WORDS: usize = 1 << 13;

/// Calls a function of the library and returns its code as an error.
macro_rules! call {
    ($lib:expr, $name:ident($($arg:expr),*)) => {{
        // SAFETY: the signature is nvml.h's; pointers are to live locals or buffers of the stated size.
        let code = unsafe { $lib.$name($($arg),*) };
        ensure!(code == 0, "{}: {code}", stringify!($name));
    }};
}

struct Gpu {
    handle: sys::nvmlDevice_t,
    /// Handle and GPU instance of each MIG device; none without MIG.
    instances: Vec<(sys::nvmlDevice_t, c_uint)>,
    mig: bool,
    gpm: bool,
}

struct Buffers {
    processes: Vec<sys::nvmlProcessInfo_v2_t>,
    samples: Vec<sys::nvmlProcessUtilizationSample_t>,
}

/// `driver ROUNDS LIBRARY GAP_US`: initialises once, reads as often as told, prints the CPU time of a reading.
pub(crate) fn run(args: &[String]) -> anyhow::Result<()> {
    let [rounds, library, gap_us] = args else { bail!("driver: ROUNDS LIBRARY GAP_US") };
    // SAFETY: it is the simulated driver.
    let lib = unsafe { sys::NvmlLib::new(library) }?;
    call!(lib, nvmlInit_v2());
    text(|buffer, length| {
        call!(lib, nvmlSystemGetDriverVersion(buffer, length));
        Ok(())
    })?;
    let mut count = 0;
    call!(lib, nvmlDeviceGetCount_v2(&raw mut count));
    let gpus = (0..count).map(|index| gpu(&lib, index)).collect::<anyhow::Result<Vec<_>>>()?;
    gpm(&lib, &gpus)?;
    let mut buffers =
        Buffers { processes: Vec::with_capacity(PROCESSES), samples: Vec::with_capacity(SAMPLES) };
    let mut figures = Vec::new();
    for _ in 0..rounds.parse()? {
        let now_us = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros() as u64;
        let since_us = now_us - gap_us.parse::<u64>()?;
        let (figure, result) =
            timed(|| gpus.iter().try_for_each(|gpu| read(&lib, gpu, since_us, &mut buffers)));
        result?;
        figures.push(figure);
    }
    call!(lib, nvmlShutdown());
    println!("{}", median(figures));
    Ok(())
}

fn gpu(lib: &sys::NvmlLib, index: c_uint) -> anyhow::Result<Gpu> {
    let mut handle = std::ptr::null_mut();
    call!(lib, nvmlDeviceGetHandleByIndex_v2(index, &raw mut handle));
    names(lib, handle)?;
    // SAFETY: a C struct of integers and characters; all zeroes is a value of it.
    let mut pci: sys::nvmlPciInfo_t = unsafe { std::mem::zeroed() };
    call!(lib, nvmlDeviceGetPciInfo_v3(handle, &raw mut pci));
    let (mut current, mut pending) = (0, 0);
    call!(lib, nvmlDeviceGetMigMode(handle, &raw mut current, &raw mut pending));
    let mut found = Gpu { handle, instances: Vec::new(), mig: current == 1, gpm: false };
    if found.mig {
        let mut most = 0;
        call!(lib, nvmlDeviceGetMaxMigDeviceCount(handle, &raw mut most));
        found.instances = (0..most).map(|i| instance(lib, handle, i)).collect::<anyhow::Result<_>>()?;
        let mut support = sys::nvmlGpmSupport_t { version: 1, isSupportedDevice: 0 };
        call!(lib, nvmlGpmQueryDeviceSupport(handle, &raw mut support));
        found.gpm = support.isSupportedDevice == 1;
    }
    if !found.mig {
        let mut mode = 0;
        // SAFETY: as above. A GPU without the mode says so.
        let _ = unsafe { lib.nvmlDeviceGetAccountingMode(handle, &raw mut mode) };
    }
    Ok(found)
}

fn instance(
    lib: &sys::NvmlLib,
    gpu: sys::nvmlDevice_t,
    index: c_uint,
) -> anyhow::Result<(sys::nvmlDevice_t, c_uint)> {
    let mut handle = std::ptr::null_mut();
    call!(lib, nvmlDeviceGetMigDeviceHandleByIndex(gpu, index, &raw mut handle));
    let (mut gi, mut ci) = (0, 0);
    call!(lib, nvmlDeviceGetGpuInstanceId(handle, &raw mut gi));
    call!(lib, nvmlDeviceGetComputeInstanceId(handle, &raw mut ci));
    // SAFETY: a C struct of integers; all zeroes is a value of it.
    let mut attributes: sys::nvmlDeviceAttributes_t = unsafe { std::mem::zeroed() };
    call!(lib, nvmlDeviceGetAttributes_v2(handle, &raw mut attributes));
    names(lib, handle)?;
    Ok((handle, gi))
}

fn names(lib: &sys::NvmlLib, device: sys::nvmlDevice_t) -> anyhow::Result<()> {
    text(|buffer, length| {
        call!(lib, nvmlDeviceGetUUID(device, buffer, length));
        Ok(())
    })?;
    text(|buffer, length| {
        call!(lib, nvmlDeviceGetName(device, buffer, length));
        Ok(())
    })
}

fn text(get: impl FnOnce(*mut c_char, c_uint) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut buffer = [0 as c_char; 96];
    get(buffer.as_mut_ptr(), 96)
}

/// One reading of a GPU.
fn read(lib: &sys::NvmlLib, gpu: &Gpu, since_us: u64, buffers: &mut Buffers) -> anyhow::Result<()> {
    let infos = buffers.processes.as_mut_ptr();
    let mut count = PROCESSES as c_uint;
    call!(lib, nvmlDeviceGetComputeRunningProcesses_v3(gpu.handle, &raw mut count, infos));
    count = PROCESSES as c_uint;
    call!(lib, nvmlDeviceGetGraphicsRunningProcesses_v3(gpu.handle, &raw mut count, infos));
    if gpu.mig {
        return gpu.instances.iter().try_for_each(|(handle, _)| memory(lib, *handle));
    }
    memory(lib, gpu.handle)?;
    let mut rates = sys::nvmlUtilization_t { gpu: 0, memory: 0 };
    call!(lib, nvmlDeviceGetUtilizationRates(gpu.handle, &raw mut rates));
    let mut energy = 0;
    // SAFETY: as above. A GPU that does not measure its energy says so.
    let _ = unsafe { lib.nvmlDeviceGetTotalEnergyConsumption(gpu.handle, &raw mut energy) };
    count = SAMPLES as c_uint;
    let samples = buffers.samples.as_mut_ptr();
    call!(lib, nvmlDeviceGetProcessUtilization(gpu.handle, samples, &raw mut count, since_us));
    Ok(())
}

fn memory(lib: &sys::NvmlLib, device: sys::nvmlDevice_t) -> anyhow::Result<()> {
    let version = size_of::<sys::nvmlMemory_v2_t>() as c_uint | (2 << 24);
    let mut memory = sys::nvmlMemory_v2_t { version, total: 0, reserved: 0, free: 0, used: 0 };
    call!(lib, nvmlDeviceGetMemoryInfo_v2(device, &raw mut memory));
    Ok(())
}

/// Two samples of every GPU instance, and the figure between them.
fn gpm(lib: &sys::NvmlLib, gpus: &[Gpu]) -> anyhow::Result<()> {
    let supported = gpus.iter().filter(|gpu| gpu.gpm);
    let instances: Vec<_> =
        supported.flat_map(|gpu| gpu.instances.iter().map(|(_, gi)| (gpu.handle, *gi))).collect();
    if instances.is_empty() {
        return Ok(());
    }
    let first = gpm_samples(lib, &instances)?;
    std::thread::sleep(GPM_WINDOW);
    let second = gpm_samples(lib, &instances)?;
    let mut room = vec![0_u64; GPM_WORDS];
    let query = room.as_mut_ptr().cast::<sys::nvmlGpmMetricsGet_t>();
    for (before, after) in first.iter().zip(&second) {
        // SAFETY: the buffer is zeroed, aligned to 8 as the struct is, and larger than it in any header.
        unsafe {
            (*query).version = 1;
            (*query).numMetrics = 1;
            (*query).sample1 = *before;
            (*query).sample2 = *after;
            (*query).metrics[0].metricId = 1;
        }
        call!(lib, nvmlGpmMetricsGet(query));
    }
    for sample in first.into_iter().chain(second) {
        call!(lib, nvmlGpmSampleFree(sample));
    }
    Ok(())
}

fn gpm_samples(
    lib: &sys::NvmlLib,
    instances: &[(sys::nvmlDevice_t, c_uint)],
) -> anyhow::Result<Vec<sys::nvmlGpmSample_t>> {
    let one = |(gpu, gi): &(sys::nvmlDevice_t, c_uint)| {
        let mut sample = std::ptr::null_mut();
        call!(lib, nvmlGpmSampleAlloc(&raw mut sample));
        call!(lib, nvmlGpmMigSampleGet(*gpu, *gi, sample));
        Ok(sample)
    };
    instances.iter().map(one).collect()
}
