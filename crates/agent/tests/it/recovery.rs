//! What a program that keeps running makes of a driver that comes, goes, hangs and changes.

use crate::node::{Node, plain};
use serde_json::Value;

/// Samples taken at 0, `step`, 2 `step`… seconds, as the capture holds them.
fn record(node: &mut Node, samples: u32, step: u32, more: &[&str]) -> Vec<Value> {
    node.at(0.0);
    let file = node.path("capture.json");
    let (samples, step) = (samples.to_string(), format!("{step}s"));
    let mut args =
        vec!["record", "--output", file.to_str().unwrap(), "--samples", &samples, "--interval", &step];
    args.extend(more);
    let run = node.run(&args);
    assert!([0, 3].contains(&run.code), "{}", run.stderr);
    let capture: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    capture["samples"].as_array().unwrap().clone()
}

/// For each sample the labels of the devices, or `-` where the driver as a whole is down.
fn devices(samples: &[Value]) -> Vec<String> {
    let label = |device: &Value| {
        let label = &device["facts"]["label"];
        match label["instance"].as_array() {
            Some(ids) => format!("{}_{}_{}", label["gpu"], ids[0], ids[1]),
            None => label["gpu"].to_string(),
        }
    };
    let of = |sample: &Value| match sample["driver"]["devices"].as_array() {
        Some(devices) => devices.iter().map(label).collect::<Vec<_>>().join(" "),
        None => "-".to_owned(),
    };
    samples.iter().map(of).collect()
}

fn kinds(sample: &Value) -> Vec<&str> {
    let errors = sample["health"][0]["errors"].as_array();
    errors.into_iter().flatten().map(|error| error["kind"].as_str().unwrap()).collect()
}

const JOB: &str = "  - { pid: 10, name: a, uid: 1000, devices: [{ gpu: 0, memory: 1GiB, sm: 50 }] }\n";

