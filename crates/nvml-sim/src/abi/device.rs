//! Handles, and what a device is.
#![allow(unsafe_code, reason = "the C ABI")]

use std::ffi::{c_char, c_uint};
use std::ptr::without_provenance_mut;

use nvml_wrapper_sys::bindings::{
    nvmlBAR1Memory_t, nvmlDevice_st, nvmlDevice_t, nvmlMemory_t, nvmlMemory_v2_t, nvmlPciInfo_t,
    nvmlUtilization_t,
};

use super::ffi::{Out, Text, fixed, struct_version};
use super::{Answer, Call, Target, export};
use crate::code::Code;
use crate::engine::parse_bus_id;

impl Call {
    /// Writes a handle.
    pub(super) fn put_handle(&self, out: Out<nvmlDevice_t>, target: Target) -> Answer {
        out.put(without_provenance_mut(self.session.encode(target)))
    }

    fn count(&self, out: Out<c_uint>) -> Answer {
        out.put(self.gpus().len() as u32)
    }

    fn by_index(&self, index: c_uint, out: Out<nvmlDevice_t>) -> Answer {
        let target = Target { gpu: index as usize, mig: None };
        out.required()?;
        self.gpus().get(target.gpu).ok_or(Code::INVALID_ARGUMENT)?;
        self.reach(target.gpu)?;
        self.put_handle(out, target)
    }

    fn by_bus_id(&self, text: &Text, out: Out<nvmlDevice_t>) -> Answer {
        out.required()?;
        let wanted = parse_bus_id(text.get()?).ok_or(Code::INVALID_ARGUMENT)?;
        let found = self.gpus().iter().position(|gpu| parse_bus_id(&gpu.pci) == Some(wanted));
        let gpu = found.ok_or(Code::NOT_FOUND)?;
        self.reach(gpu)?;
        self.put_handle(out, Target { gpu, mig: None })
    }

    fn by_uuid(&self, uuid: &str) -> Option<Target> {
        self.gpus().iter().enumerate().find_map(|(gpu, entry)| {
            if entry.uuid == uuid {
                return Some(Target { gpu, mig: None });
            }
            let migs = entry.mig.as_deref().unwrap_or_default();
            let mig = migs.iter().position(|mig| mig.uuid == uuid && self.exists(mig))?;
            Some(Target { gpu, mig: Some(mig) })
        })
    }

    fn pci_info(&self, device: Out<nvmlDevice_st>, out: Out<nvmlPciInfo_t>) -> Answer {
        let target = self.parent(device)?;
        let id = parse_bus_id(&self.gpu(target).pci).ok_or(Code::UNKNOWN)?;
        out.put(nvmlPciInfo_t {
            busIdLegacy: fixed(&id.legacy()),
            domain: id.domain,
            bus: id.bus,
            device: id.device,
            // Some H100; a scenario has no reason to choose.
            pciDeviceId: 0x2330_10de,
            pciSubSystemId: 0x16c1_10de,
            busId: fixed(&id.to_string()),
        })
    }

    /// Total, reserved and used by processes.
    fn memory(&self, target: Target) -> (u64, u64, u64) {
        let gpu = self.gpu(target);
        let mig = self.mig(target);
        let used = self.session.engine.memory_used(target.gpu, mig.map(|mig| mig.gpu_instance), self.now());
        let (total, reserved) = mig.map_or((gpu.memory.0, gpu.reserved.0), |mig| (mig.memory.0, 0));
        (total, reserved, used.min(total - reserved))
    }
}

