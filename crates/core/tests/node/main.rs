//! The core over time: samples in, snapshots out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]

mod allocations;
mod day;
mod mishaps;
mod samples;
