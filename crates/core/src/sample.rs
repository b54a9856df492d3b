//! What every source said at one moment. A list of samples is also the capture format, so nothing here may
//! hold command line arguments or environments of processes.

mod check;

use crate::ids::GpuLabel;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One reading of all sources.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Wall clock when the reading was complete, Unix microseconds.
    pub time_us: i64,
    /// `CLOCK_BOOTTIME` at that moment, microseconds: durations are differences of this.
    pub monotonic_us: i64,
    /// Wall clock at boot, Unix microseconds: start ticks count from here. `None` where unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_us: Option<i64>,
    /// `/proc/sys/kernel/random/boot_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<Arc<str>>,
    /// Clock ticks per second of the start times (`sysconf(_SC_CLK_TCK)`).
    pub ticks_per_second: u64,
    /// What NVML said; `None` while the driver as a whole does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<Driver>,
    /// What /proc said of the processes that the driver named, in a list or as a user of the device, and of those that
    /// were on a device at the last sample. One that is gone is not here, one that cannot be read has no start; `None`
    /// where /proc as a whole cannot be read (a gone process and an unreadable /proc must not look alike).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<BTreeMap<u32, Process>>,
    /// What is still known of processes that are over: of sessions that are gone from the lists since, and of pids
    /// that the driver names without listing them. Of one pid the oldest first.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub past: BTreeMap<u32, Vec<PastProcess>>,
    /// Names of host users, by uid.
    #[serde(default)]
    pub users: BTreeMap<u32, Arc<str>>,
    /// Uids that the name service had no time to answer for: not the same as having no name.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub users_pending: BTreeSet<u32>,
    /// What each source of pods knows, the most trusted first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pods: Vec<PodList>,
    /// Labels and annotations of namespaces, where a rule reads them and the API answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Arc<BTreeMap<Arc<str>, Metadata>>>,
    /// Devices given to containers; `None` where the kubelet was not asked or did not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocations: Option<Allocations>,
    /// How each source fared.
    #[serde(default)]
    pub health: Vec<SourceHealth>,
}

/// The pods of this node by what one source knows of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PodList {
    /// Name of the source: `kubernetes`, `cri`.
    pub source: Arc<str>,
    /// When this was known to be so, Unix microseconds: the sample's time while the source answers.
    pub as_of_us: i64,
    /// Pods by the UID that their cgroups carry: for a static pod that is its configuration's hash.
    pub pods: Arc<BTreeMap<Arc<str>, Arc<Pod>>>,
}

/// A pod, stripped to what is used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
    /// Where in its life it is; `None` where the source does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// It was deleted a short while ago and is kept for processes that outlive it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
    /// When the kubelet took it (`status.startTime`) or, by the CRI, when its oldest sandbox was made, Unix microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_us: Option<i64>,
    /// Those of its labels and annotations that rules read.
    #[serde(default, flatten)]
    pub metadata: Metadata,
    /// Names of its containers by their ids, without the runtime's prefix.
    #[serde(default)]
    pub containers: BTreeMap<Arc<str>, Arc<str>>,
}

/// Labels and annotations, cleaned (see [`crate::text`]).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<Arc<str>, Arc<str>>,
}

/// `status.phase` of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Not all of its containers run yet.
    Pending,
    /// It runs.
    Running,
    /// All containers ended well.
    Succeeded,
    /// All containers ended, one of them badly.
    Failed,
}

impl Phase {
    /// Whether the pod will never run again.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// Devices that the kubelet gave to containers (PodResources).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allocations {
    /// Containers that hold devices of ours, those of finished pods too.
    pub containers: Vec<ContainerDevices>,
    /// Ids of all devices that the kubelet can give (`GetAllocatableResources`); `None` where it did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocatable: Option<Arc<[Arc<str>]>>,
}

/// The devices of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerDevices {
    /// Namespace of its pod.
    pub namespace: Arc<str>,
    /// Name of its pod.
    pub pod: Arc<str>,
    /// Name of the container.
    pub container: Arc<str>,
    /// Ids as the kubelet has them, see [`crate::allocation::DeviceId`].
    pub devices: Vec<Arc<str>>,
}

/// How one source fared in one sample.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceHealth {
    /// Name of the source: `nvml`, `kubelet`, `process_events`, `proc`, `users`, `kubernetes`, `cri`, `dcgm`.
    pub source: Arc<str>,
    /// Whether everything that was asked of it was answered.
    pub up: bool,
    /// Time that the reading took, microseconds.
    pub duration_us: u64,
    /// What went wrong, most important first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<SourceError>,
}

/// One failure of a source, already in words for the operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceError {
    /// Kind from a small fixed set (an NVML return code's name, `io`, `timeout`): a metric label.
    pub kind: Arc<str>,
    /// What, where and the remedy.
    pub message: String,
}

/// What NVML said.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Driver {
    /// `nvmlSystemGetDriverVersion`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Arc<str>>,
    /// Devices that could be identified, by label.
    pub devices: Vec<Device>,
    /// GPUs that count but could not be read at all, such as one that fell off the bus.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<GpuRef>,
    /// GPUs in MIG mode that have no instance: nothing can run on them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without_instances: Vec<GpuRef>,
}

/// A physical GPU by what names it; what could not be read is `None`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuRef {
    /// NVML index.
    pub index: u32,
    /// `nvmlDeviceGetUUID`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<Arc<str>>,
    /// `nvmlDeviceGetPciInfo`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pci_bus_id: Option<Arc<str>>,
}

