//! The seed document's numbers.

use crate::node::{EPOCH, Node, scenario_file};

#[test]
fn the_seeds_numbers_stand_in_the_textfile() {
    let mut node = Node::new(&scenario_file("seed.yaml"));
    node.at(60.0);
    let run = node.collect();
    assert_eq!((run.code, run.complaints().as_str()), (0, ""));
    let text = std::fs::read_to_string(node.textfile()).unwrap();
    for line in [
        "gpu_session_count{gpu=\"0\"} 1",
        "gpu_session_count{gpu=\"3\"} 0",
        "gpu_total_sessions 3",
        "gpu_process_info{gpu=\"1\",pid=\"gpu1_12345\",command=\"python3\",pod=\"\",namespace=\"\",container=\"\",status=\"active\"} 1",
        "gpu_process_utilization{gpu=\"1\",pid=\"gpu1_12345\",command=\"python3\",pod=\"\",namespace=\"\"} 75",
        "gpu_process_memory_utilization{gpu=\"1\",pid=\"gpu1_12345\",command=\"python3\",pod=\"\",namespace=\"\"} 45",
        "# TYPE gpu_session_count gauge",
        "# TYPE gpu_process_utilization gauge",
    ] {
        assert!(text.lines().any(|have| have == line), "{line}\nis not in\n{text}");
    }
}

#[test]
fn a_second_run_goes_on_from_the_first() {
    let mut node = Node::new(&scenario_file("seed.yaml"));
    node.at(60.0);
    let first = node.collected();
    let of = [("gpu", "1"), ("user", "")];
    assert_eq!(first.get("gpu_user_sm_seconds_total", &of), Some(0.0), "a new counter is written as 0 first");
    let before = node.now();
    node.at(120.0);
    let second = node.collected();
    assert!((node.now() - 120.0).abs() < 1e-9, "with a state one reading is enough: nobody waits");
    let used = second.get("gpu_user_sm_seconds_total", &of).unwrap();
    // The window of the first run counts too.
    let truth = 0.75 * (120.0 - before + 1.0);
    assert!((used - truth).abs() < 0.3, "{used} {truth}");
    let held = second.get("gpu_user_memory_byte_seconds_total", &of).unwrap();
    let truth = 18.0 * 1024_f64.powi(3) * (120.0 - before + 1.0);
    assert!((held / truth - 1.0).abs() < 0.01, "{held} {truth}");
    let stamp = second.get("gpu_session_collector_last_sample_timestamp_seconds", &[]);
    assert_eq!(stamp, Some((EPOCH + 120) as f64));
}

#[test]
fn labels_of_the_operator_are_on_every_series() {
    let mut node = Node::new(&scenario_file("seed.yaml"));
    node.at(60.0);
    let run = node.run(&["collect", "--output", "-", "--node", "gpu-7", "--label", "rack=r\"1,site=x"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let series = run.stdout.lines().filter(|line| !line.starts_with('#'));
    for line in series {
        assert!(line.contains("node=\"gpu-7\",rack=\"r\\\"1\",site=\"x\""), "{line}");
    }
    assert!(!node.textfile().exists(), "--output - leaves the textfile alone");
}

#[test]
fn json_has_the_documented_fields_and_null_for_the_unknown() {
    let mut node = Node::new(&scenario_file("seed.yaml"));
    node.at(60.0);
    let run = node.run(&["ps", "--json"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let document: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(document["schema_version"], 1);
    assert_eq!(document["sources"][0]["source"], "nvml");
    let session = document["sessions"].as_array().unwrap().iter().find(|s| s["pid"] == 12345).unwrap();
    let mut fields: Vec<&str> = session.as_object().unwrap().keys().map(String::as_str).collect();
    fields.sort_unstable();
    let mut documented = [
        "session",
        "gpu",
        "device_uuid",
        "mig_profile",
        "pid",
        "command",
        "start_time",
        "uid",
        "user",
        "user_rule",
        "namespace",
        "pod",
        "container",
        "pod_uid",
        "container_id",
        "place",
        "attributed_by",
        "memory_used_bytes",
        "sm_utilization_ratio",
        "memory_busy_ratio",
        "encoder_utilization_ratio",
        "decoder_utilization_ratio",
        "sm_seconds",
        "memory_byte_seconds",
        "last_active_time",
        "measured_since_time",
        "allocated",
    ];
    documented.sort_unstable();
    assert_eq!(fields, documented);
    assert_eq!(session["sm_utilization_ratio"], 0.75);
    assert_eq!(session["memory_used_bytes"], 18_u64 << 30);
    assert_eq!(session["session"].as_str().unwrap().len(), 16);
    assert!(
        session["user"].is_null() && session["pod"].is_null(),
        "a containerised process has no Unix user"
    );
    assert!(!node.path("state").exists(), "ps changes nothing");
}
