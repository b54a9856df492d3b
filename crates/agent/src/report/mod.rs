//! Reports: what was used in a period, from the ledger or from Prometheus.

pub mod output;
pub mod period;
pub mod prometheus;
mod sums;

use clap::ValueEnum;
use gpu_session_api::Usage;
pub use sums::Sums;

/// What a report is by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// The person
    User,
    /// The namespace
    Namespace,
    /// Namespace and pod
    Pod,
    /// The device
    Device,
    /// The name of the process (from the ledger only)
    Command,
}

/// A line of a report; what is not known is `None`. Times are in whole GPUs: a MIG slice counts by its share.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    /// What it is of: one part, or for a pod its namespace and name. Empty where nobody knows.
    pub key: Vec<String>,
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

impl From<&Line> for Usage {
    fn from(line: &Line) -> Self {
        Self {
            sessions: line.sessions,
            session_hours: line.session_hours,
            sm_hours: line.sm_hours,
            mean_utilization: line.mean_utilization,
            memory_gib_hours: line.memory_gib_hours,
            energy_kwh: line.energy_kwh,
            allocated_hours: line.allocated_hours,
            idle_allocated_hours: line.idle_allocated_hours,
        }
    }
}

impl By {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Namespace => "namespace",
            Self::Pod => "pod",
            Self::Device => "device",
            Self::Command => "command",
        }
    }

    /// Names of the columns that the key of a line fills.
    pub fn key_columns(self) -> &'static [&'static str] {
        match self {
            Self::User => &["user"],
            Self::Namespace => &["namespace"],
            Self::Pod => &["namespace", "pod"],
            Self::Device => &["device"],
            Self::Command => &["command"],
        }
    }
}

/// The most used first; what is alike by its name.
pub fn sort(lines: &mut [Line]) {
    let most = |a: Option<f64>, b: Option<f64>| b.unwrap_or(-1.0).total_cmp(&a.unwrap_or(-1.0));
    lines.sort_by(|a, b| {
        let by_use = most(a.sm_hours, b.sm_hours).then_with(|| most(a.session_hours, b.session_hours));
        by_use.then_with(|| a.key.cmp(&b.key))
    });
}
