//! The C ABI through dlopen, as a client meets it.
#![allow(unsafe_code, reason = "the C ABI is what is tested")]

mod accounting;
mod branches;
mod life;
mod power;
mod support;

use std::ffi::{CStr, c_uint};
use std::ptr::null_mut;

use nvml_sim::code::Code;
use nvml_wrapper_sys::bindings::*;
use support::{Driver, codes};

const SCENARIO: &str = r#"
version: 1
gpus:
  - { model: "NVIDIA A", memory: 10GiB, reserved: 1GiB, pci: "0001:3B:00.0" }
  - model: "NVIDIA H"
    memory: 80GiB
    gpm: true
    mig:
      - { profile: 3g.40gb, gpu_instance: 1, compute_instance: 0, uuid: MIG-one }
      - { profile: 2g.20gb, gpu_instance: 3, compute_instance: 0, index: 2, from: 10s }
processes:
  - pid: 7
    name: a-long-process-name
    devices: [{ gpu: 0, kind: [compute, mps], memory: 2GiB, sm: 50, mem: 5 }]
  - { pid: 9, name: b, devices: [{ gpu: 0, memory: unavailable, sm: 25 }] }
  - { pid: 11, count: 2, name: c, devices: [{ gpu: 1, instance: 1/0, memory: 1GiB, sm: 30 }] }
faults:
  - { from: 100s, until: 101s, function: "nvmlDeviceGetName", gpu: 1, return: GPU_IS_LOST }
  - { from: 100s, until: 101s, function: "nvmlDeviceGetHandleByIndex*", gpu: 0, return: GPU_IS_LOST }
  - { from: 100s, until: 101s, function: "nvmlSystem*", return: UNKNOWN }
"#;

#[test]
fn lists_in_every_layout() {
    let driver = Driver::start(SCENARIO);
    let (nvml, gpu) = (&driver.nvml, driver.gpu(0));
    let mut count: c_uint = 0;
    // SAFETY: valid or NULL pointers, as in every block of this file.
    unsafe {
        let probe = nvml.nvmlDeviceGetComputeRunningProcesses_v3(gpu, &raw mut count, null_mut());
        assert_eq!((probe, count), (codes::INSUFFICIENT_SIZE, 2));
        count = 1;
        let mut short = [nvmlProcessInfo_v1_t { pid: 0, usedGpuMemory: 0 }; 3];
        let list = nvml.nvmlDeviceGetComputeRunningProcesses(gpu, &raw mut count, short.as_mut_ptr());
        assert_eq!((list, count, short[0].pid), (codes::INSUFFICIENT_SIZE, 2, 0));
        count = 3;
        let list = nvml.nvmlDeviceGetComputeRunningProcesses(gpu, &raw mut count, short.as_mut_ptr());
        assert_eq!((list, count), (codes::SUCCESS, 2));
        assert_eq!(short.map(|entry| entry.pid), [7, 9, 0]);
        assert_eq!(short.map(|entry| entry.usedGpuMemory), [2 << 30, u64::MAX, 0]);
        let mut long = Driver::records();
        for list in [
            NvmlLib::nvmlDeviceGetMPSComputeRunningProcesses_v2,
            NvmlLib::nvmlDeviceGetMPSComputeRunningProcesses_v3,
        ] {
            count = 8;
            assert_eq!(list(nvml, gpu, &raw mut count, long.as_mut_ptr()), codes::SUCCESS);
            assert_eq!((count, long[0].pid, long[0].gpuInstanceId), (1, 7, u32::MAX));
        }
        count = 0;
        let none = nvml.nvmlDeviceGetGraphicsRunningProcesses_v3(gpu, &raw mut count, null_mut());
        assert_eq!((none, count), (codes::SUCCESS, 0));
        count = 8;
        let parent = driver.gpu(1);
        let list = nvml.nvmlDeviceGetComputeRunningProcesses_v3(parent, &raw mut count, long.as_mut_ptr());
        assert_eq!((list, count), (codes::SUCCESS, 2));
        assert_eq!((long[1].pid, long[1].gpuInstanceId, long[1].computeInstanceId), (12, 1, 0));
    }
}

