//! A simulated NVIDIA driver.
//!
//! A scenario (a YAML file, `docs/scenario.md`) says which GPUs there are, which processes run on them and what
//! each one uses over time. [`engine::Engine`] computes the state at any moment; `abi` answers NVML's C functions
//! from it, so that the cdylib can stand in for `libnvidia-ml.so.1`; [`proc_tree::ProcTree`] writes the `/proc`
//! files that belong to the same processes.

pub mod abi;
pub mod branch;
pub mod clock;
pub mod code;
pub mod engine;
pub mod proc_tree;
pub mod scenario;
pub mod units;

pub use branch::{Branch, library_of};
pub use engine::Engine;
pub use proc_tree::ProcTree;
pub use scenario::Scenario;

/// JSON schema of the scenario format.
#[cfg(feature = "schema")]
pub fn schema() -> schemars::Schema {
    schemars::schema_for!(Scenario)
}

#[cfg(all(test, feature = "schema"))]
mod tests {
    #[test]
    fn the_schema_knows_the_keys() {
        let schema = format!("{:?}", super::schema());
        for key in [
            "mig_monitor",
            "compute_slices",
            "name_hex",
            "clock_steps",
            "driver_events",
            "R535-early",
            "A100-40GB",
            "mig_capable",
            "GPU_IS_LOST",
            "unavailable",
        ] {
            assert!(schema.contains(key), "{key}");
        }
    }
}
