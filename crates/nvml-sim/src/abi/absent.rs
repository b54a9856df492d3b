//! Functions that every driver has and clients expect, about things that are not simulated: NOT_SUPPORTED, as from
//! a card without the sensor.
#![allow(unsafe_code, reason = "the C ABI")]

use std::ffi::{c_uint, c_ulonglong};

use nvml_wrapper_sys::bindings::nvmlDevice_t;

use super::export;
use crate::code::Code;

macro_rules! absent {
    ($($name:ident($($arg:ident: $type:ty),*);)+) => {
        export! {$(
            /// Not simulated.
            fn $name(device: nvmlDevice_t, $($arg: $type),*) |call| {
                $(let _ = $arg;)*
                call.target(device)?;
                Err(Code::NOT_SUPPORTED)
            }
        )+}
    };
}

absent! {
    nvmlDeviceGetClockInfo(clock: c_uint, megahertz: *mut c_uint);
    nvmlDeviceGetComputeMode(mode: *mut c_uint);
    nvmlDeviceGetCurrPcieLinkGeneration(generation: *mut c_uint);
    nvmlDeviceGetCurrPcieLinkWidth(width: *mut c_uint);
    nvmlDeviceGetDecoderUtilization(utilization: *mut c_uint, period: *mut c_uint);
    nvmlDeviceGetDisplayActive(is_active: *mut c_uint);
    nvmlDeviceGetDriverModel(current: *mut c_uint, pending: *mut c_uint);
    nvmlDeviceGetEncoderUtilization(utilization: *mut c_uint, period: *mut c_uint);
    nvmlDeviceGetEnforcedPowerLimit(limit: *mut c_uint);
    nvmlDeviceGetFanSpeed(speed: *mut c_uint);
    nvmlDeviceGetMaxClockInfo(clock: c_uint, megahertz: *mut c_uint);
    nvmlDeviceGetMaxPcieLinkGeneration(generation: *mut c_uint);
    nvmlDeviceGetMaxPcieLinkWidth(width: *mut c_uint);
    nvmlDeviceGetPcieThroughput(counter: c_uint, kilobytes: *mut c_uint);
    nvmlDeviceGetPerformanceState(state: *mut c_uint);
    nvmlDeviceGetPersistenceMode(mode: *mut c_uint);
    nvmlDeviceGetPowerManagementLimit(limit: *mut c_uint);
    nvmlDeviceGetTemperature(sensor: c_uint, temperature: *mut c_uint);
    nvmlDeviceGetTemperatureThreshold(threshold: c_uint, temperature: *mut c_uint);
    nvmlDeviceGetTotalEccErrors(error: c_uint, counter: c_uint, count: *mut c_ulonglong);
}
