//! Who was where: from the ledger.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Sessions of a period.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct SessionHistory {
    /// Version of the document.
    pub schema_version: u32,
    /// Begin of the period.
    pub since: f64,
    /// End of the period; itself outside it.
    pub until: f64,
    /// Sessions that were there at any moment of it, those that began last first.
    pub sessions: Vec<SessionRecord>,
    /// Where there are more: what to give as `cursor` for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// A session in the ledger; sums are of all of it, not only of the period.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct SessionRecord {
    /// Its public name: 16 hexadecimal digits.
    pub session: String,
    /// Device label as it was.
    pub gpu: String,
    /// UUID of the device.
    pub device_uuid: String,
    /// Profile of the MIG instance.
    pub mig_profile: Option<String>,
    /// The host's pid.
    pub pid: u32,
    /// Name of the process as first seen, not its arguments.
    pub command: Option<String>,
    /// When it was first seen, or by the driver's records began.
    pub start_time: f64,
    /// When it ended; while it runs, until when it is written.
    pub end_time: f64,
    /// Whether it has ended.
    pub ended: bool,
    /// How it ended, such as `exit 0` or `signal 9`, where the kernel said.
    pub ended_how: Option<String>,
    /// How it was seen.
    pub seen: String,
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
    /// Seconds of it that were watched.
    pub session_seconds: Option<f64>,
    /// Seconds of SM time.
    pub sm_seconds: Option<f64>,
    /// Memory held over time, byte seconds.
    pub memory_byte_seconds: Option<f64>,
    /// Most memory at once.
    pub memory_peak_bytes: Option<u64>,
    /// Memory on average.
    pub memory_mean_bytes: Option<f64>,
    /// Energy while it was alone on the device.
    pub energy_sole_joules: Option<f64>,
    /// Its part of the energy, by SM time, while it was not.
    pub energy_sm_share_joules: Option<f64>,
}

/// What was used in a period. Hours are of whole GPUs: a MIG slice counts by its share.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Usage {
    /// Sessions that ended in the period.
    pub sessions: u64,
    /// Time of sessions.
    pub session_hours: Option<f64>,
    /// SM time.
    pub sm_hours: Option<f64>,
    /// SM time by the time of sessions in which it was measured, 0 to 1.
    pub mean_utilization: Option<f64>,
    /// Memory held over time.
    pub memory_gib_hours: Option<f64>,
    /// Energy, by all methods.
    pub energy_kwh: Option<f64>,
    /// Time of allocations.
    pub allocated_hours: Option<f64>,
    /// That part of it in which the device is known not to have worked for the container.
    pub idle_allocated_hours: Option<f64>,
}

/// What was used of each device in a period.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct DeviceUsages {
    /// Version of the document.
    pub schema_version: u32,
    /// Begin of the period.
    pub since: f64,
    /// End of the period; itself outside it.
    pub until: f64,
    /// The devices, the most used first.
    pub devices: Vec<DeviceUsage>,
}

/// What was used of a device.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct DeviceUsage {
    /// Device label as it was.
    pub gpu: String,
    /// What was used.
    #[serde(flatten)]
    pub usage: Usage,
}

/// What each user used in a period.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct UserUsages {
    /// Version of the document.
    pub schema_version: u32,
    /// Begin of the period.
    pub since: f64,
    /// End of the period; itself outside it.
    pub until: f64,
    /// The users, who used most first.
    pub users: Vec<UserUsage>,
}

/// What a user used.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct UserUsage {
    /// The user; `null` for what nobody is known for.
    pub user: Option<String>,
    /// What was used.
    #[serde(flatten)]
    pub usage: Usage,
}

/// Allocations of a period.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct AllocationHistory {
    /// Version of the document.
    pub schema_version: u32,
    /// Begin of the period.
    pub since: f64,
    /// End of the period; itself outside it.
    pub until: f64,
    /// Allocations that were there at any moment of it, those that began last first.
    pub allocations: Vec<AllocationRecord>,
    /// Where there are more: what to give as `cursor` for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// An allocation in the ledger; sums are of all of it, not only of the period.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct AllocationRecord {
    /// Device label as it was.
    pub gpu: String,
    /// UUID of the device.
    pub device_uuid: String,
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Name of the container.
    pub container: String,
    /// UID of the pod.
    pub pod_uid: Option<String>,
    /// Whose the pod is.
    pub user: Option<String>,
    /// When it was first seen.
    pub start_time: f64,
    /// When it was given back; while it is held, until when it is written.
    pub end_time: f64,
    /// Whether it was given back.
    pub ended: bool,
    /// Seconds for which it was held.
    pub allocated_seconds: Option<f64>,
    /// Seconds in which the device is known not to have worked for it.
    pub idle_seconds: Option<f64>,
}
