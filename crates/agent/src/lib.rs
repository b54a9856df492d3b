//! gpu-session-monitor: command line, settings, the one pipeline and its outputs. It reads and writes; what
//! the figures mean is worked out in `gpu-session-core`.

pub mod cli;
pub mod cluster;
pub mod commands;
pub mod config;
pub mod doctor;
pub mod exit;
pub mod files;
pub mod ledger;
pub mod outputs;
pub mod pipeline;
pub mod recorder;
pub mod report;
pub mod say;
pub mod serve;
pub mod settings;
pub mod state_file;
pub mod top;
mod url;
pub mod user_rules;
pub mod view;

/// Version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Commit that it was built from, or `unknown`; found by `build.rs`.
pub const REVISION: &str = env!("GPU_SESSION_MONITOR_REVISION");
