//! Power and energy, by their own functions and as fields.
#![allow(unsafe_code, reason = "the C ABI")]

use std::ffi::{c_int, c_uint, c_ulonglong};
use std::mem::offset_of;

use nvml_wrapper_sys::bindings::{
    nvmlDevice_t, nvmlFieldValue_t, nvmlReturn_t, nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_INT,
    nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_LONG_LONG, nvmlValueType_t,
};

use super::ffi::Out;
use super::{Answer, Call, Target, export};
use crate::code::Code;
use crate::scenario::Report;

/// `NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION`.
const TOTAL_ENERGY: u32 = 83;
/// `NVML_FI_DEV_POWER_AVERAGE`.
const POWER_AVERAGE: u32 = 185;
/// `NVML_FI_DEV_POWER_INSTANT`.
const POWER_INSTANT: u32 = 186;
/// `NVML_FI_DEV_ENERGY`: the same as `TOTAL_ENERGY` where the scope is the GPU.
const ENERGY: u32 = 191;
/// `NVML_FI_MAX` of the newest header.
const FIELDS: u32 = 310;
/// Fields 185 and on came after the release before this one.
const SCOPED_SINCE: u32 = 535;
/// What `POWER_AVERAGE` is averaged over, by nvml.h.
const SECOND: i64 = 1_000_000;

/// The value of a field.
enum Value {
    Int(c_uint),
    Long(c_ulonglong),
}

impl Call {
    fn energy(&self, target: Target, now: i64) -> Result<u64, Code> {
        let sensor = self.gpu(target).power.report == Report::Energy;
        if sensor { Ok(self.session.engine.energy(target.gpu, now)) } else { Err(Code::NOT_SUPPORTED) }
    }

    /// Power on average between two moments.
    fn power(&self, target: Target, from: i64, to: i64) -> Result<u32, Code> {
        let sensor = self.gpu(target).power.report != Report::None;
        if sensor { Ok(self.session.engine.power(target.gpu, from, to)) } else { Err(Code::NOT_SUPPORTED) }
    }

    fn field(&self, target: Target, id: u32, scope: u32, now: i64) -> Result<Value, Code> {
        let branch = self.session.engine.scenario().driver.branch;
        match id {
            0 | FIELDS.. => Err(Code::INVALID_ARGUMENT),
            TOTAL_ENERGY => self.energy(target, now).map(Value::Long),
            // A module with a CPU is not simulated.
            POWER_AVERAGE | POWER_INSTANT | ENERGY if scope > 0 => Err(Code::NOT_SUPPORTED),
            POWER_AVERAGE.. if branch.is_some_and(|branch| branch.release() < SCOPED_SINCE) => {
                Err(Code::NOT_SUPPORTED)
            }
            POWER_AVERAGE => self.power(target, now - SECOND, now).map(Value::Int),
            POWER_INSTANT => self.power(target, now, now).map(Value::Int),
            ENERGY => self.energy(target, now).map(Value::Long),
            _ => Err(Code::NOT_SUPPORTED),
        }
    }

    /// Fills in what the driver writes of an entry, and leaves the rest, which the caller has set.
    fn put_field(&self, target: Target, entry: Out<nvmlFieldValue_t>, now: i64) -> Answer {
        type Field = nvmlFieldValue_t;
        // SAFETY: the offsets and types are those of the fields.
        unsafe {
            let id = entry.field::<c_uint>(offset_of!(Field, fieldId)).get()?;
            let scope = entry.field::<c_uint>(offset_of!(Field, scopeId)).get()?;
            let value = self.field(target, id, scope, now);
            let stamp = self.session.stamp(now) as i64;
            entry.field::<i64>(offset_of!(Field, timestamp)).put(stamp)?;
            entry.field::<i64>(offset_of!(Field, latencyUsec)).put(0)?;
            let result = value.as_ref().err().copied().unwrap_or(Code::SUCCESS).0;
            entry.field::<nvmlReturn_t>(offset_of!(Field, nvmlReturn)).put(result)?;
            let kind = entry.field::<nvmlValueType_t>(offset_of!(Field, valueType));
            match value {
                Ok(Value::Int(value)) => {
                    kind.put(nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_INT)?;
                    entry.field(offset_of!(Field, value)).put(value)
                }
                Ok(Value::Long(value)) => {
                    kind.put(nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_LONG_LONG)?;
                    entry.field(offset_of!(Field, value)).put(value)
                }
                Err(_) => Ok(()),
            }
        }
    }
}

export! {
    /// Millijoules since the driver was loaded.
    fn nvmlDeviceGetTotalEnergyConsumption(device: nvmlDevice_t, energy: *mut c_ulonglong) |call| {
        let target = call.parent(device)?;
        energy.put(call.energy(target, call.now())?)
    }

    /// Milliwatts, on average over the last sample period.
    fn nvmlDeviceGetPowerUsage(device: nvmlDevice_t, power: *mut c_uint) |call| {
        let target = call.parent(device)?;
        let period = call.session.engine.last_period(call.now());
        power.put(call.power(target, period.start, period.end)?)
    }

    /// Values of fields, each with its own code.
    fn nvmlDeviceGetFieldValues(device: nvmlDevice_t, count: c_int, values: *mut nvmlFieldValue_t) |call| {
        let target = call.target(device)?;
        values.required()?;
        if count < 1 || target.mig.is_some() {
            return Err(Code::INVALID_ARGUMENT);
        }
        let now = call.now();
        (0..count as usize).try_for_each(|index| call.put_field(target, values.entry(index), now))
    }
}