/// A device (GPU, or MIG instance) and what the driver said of it now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Device {
    /// What does not change while the device exists.
    pub facts: Arc<DeviceFacts>,
    /// Bytes in use (`nvmlDeviceGetMemoryInfo_v2`: without what the driver reserves).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_used_bytes: Option<u64>,
    /// Share of the time in which any kernel ran, 0 to 1, for the device as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utilization: Option<DeviceUtilization>,
    /// Energy since the driver was loaded (`nvmlDeviceGetTotalEnergyConsumption`); of whole GPUs only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy_millijoules: Option<u64>,
    /// Processes on the device, each once; `None` where the lists could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<Vec<DeviceProcess>>,
    /// Whether the list of MPS clients had entries.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mps: bool,
    /// Use by process.
    pub activity: Activity,
    /// Accounting mode's records; `None` where it is off or the device has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accounting: Option<Accounting>,
}

/// What accounting mode has of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accounting {
    /// Pids whose records the driver still has, new or not.
    pub pids: BTreeSet<u32>,
    /// Records of processes that are over and were not told before.
    pub ended: Vec<AccountingRecord>,
}

/// A process that is over (`nvmlDeviceGetAccountingStats`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountingRecord {
    /// Pid.
    pub pid: u32,
    /// When it began to use the device, Unix microseconds.
    pub start_us: i64,
    /// How long, microseconds.
    pub duration_us: i64,
    /// Percent of that time in which its kernels ran; `None` where not available.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sm: Option<u32>,
    /// Most memory that it held, bytes; `None` where not available.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_memory_bytes: Option<u64>,
}

/// What does not change while a device exists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceFacts {
    /// Index, and instance ids under MIG.
    pub label: GpuLabel,
    /// `nvmlDeviceGetUUID`.
    pub uuid: Arc<str>,
    /// UUID of the physical GPU, for a MIG instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_uuid: Option<Arc<str>>,
    /// Model of the physical GPU (`nvmlDeviceGetName`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Arc<str>>,
    /// MIG profile, `1g.10gb`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mig_profile: Option<Arc<str>>,
    /// PCI bus id of the physical GPU (`nvmlDeviceGetPciInfo`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pci_bus_id: Option<Arc<str>>,
    /// Number of the physical GPU's device file, `/dev/nvidia<n>` (`nvmlDeviceGetMinorNumber`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minor_number: Option<u32>,
    /// Bytes of memory of the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_total_bytes: Option<u64>,
    /// Share of the physical GPU's compute slices: 1 for a whole GPU, 1/7 for a 1g of seven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute_fraction: Option<f64>,
}

/// Utilisation of a whole device.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceUtilization {
    /// 0 to 1.
    pub ratio: f64,
    /// Where NVML measured over a known time (GPM), the length of that time in microseconds; `None` for
    /// `nvmlDeviceGetUtilizationRates` and the DCGM exporter, which do not say their period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured_us: Option<i64>,
    /// Whether it may be given to the only process on the device: true for a MIG instance whose GPU
    /// instance has no other compute instance.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub attributable: bool,
}

/// A process in one of the device's lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceProcess {
    /// Pid in the host's pid namespace.
    pub pid: u32,
    /// Bytes of the device's memory that it holds; `None` where the driver says "not available".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
}

/// Use by process, as `nvmlDeviceGetProcessUtilization` answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    /// It answered; empty means that nobody did anything since `since_us`.
    Entries {
        /// The lastSeenTimeStamp that was passed.
        since_us: i64,
        /// What came back.
        entries: Vec<ActivityEntry>,
    },
    /// This device does not say (MIG mode, old hardware).
    Unsupported,
    /// The call failed; the health of the source says how.
    Failed,
}

/// One entry of that answer; percent as the driver gives them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivityEntry {
    /// Pid.
    pub pid: u32,
    /// CPU timestamp of the entry, Unix microseconds.
    pub time_us: i64,
    /// Percent of the time in which its kernels ran.
    pub sm: u32,
    /// Percent of the time in which it read or wrote memory.
    pub mem: u32,
    /// Percent of the encoder.
    pub enc: u32,
    /// Percent of the decoder.
    pub dec: u32,
}

/// What /proc said of one process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Field 22 of `/proc/PID/stat`; `None` where it could not be read for another reason than the
    /// process being gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_ticks: Option<u64>,
    /// Process name, cleaned (see [`crate::text`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Arc<str>>,
    /// Real uid, from `/proc/PID/status`; only read when the process is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Text of `/proc/PID/cgroup`; only read when the process is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<Arc<str>>,
}

/// A process that is over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastProcess {
    /// What /proc said of it while it was there.
    #[serde(flatten)]
    pub process: Process,
    /// When it ended, Unix microseconds; `None` where nobody saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_us: Option<i64>,
    /// How it ended, as `wait` has it (exit status in bits 8 to 15, signal in bits 0 to 6); `None` where nobody saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_status: Option<u32>,
}

/// What the core asks the sources for, so that nothing is read twice.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// lastSeenTimeStamp per device UUID; a device that is not here is new.
    pub since_us: BTreeMap<Arc<str>, i64>,
    /// Processes whose name, uid and cgroup are known, with their start, in [`Self::boot_id`].
    pub known: BTreeMap<u32, u64>,
    /// The boot that the known processes run in.
    pub boot_id: Arc<str>,
    /// Devices whose process lists were read before.
    pub seen: BTreeSet<Arc<str>>,
    /// Pids whose accounting records were told before, by device UUID.
    pub accounted: BTreeMap<Arc<str>, BTreeSet<u32>>,
    /// Devices on which MPS was seen: of those seen, only these are asked for its clients again.
    pub mps: BTreeSet<Arc<str>>,
    /// UIDs of the pods of live sessions that no source could name yet.
    pub unplaced: BTreeSet<Arc<str>>,
    /// Uids of live sessions that the name service had no time to answer for.
    pub uids: BTreeSet<u32>,
}
