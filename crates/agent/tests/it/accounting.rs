//! Accounting mode and energy.

use crate::node::{Node, plain};

/// A GPU with accounting, a job that stays, and jobs that come and go between two runs.
fn scenario(accounting: &str) -> String {
    format!(
        "version: 1
gpus: [{{ model: NVIDIA L40S, memory: 48GiB, accounting: {accounting}, power: {{ idle: 50W, busy: 350W, report: energy }} }}]
processes:
  - {{ pid: 10, name: stays, uid: 1000, start: -60s, devices: [{{ gpu: 0, memory: 1GiB, sm: 40 }}] }}
  - {{ pid: 20, name: before, uid: 1000, start: -50s, end: -20s, devices: [{{ gpu: 0, memory: 1GiB, sm: 90 }}] }}
  - {{ pid: 30, name: short, uid: 1000, start: 70s, end: 90s, devices: [{{ gpu: 0, memory: 2GiB, sm: 50 }}] }}
  - {{ pid: 31, name: short, uid: 1000, start: 75s, end: 85s, devices: [{{ gpu: 0, memory: 2GiB, sm: 30 }}] }}
  - {{ pid: 40, name: seen, uid: 1000, start: 55s, end: 95s, devices: [{{ gpu: 0, memory: 2GiB, sm: 10 }}] }}
passwd: [{{ name: alice, uid: 1000 }}]
"
    )
}

const UNKNOWN: [(&str, &str); 2] = [("gpu", "0"), ("user", "")];

fn three_runs(node: &mut Node, args: &[&str]) -> crate::node::Metrics {
    for at in [10.0, 60.0, 120.0, 121.0, 180.0] {
        node.at(at);
        let run = node.run(&[&["collect"], args].concat());
        assert_eq!(run.code, 0, "{}", run.stderr);
    }
    node.metrics()
}

#[test]
fn sessions_between_two_runs_are_found_in_the_ring_and_count_once() {
    let mut node = Node::new(&scenario("{ enabled: true }"));
    let metrics = three_runs(&mut node, &[]);
    let used = metrics.get("gpu_user_sm_seconds_total", &UNKNOWN).unwrap();
    let truth = 0.5 * 20.0 + 0.3 * 10.0;
    assert!(
        (used - truth).abs() < 0.2,
        "those that nobody saw, once each and not the one of before: {used} {truth}"
    );
    let alice = metrics.get("gpu_user_sm_seconds_total", &[("gpu", "0"), ("user", "alice")]).unwrap();
    let truth = 0.4 * 169.0 + 0.1 * 40.0;
    assert!((alice - truth).abs() < 1.0, "one that was seen is not counted again: {alice} {truth}");
    assert_eq!(metrics.get("gpu_session_count", &[("gpu", "0")]), Some(1.0), "they are over");
}

#[test]
fn it_is_turned_on_only_when_asked_for() {
    let mut node = Node::new(&scenario("{ enabled: false }"));
    let calls = node.path("calls");
    let mut command = node.command(&["collect"]);
    assert!(command.env("NVML_SIM_CALLS", &calls).status().unwrap().success());
    assert!(!std::fs::read_to_string(&calls).unwrap().contains("SetAccountingMode"));
    let seen_by_use = three_runs(&mut node, &[]);
    let used = seen_by_use.get("gpu_user_sm_seconds_total", &UNKNOWN).unwrap();
    assert!((used - (0.5 * 20.0 + 0.3 * 10.0)).abs() < 0.2, "the ring of use has them too: {used}");
    assert!(!std::fs::read_to_string(&calls).unwrap().contains("AccountingStats"));
    let mut command = node.command(&["collect", "--nvml-accounting", "enable"]);
    assert!(command.env("NVML_SIM_CALLS", &calls).status().unwrap().success());
    assert!(std::fs::read_to_string(&calls).unwrap().contains("nvmlDeviceSetAccountingMode 1"));
}

#[test]
fn without_the_right_to_turn_it_on_that_is_said() {
    let text = scenario("{ enabled: false }")
        + "faults: [{ function: nvmlDeviceSetAccountingMode, return: NO_PERMISSION }]\n";
    let mut node = Node::new(&text);
    node.at(10.0);
    let run = node.run(&["collect", "--nvml-accounting", "enable"]);
    assert_eq!(run.code, 3);
    assert!(
        run.stderr.contains("nvml.accounting: enable") && run.stderr.contains("NO_PERMISSION"),
        "{}",
        run.stderr
    );
    assert_eq!(node.metrics().get("gpu_session_count", &[("gpu", "0")]), Some(1.0), "the rest is measured");
}

#[test]
fn energy_is_the_boards_and_absent_where_it_measures_none() {
    let mut node = Node::new(&scenario("{ enabled: false }"));
    node.at(20.0);
    let before = node.collected().get("gpu_device_energy_joules_total", &[("gpu", "0")]).unwrap();
    let then = node.now();
    node.at(50.0);
    let after = node.collected().get("gpu_device_energy_joules_total", &[("gpu", "0")]).unwrap();
    // 40 % busy between 50 W and 350 W.
    let truth = 170.0 * (50.0 - then);
    assert!((after - before - truth).abs() < 1.0, "{before} {after} {truth}");
    let mut silent = Node::new(&plain(1, ""));
    silent.at(10.0);
    assert_eq!(silent.collected().get("gpu_device_energy_joules_total", &[("gpu", "0")]), None);
}
