//! A whole cluster, by what its Prometheus has: answers of `gpu-session-monitor web`.
//!
//! Each is of the last look at Prometheus, whose time is `timestamp`. Where a look fails the one of before stays, and
//! `failure` says why it is not newer.

use crate::{Allocation, Device, Session, Usage};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Who answers, and for what: `/api/v1/about`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, ToSchema)]
pub struct About {
    /// Version of the document.
    pub schema_version: u32,
    /// Version of the program.
    pub version: String,
    /// What is answered for.
    pub scope: Scope,
    /// Name of the node; `null` for a cluster, or where nobody named it.
    pub node: Option<String>,
    /// Whether the past can be asked for.
    pub history: bool,
}

/// What a server answers for.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// One node, by its driver.
    Node,
    /// Many nodes, by a Prometheus.
    Cluster,
}

/// What there is in all: `/api/v1/cluster`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Cluster {
    /// Version of the document.
    pub schema_version: u32,
    /// The time here.
    pub now: f64,
    /// When Prometheus was asked for what is here.
    pub timestamp: f64,
    /// Seconds from one look at Prometheus to the next, while somebody asks.
    pub refresh_seconds: f64,
    /// Why the last look failed; what is here is then of `timestamp`.
    pub failure: Option<String>,
    /// What Prometheus said to its answers: why something may be missing.
    pub warnings: Vec<String>,
    /// Nodes.
    pub nodes: u64,
    /// Nodes whose last sample is too old to stand for now.
    pub nodes_old: u64,
    /// Nodes of now of which a source is down.
    pub nodes_incomplete: u64,
    /// Nodes of now of which no device or no source is told. Where there is one, the counts of devices, sessions and users
    /// are lower bounds.
    pub nodes_unknown: u64,
    /// Devices of the nodes of now: a GPU in MIG mode counts by its instances.
    pub devices: u64,
    /// Devices of those whose sessions are not known. Where there is one, the counts of devices in use, sessions and users are
    /// lower bounds.
    pub devices_unknown: u64,
    /// Devices of those with a session.
    pub devices_in_use: u64,
    /// Devices that a container holds that has no session on them.
    pub devices_held_idle: u64,
    /// Sessions of the nodes of now.
    pub sessions: u64,
    /// Distinct users of those.
    pub users: u64,
    /// Every namespace in which something is, by name.
    pub namespaces: Vec<String>,
}

/// Nodes: `/api/v1/cluster/nodes`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct ClusterNodes {
    /// Where in the whole this is.
    #[serde(flatten)]
    pub part: Part,
    /// The nodes.
    pub nodes: Vec<ClusterNode>,
}

/// The part of a list that an answer has.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Part {
    /// Version of the document.
    pub schema_version: u32,
    /// The time here.
    pub now: f64,
    /// When Prometheus was asked for what is here.
    pub timestamp: f64,
    /// Seconds from one look at Prometheus to the next, while somebody asks.
    pub refresh_seconds: f64,
    /// Why the last look failed; what is here is then of `timestamp`.
    pub failure: Option<String>,
    /// How many there are that were asked for, on all pages.
    pub total: u64,
    /// How many of them come before these.
    pub offset: u64,
}

/// A node of many.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct ClusterNode {
    /// Its name.
    pub node: String,
    /// When its last sample was taken; `null` where none is known.
    pub timestamp: Option<f64>,
    /// Whether that is too old to stand for now.
    pub old: bool,
    /// Version of the driver.
    pub driver_version: Option<String>,
    /// Names of its sources that are down.
    pub sources_down: Vec<String>,
    /// Its devices, by label.
    pub devices: Vec<ClusterDevice>,
}

/// A device of many nodes.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct ClusterDevice {
    /// The device.
    #[serde(flatten)]
    pub device: Device,
    /// Containers that hold it and have no session on it; `null` where that is not sure.
    pub held_idle: Option<u64>,
}

/// Sessions: `/api/v1/cluster/sessions`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct ClusterSessions {
    /// Where in the whole this is.
    #[serde(flatten)]
    pub part: Part,
    /// The sessions.
    pub sessions: Vec<ClusterSession>,
}

