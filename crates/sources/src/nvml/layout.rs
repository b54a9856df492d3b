//! What devices there are: GPUs and MIG instances, read once per initialisation and layout.

use super::Options;
use super::api::{Api, Handle};
use super::code::{CallError, Code};
use gpu_session_core::ids::GpuLabel;
use gpu_session_core::sample::{DeviceFacts, GpuRef};
use std::sync::Arc;

/// A physical GPU and the devices on it.
pub(super) struct Gpu {
    /// Names of the GPU.
    pub(super) name: GpuRef,
    pub(super) handle: Handle,
    /// Whether MIG is on; `None` where this GPU has no MIG.
    mig_mode: Option<bool>,
    /// Most instances that it can have.
    slices: u32,
    /// UUIDs of all its instances, measured or not.
    instance_uuids: Vec<Arc<str>>,
    /// GPM works on it.
    pub(super) gpm: bool,
    /// Devices that are measured.
    pub(super) devices: Vec<MeasuredDevice>,
    /// Whether it has devices at all, measured or not.
    pub(super) empty: bool,
}

impl Gpu {
    /// MIG is on: the devices are its instances.
    pub(super) fn mig(&self) -> bool {
        self.mig_mode == Some(true)
    }
}

/// A device that is measured.
pub(super) struct MeasuredDevice {
    pub(super) facts: Arc<DeviceFacts>,
    pub(super) handle: Handle,
    /// No other compute instance shares its GPU instance.
    pub(super) alone_in_gpu_instance: bool,
    /// Accounting mode.
    pub(super) accounting: AccountingMode,
    /// Bytes used when the total was read, for a reading that follows at once.
    pub(super) used_bytes: Option<u64>,
}

/// Accounting mode of a device.
#[derive(Clone, Copy)]
pub(super) enum AccountingMode {
    /// Off, or not there.
    Off,
    /// On: records can be read.
    On,
    /// The operator asked for it, and it could not be turned on.
    Denied(CallError),
}

/// What an index of `nvmlDeviceGetCount` is.
pub(super) enum Slot {
    Gpu(Gpu),
    Lost(GpuRef, CallError),
}

/// Reads the GPU at an index with its instances.
pub(super) fn read_gpu(api: &Api, index: u32, options: &Options) -> Slot {
    let mut name = GpuRef { index, uuid: None, pci_bus_id: None };
    match try_read(api, index, options, &mut name) {
        Ok(gpu) => Slot::Gpu(gpu),
        Err(error) => Slot::Lost(name, error),
    }
}

fn try_read(api: &Api, index: u32, options: &Options, name: &mut GpuRef) -> Result<Gpu, CallError> {
    let handle = api.handle(index)?;
    let uuid: Arc<str> = api.uuid(handle)?.into();
    name.uuid = Some(Arc::clone(&uuid));
    let pci_bus_id: Option<Arc<str>> = optional(api.pci_bus_id(handle))?.map(Into::into);
    name.pci_bus_id.clone_from(&pci_bus_id);
    let model: Option<Arc<str>> = optional(api.name(handle))?.map(Into::into);
    let minor_number = if options.minor_numbers { optional(api.minor_number(handle))? } else { None };
    let facts = DeviceFacts {
        label: GpuLabel { gpu: index, instance: None },
        uuid,
        parent_uuid: None,
        model,
        mig_profile: None,
        pci_bus_id,
        minor_number,
        memory_total_bytes: None,
        compute_fraction: Some(1.0),
    };
    let mig_mode = api.mig_enabled(handle)?;
    let mig = mig_mode == Some(true);
    let slices = if mig { api.max_mig_devices(handle)? } else { 0 };
    let found = if mig { instances(api, handle, &facts, slices)? } else { vec![whole(api, handle, facts)?] };
    let empty = found.is_empty();
    let of_mig = found.iter().filter(|_| mig);
    let instance_uuids = of_mig.map(|device| Arc::clone(&device.facts.uuid)).collect();
    let mut devices: Vec<_> =
        found.into_iter().filter(|device| options.selection.takes(&device.facts)).collect();
    if options.enable_accounting {
        devices.iter_mut().filter(|_| !mig).for_each(|device| enable_accounting(api, device));
    }
    let gpm = mig && !devices.is_empty() && api.gpm_supported(handle);
    Ok(Gpu { name: name.clone(), handle, mig_mode, slices, instance_uuids, gpm, devices, empty })
}