#[test]
fn mig_devices_and_holes() {
    let driver = Driver::start(SCENARIO);
    let nvml = &driver.nvml;
    let parent = driver.gpu(1);
    let mig = |index| {
        let mut handle = null_mut();
        // SAFETY: as above.
        let result = unsafe { nvml.nvmlDeviceGetMigDeviceHandleByIndex(parent, index, &raw mut handle) };
        (result, handle)
    };
    let (found, handle) = mig(0);
    assert_eq!(found, codes::SUCCESS);
    assert_eq!([mig(1).0, mig(2).0, mig(6).0], [codes::NOT_FOUND; 3]);
    assert_eq!(mig(7).0, codes::INVALID_ARGUMENT);
    driver.at(10_000_000);
    assert_eq!(mig(2).0, codes::SUCCESS);
    // SAFETY: as above.
    let name = Driver::text(|text, length| unsafe { nvml.nvmlDeviceGetName(handle, text, length) });
    assert_eq!(name, "NVIDIA H MIG 3g.40gb");
    let mut memory = nvmlMemory_t { total: 0, free: 0, used: 0 };
    let mut value = 0;
    // SAFETY: as above.
    unsafe {
        assert_eq!(nvml.nvmlDeviceGetMemoryInfo(handle, &raw mut memory), codes::SUCCESS);
        assert_eq!((memory.total, memory.used), (40 << 30, 2 << 30));
        assert_eq!(nvml.nvmlDeviceGetMinorNumber(handle, &raw mut value), codes::NOT_SUPPORTED);
        assert_eq!(nvml.nvmlDeviceGetMaxMigDeviceCount(driver.gpu(0), &raw mut value), codes::SUCCESS);
        assert_eq!(value, 0);
        let mut by_uuid = null_mut();
        assert_eq!(nvml.nvmlDeviceGetHandleByUUID(c"MIG-one".as_ptr(), &raw mut by_uuid), codes::SUCCESS);
        assert_eq!(by_uuid, handle);
    }
    // The one that is not there yet goes stale.
    let (_, late) = mig(2);
    driver.at(9_999_999);
    // SAFETY: as above.
    let stale = unsafe { nvml.nvmlDeviceGetIndex(late, &raw mut value) };
    assert_eq!(stale, codes::INVALID_ARGUMENT);
}

