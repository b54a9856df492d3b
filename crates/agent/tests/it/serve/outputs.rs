//! The textfile beside /metrics, and what cannot be written.

use super::{ALICE, Serve, node, wait_for};
use crate::node::{EPOCH, Metrics, Node};

const SM: &str = "gpu_user_sm_seconds_total";

fn with_textfile(node: &Node, args: &[&str]) -> Serve {
    let mut command = node.command(&[&["serve"], args].concat());
    Serve::run(command.env("GPU_SESSION_MONITOR_TEXTFILE_INTERVAL", "20s"))
}

fn age_in_file(node: &Node) -> Option<f64> {
    let text = std::fs::read_to_string(node.textfile()).ok()?;
    let at = Metrics::parse(&text).get("gpu_session_collector_last_sample_timestamp_seconds", &[])?;
    Some(at - EPOCH as f64)
}

/// Waits until the file is of this second.
fn written(node: &Node, at: f64) -> Metrics {
    wait_for("the textfile", || {
        let found = age_in_file(node);
        if found == Some(at) { Ok(node.metrics()) } else { Err(format!("{found:?}")) }
    })
}

#[test]
fn beside_metrics_the_textfile_has_its_own_schedule_and_no_counters() {
    let mut node = node("");
    let serve = with_textfile(&node, &["--listen", "127.0.0.1:0"]);
    serve.sampled(&node);
    let file = written(&node, 10.0);
    assert_eq!(file.get("gpu_session_count", &[("gpu", "0")]), Some(1.0));
    assert!(file.names().iter().all(|name| !name.ends_with("_total")), "{:?}", file.names());
    assert_eq!(file.get("gpu_session_collector_stale", &[]), None, "a file has no age");
    // The next is due at 30; a later sample proves that the one at 25 was not written.
    serve.samples(&mut node, [15, 20, 25]);
    assert_eq!(age_in_file(&node), Some(10.0));
    serve.samples(&mut node, [30]);
    written(&node, 30.0);
    assert!(serve.metrics().names().contains(&SM));
    assert_eq!(serve.lines("every number twice"), 1, "{}", serve.log());
    serve.said("counters are left out of the file");
}

#[test]
fn alone_or_where_told_it_has_counters() {
    for (args, warnings) in [
        (&["--listen", "off"][..], 0),
        (&["--listen", "127.0.0.1:0", "--textfile-counters", "true"], 1),
        (&["--listen", "127.0.0.1:0", "--textfile-counters", "false"], 0),
    ] {
        let node = node("");
        let serve = with_textfile(&node, args);
        let wanted = !args.contains(&"false");
        assert_eq!(written(&node, 10.0).get(SM, &ALICE).is_some(), wanted, "{args:?}");
        assert_eq!(serve.lines("every number twice"), warnings, "{args:?}: {}", serve.log());
    }
}

/// The text by metric: help, type and series.
fn families(text: &str) -> Vec<(String, String)> {
    let parts = text.split("# HELP ").filter(|part| !part.is_empty());
    parts.map(|part| (part.split(' ').next().unwrap().to_owned(), part.to_owned())).collect()
}

#[test]
fn the_textfile_and_metrics_agree_to_the_byte() {
    // Only over HTTP, which knows when it is read; and only of a file, which has neighbours.
    let of_http = ["gpu_session_collector_snapshot_age_seconds", "gpu_session_collector_stale"];
    let of_file = ["gpu_session_collector_foreign_textfiles"];
    let process = "  - { pid: 10, name: 'q\"\\x', uid: 1000, end: 62s, devices: [{ gpu: 0, memory: 1GiB, sm: 50 }] }\n  - { pid: 11, name: b, uid: 1001, devices: [{ gpu: 1, memory: 2GiB, sm: 20 }] }\n";
    let mut node = Node::new(&crate::node::plain(2, process));
    node.at(10.0);
    let args = ["--listen", "127.0.0.1:0", "--textfile-counters", "true", "--textfile-interval", "5s"];
    let serve =
        with_textfile(&node, &[&args[..], &["--scrape-interval", "15s", "--label", "rack=r 1"]].concat());
    serve.samples(&mut node, (10..=100).step_by(5));
    let file = written(&node, 100.0);
    assert!(file.get(SM, &[("gpu", "0"), ("user", "alice")]).is_some_and(|sm| sm > 20.0));
    let file = std::fs::read_to_string(node.textfile()).unwrap();
    let answer = serve.ask("GET", "/metrics", "*/*").unwrap();
    let metrics = answer.split_once("\r\n\r\n").unwrap().1;
    let without = |text: &str, names: &[&str]| {
        let (left, shared): (Vec<_>, Vec<_>) =
            families(text).into_iter().partition(|(name, _)| names.contains(&&**name));
        assert_eq!(left.len(), names.len(), "{names:?}");
        shared
    };
    let (shared, over_http) = (without(&file, &of_file), without(metrics, &of_http));
    assert!(shared.len() > 40, "{}", shared.len());
    assert_eq!(shared, over_http);
    for text in [&file, metrics] {
        assert_eq!(crate::chain::promtool(text).len(), 1, "nothing but the seed's own suffix");
    }
}

#[test]
fn a_textfile_that_cannot_be_written_is_told_once_and_counted() {
    let mut node = node("");
    let serve = with_textfile(&node, &["--listen", "127.0.0.1:0", "--textfile-interval", "5s"]);
    serve.sampled(&node);
    written(&node, 10.0);
    let folder = node.path("textfiles");
    std::fs::rename(&folder, node.path("away")).unwrap();
    let metrics = serve.samples(&mut node, [15, 20, 25, 30, 35, 40]);
    let failed = metrics.get("gpu_session_collector_write_errors_total", &[("target", "textfile")]);
    assert!(failed.is_some_and(|failed| failed >= 3.0), "{failed:?}");
    assert_eq!(serve.lines("gpu_sessions.prom: not written"), 1, "{}", serve.log());
    std::fs::rename(node.path("away"), &folder).unwrap();
    serve.samples(&mut node, [45]);
    written(&node, 45.0);
    serve.said("textfile: is written again");
}

#[test]
fn a_state_that_cannot_be_written_is_told_once_and_counted() {
    let mut node = node("");
    let serve = Serve::start(&node, &[]);
    let before = serve.samples(&mut node, (10..=90).step_by(20)).get(SM, &ALICE).unwrap();
    let folder = node.path("state");
    std::fs::rename(&folder, node.path("away")).unwrap();
    let unsaved = serve.samples(&mut node, (110..=170).step_by(20));
    assert_eq!(unsaved.get(SM, &ALICE), Some(before), "what is not saved is not shown");
    assert_eq!(serve.lines("the state cannot be written"), 1, "{}", serve.log());
    std::fs::rename(node.path("away"), &folder).unwrap();
    let saved = serve.samples(&mut node, [190]);
    assert!(saved.get(SM, &ALICE).unwrap() > before + 40.0);
    assert_eq!(saved.get("gpu_session_collector_write_errors_total", &[("target", "state")]), Some(4.0));
    serve.said("state: is written again");
}

#[test]
fn a_driver_that_is_down_leaves_a_textfile_of_health() {
    let node = node("faults: [{ function: \"nvmlInit*\", return: DRIVER_NOT_LOADED }]\n");
    let _serve = with_textfile(&node, &["--listen", "off"]);
    let file = written(&node, 10.0);
    assert_eq!(file.get("gpu_session_collector_source_up", &[("source", "nvml")]), Some(0.0));
}
