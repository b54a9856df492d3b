//! Who is where, now: the last snapshot.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Sessions on a device now.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Sessions {
    /// Version of the document.
    pub schema_version: u32,
    /// When the sample was taken.
    pub timestamp: f64,
    /// How each source fared.
    pub sources: Vec<Source>,
    /// The sessions, by device and pid.
    pub sessions: Vec<Session>,
    /// Where there are more: what to give as `cursor` for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// A source and how it fared.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Source {
    /// Name, such as `nvml` or `proc`.
    pub source: String,
    /// Whether it answered everything.
    pub up: bool,
    /// Seconds that the reading took.
    pub duration_seconds: f64,
    /// What went wrong.
    pub errors: Vec<String>,
}

/// A process on a device.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Session {
    /// Its public name: 16 hexadecimal digits.
    pub session: String,
    /// Device label: the index of a GPU, or for a MIG instance `<gpu>_<gpu instance>_<compute instance>`.
    pub gpu: String,
    /// UUID of the device.
    pub device_uuid: String,
    /// Profile of the MIG instance.
    pub mig_profile: Option<String>,
    /// The host's pid.
    pub pid: u32,
    /// Name of the process as first seen, not its arguments.
    pub command: Option<String>,
    /// When it was first seen.
    pub start_time: f64,
    /// Real uid.
    pub uid: Option<u32>,
    /// The person behind it.
    pub user: Option<String>,
    /// Rule that named the user.
    pub user_rule: Option<String>,
    /// Namespace of the pod.
    pub namespace: Option<String>,
    /// Name of the pod.
    pub pod: Option<String>,
    /// Name of the container.
    pub container: Option<String>,
    /// UID of the pod.
    pub pod_uid: Option<String>,
    /// Id of the container.
    pub container_id: Option<String>,
    /// Outside pods: the unit, job or container.
    pub place: Option<String>,
    /// Source that placed it.
    pub attributed_by: Option<String>,
    /// Memory of the device that it holds.
    pub memory_used_bytes: Option<u64>,
    /// Share of the time in which its kernels ran on the device, since the sample before, 0 to 1.
    pub sm_utilization_ratio: Option<f64>,
    /// Share of the time in which it read or wrote the device's memory, 0 to 1.
    pub memory_busy_ratio: Option<f64>,
    /// Share of the time in which it used the encoder, 0 to 1.
    pub encoder_utilization_ratio: Option<f64>,
    /// Share of the time in which it used the decoder, 0 to 1.
    pub decoder_utilization_ratio: Option<f64>,
    /// Seconds of SM time so far.
    pub sm_seconds: Option<f64>,
    /// Memory held over time so far, byte seconds.
    pub memory_byte_seconds: Option<f64>,
    /// When it last used an engine.
    pub last_active_time: Option<f64>,
    /// Since when it is known of each moment whether it used an engine; `null` where it is not known now. It is idle since
    /// the later of this and `last_active_time`.
    pub measured_since_time: Option<f64>,
    /// Whether its container holds the device by the kubelet's word.
    pub allocated: Option<bool>,
}

/// Devices that are measured.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Devices {
    /// Version of the document.
    pub schema_version: u32,
    /// When the sample was taken.
    pub timestamp: f64,
    /// How each source fared.
    pub sources: Vec<Source>,
    /// Version of the driver.
    pub driver_version: Option<String>,
    /// The devices, by label.
    pub devices: Vec<Device>,
    /// Where there are more: what to give as `cursor` for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// A GPU, or a MIG instance.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Device {
    /// Device label: the index of a GPU, or for a MIG instance `<gpu>_<gpu instance>_<compute instance>`.
    pub gpu: String,
    /// UUID.
    pub uuid: String,
    /// UUID of the GPU that a MIG instance is of.
    pub parent_uuid: Option<String>,
    /// Model.
    pub model: Option<String>,
    /// Profile of the MIG instance.
    pub mig_profile: Option<String>,
    /// PCI bus id.
    pub pci_bus_id: Option<String>,
    /// Its share of a whole GPU, 0 to 1.
    pub compute_fraction: Option<f64>,
    /// Memory.
    pub memory_total_bytes: Option<u64>,
    /// Memory in use.
    pub memory_used_bytes: Option<u64>,
    /// Share of the time in which any kernel ran, 0 to 1.
    pub utilization_ratio: Option<f64>,
    /// Energy since the driver was loaded.
    pub energy_joules: Option<f64>,
    /// Sessions on it; `null` where they could not be read.
    pub sessions: Option<u64>,
    /// Distinct users on it, by name.
    pub users: Option<Vec<UserSessions>>,
    /// Sessions without a user, by reason.
    pub unattributed: Option<Vec<ReasonSessions>>,
    /// Containers that hold it; `null` where the kubelet did not say.
    pub allocations: Option<u64>,
}

/// A user on a device.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, ToSchema)]
pub struct UserSessions {
    /// The user.
    pub user: String,
    /// Sessions of the user on the device.
    pub sessions: u64,
}

/// Sessions without a user.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, ToSchema)]
pub struct ReasonSessions {
    /// Why nobody is known.
    pub reason: String,
    /// How many.
    pub sessions: u64,
}

/// Users with a session now.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Users {
    /// Version of the document.
    pub schema_version: u32,
    /// When the sample was taken.
    pub timestamp: f64,
    /// How each source fared.
    pub sources: Vec<Source>,
    /// The users, by name.
    pub users: Vec<User>,
    /// Where there are more: what to give as `cursor` for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// A user, and where.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct User {
    /// The user.
    pub user: String,
    /// Sessions on all devices that could be read.
    pub sessions: u64,
    /// The devices, by label.
    pub devices: Vec<DeviceSessions>,
    /// Memory that the sessions hold; `null` where that of one is not known.
    pub memory_used_bytes: Option<u64>,
    /// SM time by time, summed over the sessions: 1.0 is one device that worked for the user all the time; `null` where that
    /// of one is not known.
    pub sm_utilization: Option<f64>,
}

/// A device that a user is on.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, ToSchema)]
pub struct DeviceSessions {
    /// Device label.
    pub gpu: String,
    /// Sessions of the user on it.
    pub sessions: u64,
}

/// Devices that containers hold.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Allocations {
    /// Version of the document.
    pub schema_version: u32,
    /// When the sample was taken.
    pub timestamp: f64,
    /// How each source fared.
    pub sources: Vec<Source>,
    /// The allocations, by device, namespace, pod and container.
    pub allocations: Vec<Allocation>,
    /// Where there are more: what to give as `cursor` for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// A device that a container holds, by the kubelet's word.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Allocation {
    /// Device label.
    pub gpu: String,
    /// UUID of the device.
    pub device_uuid: String,
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Name of the container.
    pub container: String,
    /// Whose the pod is.
    pub user: Option<String>,
    /// Sessions of the container on the device: 0 is held, but idle. `null` where that is not sure.
    pub sessions: Option<u64>,
    /// For how long the device has not worked for the container; `null` where that is not sure.
    pub idle_seconds: Option<f64>,
}