#[test]
fn arguments_are_checked() {
    let driver = Driver::start(SCENARIO);
    let (nvml, gpu) = (&driver.nvml, driver.gpu(0));
    let mut handle = null_mut();
    let mut text = [0; 8];
    let mut memory = nvmlMemory_v2_t { version: 2, total: 0, reserved: 0, free: 0, used: 0 };
    // SAFETY: as above.
    unsafe {
        assert_eq!(nvml.nvmlDeviceGetHandleByIndex_v2(2, &raw mut handle), codes::INVALID_ARGUMENT);
        assert_eq!(nvml.nvmlDeviceGetHandleByIndex_v2(0, null_mut()), codes::INVALID_ARGUMENT);
        assert_eq!(nvml.nvmlDeviceGetHandleByUUID(c"GPU-x".as_ptr(), &raw mut handle), codes::NOT_FOUND);
        assert_eq!(
            nvml.nvmlDeviceGetHandleByPciBusId_v2(c"x".as_ptr(), &raw mut handle),
            codes::INVALID_ARGUMENT
        );
        assert_eq!(
            nvml.nvmlDeviceGetHandleByPciBusId_v2(c"1:3b:0.0".as_ptr(), &raw mut handle),
            codes::SUCCESS
        );
        assert_eq!(handle, gpu);
        assert_eq!(nvml.nvmlDeviceGetName(null_mut(), text.as_mut_ptr(), 8), codes::INVALID_ARGUMENT);
        assert_eq!(nvml.nvmlDeviceGetName(gpu, null_mut(), 8), codes::INVALID_ARGUMENT);
        assert_eq!(nvml.nvmlDeviceGetName(gpu, text.as_mut_ptr(), 8), codes::INSUFFICIENT_SIZE);
        assert_eq!(nvml.nvmlSystemGetProcessName(7, text.as_mut_ptr(), 8), codes::SUCCESS);
        assert_eq!(CStr::from_ptr(text.as_ptr()), c"a-long-");
        assert_eq!(nvml.nvmlSystemGetProcessName(8, text.as_mut_ptr(), 8), codes::NOT_FOUND);
        let mismatch = nvml.nvmlDeviceGetMemoryInfo_v2(gpu, &raw mut memory);
        assert_eq!(mismatch, codes::ARGUMENT_VERSION_MISMATCH);
        memory.version = size_of::<nvmlMemory_v2_t>() as u32 | 2 << 24;
        assert_eq!(nvml.nvmlDeviceGetMemoryInfo_v2(gpu, &raw mut memory), codes::SUCCESS);
        assert_eq!((memory.reserved, memory.used, memory.free), (1 << 30, 2 << 30, 7 << 30));
        assert_eq!(CStr::from_ptr(nvml.nvmlErrorString(codes::GPU_IS_LOST)), c"GPU is lost");
    }
}

#[test]
fn utilisation_is_probed_and_read() {
    let driver = Driver::start(SCENARIO);
    let (nvml, gpu) = (&driver.nvml, driver.gpu(0));
    driver.at(500_000);
    let mut count = 0;
    let zero = nvmlProcessUtilizationSample_t {
        pid: 0,
        timeStamp: 0,
        smUtil: 0,
        memUtil: 0,
        encUtil: 0,
        decUtil: 0,
    };
    let mut samples = [zero; 8];
    // SAFETY: as above.
    unsafe {
        let probe = nvml.nvmlDeviceGetProcessUtilization(gpu, null_mut(), &raw mut count, 0);
        assert_eq!((probe, count), (codes::INSUFFICIENT_SIZE, 4));
        let read = nvml.nvmlDeviceGetProcessUtilization(gpu, samples.as_mut_ptr(), &raw mut count, 0);
        assert_eq!((read, count), (codes::SUCCESS, 4));
        assert_eq!((samples[0].pid, samples[0].smUtil, samples[0].memUtil), (7, 50, 5));
        let newest = samples[3].timeStamp;
        assert_eq!(newest, support::EPOCH_US as u64 + 400_000);
        let again = nvml.nvmlDeviceGetProcessUtilization(gpu, samples.as_mut_ptr(), &raw mut count, newest);
        assert_eq!(again, codes::NOT_FOUND);
        let mig = nvml.nvmlDeviceGetProcessUtilization(driver.gpu(1), null_mut(), &raw mut count, 0);
        assert_eq!(mig, codes::NOT_SUPPORTED);
        let mut rates = nvmlUtilization_t { gpu: 0, memory: 0 };
        assert_eq!(nvml.nvmlDeviceGetUtilizationRates(gpu, &raw mut rates), codes::SUCCESS);
        assert_eq!((rates.gpu, rates.memory), (75, 5));
        assert_eq!(nvml.nvmlDeviceGetUtilizationRates(driver.gpu(1), &raw mut rates), codes::NOT_SUPPORTED);
    }
}

