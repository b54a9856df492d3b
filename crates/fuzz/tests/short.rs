//! Every target for some seconds: over its corpus, and over changes of it that are the same each time.
//!
//! Warnings of the code under test go to `short.stderr` in cargo's folder for tests, and with them what is said where the
//! program itself ends.
#![allow(clippy::unwrap_used, reason = "this is a test")]

use gpu_session_fuzz::{change, targets};
use std::sync::Once;

fn short(name: &str) {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let file = std::fs::File::create(concat!(env!("CARGO_TARGET_TMPDIR"), "/short.stderr")).unwrap();
        rustix::stdio::dup2_stderr(file).unwrap();
    });
    change::run(targets::by_name(name).unwrap());
}

macro_rules! short {
    ($($test:ident $name:literal)*) => {
        $(#[test]
        fn $test() {
            short($name);
        })*

        #[test]
        fn every_target_has_its_test() {
            let mut tested = vec![$($name),*];
            tested.sort_unstable();
            let mut all: Vec<&str> = targets::ALL.iter().map(|target| target.name).collect();
            all.sort_unstable();
            assert_eq!(tested, all);
        }
    };
}

short! {
    capture "capture"
    cgroup "cgroup"
    cgroup_nested "cgroup-nested"
    client "client"
    config "config"
    cri "cri"
    dcgm "dcgm"
    exposition "exposition"
    http "http"
    kubelet "kubelet"
    kubernetes "kubernetes"
    ledger "ledger"
    proc "proc"
    prometheus "prometheus"
    state "state"
    web_config "web-config"
}
