//! The driver and /proc on a bad day.

use crate::node::{Node, plain};

const ONE_EACH: &str = "  - { pid: 10, name: a, uid: 1000, devices: [{ gpu: 0, memory: 1GiB, sm: 50 }] }
  - { pid: 11, name: b, uid: 1000, devices: [{ gpu: 1, memory: 1GiB, sm: 50 }] }
  - { pid: 12, name: c, uid: 1000, devices: [{ gpu: 2, memory: 1GiB, sm: 50 }] }
  - { pid: 13, name: d, uid: 1000, devices: [{ gpu: 3, memory: 1GiB, sm: 50 }] }
";

fn with_faults(faults: &str) -> Node {
    let mut node = Node::new(&format!("{}faults:\n{faults}", plain(4, ONE_EACH)));
    node.at(10.0);
    node
}

/// What a file holds when the driver as a whole does not answer: health and the counters of before.
fn assert_health_only(node: &Node, kind: &str) {
    let metrics = node.metrics();
    assert_eq!(metrics.get("gpu_session_collector_source_up", &[("source", "nvml")]), Some(0.0));
    let errors =
        metrics.get("gpu_session_collector_source_errors_total", &[("source", "nvml"), ("kind", kind)]);
    assert!(errors.is_some_and(|n| n >= 1.0), "{kind}: {:?}", metrics.names());
    for name in metrics.names() {
        let carried = name.ends_with("_total") || name.starts_with("gpu_session_duration_seconds_");
        let allowed = name.starts_with("gpu_session_collector_") || carried;
        assert!(allowed && name != "gpu_total_sessions", "{name} is written without a driver");
    }
}

#[test]
fn a_missing_library_is_said_with_its_remedy() {
    let node = Node::new(&plain(1, ""));
    let run = node.run(&["collect", "--nvml-library", "/nonexistent/libnvidia-ml.so.1"]);
    assert_eq!(run.code, 1);
    assert!(
        run.stderr.contains("/nonexistent/libnvidia-ml.so.1") && run.stderr.contains("--nvml-library"),
        "{}",
        run.stderr
    );
    assert_health_only(&node, "LIBRARY_NOT_FOUND");
}

#[test]
fn a_driver_that_goes_leaves_the_counters_and_comes_back_to_them() {
    let mut node =
        with_faults("  - { from: 100s, until: 150s, function: \"nvmlInit*\", return: DRIVER_NOT_LOADED }\n");
    node.collected();
    node.at(60.0);
    let user = [("gpu", "0"), ("user", "alice")];
    let before = node.collected().get("gpu_user_sm_seconds_total", &user).unwrap();
    assert!(before > 20.0);
    node.at(120.0);
    let run = node.collect();
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("nvidia-smi"), "the remedy: {}", run.stderr);
    assert_health_only(&node, "DRIVER_NOT_LOADED");
    assert_eq!(node.metrics().get("gpu_user_sm_seconds_total", &user), Some(before));
    node.at(180.0);
    let after = node.collected();
    assert!(after.get("gpu_user_sm_seconds_total", &user).unwrap() > before);
    assert_eq!(after.get("gpu_total_sessions", &[]), Some(4.0));
}

#[test]
fn a_driver_that_hangs_is_given_up() {
    for function in ["nvmlInit*", "nvmlDeviceGetComputeRunningProcesses*"] {
        let node = with_faults(&format!("  - {{ function: \"{function}\", hang: true }}\n"));
        let run = node.run(&["collect", "--timeout", "300ms"]);
        assert_eq!(run.code, 1, "{}", run.stderr);
        assert!(run.stderr.contains("has not answered for 0.3 s"), "{}", run.stderr);
        assert_health_only(&node, "timeout");
    }
}

#[test]
fn one_lost_gpu_of_four_is_absent_and_said_to_be() {
    // By its handle, and with the handle good but every later call failing.
    for function in ["nvmlDeviceGetHandleByIndex*", "nvmlDeviceGet*Running*", "nvmlDeviceGetMemoryInfo*"] {
        let node = with_faults(&format!("  - {{ function: \"{function}\", gpu: 2, return: GPU_IS_LOST }}\n"));
        let run = node.collect();
        assert_eq!(run.code, 3, "{function}: {}", run.stderr);
        assert!(run.stderr.contains("GPU_IS_LOST") && run.stderr.contains('2'), "{}", run.stderr);
        let metrics = node.metrics();
        assert_eq!(metrics.label("gpu_session_count", "gpu"), ["0", "1", "3"], "{function}");
        assert_eq!(metrics.get("gpu_total_sessions", &[]), None);
        assert_eq!(metrics.get("gpu_process_utilization", &[("pid", "gpu3_13")]), Some(50.0));
        let lost = [("source", "nvml"), ("kind", "GPU_IS_LOST")];
        assert!(metrics.get("gpu_session_collector_source_errors_total", &lost).unwrap() >= 1.0);
        // Not asked for, it is nobody's fault.
        assert_eq!(node.run(&["collect", "--device", "0,1,3"]).code, 0);
    }
}

#[test]
fn sessions_of_a_gpu_that_is_lost_for_a_while_go_on() {
    let fault = "  - { from: 50s, until: 90s, function: \"nvmlDeviceGet*\", gpu: 1, return: GPU_IS_LOST }\n";
    let mut node = with_faults(fault);
    let session = |node: &Node| {
        let metrics = node.metrics();
        let found = metrics.label("gpu_session_info", "pid").iter().position(|pid| *pid == "11");
        found.map(|i| metrics.label("gpu_session_info", "session")[i].to_owned())
    };
    node.collected();
    let before = session(&node);
    node.at(60.0);
    assert_eq!(node.collect().code, 3);
    assert_eq!(session(&node), None);
    node.at(120.0);
    let metrics = node.collected();
    assert_eq!(session(&node), before);
    let seconds = metrics.get("gpu_session_sm_seconds_total", &[("gpu", "1")]).unwrap();
    assert!((seconds - 0.5 * 110.0).abs() < 2.0, "the ring still has what was used meanwhile: {seconds}");
}