#[test]
fn gpm_touches_only_the_metrics_asked_for() {
    /// As in a header with a shorter array.
    #[repr(C)]
    struct Short {
        version: u32,
        number: u32,
        samples: [nvmlGpmSample_t; 2],
        metrics: [nvmlGpmMetric_t; 2],
        guard: u64,
    }
    let driver = Driver::start(SCENARIO);
    let (nvml, parent) = (&driver.nvml, driver.gpu(1));
    let info =
        nvmlGpmMetric_t__bindgen_ty_1 { shortName: null_mut(), longName: null_mut(), unit: null_mut() };
    let metric = |id| nvmlGpmMetric_t { metricId: id, nvmlReturn: 7, value: -1.0, metricInfo: info };
    let mut get =
        Short { version: 1, number: 2, samples: [null_mut(); 2], metrics: [metric(2), metric(3)], guard: 77 };
    // SAFETY: as above; the structure is as long as it says.
    unsafe {
        for sample in &mut get.samples {
            assert_eq!(nvml.nvmlGpmSampleAlloc(sample), codes::SUCCESS);
        }
        let [first, second] = get.samples;
        assert_eq!(nvml.nvmlGpmMigSampleGet(parent, 9, first), codes::INVALID_ARGUMENT);
        assert_eq!(nvml.nvmlGpmSampleGet(driver.gpu(0), first), codes::NOT_SUPPORTED);
        assert_eq!(nvml.nvmlGpmMigSampleGet(parent, 1, first), codes::SUCCESS);
        assert_eq!(nvml.nvmlGpmMigSampleGet(parent, 1, second), codes::SUCCESS);
        assert_eq!(nvml.nvmlGpmMetricsGet((&raw mut get).cast()), codes::INVALID_ARGUMENT);
        driver.at(1_000_000);
        assert_eq!(nvml.nvmlGpmMigSampleGet(parent, 1, second), codes::SUCCESS);
        assert_eq!(nvml.nvmlGpmMetricsGet((&raw mut get).cast()), codes::SUCCESS);
        assert_eq!((get.metrics[0].nvmlReturn, get.metrics[0].value), (codes::SUCCESS, 60.0));
        assert_eq!(get.metrics[1].nvmlReturn, codes::NOT_SUPPORTED);
        assert_eq!(get.guard, 77);
        assert_eq!(nvml.nvmlGpmSampleFree(second), codes::SUCCESS);
        assert_eq!(nvml.nvmlGpmSampleFree(second), codes::INVALID_ARGUMENT);
    }
}

#[test]
fn faults_strike_where_they_say() {
    let driver = Driver::start(SCENARIO);
    let nvml = &driver.nvml;
    let (first, second) = (driver.gpu(0), driver.gpu(1));
    driver.at(100_000_000);
    let mut text = [0; 96];
    let mut handle = null_mut();
    let mut version = 0;
    // SAFETY: as above.
    unsafe {
        assert_eq!(nvml.nvmlDeviceGetName(first, text.as_mut_ptr(), 96), codes::SUCCESS);
        assert_eq!(nvml.nvmlDeviceGetName(second, text.as_mut_ptr(), 96), codes::GPU_IS_LOST);
        assert_eq!(nvml.nvmlDeviceGetHandleByIndex_v2(0, &raw mut handle), codes::GPU_IS_LOST);
        assert_eq!(nvml.nvmlDeviceGetHandleByIndex_v2(1, &raw mut handle), codes::SUCCESS);
        assert_eq!(nvml.nvmlSystemGetCudaDriverVersion(&raw mut version), Code::UNKNOWN.0);
        driver.at(101_000_000);
        assert_eq!(nvml.nvmlSystemGetCudaDriverVersion(&raw mut version), codes::SUCCESS);
        assert_eq!(version, 12040);
    }
}

