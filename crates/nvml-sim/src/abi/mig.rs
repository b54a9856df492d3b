//! MIG mode and MIG devices.
#![allow(unsafe_code, reason = "the C ABI")]

use std::ffi::c_uint;

use nvml_wrapper_sys::bindings::{nvmlDevice_t, nvmlDeviceAttributes_t};

use super::{Target, export};
use crate::code::Code;

/// Multiprocessors of a slice, as on an H100.
const MULTIPROCESSORS_PER_SLICE: u32 = 16;

export! {
    /// MIG mode, now and after the next reset, which are the same here.
    fn nvmlDeviceGetMigMode(device: nvmlDevice_t, current: *mut c_uint, pending: *mut c_uint) |call| {
        let gpu = call.gpu(call.parent(device)?);
        if !gpu.mig_capable {
            return Err(Code::NOT_SUPPORTED);
        }
        let on = u32::from(gpu.mig.is_some());
        pending.required()?;
        current.put(on)?;
        pending.put(on)
    }

    /// Whether a handle is a MIG device's.
    fn nvmlDeviceIsMigDeviceHandle(device: nvmlDevice_t, is_mig: *mut c_uint) |call| {
        is_mig.put(u32::from(call.target(device)?.mig.is_some()))
    }

    /// The most MIG devices that a GPU can have; 0 unless it is in MIG mode.
    fn nvmlDeviceGetMaxMigDeviceCount(device: nvmlDevice_t, count: *mut c_uint) |call| {
        let gpu = call.gpu(call.parent(device)?);
        count.put(if gpu.mig.is_some() { gpu.slices } else { 0 })
    }

    /// The handle of a MIG device.
    fn nvmlDeviceGetMigDeviceHandleByIndex(device: nvmlDevice_t, index: c_uint, mig: *mut nvmlDevice_t) |call| {
        let target = call.parent(device)?;
        let gpu = call.gpu(target);
        let migs = gpu.mig.as_ref().ok_or(Code::NOT_SUPPORTED)?;
        mig.required()?;
        if index >= gpu.slices {
            return Err(Code::INVALID_ARGUMENT);
        }
        let found = migs.iter().position(|mig| mig.index == Some(index) && call.exists(mig));
        call.put_handle(mig, Target { mig: Some(found.ok_or(Code::NOT_FOUND)?), ..target })
    }

    /// GPU instance id of a MIG device.
    fn nvmlDeviceGetGpuInstanceId(device: nvmlDevice_t, id: *mut c_uint) |call| {
        id.put(call.instance(device)?.1.gpu_instance)
    }

    /// Compute instance id of a MIG device.
    fn nvmlDeviceGetComputeInstanceId(device: nvmlDevice_t, id: *mut c_uint) |call| {
        id.put(call.instance(device)?.1.compute_instance)
    }

    /// The GPU of a MIG device.
    fn nvmlDeviceGetDeviceHandleFromMigDeviceHandle(device: nvmlDevice_t, parent: *mut nvmlDevice_t) |call| {
        let (target, _) = call.instance(device)?;
        call.put_handle(parent, Target { mig: None, ..target })
    }

    /// What a MIG device has.
    fn nvmlDeviceGetAttributes_v2(device: nvmlDevice_t, attributes: *mut nvmlDeviceAttributes_t) |call| {
        let target = call.target(device)?;
        let mig = call.mig(target).ok_or(Code::NOT_SUPPORTED)?;
        attributes.put(nvmlDeviceAttributes_t {
            multiprocessorCount: mig.compute_slices * MULTIPROCESSORS_PER_SLICE,
            sharedCopyEngineCount: mig.slices,
            sharedDecoderCount: mig.slices,
            sharedEncoderCount: 0,
            sharedJpegCount: mig.slices,
            sharedOfaCount: 0,
            gpuInstanceSliceCount: mig.slices,
            computeInstanceSliceCount: mig.compute_slices,
            memorySizeMB: mig.memory.0 >> 20,
        })
    }
}
