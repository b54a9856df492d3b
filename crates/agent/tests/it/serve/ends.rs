//! How it ends, and how the next run goes on.

use super::{ALICE, LONGEST_WAIT, Serve, node};
use crate::node::Node;
use rustix::process::Signal;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

const SM: &str = "gpu_user_sm_seconds_total";
const HANGS: &str = "faults: [{ from: 28s, function: \"nvml*\", hang: true }]\n";

#[test]
fn after_a_clean_end_the_next_run_goes_on_with_the_counters() {
    let mut node = node("");
    let mut serve = Serve::start(&node, &[]);
    let before = serve.samples(&mut node, (10..=150).step_by(20)).get(SM, &ALICE).unwrap();
    assert!(before > 50.0, "{before}");
    assert_eq!(serve.terminate().code(), Some(0));
    node.at(155.0);
    let serve = Serve::start(&node, &[]);
    let after = serve.sampled(&node).get(SM, &ALICE).unwrap();
    // Half of the GPU since the first sample: the end saves what was used, the driver's ring has what came after.
    assert!(after >= before && (after - 72.5).abs() < 2.0, "{before} {after}");
}

#[test]
fn a_run_that_was_killed_never_showed_more_than_the_next() {
    let mut node = node("");
    let mut shown = 0.0;
    let mut at = 10;
    for _ in 0..4 {
        let mut serve = Serve::start(&node, &[]);
        for _ in 0..12 {
            let value = serve.sampled(&node).get(SM, &ALICE);
            assert!(value.is_none_or(|value| value >= shown), "{value:?} {shown}");
            shown = value.unwrap_or(shown);
            at += 5;
            node.at(f64::from(at));
        }
        serve.signal(Signal::KILL);
        assert_eq!(serve.ended().code(), None);
    }
    let last = Serve::start(&node, &[]);
    let value = last.sampled(&node).get(SM, &ALICE).unwrap();
    assert!(value >= shown && (value - 0.5 * (f64::from(at) - 10.0)).abs() < 2.0, "{value} {shown}");
}

#[test]
fn at_its_end_the_driver_is_left_in_order() {
    let node = node("");
    // The driver writes it when it is left.
    let left = node.path("calls");
    let mut command = node.command(&["serve", "--listen", "127.0.0.1:0"]);
    let mut serve = Serve::run(command.env("NVML_SIM_CALLS", &left));
    serve.sampled(&node);
    assert!(!left.exists());
    assert_eq!(serve.terminate().code(), Some(0));
    assert!(left.exists());
}

#[test]
fn while_the_driver_hangs_it_answers_and_ends_in_time() {
    let mut node = node(HANGS);
    let mut serve = Serve::start(&node, &["--timeout", "10m"]);
    serve.samples(&mut node, [10, 15, 20, 25]);
    node.at(30.0);
    let age = |seconds: f64| {
        move |metrics: &crate::node::Metrics| {
            metrics.get("gpu_session_collector_snapshot_age_seconds", &[]) == Some(seconds)
        }
    };
    let fresh = serve.shows("an age", age(5.0));
    assert_eq!(fresh.get("gpu_session_collector_stale", &[]), Some(0.0));
    node.at(70.0);
    let stale = serve.shows("a larger age", age(45.0));
    assert_eq!(stale.get("gpu_session_collector_stale", &[]), Some(1.0));
    assert_eq!(stale.get("gpu_session_count", &[("gpu", "0")]), Some(1.0), "the last that is known");
    std::fs::remove_file(node.path("state/state.json")).unwrap();
    let begin = Instant::now();
    assert_eq!(serve.terminate().code(), Some(0));
    // This is promised.
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    let state = std::fs::read_to_string(node.path("state/state.json")).unwrap();
    assert!(state.contains("alice"), "{state}");
}

#[test]
fn before_the_first_sample_it_speaks_of_itself_only() {
    let node = node("faults: [{ function: \"nvml*\", hang: true }]\n");
    let serve = Serve::start(&node, &["--timeout", "10m"]);
    let metrics = serve.metrics();
    let names = metrics.names();
    assert!(names.contains(&"gpu_session_collector_build_info"), "{names:?}");
    assert!(names.iter().all(|name| name.starts_with("gpu_session_collector_")), "{names:?}");
    for absent in ["last_sample_timestamp_seconds", "snapshot_age_seconds", "stale"] {
        assert_eq!(metrics.get(&format!("gpu_session_collector_{absent}"), &[]), None);
    }
}

