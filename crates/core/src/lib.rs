//! The pure part of gpu-session-monitor: what a session is, whose it is, what it used.
//!
//! Data flows one way: a [`sample::Sample`] (what every source said at one moment) goes through
//! [`monitor::Monitor::step`] into the [`state::State`] (sessions and counters that survive), of which
//! [`monitor::Monitor::snapshot`] makes the immutable [`snapshot::Snapshot`] that all outputs read.
//!
//! Nothing here does I/O, reads a clock or starts a thread: time is in the sample. `clippy.toml` enforces it.

pub mod accounting;
pub mod allocation;
pub mod attribution;
pub mod cgroup;
pub mod ids;
pub mod json;
pub mod ledger;
pub mod metrics;
pub mod monitor;
pub mod rules;
pub mod sample;
pub mod select;
pub mod snapshot;
pub mod state;
pub mod text;
pub mod tracker;
pub mod utilization;
