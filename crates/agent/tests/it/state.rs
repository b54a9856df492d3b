//! What survives between runs.

use crate::node::{Node, Run, plain};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

fn node() -> Node {
    let mut node = Node::new(&plain(
        1,
        "  - { pid: 7, name: x, uid: 1000, devices: [{ gpu: 0, memory: 1GiB, sm: 50 }] }\n",
    ));
    node.at(10.0);
    node
}

const USER: [(&str, &str); 2] = [("gpu", "0"), ("user", "alice")];

#[test]
fn only_we_can_read_and_write_it() {
    let node = node();
    node.collected();
    let mode = |name: &str| std::fs::metadata(node.path(name)).unwrap().mode() & 0o777;
    assert_eq!((mode("state"), mode("state/state.json"), mode("state/lock")), (0o700, 0o600, 0o600));
}

#[test]
fn a_damaged_or_foreign_file_is_set_aside_and_never_a_reason_to_stop() {
    let mut node = node();
    for (i, text) in
        ["", "{", "null", "{\"format\":\"other\",\"version\":1}", "\u{0}\u{0}"].iter().enumerate()
    {
        node.collected();
        std::fs::write(node.path("state/state.json"), text).unwrap();
        node.at(100.0 * (i + 1) as f64);
        let run = node.collect();
        assert_eq!(run.code, 0, "{text:?}: {}", run.stderr);
        assert!(run.stderr.contains("set aside as"), "{}", run.stderr);
        assert_eq!(std::fs::read_to_string(node.path("state/state.json.damaged")).unwrap(), *text);
    }
    assert_eq!(
        std::fs::read_dir(node.path("state")).unwrap().count(),
        3,
        "what is set aside does not pile up"
    );
}

#[test]
fn a_folder_that_others_own_or_write_is_refused() {
    let node = node();
    let folder = node.path("state");
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
    let run = node.collect();
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("chmod go-w"), "{}", run.stderr);
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).unwrap();
    // Only root can give a folder away; the suite runs as root in CI and in containers.
    if std::os::unix::fs::chown(&folder, Some(4242), None).is_ok() {
        let run = node.collect();
        assert_eq!(run.code, 1);
        assert!(run.stderr.contains("belongs to uid 4242"), "{}", run.stderr);
    }
    assert!(!node.textfile().exists());
}

#[test]
fn a_service_keeps_it_where_the_service_manager_made_room() {
    let node = node();
    let given = node.path("of-the-service");
    let mut command = node.command(&["collect"]);
    command.env_remove("GPU_SESSION_MONITOR_STATE_DIR").env("STATE_DIRECTORY", &given);
    let run = Run::of(command.output().unwrap());
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(given.join("state.json").exists());
    // What is said by name stands over it.
    let run = Run::of(node.command(&["collect"]).env("STATE_DIRECTORY", "/nonexistent").output().unwrap());
    assert_eq!(run.code, 0, "{}", run.stderr);
}

#[test]
fn two_runs_at_once_corrupt_nothing() {
    let mut node = node();
    node.collected();
    node.at(60.0);
    let runs: Vec<_> = (0..6).map(|_| node.command(&["collect"]).spawn().unwrap()).collect();
    for mut run in runs {
        assert_eq!(run.wait().unwrap().code(), Some(0), "each waits for the one before");
    }
    let used = node.collected().get("gpu_user_sm_seconds_total", &USER).unwrap();
    assert!((used - 25.0).abs() < 0.3, "no second is counted twice: {used}");
}

#[test]
fn a_run_that_never_ends_is_named_to_the_next() {
    let node = node();
    node.collected();
    let mut holder = std::process::Command::new("flock")
        .args([node.path("state/lock").to_str().unwrap(), "-c", "echo held; exec sleep 60"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("flock of util-linux");
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(holder.stdout.take().unwrap()), &mut line)
        .unwrap();
    let run = node.collect();
    let _ = std::process::Command::new("pkill").args(["-P", &holder.id().to_string()]).status();
    let _ = holder.kill();
    let _ = holder.wait();
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("another gpu-session-monitor runs"), "{}", run.stderr);
}

#[test]
fn an_ended_session_keeps_its_counters_for_ten_minutes_and_the_sums_for_ever() {
    let text = "  - { pid: 7, name: x, uid: 1000, end: 90s, devices: [{ gpu: 0, memory: 1GiB, sm: 50 }] }\n";
    let mut node = Node::new(&plain(1, text));
    node.at(10.0);
    node.collected();
    node.at(60.0);
    node.collected();
    node.at(120.0);
    let ended = node.collected();
    assert_eq!(ended.get("gpu_session_count", &[("gpu", "0")]), Some(0.0));
    let used = ended.get("gpu_session_sm_seconds_total", &USER).unwrap();
    assert!((used - 40.0).abs() < 0.5, "its last seconds too: {used}");
    assert!(ended.values("gpu_session_info", &[]).is_empty());
    node.at(120.0 + 599.0);
    assert_eq!(node.collected().get("gpu_session_sm_seconds_total", &USER), Some(used));
    node.at(120.0 + 601.0);
    let gone = node.collected();
    assert_eq!(gone.get("gpu_session_sm_seconds_total", &USER), None);
    assert_eq!(gone.get("gpu_user_sm_seconds_total", &USER), Some(used));
}

#[test]
fn a_wall_clock_that_is_set_back_takes_no_counter_down() {
    let mut node = node();
    let mut used = None;
    for at in [4000.0, 4060.0, 4120.0] {
        node.at(at);
        used = node.collected().get("gpu_user_sm_seconds_total", &USER);
    }
    assert!(used > Some(0.0));
    node.at(600.0);
    let after = node.collected().get("gpu_user_sm_seconds_total", &USER);
    assert!(after >= used, "{used:?} fell to {after:?}");
}