#[test]
fn initialising_again_reads_the_scenario_anew() {
    let driver = Driver::start(SCENARIO);
    let nvml = &driver.nvml;
    let gpu = driver.gpu(0);
    let mut count = 0;
    // SAFETY: as above.
    unsafe {
        assert_eq!(nvml.nvmlInit_v2(), codes::SUCCESS);
        driver.write_scenario("version: 1\ngpus: []\n");
        assert_eq!(nvml.nvmlShutdown(), codes::SUCCESS);
        assert_eq!(nvml.nvmlDeviceGetCount_v2(&raw mut count), codes::SUCCESS);
        assert_eq!(count, 2);
        assert_eq!(nvml.nvmlShutdown(), codes::SUCCESS);
        assert_eq!(nvml.nvmlShutdown(), codes::UNINITIALIZED);
        assert_eq!(nvml.nvmlDeviceGetCount_v2(&raw mut count), codes::UNINITIALIZED);
        assert_eq!(nvml.nvmlInitWithFlags(0), codes::SUCCESS);
        assert_eq!(nvml.nvmlDeviceGetCount_v2(&raw mut count), codes::SUCCESS);
        assert_eq!(count, 0);
        // A handle does not outlive its initialisation.
        assert_eq!(nvml.nvmlDeviceGetIndex(gpu, &raw mut count), codes::INVALID_ARGUMENT);
        driver.write_scenario("version: 1\ngpus: 3\n");
        assert_eq!(nvml.nvmlShutdown(), codes::SUCCESS);
        assert_eq!(nvml.nvmlInit_v2(), codes::DRIVER_NOT_LOADED);
        driver.write_scenario(SCENARIO);
        assert_eq!(nvml.nvmlInit_v2(), codes::SUCCESS);
    }
}

#[test]
fn calls_are_counted() {
    let driver = Driver::start(SCENARIO);
    driver.gpu(0);
    driver.nvml_shutdown();
    let text = driver.calls();
    let count = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|count| count.parse::<u64>().ok()).unwrap_or(0)
    };
    assert!(count("nvmlInit_v2") >= 1, "{text}");
    assert!(count("nvmlDeviceGetHandleByIndex_v2") >= 1);
    assert!(count("nvmlShutdown") >= 1);
    let sum: u64 = text
        .lines()
        .filter(|line| !line.starts_with("total"))
        .map(|line| line.rsplit_once(' ').and_then(|(_, count)| count.parse::<u64>().ok()).unwrap_or(0))
        .sum();
    assert_eq!(count("total"), sum);
}

#[test]
fn a_hang_holds_nobody_else_up() {
    let driver =
        Driver::start(&format!("{SCENARIO}  - {{ function: nvmlDeviceGetUUID, gpu: 0, hang: true }}\n"));
    let (gpu, other) = (driver.gpu(0) as usize, driver.gpu(1));
    let stuck = Driver::library();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut text = [0; 96];
        // SAFETY: as above; the handle is only a number.
        let result = unsafe { stuck.nvmlDeviceGetUUID(gpu as nvmlDevice_t, text.as_mut_ptr(), 96) };
        let _ = sender.send(result);
    });
    assert!(receiver.recv_timeout(std::time::Duration::from_millis(100)).is_err());
    // SAFETY: as above.
    let uuid = Driver::text(|text, length| unsafe { driver.nvml.nvmlDeviceGetUUID(other, text, length) });
    assert!(uuid.starts_with("GPU-"));
}

#[test]
fn ten_thousand_are_listed() {
    let driver = Driver::start(
        "version: 1\ngpus: [{ model: A, memory: 80GiB }]\n\
         processes: [{ pid: 100, count: 10000, name: a, devices: [{ gpu: 0, memory: 1MiB }] }]\n",
    );
    let gpu = driver.gpu(0);
    let mut records = vec![Driver::records()[0]; 10_000];
    let mut count = 10_000;
    // SAFETY: as above.
    let list = unsafe {
        driver.nvml.nvmlDeviceGetComputeRunningProcesses_v3(gpu, &raw mut count, records.as_mut_ptr())
    };
    assert_eq!((list, count), (codes::SUCCESS, 10_000));
    assert_eq!(records[9_999].pid, 10_099);
}
