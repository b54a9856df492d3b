//! Power and energy.

use std::ptr::null_mut;

use nvml_sim::code::Code;
use nvml_wrapper_sys::bindings::*;

use crate::support::{Driver, EPOCH_US, codes};

const SCENARIO: &str = r"
version: 1
gpus:
  - { model: A, memory: 10GiB, power: { idle: 60W, busy: 700W, report: energy } }
  - { model: B, memory: 10GiB, power: { idle: 60W, busy: 700W, report: power } }
  - { model: C, memory: 10GiB, power: { idle: 60W, busy: 700W } }
  - model: D
    memory: 80GiB
    power: { idle: 0W, busy: 700W, report: energy }
    mig: [{ profile: 3g.40gb, gpu_instance: 1, compute_instance: 0 }]
processes:
  - { pid: 7, count: 2, name: a, devices: [{ gpu: 0, sm: 40, steps: [{ at: 10s, sm: 75 }] }] }
  - { pid: 9, name: b, end: 5s, devices: [{ gpu: 1, sm: 50 }] }
  - { pid: 11, name: c, devices: [{ gpu: 3, instance: 1/0, sm: 50 }] }
";

/// What is asked for must be set; the rest is the driver's to write.
fn fields<const N: usize>(ids: [(u32, u32); N]) -> [nvmlFieldValue_t; N] {
    ids.map(|(id, scope)| nvmlFieldValue_t {
        fieldId: id,
        scopeId: scope,
        timestamp: 0,
        latencyUsec: -1,
        valueType: 77,
        nvmlReturn: 77,
        value: nvmlValue_st { ullVal: 77 },
    })
}

#[test]
fn energy_and_power_follow_the_load() {
    let driver = Driver::start(SCENARIO);
    let nvml = &driver.nvml;
    let energy = |gpu: u32| {
        let mut value = 0;
        // SAFETY: valid pointers.
        let result = unsafe { nvml.nvmlDeviceGetTotalEnergyConsumption(driver.gpu(gpu), &raw mut value) };
        (result, value)
    };
    let power = |gpu: u32| {
        let mut value = 0;
        // SAFETY: as above.
        let result = unsafe { nvml.nvmlDeviceGetPowerUsage(driver.gpu(gpu), &raw mut value) };
        (result, value)
    };
    assert_eq!(energy(0), (codes::SUCCESS, 0));
    driver.at(10_100_001);
    // 80 % of the range for 10 s; two times 75 % is all of it, not more.
    assert_eq!(energy(0), (codes::SUCCESS, 5_720_000 + 70_000));
    assert_eq!(power(0), (codes::SUCCESS, 572_000));
    driver.at(10_200_000);
    assert_eq!(power(0), (codes::SUCCESS, 700_000));
    assert_eq!([energy(1).0, power(1).0], [codes::NOT_SUPPORTED, codes::SUCCESS]);
    assert_eq!(power(1).1, 60_000);
    assert_eq!([energy(2).0, power(2).0], [codes::NOT_SUPPORTED; 2]);
    // Half of three slices of seven.
    driver.at(7_000_000);
    assert_eq!(energy(3), (codes::SUCCESS, 1_050_000));
    let (mut mig, mut value, mut long) = (null_mut(), 0, 0);
    // SAFETY: as above.
    unsafe {
        nvml.nvmlDeviceGetMigDeviceHandleByIndex(driver.gpu(3), 0, &raw mut mig);
        assert_eq!(nvml.nvmlDeviceGetTotalEnergyConsumption(mig, &raw mut long), codes::NOT_SUPPORTED);
        assert_eq!(nvml.nvmlDeviceGetPowerUsage(mig, &raw mut value), codes::NOT_SUPPORTED);
        let mut values = fields([(83, 0)]);
        assert_eq!(nvml.nvmlDeviceGetFieldValues(mig, 1, values.as_mut_ptr()), codes::INVALID_ARGUMENT);
    }
}

#[test]
fn fields_have_codes_of_their_own() {
    let driver = Driver::start(SCENARIO);
    let nvml = &driver.nvml;
    driver.at(10_500_000);
    let mut values = fields([(83, 0), (185, 0), (186, 0), (191, 0), (186, 1), (82, 0), (0, 0), (9999, 0)]);
    let gpu = driver.gpu(0);
    // SAFETY: valid pointers, and a union of plain numbers.
    unsafe {
        assert_eq!(nvml.nvmlDeviceGetFieldValues(gpu, 8, values.as_mut_ptr()), codes::SUCCESS);
        let [energy, average, instant, same, ..] = values.map(|value| value.value);
        assert_eq!((energy.ullVal, same.ullVal), (6_070_000, 6_070_000));
        assert_eq!((average.uiVal, instant.uiVal), (636_000, 700_000));
        let null = nvml.nvmlDeviceGetFieldValues(gpu, 1, null_mut());
        let none = nvml.nvmlDeviceGetFieldValues(gpu, 0, values.as_mut_ptr());
        assert_eq!([null, none], [codes::INVALID_ARGUMENT; 2]);
    }
    let results = values.map(|value| value.nvmlReturn);
    let (unknown, absent) = (Code::INVALID_ARGUMENT.0, codes::NOT_SUPPORTED);
    assert_eq!(results, [0, 0, 0, 0, absent, absent, unknown, unknown]);
    assert_eq!(values.map(|value| value.valueType)[..4], [3, 1, 1, 3]);
    assert_eq!(values[0].timestamp, EPOCH_US + 10_500_000);
}