export! {
    /// How many GPUs there are.
    fn nvmlDeviceGetCount(count: *mut c_uint) |call| call.count(count)

    /// How many GPUs there are.
    fn nvmlDeviceGetCount_v2(count: *mut c_uint) |call| call.count(count)

    /// The handle of a GPU.
    fn nvmlDeviceGetHandleByIndex(index: c_uint, device: *mut nvmlDevice_t) |call| call.by_index(index, device)

    /// The handle of a GPU.
    fn nvmlDeviceGetHandleByIndex_v2(index: c_uint, device: *mut nvmlDevice_t) |call| call.by_index(index, device)

    /// The handle of a GPU or MIG device.
    fn nvmlDeviceGetHandleByUUID(uuid: *const c_char, device: *mut nvmlDevice_t) |call| {
        device.required()?;
        let target = call.by_uuid(uuid.get()?).ok_or(Code::NOT_FOUND)?;
        call.reach(target.gpu)?;
        call.put_handle(device, target)
    }

    /// The handle of a GPU.
    fn nvmlDeviceGetHandleByPciBusId(id: *const c_char, device: *mut nvmlDevice_t) |call| call.by_bus_id(&id, device)

    /// The handle of a GPU.
    fn nvmlDeviceGetHandleByPciBusId_v2(id: *const c_char, device: *mut nvmlDevice_t) |call| {
        call.by_bus_id(&id, device)
    }

    /// Product name; a MIG device's has its profile.
    fn nvmlDeviceGetName(device: nvmlDevice_t, name: *mut c_char, length: c_uint) |call| {
        let target = call.target(device)?;
        let model = &call.gpu(target).model;
        match call.mig(target) {
            Some(mig) => name.put_text(length, format!("{model} MIG {}", mig.profile).as_bytes()),
            None => name.put_text(length, model.as_bytes()),
        }
    }

    /// UUID of a GPU or MIG device.
    fn nvmlDeviceGetUUID(device: nvmlDevice_t, uuid: *mut c_char, length: c_uint) |call| {
        let target = call.target(device)?;
        let text = call.mig(target).map_or(&call.gpu(target).uuid, |mig| &mig.uuid);
        uuid.put_text(length, text.as_bytes())
    }

    /// Index of a GPU, or of a MIG device among its GPU's.
    fn nvmlDeviceGetIndex(device: nvmlDevice_t, index: *mut c_uint) |call| {
        let target = call.target(device)?;
        index.put(call.mig(target).map_or(target.gpu as u32, |mig| mig.index.unwrap_or(0)))
    }

    /// Number of the device node.
    fn nvmlDeviceGetMinorNumber(device: nvmlDevice_t, minor: *mut c_uint) |call| {
        minor.put(call.parent(device)?.gpu as u32)
    }

    /// PCI ids.
    fn nvmlDeviceGetPciInfo(device: nvmlDevice_t, pci: *mut nvmlPciInfo_t) |call| call.pci_info(device, pci)

    /// PCI ids.
    fn nvmlDeviceGetPciInfo_v2(device: nvmlDevice_t, pci: *mut nvmlPciInfo_t) |call| call.pci_info(device, pci)

    /// PCI ids.
    fn nvmlDeviceGetPciInfo_v3(device: nvmlDevice_t, pci: *mut nvmlPciInfo_t) |call| call.pci_info(device, pci)

    /// Memory; what is reserved counts as used.
    fn nvmlDeviceGetMemoryInfo(device: nvmlDevice_t, memory: *mut nvmlMemory_t) |call| {
        let (total, reserved, used) = call.memory(call.target(device)?);
        memory.put(nvmlMemory_t { total, free: total - reserved - used, used: used + reserved })
    }

    /// Memory; what is reserved stands apart.
    fn nvmlDeviceGetMemoryInfo_v2(device: nvmlDevice_t, memory: *mut nvmlMemory_v2_t) |call| {
        let target = call.target(device)?;
        let version = memory.get()?.version;
        if version != struct_version::<nvmlMemory_v2_t>(2) {
            return Err(Code::ARGUMENT_VERSION_MISMATCH);
        }
        let (total, reserved, used) = call.memory(target);
        memory.put(nvmlMemory_v2_t { version, total, reserved, free: total - reserved - used, used })
    }

    /// The window for the host; as large as the memory, and empty, since nothing in a scenario maps it.
    fn nvmlDeviceGetBAR1MemoryInfo(device: nvmlDevice_t, memory: *mut nvmlBAR1Memory_t) |call| {
        let (total, ..) = call.memory(call.target(device)?);
        memory.put(nvmlBAR1Memory_t { bar1Total: total, bar1Free: total, bar1Used: 0 })
    }

    /// Utilisation of a whole GPU that is not in MIG mode.
    fn nvmlDeviceGetUtilizationRates(device: nvmlDevice_t, utilization: *mut nvmlUtilization_t) |call| {
        let target = call.target(device)?;
        if call.gpu(target).mig.is_some() {
            return Err(Code::NOT_SUPPORTED);
        }
        let engine = &call.session.engine;
        let period = engine.last_period(call.now());
        let [gpu, memory, ..] = engine.total_load(target.gpu, None, period.start, period.end).rounded();
        utilization.put(nvmlUtilization_t { gpu, memory })
    }
}
