//! The core over time: samples in, snapshots out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]
#![allow(clippy::float_cmp, reason = "whole numbers are counted, which floats hold exactly")]

mod allocations;
mod counting;
mod day;
mod mishaps;
mod model;
mod samples;
mod unseen;