/// Turns accounting on, as the operator asked.
fn enable_accounting(api: &Api, device: &mut MeasuredDevice) {
    if matches!(device.accounting, AccountingMode::Off) {
        device.accounting = match api.enable_accounting(device.handle) {
            Ok(()) => AccountingMode::On,
            Err(e) => AccountingMode::Denied(e),
        };
    }
}

/// Whether the GPU's instances are others than when it was read. Handles can be used again; UUIDs are not.
pub(super) fn has_changed(api: &Api, gpu: &Gpu) -> Result<bool, CallError> {
    if gpu.mig_mode.is_none() {
        return Ok(false);
    }
    if api.mig_enabled(gpu.handle)? != gpu.mig_mode {
        return Ok(true);
    }
    let mut known = gpu.instance_uuids.iter();
    for index in 0..gpu.slices {
        if let Some(handle) = api.mig_handle(gpu.handle, index)? {
            let uuid = api.uuid(handle)?;
            if known.next().is_none_or(|known| **known != *uuid) {
                return Ok(true);
            }
        }
    }
    Ok(known.next().is_some())
}

fn whole(api: &Api, handle: Handle, mut facts: DeviceFacts) -> Result<MeasuredDevice, CallError> {
    let (total, used_bytes) = memory(api, handle)?;
    facts.memory_total_bytes = total;
    let enabled = api.accounting_enabled(handle)? == Some(true);
    let accounting = if enabled { AccountingMode::On } else { AccountingMode::Off };
    Ok(MeasuredDevice { facts: facts.into(), handle, alone_in_gpu_instance: true, accounting, used_bytes })
}

/// The MIG instances of a GPU. Indices can have holes: the driver is asked for each up to its maximum.
fn instances(
    api: &Api,
    parent: Handle,
    gpu: &DeviceFacts,
    slices: u32,
) -> Result<Vec<MeasuredDevice>, CallError> {
    let mut found = Vec::new();
    for index in 0..slices {
        if let Some(handle) = api.mig_handle(parent, index)? {
            found.push(instance(api, handle, gpu, slices)?);
        }
    }
    let labels: Vec<_> = found.iter().map(|device| device.facts.label.instance.map(|(gi, _)| gi)).collect();
    for device in &mut found {
        let own = device.facts.label.instance.map(|(gi, _)| gi);
        device.alone_in_gpu_instance = labels.iter().filter(|gi| **gi == own).count() == 1;
    }
    Ok(found)
}

fn instance(api: &Api, handle: Handle, gpu: &DeviceFacts, slices: u32) -> Result<MeasuredDevice, CallError> {
    let ids = api.instance_ids(handle)?;
    // "NVIDIA H100 80GB HBM3 MIG 1g.10gb"; drivers that leave the profile out leave it unknown.
    let name = optional(api.name(handle))?;
    let profile =
        name.as_deref().and_then(|name| name.rsplit_once(" MIG ")).map(|(_, profile)| profile.into());
    let own_slices = optional(api.compute_slices(handle))?;
    let (memory_total_bytes, used_bytes) = memory(api, handle)?;
    let facts = DeviceFacts {
        label: GpuLabel { gpu: gpu.label.gpu, instance: Some(ids) },
        uuid: api.uuid(handle)?.into(),
        parent_uuid: Some(Arc::clone(&gpu.uuid)),
        model: gpu.model.clone(),
        mig_profile: profile,
        pci_bus_id: gpu.pci_bus_id.clone(),
        minor_number: gpu.minor_number,
        memory_total_bytes,
        compute_fraction: own_slices
            .filter(|n| *n > 0 && slices > 0)
            .map(|n| f64::from(n) / f64::from(slices)),
    };
    // The driver accounts for no processes on instances.
    let (alone_in_gpu_instance, accounting) = (false, AccountingMode::Off);
    Ok(MeasuredDevice { facts: facts.into(), handle, alone_in_gpu_instance, accounting, used_bytes })
}

/// Total and used bytes. A failure of just this call shows, and is told, when the device is read; its sessions
/// are known all the same.
fn memory(api: &Api, handle: Handle) -> Result<(Option<u64>, Option<u64>), CallError> {
    match api.memory(handle) {
        Err(e) if e.code == Code::GPU_IS_LOST || e.is_of_whole_driver() => Err(e),
        answer => Ok(answer.ok().unzip()),
    }
}

/// What this driver or device does not have is absent; every other failure is one.
fn optional<T>(answer: Result<T, CallError>) -> Result<Option<T>, CallError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(e) if e.is_unsupported() => Ok(None),
        Err(e) => Err(e),
    }
}
