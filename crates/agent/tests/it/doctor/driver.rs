//! The driver and its devices.

use super::{examine, idle, seed};
use crate::node::Node;

const MIG: &str = "version: 1
gpus:
  - { model: NVIDIA A100-SXM4-40GB, memory: 40GiB, mig: [{ profile: 1g.5gb, gpu_instance: 7, compute_instance: 0 }] }
  - { model: NVIDIA A100-SXM4-40GB, memory: 40GiB, mig: [] }
processes: []
";

#[test]
fn a_driver_that_answers_is_named_with_its_devices() {
    let report = examine(&seed(), &[]);
    report.assert("driver", "ok", &["libnvidia-ml.so.1", "550.54.15"]);
    assert_eq!(report.statuses("devices"), ["ok"; 4]);
    report.assert("MIG rights", "skipped", &["MIG mode"]);
    report.assert("GPU processes", "ok", &["processes on GPUs: 3"]);
    assert_eq!(report.code, 0);
}

#[test]
fn a_driver_that_is_not_there_or_not_loaded_fails() {
    let node = seed();
    let report = examine(&node, &["--nvml-library", "/nonexistent.so"]);
    report.assert("driver", "failed", &["/nonexistent.so", "install the NVIDIA driver"]);
    report.assert("devices", "skipped", &["driver"]);
    report.assert("GPU processes", "skipped", &["no device"]);
    assert_eq!(report.code, 1);
    let unloaded = idle("faults: [{ function: \"nvml*\", return: DRIVER_NOT_LOADED }]\n");
    let report = examine(&unloaded, &[]);
    assert_eq!((report.statuses("driver")[0], report.code), ("failed", 1));
}

#[test]
fn a_device_that_is_asked_for_and_not_there_fails() {
    let report = examine(&idle(""), &["--device", "5"]);
    report.assert("devices", "failed", &["gpu.devices"]);
    assert!(report.statuses("driver").contains(&"failed"));
}

#[test]
fn a_node_without_work_is_well() {
    let report = examine(&idle(""), &[]);
    report.assert("GPU processes", "ok", &["no process is on a GPU now"]);
    assert_eq!(report.code, 0);
}

#[test]
fn mig_instances_need_rights_and_gpus_in_mig_mode_instances() {
    let node = |faults: &str| {
        let mut node = Node::new(&(MIG.to_owned() + faults));
        node.at(10.0);
        node
    };
    let well = examine(&node(""), &[]);
    assert_eq!((well.statuses("MIG rights"), well.code), (vec!["warning", "ok"], 0));
    let empty = well.found("MIG rights").next().unwrap();
    assert!(empty["remedy"].as_str().unwrap().contains("nvidia-smi mig -cgi"), "{empty}");
    let ill = examine(
        &node("faults: [{ function: \"nvmlDeviceGetComputeRunningProcesses*\", return: NO_PERMISSION }]\n"),
        &[],
    );
    assert_eq!((ill.statuses("MIG rights"), ill.code), (vec!["warning", "failed"], 1));
    let refused = ill.found("MIG rights").nth(1).unwrap();
    assert!(refused["remedy"].as_str().unwrap().contains("CAP_SYS_ADMIN"), "{refused}");
    ill.assert("GPU processes", "failed", &["0_7_0"]);
}
