//! Every fault on every branch of the driver: what is written, what is absent, how long until all is well again.
//! docs/reliability.md is what comes out; `UPDATE_GOLDEN=1` writes it anew.

use crate::node::{Node, Run, driver, workspace};
use nvml_sim::branch::{Branch, library_of};
use serde_json::Value;
use std::fmt::Write as _;
use std::path::Path;

/// When each fault begins and ends, seconds.
const BEGIN: u32 = 60;
const END: u32 = 100;
const STEP: u32 = 5;
const SAMPLES: u32 = 36;
const DEVICES: usize = 4;

/// Faults, with their YAML.
const FAULTS: [(&str, &str); 12] = [
    ("none", ""),
    ("driver unloaded", "driver_events: [{ at: 60s, unloaded: true }, { at: 100s, unloaded: false }]\n"),
    ("driver replaced under a running program", "driver_events: [{ at: 60s, upgrade: \"595.10\" }]\n"),
    (
        "a GPU is lost: no handle",
        "faults: [{ from: 60s, until: 100s, function: \"nvmlDeviceGetHandleByIndex*\", gpu: 0, return: GPU_IS_LOST }, { from: 60s, until: 65s, function: \"nvmlDeviceGetMemoryInfo*\", gpu: 0, return: GPU_IS_LOST }]\n",
    ),
    (
        "a GPU is lost: later calls fail",
        "faults: [{ from: 60s, until: 100s, function: \"nvmlDeviceGet*Info*\", gpu: 0, return: GPU_IS_LOST }]\n",
    ),
    (
        "process lists of a GPU fail",
        "faults: [{ from: 60s, until: 100s, function: \"nvmlDeviceGetComputeRunningProcesses*\", gpu: 0, return: UNKNOWN }]\n",
    ),
    (
        "utilisation by process fails",
        "faults: [{ from: 60s, until: 100s, function: nvmlDeviceGetProcessUtilization, gpu: 0, return: UNKNOWN }]\n",
    ),
    (
        "memory of a GPU fails",
        "faults: [{ from: 60s, until: 100s, function: \"nvmlDeviceGetMemoryInfo*\", gpu: 0, return: UNKNOWN }]\n",
    ),
    (
        "calls are slow (50 ms)",
        "faults: [{ from: 60s, until: 100s, function: \"nvmlDeviceGetComputeRunningProcesses*\", gpu: 0, delay: 50ms }]\n",
    ),
    (
        "a call hangs",
        "faults: [{ from: 60s, until: 100s, function: \"nvmlDeviceGetComputeRunningProcesses*\", gpu: 0, hang: true }]\n",
    ),
    ("a MIG instance is made anew under old ids", NEW_INSTANCE),
    ("no MIG monitor rights", "mig_monitor: false\n"),
];

/// The second MIG instance, and what becomes of it in the fault of this name.
const INSTANCE: &str = "{ profile: 1g.10gb, gpu_instance: 9, compute_instance: 0 }";
const NEW_INSTANCE: &str = "{ profile: 1g.10gb, gpu_instance: 9, compute_instance: 0, until: 60s }
      - { profile: 1g.10gb, gpu_instance: 9, compute_instance: 0, uuid: MIG-new, from: 60s }";

fn scenario(branch: &str, fault: &str) -> String {
    let (instances, fault) = if fault == NEW_INSTANCE { (fault, "") } else { (INSTANCE, fault) };
    format!(
        "version: 1
driver: {{ branch: {branch} }}
gpus:
  - {{ model: NVIDIA L40S, memory: 48GiB }}
  - {{ model: NVIDIA L40S, memory: 48GiB }}
  - model: NVIDIA H100 80GB HBM3
    memory: 80GiB
    gpm: true
    mig:
      - {{ profile: 3g.40gb, gpu_instance: 1, compute_instance: 0 }}
      - {instances}
processes:
  - {{ pid: 10, name: a, uid: 1000, devices: [{{ gpu: 0, memory: 1GiB, sm: 50 }}] }}
  - {{ pid: 11, name: b, uid: 1000, devices: [{{ gpu: 0, memory: 2GiB, sm: 20 }}] }}
  - {{ pid: 12, name: c, uid: 1000, devices: [{{ gpu: 0, memory: 3GiB, sm: 0 }}] }}
  - {{ pid: 20, name: d, uid: 1000, devices: [{{ gpu: 1, memory: 1GiB, sm: 70 }}] }}
  - {{ pid: 30, name: e, uid: 1000, devices: [{{ gpu: 2, instance: 1/0, memory: 9GiB, sm: 60 }}] }}
passwd: [{{ name: alice, uid: 1000 }}]
{fault}"
    )
}

