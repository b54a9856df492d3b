//! The driver goes, comes back, and is replaced.

use std::ffi::c_uint;

use crate::support::{Driver, codes};

const SCENARIO: &str = r#"
version: 1
driver_events:
  - { at: 60s, unloaded: true }
  - { at: 70s, unloaded: false, version: "550.90.07" }
  - { at: 120s, upgrade: "580.82.07" }
gpus:
  - { model: A, memory: 10GiB, power: { idle: 100W, busy: 100W, report: energy }, accounting: { enabled: true } }
processes:
  - { pid: 7, name: a, devices: [{ gpu: 0, memory: 1GiB }] }
faults:
  - { from: 60s, until: 70s, function: "*", return: UNKNOWN }
"#;

fn count(driver: &Driver) -> u32 {
    let mut count: c_uint = 0;
    // SAFETY: a valid pointer.
    unsafe { driver.nvml.nvmlDeviceGetCount_v2(&raw mut count) }
}

fn init(driver: &Driver) -> u32 {
    // SAFETY: it takes no pointers.
    unsafe { driver.nvml.nvmlInit_v2() }
}

fn versions(driver: &Driver) -> [String; 2] {
    let nvml = &driver.nvml;
    // SAFETY: the buffer is as long as it is said to be.
    let driver = Driver::text(|text, length| unsafe { nvml.nvmlSystemGetDriverVersion(text, length) });
    // SAFETY: as above.
    [driver, Driver::text(|text, length| unsafe { nvml.nvmlSystemGetNVMLVersion(text, length) })]
}

#[test]
fn a_driver_is_unloaded_and_comes_back() {
    let driver = Driver::start(SCENARIO);
    assert_eq!(versions(&driver), ["550.54.15", "12.550.54.15"]);
    driver.at(59_999_999);
    assert_eq!(count(&driver), codes::SUCCESS);
    driver.at(60_000_000);
    // No fault of a driver that is not there.
    assert_eq!(count(&driver), codes::UNINITIALIZED);
    assert_eq!(init(&driver), codes::DRIVER_NOT_LOADED);
    driver.at(70_000_000);
    assert_eq!(count(&driver), codes::UNINITIALIZED);
    // Once more is not anew.
    assert_eq!(init(&driver), codes::SUCCESS);
    assert_eq!(count(&driver), codes::UNINITIALIZED);
    assert_eq!([driver.nvml_shutdown(), driver.nvml_shutdown()], [codes::SUCCESS; 2]);
    assert_eq!(driver.nvml_shutdown(), codes::UNINITIALIZED);
    assert_eq!([init(&driver), count(&driver)], [codes::SUCCESS; 2]);
    assert_eq!(versions(&driver), ["550.90.07", "12.550.90.07"]);
    driver.nvml_shutdown();
    driver.at(65_000_000);
    assert_eq!(init(&driver), codes::DRIVER_NOT_LOADED);
}

#[test]
fn a_driver_is_replaced_under_a_client() {
    let driver = Driver::start(SCENARIO);
    driver.nvml_shutdown();
    driver.at(119_999_999);
    assert_eq!([init(&driver), count(&driver)], [codes::SUCCESS; 2]);
    driver.at(120_000_000);
    assert_eq!(count(&driver), codes::LIB_RM_VERSION_MISMATCH);
    assert_eq!(driver.nvml_shutdown(), codes::SUCCESS);
    assert_eq!([init(&driver), count(&driver)], [codes::SUCCESS; 2]);
    assert_eq!(versions(&driver), ["580.82.07", "12.580.82.07"]);
}

#[test]
fn a_new_driver_begins_with_nothing() {
    let driver = Driver::start(SCENARIO);
    let read = |at| {
        driver.at(at);
        driver.nvml_shutdown();
        assert_eq!(init(&driver), codes::SUCCESS);
        let (gpu, mut mode, mut energy) = (driver.gpu(0), 9, 0);
        // SAFETY: valid pointers.
        unsafe {
            assert_eq!(driver.nvml.nvmlDeviceGetAccountingMode(gpu, &raw mut mode), codes::SUCCESS);
            assert_eq!(driver.nvml.nvmlDeviceGetTotalEnergyConsumption(gpu, &raw mut energy), codes::SUCCESS);
        }
        (mode, energy)
    };
    assert_eq!(read(59_000_000), (1, 5_900_000));
    assert_eq!(read(71_000_000), (0, 100_000));
    assert_eq!(read(120_000_000), (0, 0));
    assert_eq!(read(-1), (1, 0));
}