#[test]
fn a_driver_that_was_reloaded_is_initialised_again() {
    let text = plain(2, JOB)
        + "faults:
  - { from: 20s, until: 30s, function: \"nvmlDevice*\", return: UNINITIALIZED }
  - { from: 20s, until: 40s, function: \"nvmlInit*\", return: DRIVER_NOT_LOADED }\n";
    let samples = record(&mut Node::new(&text), 13, 5, &[]);
    let seen = devices(&samples);
    assert_eq!(seen[..4], ["0 1"; 4], "well at first");
    assert_eq!(seen[4..8], ["-"; 4], "down");
    assert_eq!(seen[10..], ["0 1"; 3], "back within the wait: {seen:?}");
    assert_eq!((kinds(&samples[4]), kinds(&samples[6])), (vec!["UNINITIALIZED"], vec!["DRIVER_NOT_LOADED"]));
}

#[test]
fn a_gpu_that_comes_back_is_read_again_and_the_others_always_are() {
    let text = plain(2, JOB)
        + "faults: [{ from: 20s, until: 40s, function: \"nvmlDeviceGet*\", gpu: 1, return: GPU_IS_LOST }]\n";
    let samples = record(&mut Node::new(&text), 20, 5, &[]);
    let seen = devices(&samples);
    assert_eq!(seen[..4], ["0 1"; 4]);
    assert_eq!(seen[4..8], ["0"; 4], "the other GPU is read all the time: {seen:?}");
    assert_eq!(seen[16..], ["0 1"; 4], "{seen:?}");
    assert_eq!(samples[5]["driver"]["lost"][0]["index"], 1);
}

#[test]
fn a_call_that_hangs_is_given_up_and_the_driver_is_asked_anew() {
    let text = plain(1, JOB)
        + "faults: [{ from: 10s, until: 18s, function: \"nvmlDeviceGetMemoryInfo*\", hang: true }]\n";
    let samples = record(&mut Node::new(&text), 12, 5, &["--timeout", "300ms"]);
    let seen = devices(&samples);
    assert_eq!(seen[..2], ["0"; 2]);
    assert_eq!(seen[2..4], ["-"; 2]);
    assert_eq!(seen[6..], ["0"; 6], "another thread took over: {seen:?}");
    assert_eq!(kinds(&samples[2]), ["timeout"]);
}

#[test]
fn a_driver_that_hangs_for_good_costs_no_more_than_a_few_threads() {
    let text = plain(1, JOB) + "faults: [{ from: 10s, function: \"nvml*\", hang: true }]\n";
    let samples = record(&mut Node::new(&text), 60, 5, &["--timeout", "100ms"]);
    assert_eq!(devices(&samples)[2..], ["-"; 58]);
    // A thread that asks waits for the whole limit; the other samples know that nothing has come.
    let waited = |sample: &&Value| sample["health"][0]["duration_us"].as_u64() >= Some(100_000);
    let asked = samples.iter().filter(waited).count();
    assert!((5..20).contains(&asked), "the waits between threads grow: {asked} in five minutes");
}

#[test]
fn instances_that_are_made_and_destroyed_are_followed() {
    let text = "version: 1
gpus:
  - model: NVIDIA H100 80GB HBM3
    memory: 80GiB
    gpm: true
    mig:
      - { profile: 3g.40gb, gpu_instance: 1, compute_instance: 0, uuid: MIG-stays }
      - { profile: 1g.10gb, gpu_instance: 9, compute_instance: 0, uuid: MIG-old, until: 20s }
      - { profile: 1g.10gb, gpu_instance: 9, compute_instance: 0, uuid: MIG-new, from: 20s }
      - { profile: 1g.10gb, gpu_instance: 10, compute_instance: 0, uuid: MIG-later, from: 31s }
processes:
  - { pid: 10, name: old, end: 20s, devices: [{ gpu: 0, instance: 9/0, memory: 1GiB, sm: 50 }] }
  - { pid: 11, name: new, start: 20s, devices: [{ gpu: 0, instance: 9/0, memory: 2GiB, sm: 70 }] }
";
    let mut node = Node::new(text);
    node.at(21.0);
    let samples = record(&mut node, 9, 5, &[]);
    let seen = devices(&samples);
    assert_eq!(seen[..4], ["0_1_0 0_9_0"; 4]);
    assert_eq!(seen[4..7], ["0_1_0 0_9_0"; 3]);
    assert_eq!(seen[7..], ["0_1_0 0_9_0 0_10_0"; 2], "{seen:?}");
    let second = |sample: &Value| sample["driver"]["devices"][1].clone();
    assert_eq!(
        (&second(&samples[3])["facts"]["uuid"], &second(&samples[4])["facts"]["uuid"]),
        (&"MIG-old".into(), &"MIG-new".into())
    );
    assert!(second(&samples[4])["utilization"].is_null(), "a new instance has no reading of before");
    let later = second(&samples[5])["utilization"]["ratio"].as_f64().unwrap();
    assert!((later - 0.7).abs() < 1e-6, "{later}");
    assert_eq!(samples[8]["health"][0]["up"], true);
}

#[test]
fn mig_mode_that_is_turned_on_is_followed_by_a_later_run() {
    // The mode changes with a reset of the GPU; a program that starts after it finds the instances.
    let mut node = Node::new(&plain(1, JOB));
    node.at(10.0);
    assert_eq!(node.collected().get("gpu_session_count", &[("gpu", "0")]), Some(1.0));
    let mig = "version: 1
gpus: [{ model: NVIDIA H100 80GB HBM3, memory: 80GiB, mig: [{ profile: 7g.80gb, gpu_instance: 0, compute_instance: 0 }] }]
processes: [{ pid: 10, name: a, uid: 1000, devices: [{ gpu: 0, instance: 0/0, memory: 1GiB, sm: 50 }] }]\n";
    std::fs::write(node.path("scenario.yaml"), mig).unwrap();
    node.at(70.0);
    let metrics = node.collected();
    assert_eq!(metrics.label("gpu_session_count", "gpu"), ["0_0_0"]);
    assert!(
        metrics.get("gpu_user_sm_seconds_total", &[("gpu", "0"), ("user", "alice")]).is_some(),
        "sums stay"
    );
}
