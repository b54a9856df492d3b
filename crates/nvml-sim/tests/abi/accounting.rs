//! Accounting of processes.

use std::ptr::null_mut;

use nvml_sim::abi::accounting::nvmlAccountingStats_v2_t;
use nvml_sim::branch::{Branch, library_of};
use nvml_wrapper_sys::bindings::*;

use crate::support::{Driver, EPOCH_US, codes, path};

const SCENARIO: &str = r"
version: 1
gpus:
  - { model: A, memory: 10GiB, accounting: { enabled: true, buffer: 3 } }
  - { model: B, memory: 10GiB }
  - { model: C, memory: 10GiB, accounting: { supported: false } }
  - { model: D, memory: 80GiB, mig: [{ profile: 3g.40gb, gpu_instance: 1, compute_instance: 0 }] }
processes:
  - pid: 7
    name: a
    start: 1s
    end: 5s
    devices: [{ gpu: 0, memory: 1GiB, sm: 80, mem: 10, steps: [{ at: 2s, memory: 3GiB, sm: 20 }, { at: 4s, memory: 0 }] }]
  - { pid: 8, name: b, start: 2s, devices: [{ gpu: 0, memory: unavailable, sm: 50 }] }
  - { pid: 9, name: c, start: 6s, end: 7s, devices: [{ gpu: 0, sm: 1 }] }
  - { pid: 8000, name: d, start: 8s, end: 9s, devices: [{ gpu: 0, memory: 1GiB }] }
  - { pid: 9, name: again, start: 10s, end: 12s, devices: [{ gpu: 0, memory: 2GiB, sm: 30 }] }
  - { pid: 20, name: old, end: 10s, devices: [{ gpu: 1, memory: 1GiB }] }
  - { pid: 21, name: within, end: 100s, devices: [{ gpu: 1, memory: 1GiB, sm: 60 }] }
  - { pid: 22, name: later, start: 50s, devices: [{ gpu: 1, memory: 1GiB }] }
";

impl Driver {
    fn mode(&self, gpu: u32) -> (u32, u32) {
        let mut mode = 77;
        // SAFETY: valid pointers, as in every block of this file.
        let result = unsafe { self.nvml.nvmlDeviceGetAccountingMode(self.gpu(gpu), &raw mut mode) };
        (result, mode)
    }

    fn set_mode(&self, gpu: u32, mode: u32) -> u32 {
        // SAFETY: as above.
        unsafe { self.nvml.nvmlDeviceSetAccountingMode(self.gpu(gpu), mode) }
    }

    fn pids(&self, gpu: u32) -> Vec<u32> {
        let mut pids = [0; 16];
        let mut count = 16;
        // SAFETY: as above.
        let result = unsafe {
            self.nvml.nvmlDeviceGetAccountingPids(self.gpu(gpu), &raw mut count, pids.as_mut_ptr())
        };
        assert_eq!(result, codes::SUCCESS);
        pids[..count as usize].to_vec()
    }

    fn stats(&self, gpu: u32, pid: u32) -> Result<nvmlAccountingStats_t, u32> {
        let mut stats = nvmlAccountingStats_t {
            gpuUtilization: 0,
            memoryUtilization: 0,
            maxMemoryUsage: 0,
            time: 77,
            startTime: 0,
            isRunning: 77,
            reserved: [0; 5],
        };
        // SAFETY: as above.
        match unsafe { self.nvml.nvmlDeviceGetAccountingStats(self.gpu(gpu), pid, &raw mut stats) } {
            codes::SUCCESS => Ok(stats),
            code => Err(code),
        }
    }
}

fn stamp(micros: i64) -> u64 {
    (EPOCH_US + micros) as u64
}

#[test]
fn a_process_is_recorded_while_it_runs_and_after() {
    let driver = Driver::start(SCENARIO);
    assert_eq!(driver.pids(0), [0_u32; 0]);
    driver.at(3_000_000);
    assert_eq!(driver.pids(0), [7, 8]);
    let running = driver.stats(0, 7).unwrap();
    assert_eq!((running.isRunning, running.time, running.startTime), (1, 0, stamp(1_000_000)));
    assert_eq!((running.gpuUtilization, running.memoryUtilization), (50, 10));
    assert_eq!(running.maxMemoryUsage, 3 << 30);
    assert_eq!(driver.stats(0, 8).unwrap().maxMemoryUsage, u64::MAX);
    driver.at(5_000_000);
    let ended = driver.stats(0, 7).unwrap();
    assert_eq!((ended.isRunning, ended.time), (0, 4000));
    assert_eq!((ended.gpuUtilization, ended.maxMemoryUsage), (35, 3 << 30));
    assert_eq!(driver.stats(0, 99).unwrap_err(), codes::NOT_FOUND);
}

#[test]
fn the_ring_forgets_the_oldest_and_a_pid_has_one_record() {
    let driver = Driver::start(SCENARIO);
    driver.at(6_500_000);
    assert_eq!(driver.pids(0), [7, 8, 9]);
    driver.at(8_000_000);
    assert_eq!(driver.pids(0), [8, 9, 8000]);
    assert_eq!(driver.stats(0, 7).unwrap_err(), codes::NOT_FOUND);
    // The older record of pid 9 is shadowed, and still takes a place.
    driver.at(13_000_000);
    assert_eq!(driver.pids(0), [8000, 9]);
    let again = driver.stats(0, 9).unwrap();
    assert_eq!((again.startTime, again.time, again.gpuUtilization), (stamp(10_000_000), 2000, 30));
    let (mut count, mut size) = (1, 0);
    let mut pids = [0; 2];
    // SAFETY: as above.
    unsafe {
        let (nvml, gpu) = (&driver.nvml, driver.gpu(0));
        let short = nvml.nvmlDeviceGetAccountingPids(gpu, &raw mut count, pids.as_mut_ptr());
        assert_eq!((short, count, pids), (codes::INSUFFICIENT_SIZE, 2, [0, 0]));
        let probe = nvml.nvmlDeviceGetAccountingPids(gpu, &raw mut count, null_mut());
        assert_eq!((probe, count), (codes::INSUFFICIENT_SIZE, 2));
        assert_eq!(nvml.nvmlDeviceGetAccountingBufferSize(gpu, &raw mut size), codes::SUCCESS);
    }
    assert_eq!(size, 3);
}

