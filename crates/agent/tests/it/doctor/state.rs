//! State, clock and the last sample.

use super::{examine, idle, seed};
use std::os::unix::fs::PermissionsExt as _;

#[test]
fn a_node_that_was_never_measured_is_no_failure() {
    let report = examine(&idle(""), &[]);
    report.assert("state folder", "skipped", &["not there yet"]);
    report.assert("last sample", "skipped", &["nothing was measured"]);
    report.assert("one way of scraping", "skipped", &["no counters"]);
    assert_eq!(report.code, 0);
}

#[test]
fn the_last_sample_ages() {
    let mut node = seed();
    examine(&node, &[]).assert("last sample", "ok", &["measured 0s ago"]);
    node.at(60.0 + 600.0);
    let report = examine(&node, &[]);
    report.assert("last sample", "warning", &["measured 9m", "kubectl get cronjobs"]);
    assert_eq!(report.code, 0);
    node.at(0.0);
    let report = examine(&node, &[]);
    report.assert("clock", "warning", &["in the future", "set the clock"]);
    report.assert("last sample", "skipped", &["clock"]);
}

#[test]
fn a_clock_that_was_never_set_fails() {
    let node = idle("");
    std::fs::write(node.path("clock"), "86400000000").unwrap();
    let report = examine(&node, &[]);
    report.assert("clock", "failed", &["not set", "timedatectl"]);
    assert_eq!(report.code, 1);
}

#[test]
fn a_state_folder_that_others_can_write_fails() {
    let node = seed();
    std::fs::set_permissions(node.path("state"), std::fs::Permissions::from_mode(0o777)).unwrap();
    let report = examine(&node, &[]);
    report.assert("state folder", "failed", &["others can write", "chmod go-w"]);
    assert_eq!(report.code, 1);
}

#[test]
fn root_is_told_whose_the_state_of_a_service_is() {
    let node = seed();
    // Only root can give a folder away; the suite runs as root in CI and in containers.
    if std::os::unix::fs::chown(node.path("state"), Some(4242), None).is_ok() {
        let report = examine(&node, &[]);
        report.assert("state folder", "warning", &["belongs to uid 4242", "chown root"]);
        report.assert("last sample", "ok", &["measured 0s ago"]);
        assert_eq!(report.code, 0);
    }
}