/// What one fault did on one branch: the cells of a row.
#[derive(Clone, PartialEq, Eq)]
struct Outcome {
    run: String,
    absent: String,
    recovery: String,
}

fn outcome(branch: &str, library: &Path, fault: &str) -> Outcome {
    let mut node = Node::new(&scenario(branch, fault));
    let library = library.to_str().unwrap();
    let common = ["--nvml-library", library, "--timeout", "250ms"];
    for at in [10.0, 40.0] {
        node.at(at);
        node.run(&[&["collect"][..], &common].concat());
    }
    node.at(f64::from(BEGIN) + 2.5);
    let run = node.run(&[&["collect"][..], &common].concat());
    Outcome { run: exit(&run), absent: absent(&node), recovery: recovery(&mut node, &common) }
}

fn exit(run: &Run) -> String {
    let mut kinds: Vec<&str> = [
        "GPU_IS_LOST",
        "DRIVER_NOT_LOADED",
        "UNINITIALIZED",
        "LIB_RM_VERSION_MISMATCH",
        "UNKNOWN",
        "IMPLAUSIBLE",
    ]
    .into_iter()
    .filter(|kind| run.stderr.contains(kind))
    .collect();
    if run.stderr.contains("has not answered") {
        kinds.push("timeout");
    }
    format!(
        "{}{}",
        run.code,
        if kinds.is_empty() { String::new() } else { format!(", {}", kinds.join(", ")) }
    )
}

/// What is not in the textfile though it was there before; the counters always are.
fn absent(node: &Node) -> String {
    let metrics = node.metrics();
    let of_gpu = [("gpu", "0")];
    assert!(
        metrics
            .get("gpu_user_sm_seconds_total", &[("gpu", "0"), ("user", "alice")])
            .is_some_and(|s| s > 10.0)
    );
    let devices = metrics.values("gpu_session_count", &[]).len();
    if devices == 0 {
        return "all but health and counters".to_owned();
    }
    let mut missing = Vec::new();
    if devices < DEVICES {
        missing.push(format!("sessions of {} of {DEVICES} devices", DEVICES - devices));
        assert_eq!(metrics.get("gpu_total_sessions", &[]), None, "a sum over devices that cannot be read");
    } else {
        assert_eq!(metrics.get("gpu_total_sessions", &[]), Some(5.0));
        if metrics.values("gpu_process_utilization", &of_gpu).is_empty() {
            missing.push("utilisation by process".to_owned());
        }
        if metrics.get("gpu_device_memory_used_bytes", &of_gpu).is_none() {
            missing.push("memory in use".to_owned());
        }
    }
    if metrics.get("gpu_process_utilization", &[("gpu", "2_1_0")]).is_none() {
        missing.push("utilisation of MIG instances".to_owned());
    }
    if missing.is_empty() { "nothing".to_owned() } else { missing.join("; ") }
}

