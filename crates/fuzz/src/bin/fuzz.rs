//! One target under libFuzzer: `make fuzz`.
//!
//! `FUZZ_TARGET` names it. Its seeds are written to the folder `FUZZ_SEEDS` before libFuzzer reads that.
#![no_main]
#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "without its target and its seeds it has nothing to do"
)]

use gpu_session_fuzz::{Target, corpus, targets};
use libfuzzer_sys::fuzz_target;
use std::path::Path;
use std::sync::LazyLock;

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    targets::by_name(&name).unwrap_or_else(|| {
        let names: Vec<&str> = targets::ALL.iter().map(|target| target.name).collect();
        panic!("FUZZ_TARGET={name} is no target: {}", names.join(", "))
    })
});

fuzz_target!(
    init: {
        if let Some(folder) = std::env::var_os("FUZZ_SEEDS") {
            corpus::write(*TARGET, Path::new(&folder)).expect("the seeds can be written");
        }
    },
    |data: &[u8]| (TARGET.run)(data)
);
