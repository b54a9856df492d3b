//! The driver, its devices and what runs on them.

use super::{Finding, Scene};
use gpu_session_core::sample::Device;

pub(super) fn driver(scene: &Scene<'_>) -> Vec<Finding> {
    let errors = scene.source("nvml").map_or(&[][..], |source| &source.errors);
    let mut findings = Finding::errors(errors);
    if let Some(driver) = &scene.sample.driver {
        let library = scene.settings.nvml_library.display();
        let version = driver.version.as_deref().unwrap_or("of unknown version");
        findings.insert(0, Finding::ok(format!("{library} answers, driver {version}")));
    }
    findings
}

fn measured<'a>(scene: &'a Scene<'_>) -> &'a [Device] {
    scene.sample.driver.as_ref().map_or(&[], |driver| &driver.devices)
}

pub(super) fn devices(scene: &Scene<'_>) -> Vec<Finding> {
    let Some(driver) = &scene.sample.driver else {
        return vec![Finding::skipped("the driver does not answer")];
    };
    let mut findings: Vec<Finding> = driver.devices.iter().map(device).collect();
    if findings.is_empty() && driver.without_instances.is_empty() {
        let remedy = "see nvidia-smi -L, and what gpu.devices and gpu.count select";
        findings.push(Finding::failed("no device is selected and readable", remedy));
    }
    findings
}

fn device(device: &Device) -> Finding {
    let facts = &device.facts;
    let profile = facts.mig_profile.as_deref().map(|profile| format!(" {profile}")).unwrap_or_default();
    let model = facts.model.as_deref().unwrap_or("of unknown model");
    Finding::ok(format!("{} {model}{profile} {}", facts.label, facts.uuid))
}

pub(super) fn mig(scene: &Scene<'_>) -> Vec<Finding> {
    let empty = scene.sample.driver.iter().flat_map(|driver| &driver.without_instances).map(|gpu| {
        let detail = format!("GPU {} is in MIG mode and has no instance: nothing can run on it", gpu.index);
        Finding::warning(detail, "make some: nvidia-smi mig -cgi <profiles> -C")
    });
    let mut findings: Vec<Finding> = empty.collect();
    let instances: Vec<&Device> =
        measured(scene).iter().filter(|device| device.facts.label.instance.is_some()).collect();
    let unread = instances.iter().filter(|device| device.processes.is_none());
    let unread: Vec<String> = unread.map(|device| device.facts.label.to_string()).collect();
    if !unread.is_empty() {
        findings.push(Finding::failed(
            format!("processes of MIG instances cannot be read: {}", unread.join(", ")),
            "run as root, in a container privileged or with CAP_SYS_ADMIN and NVIDIA_MIG_MONITOR_DEVICES=all",
        ));
    } else if !instances.is_empty() {
        findings.push(Finding::ok(format!("MIG instances that can be read: {}", instances.len())));
    }
    if findings.is_empty() {
        findings.push(Finding::skipped("no selected GPU is in MIG mode"));
    }
    findings
}

pub(super) fn processes(scene: &Scene<'_>) -> Vec<Finding> {
    let devices = measured(scene);
    if devices.is_empty() {
        return vec![Finding::skipped("no device is readable")];
    }
    let unread = devices.iter().filter(|device| device.processes.is_none());
    let unread: Vec<String> = unread.map(|device| device.facts.label.to_string()).collect();
    if !unread.is_empty() {
        let detail = format!("the driver does not list the processes of: {}", unread.join(", "));
        return vec![Finding::failed(detail, "see the lines of the driver and of MIG rights")];
    }
    let count: usize = devices.iter().flat_map(|device| &device.processes).map(Vec::len).sum();
    vec![Finding::ok(if count == 0 {
        "no process is on a GPU now, so no row of one is written; start a workload to see one".to_owned()
    } else {
        format!("processes on GPUs: {count}")
    })]
}
