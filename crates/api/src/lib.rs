//! Documents of the HTTP API, the same at both ends: what is unknown is `null`. Times are Unix seconds.
//!
//! Doc comments are the descriptions in `/api/v1/openapi.json`.

mod cluster;
mod events;
mod history;
mod now;

pub use cluster::{
    About, Cluster, ClusterAllocations, ClusterDevice, ClusterNode, ClusterNodes, ClusterSession,
    ClusterSessions, ClusterUser, ClusterUsers, FigureSeries, Figures, OnNode, Part, Scope, Timeline,
    TimelineSession,
};
pub use events::{DeviceGone, Event, Sampled, SessionEnded};
pub use history::{
    AllocationHistory, AllocationRecord, DeviceUsage, DeviceUsages, SessionHistory, SessionRecord, Usage,
    UserUsage, UserUsages,
};
pub use now::{
    Allocation, Allocations, Device, DeviceSessions, Devices, ReasonSessions, Session, Sessions, Source,
    User, UserSessions, Users,
};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Version of the documents; grows when a field changes its meaning or goes.
pub const SCHEMA_VERSION: u32 = 1;

/// Why a request was not answered as asked (RFC 9457).
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// The status in words.
    pub title: String,
    /// The status.
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    /// What is wrong with the request, and the remedy.
    pub detail: String,
}