/// A session of many nodes.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct ClusterSession {
    /// The node that it is on.
    pub node: String,
    /// The session.
    #[serde(flatten)]
    pub session: Session,
    /// For how long it has done nothing at its node's last sample, seconds; `null` where that is not known.
    pub idle_seconds: Option<f64>,
}

/// Devices that containers hold: `/api/v1/cluster/allocations`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct ClusterAllocations {
    /// Where in the whole this is.
    #[serde(flatten)]
    pub part: Part,
    /// The allocations.
    pub allocations: Vec<OnNode<Allocation>>,
}

/// Something, and the node that it is on.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct OnNode<T> {
    /// The node.
    pub node: String,
    /// It.
    #[serde(flatten)]
    pub it: T,
}

/// Users: `/api/v1/cluster/users`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct ClusterUsers {
    /// Where in the whole this is.
    #[serde(flatten)]
    pub part: Part,
    /// Begin of the period that `used` is of.
    pub since: f64,
    /// Its end; itself outside it.
    pub until: f64,
    /// What Prometheus said to its answers of the period: why something may be missing.
    pub warnings: Vec<String>,
    /// The users.
    pub users: Vec<ClusterUser>,
}

/// A user of a cluster.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct ClusterUser {
    /// The user; `null` for what nobody is known for.
    pub user: Option<String>,
    /// Sessions now.
    pub sessions: u64,
    /// Devices now that the user has a session on.
    pub devices: u64,
    /// Nodes now.
    pub nodes: u64,
    /// Memory that the sessions hold now; `null` where that of one is not known.
    pub memory_used_bytes: Option<u64>,
    /// What was used in the period; `null` where Prometheus has nothing of it.
    pub used: Option<Usage>,
}

/// Who had a device, when: `/api/v1/cluster/timeline`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Timeline {
    /// Version of the document.
    pub schema_version: u32,
    /// Begin of the period.
    pub since: f64,
    /// Its end; itself outside it.
    pub until: f64,
    /// Seconds by which the end of a session may be off: what Prometheus was scraped at, or the step of the query.
    pub resolution_seconds: f64,
    /// What Prometheus said to its answers: why something may be missing.
    pub warnings: Vec<String>,
    /// Whether there were more sessions, of which the shortest are left out.
    pub truncated: bool,
    /// The sessions, those that began first before others.
    pub sessions: Vec<TimelineSession>,
}

/// A session on a timeline.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct TimelineSession {
    /// Its public name: 16 hexadecimal digits.
    pub session: String,
    /// Device label.
    pub gpu: String,
    /// The person behind it.
    pub user: Option<String>,
    /// Namespace of the pod.
    pub namespace: Option<String>,
    /// Name of the pod.
    pub pod: Option<String>,
    /// Name of the container.
    pub container: Option<String>,
    /// Name of the process as first seen, not its arguments.
    pub command: Option<String>,
    /// The host's pid.
    pub pid: Option<u32>,
    /// When it was first seen.
    pub start_time: f64,
    /// When it was last seen.
    pub end_time: f64,
    /// Whether it has ended.
    pub ended: bool,
}

/// Figures over time: `/api/v1/cluster/device` and `/api/v1/cluster/user`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Figures {
    /// Version of the document.
    pub schema_version: u32,
    /// Begin of the period.
    pub since: f64,
    /// Its end; itself outside it.
    pub until: f64,
    /// What Prometheus said to its answers: why something may be missing.
    pub warnings: Vec<String>,
    /// The moments, Unix seconds, at equal distances.
    pub times: Vec<f64>,
    /// The figures, each with a value for each moment.
    pub series: Vec<FigureSeries>,
}

/// One figure over time.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct FigureSeries {
    /// What it is. Of a device `utilization_ratio`, `memory_used_ratio`, `sessions`, `users`; of a user `gpus_busy` (SM
    /// seconds a second), `gpus_held` (by the kubelet's word), `gpus_held_idle`, `sessions` (session seconds a second).
    pub figure: String,
    /// Values; `null` where it is not known.
    pub values: Vec<Option<f64>>,
}