#[test]
fn two_do_not_share_a_state_folder() {
    let node = node("");
    let serve = Serve::start(&node, &[]);
    serve.sampled(&node);
    let second = node.run(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(second.code, 1);
    assert!(second.stderr.contains("another gpu-session-monitor"), "{}", second.stderr);
    assert!(second.stderr.contains("--state-dir"), "{}", second.stderr);
}

#[test]
fn what_keeps_it_from_starting_is_said_with_its_remedy() {
    let node = node("");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let serve = |args: &[&str]| node.run(&[&["serve"], args].concat());
    let run = serve(&["--listen", &address]);
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert!(run.stderr.contains(&address) && run.stderr.contains("--listen off"), "{}", run.stderr);
    let run = serve(&["--listen", "127.0.0.1:0", "--textfile", "/nonexistent/x.prom"]);
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert!(run.stderr.contains("mkdir -p /nonexistent"), "{}", run.stderr);
    for (args, wanted) in [
        (["--interval", "500ms"], "from 1s to 5m"),
        (["--interval", "6m"], "from 1s to 5m"),
        (["--interval", "0.5s"], "from 1s to 5m"),
        (["--listen", "9836"], "127.0.0.1:9836"),
        (["--scrape-interval", "0s"], "from 1s to 1h"),
        (["--ledger-size", "5"], "256MiB"),
        (["--ledger-size", "5B"], "from 4MiB"),
        (["--ledger-size", "3MiB"], "from 4MiB"),
        (["--ledger-age", "5m"], "from 1h"),
        (["--textfile-interval", "10ms"], "from 1s"),
    ] {
        let run = serve(&args);
        assert_eq!(run.code, 2, "{args:?}: {}", run.stderr);
        assert!(run.stderr.contains(wanted), "{args:?}: {}", run.stderr);
    }
}

/// What the service manager is told until `wanted` is.
fn told(socket: &UnixDatagram, wanted: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let n = socket.recv(&mut buffer).unwrap_or_else(|e| panic!("no {wanted} after {all:?}: {e}"));
        let message = String::from_utf8_lossy(&buffer[..n]).into_owned();
        let found = message.lines().any(|line| line == wanted);
        all.extend(message.lines().map(str::to_owned));
        if found {
            return all;
        }
    }
}

fn notified(node: &Node, args: &[&str]) -> (Serve, UnixDatagram) {
    let socket = UnixDatagram::bind(node.path("notify")).unwrap();
    socket.set_read_timeout(Some(LONGEST_WAIT)).unwrap();
    let mut command = node.command(&[&["serve", "--listen", "127.0.0.1:0"], args].concat());
    command.env_remove("GPU_SESSION_MONITOR_TEXTFILE");
    command.env("NOTIFY_SOCKET", node.path("notify")).env("WATCHDOG_USEC", "300000");
    (Serve::run(&mut command), socket)
}

#[test]
fn the_service_manager_is_told() {
    let mut node = node(HANGS);
    let (mut serve, socket) = notified(&node, &["--timeout", "10m"]);
    let ready = told(&socket, "READY=1");
    assert!(!ready.contains(&"STOPPING=1".to_owned()));
    serve.sampled(&node);
    node.at(30.0);
    // The driver hangs, the loop does not.
    for _ in 0..4 {
        told(&socket, "WATCHDOG=1");
    }
    serve.signal(Signal::HUP);
    let around = [told(&socket, "RELOADING=1"), told(&socket, "READY=1")].concat();
    assert!(around.iter().any(|line| line.starts_with("MONOTONIC_USEC=")), "{around:?}");
    serve.signal(Signal::TERM);
    told(&socket, "STOPPING=1");
    assert_eq!(serve.ended().code(), Some(0));
}

#[test]
fn a_driver_that_is_down_does_not_keep_it_from_being_ready() {
    let node = node("faults: [{ function: \"nvmlInit*\", return: DRIVER_NOT_LOADED }]\n");
    let (_serve, socket) = notified(&node, &[]);
    let all = told(&socket, "READY=1");
    assert!(all.contains(&"STATUS=0 devices; not well: nvml".to_owned()), "{all:?}");
}