#[test]
fn a_list_that_fails_is_not_an_idle_device() {
    let node =
        with_faults("  - { function: \"nvmlDeviceGetComputeRunningProcesses*\", gpu: 1, return: UNKNOWN }\n");
    let run = node.collect();
    assert_eq!(run.code, 3);
    let metrics = node.metrics();
    assert_eq!(metrics.label("gpu_session_count", "gpu"), ["0", "2", "3"]);
    assert_eq!(metrics.get("gpu_device_memory_used_bytes", &[("gpu", "1")]), Some((1_u64 << 30) as f64));
    assert_eq!(metrics.get("gpu_total_sessions", &[]), None);
}

#[test]
fn use_that_cannot_be_read_is_absent_and_caught_up_later() {
    let jobs = "  - { pid: 10, name: stays, uid: 1000, devices: [{ gpu: 0, memory: 1GiB, sm: 50 }] }
  - { pid: 11, name: ends, uid: 1001, end: 30s, devices: [{ gpu: 0, memory: 1GiB, sm: 20 }] }\n";
    let fault =
        "faults: [{ from: 5s, until: 40s, function: nvmlDeviceGetProcessUtilization, return: UNKNOWN }]\n";
    let mut node = Node::new(&(plain(1, jobs) + fault));
    node.at(2.0);
    node.collected();
    node.at(35.0);
    assert_eq!(node.collect().code, 3);
    assert_eq!(node.metrics().get("gpu_process_utilization", &[("pid", "gpu0_10")]), None);
    assert_eq!(node.metrics().get("gpu_session_count", &[("gpu", "0")]), Some(1.0));
    node.at(60.0);
    let metrics = node.collected();
    assert_eq!(metrics.get("gpu_process_utilization", &[("pid", "gpu0_10")]), Some(50.0));
    let used = |user| metrics.get("gpu_user_sm_seconds_total", &[("user", user)]).unwrap();
    assert!((used("alice") - 0.5 * 58.0).abs() < 0.2, "{}", used("alice"));
    let ended = used("bob");
    assert!((ended - 0.2 * 28.0).abs() < 0.2, "found to be over while its use could not be read: {ended}");
    node.at(61.0);
    let again = node.collected().get("gpu_user_sm_seconds_total", &[("user", "bob")]);
    assert_eq!(again, Some(ended), "and counted once");
}

#[test]
fn a_process_that_ends_between_list_and_proc_is_no_session() {
    let processes = "  - { pid: 10, name: gone, in_proc: false, devices: [{ gpu: 0, memory: 1GiB, sm: 50 }] }
  - { pid: 11, name: here, devices: [{ gpu: 0, memory: 1GiB, sm: 20 }] }\n";
    let mut node = Node::new(&plain(1, processes));
    node.at(10.0);
    let metrics = node.collected();
    assert_eq!(metrics.get("gpu_session_count", &[("gpu", "0")]), Some(1.0));
    assert_eq!(metrics.label("gpu_process_info", "command"), ["here"]);
}

#[test]
fn an_unreadable_proc_is_not_an_idle_node() {
    let node = with_faults("  - { function: nvmlNothing, return: UNKNOWN }\n");
    let empty = tempfile::tempdir().unwrap();
    let run = node.run(&["collect", "--proc-root", empty.path().to_str().unwrap()]);
    assert_eq!(run.code, 3);
    assert!(run.stderr.contains("proc.root"), "{}", run.stderr);
    let metrics = node.metrics();
    assert!(metrics.values("gpu_session_count", &[]).is_empty());
    assert_eq!(metrics.get("gpu_session_collector_source_up", &[("source", "proc")]), Some(0.0));
    assert_eq!(metrics.values("gpu_device_info", &[]).len(), 4);
}

#[test]
fn a_reused_pid_is_a_session_of_its_own() {
    let processes =
        "  - { pid: 10, name: first, uid: 1000, end: 62s, devices: [{ gpu: 0, memory: 1GiB, sm: 80 }] }
  - { pid: 10, name: second, uid: 1001, start: 63s, devices: [{ gpu: 0, memory: 1GiB, sm: 40 }] }\n";
    let mut node = Node::new(&plain(1, processes));
    node.at(30.0);
    node.collected();
    node.at(60.0);
    let first = node.collected().label("gpu_session_info", "session")[0].to_owned();
    node.at(90.0);
    let after = node.collected();
    assert_eq!(after.label("gpu_process_info", "command"), ["second"]);
    let sessions = after.label("gpu_session_info", "session");
    assert!(sessions.len() == 1 && sessions[0] != first);
    let alice = after.get("gpu_user_sm_seconds_total", &[("user", "alice")]).unwrap();
    assert!((alice - 0.8 * 32.0).abs() < 0.5, "what the first used stays its own: {alice}");
    assert_eq!(after.get("gpu_user_sm_seconds_total", &[("user", "bob")]), Some(0.0), "new: 0 first");
    node.at(120.0);
    let bob = node.collected().get("gpu_user_sm_seconds_total", &[("user", "bob")]).unwrap();
    assert!((bob - 0.4 * 57.0).abs() < 0.5, "{bob}");
}
