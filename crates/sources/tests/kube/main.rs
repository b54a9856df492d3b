//! The sources of pods and allocations against an API server and a kubelet that speak the real protocols.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod bench;
mod faults;
mod kubelet;
mod once;
mod watch;
