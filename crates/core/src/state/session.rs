//! A session, between two samples.

use crate::accounting::{Counter, Used};
use crate::attribution::Attribution;
use crate::cgroup::Place;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What a session was first seen by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Seen {
    /// One of the driver's process lists.
    #[default]
    Listed,
    /// Its use only: it came and went between two readings of the lists.
    Utilization,
    /// The driver's accounting mode only.
    Accounting,
}

impl Seen {
    /// As the ledger has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Listed => "listed",
            Self::Utilization => "utilization",
            Self::Accounting => "accounting",
        }
    }
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Its process ended; with its wait status, where that was seen.
    Exited(Option<u32>),
    /// Its process left the device and lives on.
    Released,
    /// The device is gone: a MIG instance was destroyed.
    DeviceGone,
    /// The node was booted.
    Reboot,
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exited(None) => f.write_str("exited"),
            Self::Exited(Some(status)) => match (status & 0x7f, (status >> 8) & 0xff) {
                (0, code) => write!(f, "exit:{code}"),
                (signal, _) => write!(f, "signal:{signal}"),
            },
            Self::Released => f.write_str("released"),
            Self::DeviceGone => f.write_str("device_gone"),
            Self::Reboot => f.write_str("reboot"),
        }
    }
}

/// One process on one device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// Process name as first seen; `None` where /proc would not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Arc<str>>,
    /// Real uid of the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Where the process runs, by its cgroup; `None` where that could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// Whose it is.
    pub attribution: Attribution,
    /// When the process started, Unix microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_start_us: Option<i64>,
    /// What the clock said when it was first seen, Unix microseconds: never changed, so that it names the session in
    /// the ledger, together with its id.
    #[serde(default)]
    pub opened_us: i64,
    /// What it was first seen by.
    #[serde(default)]
    pub seen: Seen,
    /// First seen on the device, Unix microseconds.
    pub first_seen_us: i64,
    /// Last seen on the device, Unix microseconds.
    pub last_seen_us: i64,
    /// Last known to have used an engine, Unix microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_active_us: Option<i64>,
    /// Since when it is known of each moment whether it used an engine, Unix microseconds; `None` where that is not known
    /// of the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured_since_us: Option<i64>,
    /// When it was found to be over; `None` while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_us: Option<i64>,
    /// How it ended; `None` where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
    /// Bytes of the device's memory at the last reading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// The most that was seen of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_peak_bytes: Option<u64>,
    /// Shares of SM, memory, encoder and decoder time over the last window, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shares: Option<[f64; 4]>,
    /// Share of SM time where only the device's own figure is known (alone on a MIG instance).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_share: Option<f64>,
    /// Seconds of SM time, in time of this device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sm_seconds: Option<Counter>,
    /// Integral of memory over time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_byte_seconds: Option<Counter>,
    /// Joules, by [`crate::accounting::Method`].
    #[serde(default)]
    pub energy_joules: [Option<Counter>; 2],
    /// Seconds that it was on the device, as far as they are counted.
    #[serde(default)]
    pub session_seconds: f64,
    /// That part of them in which SM time was measured.
    #[serde(default)]
    pub measured_seconds: f64,
    /// Seconds for which the driver still owes its use.
    #[serde(default)]
    pub(crate) owed_seconds: f64,
    /// What it used and is not counted yet.
    #[serde(default)]
    pub(crate) pending: Used,
    /// It is counted as ended; once only, though it may come back.
    #[serde(default)]
    pub settled: bool,
    /// The ledger has it as it is, with its end.
    #[serde(default)]
    pub ledgered: bool,
    /// Its per-session series are left out because of the limit.
    #[serde(default)]
    pub dropped: bool,
    /// Engine time within the step that is being worked out, microseconds.
    #[serde(skip)]
    pub(crate) busy_us: [f64; 4],
    /// What it used in that step.
    #[serde(skip)]
    pub(crate) used: Used,
}

impl Session {
    /// It was there for so many microseconds beyond the last list that had it, with the memory that it held then.
    pub(crate) fn stayed(&mut self, longer_us: i64) {
        let seconds = longer_us as f64 / 1e6;
        self.used.session_seconds += seconds;
        if let Some(held) = self.memory_bytes {
            *self.used.memory_byte_seconds.get_or_insert(0.0) += held as f64 * seconds;
        }
    }

    /// A session of which nothing is known yet but whose it is, first seen at this time.
    pub(crate) fn new(attribution: Attribution, process_start_us: Option<i64>, first_seen_us: i64) -> Self {
        Self {
            command: None,
            uid: None,
            place: None,
            attribution,
            process_start_us,
            opened_us: first_seen_us,
            seen: Seen::Listed,
            first_seen_us,
            last_seen_us: first_seen_us,
            last_active_us: None,
            measured_since_us: None,
            ended_us: None,
            end: None,
            memory_bytes: None,
            memory_peak_bytes: None,
            shares: None,
            device_share: None,
            sm_seconds: None,
            memory_byte_seconds: None,
            energy_joules: [None; 2],
            session_seconds: 0.0,
            measured_seconds: 0.0,
            owed_seconds: 0.0,
            pending: Used::default(),
            settled: false,
            ledgered: false,
            dropped: false,
            busy_us: [0.0; 4],
            used: Used::default(),
        }
    }

    /// Share of the time in which its kernels ran, 0 to 1, over the last window.
    pub fn sm_share(&self) -> Option<f64> {
        self.shares.map(|shares| shares[0]).or(self.device_share)
    }

    /// Whether it is an MPS server or daemon, which works for others. Only the name tells.
    pub fn is_mps(&self) -> bool {
        self.command.as_deref().is_some_and(|command| command.starts_with("nvidia-cuda-mps"))
    }

    /// Whether the process was on the device at the last sample.
    pub fn is_live(&self) -> bool {
        self.ended_us.is_none()
    }

    /// Whether there is something to count, and no reason to wait.
    pub(crate) fn is_due(&self, now_us: i64, hold_us: i64) -> bool {
        let news = self.pending != Used::default() || (!self.is_live() && !self.settled);
        // One that only its use has shown may be listed at the next reading.
        let fresh = self.seen != Seen::Listed && self.ended_us == Some(now_us) && self.end.is_none();
        let waits = self.attribution.open
            && self.attribution.user.is_none()
            && (now_us - self.first_seen_us) < hold_us;
        news && !fresh && !waits
    }

    /// Adds to its counters.
    pub(crate) fn count(&mut self, used: &Used, now_us: i64) {
        if let Some(seconds) = used.sm_seconds {
            Counter::add(&mut self.sm_seconds, seconds, now_us);
        }
        if let Some(byte_seconds) = used.memory_byte_seconds {
            Counter::add(&mut self.memory_byte_seconds, byte_seconds, now_us);
        }
        for (counter, joules) in self.energy_joules.iter_mut().zip(used.energy_joules) {
            if let Some(joules) = joules {
                Counter::add(counter, joules, now_us);
            }
        }
        self.session_seconds += used.session_seconds;
        self.measured_seconds += used.measured_seconds;
    }
}
