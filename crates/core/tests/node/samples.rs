//! Samples by hand.

use gpu_session_core::ids::GpuLabel;
use gpu_session_core::monitor::Monitor;
use gpu_session_core::rules::Rules;
use gpu_session_core::sample::{Activity, Device, DeviceFacts, DeviceProcess, Driver, Sample};
use gpu_session_core::select::Selection;
use gpu_session_core::snapshot::Snapshot;
use gpu_session_core::state::State;
use std::sync::Arc;

/// When the node booted, Unix microseconds.
pub(crate) const BOOT_US: i64 = 1_700_000_000_000_000;
/// Clock ticks per second.
pub(crate) const HZ: i64 = 100;

/// Everything, by the rules of a cluster.
pub(crate) fn monitor() -> Monitor {
    Monitor {
        selection: Selection::new(Vec::new(), None),
        session_limit: 1_000,
        user_limit: 5_000,
        rules: Rules::default(),
        hold_us: 0,
        ledger: false,
    }
}

/// Takes the sample, counts, and shows what came of it.
pub(crate) fn taken(monitor: &Monitor, state: &mut State, sample: &Sample, hold_since_us: i64) -> Snapshot {
    monitor.step(state, sample);
    monitor.settle(state);
    monitor.snapshot(state, sample, hold_since_us, &Arc::new(state.counters()))
}

/// GPU `index` with these processes, which does not say who used it.
pub(crate) fn plain_device(index: u32, processes: Vec<DeviceProcess>) -> Device {
    let facts = DeviceFacts {
        label: GpuLabel { gpu: index, instance: None },
        uuid: format!("GPU-{index}").into(),
        parent_uuid: None,
        model: None,
        mig_profile: None,
        pci_bus_id: None,
        minor_number: Some(index),
        memory_total_bytes: Some(1 << 36),
        compute_fraction: Some(1.0),
    };
    Device {
        facts: facts.into(),
        memory_used_bytes: None,
        utilization: None,
        energy_millijoules: None,
        processes: Some(processes),
        mps: false,
        activity: Activity::Unsupported,
        accounting: None,
    }
}

/// What the clock and the driver say.
pub(crate) fn bare(now: i64, devices: Vec<Device>) -> Sample {
    Sample {
        time_us: now,
        monotonic_us: now - BOOT_US,
        boot_us: Some(BOOT_US),
        boot_id: Some("boot".into()),
        ticks_per_second: HZ as u64,
        driver: Some(Driver { devices, ..Driver::default() }),
        ..Sample::default()
    }
}