/// Seconds from the fault's end to the first sample in which all is well, sampled every 5 s.
fn recovery(node: &mut Node, common: &[&str]) -> String {
    node.at(0.0);
    let file = node.path("capture.json");
    let (samples, step) = (SAMPLES.to_string(), format!("{STEP}s"));
    let record = ["record", "--output", file.to_str().unwrap(), "--samples", &samples, "--interval", &step];
    let run = node.run(&[&record[..], common].concat());
    assert!([0, 3].contains(&run.code), "{}", run.stderr);
    let capture: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let samples = capture["samples"].as_array().unwrap();
    let well = |sample: &Value| {
        let devices = sample["driver"]["devices"].as_array();
        sample["health"][0]["up"] == true && devices.is_some_and(|devices| devices.len() == DEVICES)
    };
    let (begin, end) = ((BEGIN / STEP) as usize, (END / STEP) as usize);
    assert!(samples[1..begin].iter().all(well), "well before the fault");
    if samples[begin..].iter().all(well) {
        return "-".to_owned();
    }
    let last_bad = samples.iter().rposition(|sample| !well(sample)).unwrap();
    assert!(last_bad + 1 < samples.len(), "it never recovers");
    let after = |from: usize| (last_bad + 1).saturating_sub(from) as u32 * STEP;
    if last_bad + 1 < end {
        format!("{} s after it began", after(begin))
    } else {
        format!("{} s", after(end))
    }
}

#[test]
fn the_reference_of_faults_is_what_happens() {
    let folder = tempfile::tempdir().unwrap();
    let mut rows = String::new();
    let branches: Vec<(String, Branch)> = Branch::ALL.into_iter().map(|b| (name(b), b)).collect();
    let libraries: Vec<_> = branches
        .iter()
        .map(|(name, branch)| {
            let own = folder.path().join(name);
            std::fs::create_dir(&own).unwrap();
            library_of(*branch, &driver().canonicalize().unwrap(), &own).unwrap()
        })
        .collect();
    for (fault, text) in FAULTS {
        // Branches that fare alike share a row.
        let mut alike: Vec<(Vec<&str>, Outcome)> = Vec::new();
        for ((name, _), library) in branches.iter().zip(&libraries) {
            let outcome = outcome(name, library, text);
            match alike.iter_mut().find(|(_, known)| *known == outcome) {
                Some((names, _)) => names.push(name),
                None => alike.push((vec![name], outcome)),
            }
        }
        for (names, Outcome { run, absent, recovery }) in &alike {
            let whom = if names.len() == branches.len() { "all".to_owned() } else { names.join(", ") };
            let _ = writeln!(rows, "| {fault} | {whom} | {run} | {absent} | {recovery} |");
        }
    }
    let path = workspace().join("docs/reliability.md");
    let page = PAGE.replace("ROWS", rows.trim_end());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    assert!(
        std::fs::read_to_string(&path).unwrap_or_default() == page,
        "docs/reliability.md differs:\n{page}"
    );
}

fn name(branch: Branch) -> String {
    format!("{branch:?}").replace("Early", "-early")
}

const PAGE: &str = "# Reliability

<!-- Written by crates/agent/tests/it/reliability.rs (`make golden`). -->

What becomes of each fault on each branch of the driver, tried on the simulated driver: two L40S and an H100 with two MIG
instances, four devices. The fault lasts from second 60 to 100. *Run* is one `collect` within it: exit code and the
kinds of error, which are also labels of `gpu_session_collector_source_errors_total`. *Absent* is what its textfile
lacks; the counters of before are in every one. *Recovery* is of a program that goes on sampling every 5 s: how long
after the fault's end all is measured again. `-` means that nothing was ever missing from its samples.

| fault | driver | run | absent | recovery |
|---|---|---|---|---|
ROWS

- Without GPM (before R520) a driver says nothing of the use of MIG instances; the DCGM exporter can ([dcgm.md](dcgm.md)).
- Early R535 drivers (535.43.02 to before 535.98) write longer process records than their header has; they are known by
  the nonsense that they make, and read as they were meant.
- A lost GPU, an unloaded or replaced driver is initialised again after 1, 2, 4… up to 60 s. The other GPUs are read
  meanwhile.
- A thread that hangs in the driver is given up; another asks again after the same waits, which grow to 10 minutes.
";