#[test]
fn what_ran_before_it_was_switched_on_is_not_recorded() {
    let driver = Driver::start(SCENARIO);
    assert_eq!(driver.mode(1), (codes::SUCCESS, 0));
    assert_eq!(driver.stats(1, 21).unwrap_err(), codes::NOT_SUPPORTED);
    driver.at(20_000_000);
    assert_eq!(driver.set_mode(1, 1), codes::SUCCESS);
    assert_eq!(driver.set_mode(1, 2), codes::INVALID_ARGUMENT);
    // The driver remembers what its clients do not.
    driver.nvml_shutdown();
    // SAFETY: it takes no pointers.
    assert_eq!(unsafe { driver.nvml.nvmlInit_v2() }, codes::SUCCESS);
    driver.at(60_000_000);
    assert_eq!(driver.mode(1), (codes::SUCCESS, 1));
    // And tells others, which a copy of the library is to it.
    let other = Driver::load(&library_of(Branch::R590, &path(), &driver.path("other")).unwrap());
    let (mut gpu, mut mode) = (null_mut(), 0);
    // SAFETY: as above.
    unsafe {
        assert_eq!(other.nvmlInit_v2(), codes::SUCCESS);
        assert_eq!(other.nvmlDeviceGetHandleByIndex_v2(1, &raw mut gpu), codes::SUCCESS);
        assert_eq!(other.nvmlDeviceGetAccountingMode(gpu, &raw mut mode), codes::SUCCESS);
        assert_eq!(other.nvmlShutdown(), codes::SUCCESS);
    }
    assert_eq!(mode, 1);
    assert_eq!(driver.pids(1), [21, 22]);
    driver.at(200_000_000);
    let within = driver.stats(1, 21).unwrap();
    assert_eq!((within.startTime, within.time), (stamp(20_000_000), 80_000));
    assert_eq!(within.gpuUtilization, 60);
    // Off forgets everything.
    assert_eq!([driver.set_mode(1, 0), driver.set_mode(1, 1)], [codes::SUCCESS; 2]);
    assert_eq!(driver.pids(1), [22]);
    driver.at(19_000_000);
    assert_eq!(driver.mode(1), (codes::SUCCESS, 0));
}

#[test]
fn not_everything_has_it() {
    let driver = Driver::start(SCENARIO);
    assert_eq!(driver.mode(2).0, codes::NOT_SUPPORTED);
    assert_eq!(driver.set_mode(2, 1), codes::NOT_SUPPORTED);
    assert_eq!(driver.mode(3), (codes::SUCCESS, 0));
    assert_eq!(driver.set_mode(3, 1), codes::NOT_SUPPORTED);
    assert_eq!(driver.stats(3, 7).unwrap_err(), codes::NOT_SUPPORTED);
    let mut mig = null_mut();
    let mut mode = 0;
    // SAFETY: as above.
    unsafe {
        driver.nvml.nvmlDeviceGetMigDeviceHandleByIndex(driver.gpu(3), 0, &raw mut mig);
        assert_eq!(driver.nvml.nvmlDeviceGetAccountingMode(mig, &raw mut mode), codes::NOT_SUPPORTED);
    }
}

type StatsV2 = unsafe extern "C" fn(nvmlDevice_t, *mut nvmlAccountingStats_v2_t) -> nvmlReturn_t;

#[test]
fn the_second_layout_has_sums() {
    let driver = Driver::start(SCENARIO);
    let library = &driver.nvml.__library;
    // SAFETY: the function's type is nvml.h's.
    let function = unsafe { library.get::<StatsV2>(b"nvmlDeviceGetAccountingStats_v2") }.unwrap();
    assert_eq!(size_of::<nvmlAccountingStats_v2_t>(), 64);
    let read = |pid| {
        let mut stats = nvmlAccountingStats_v2_t {
            pid,
            isRunning: 0,
            gpuUtilization: 0,
            memoryUtilization: 0,
            maxMemoryUsage: 0,
            sampleCount: 0,
            sumGpuUtil: 0,
            sumFbUtil: 0,
            time: 0,
            startTime: 0,
        };
        // SAFETY: as above.
        (unsafe { function(driver.gpu(0), &raw mut stats) }, stats)
    };
    // Within a period: 1 s at 80 % and 300 ms at 20 % of which 200 ms are sampled.
    driver.at(2_300_000);
    let (result, running) = read(7);
    assert_eq!((result, running.isRunning, running.time), (codes::SUCCESS, 1, 0));
    assert_eq!((running.sampleCount, running.sumGpuUtil, running.sumFbUtil), (6, 42_000, 6000));
    driver.at(20_000_000);
    let (result, ended) = read(9);
    assert_eq!((result, ended.pid, ended.isRunning, ended.time), (codes::SUCCESS, 9, 0, 2000));
    assert_eq!((ended.sampleCount, ended.sumGpuUtil, ended.gpuUtilization), (10, 30_000, 30));
    assert_eq!(read(7).0, codes::NOT_FOUND);
}
