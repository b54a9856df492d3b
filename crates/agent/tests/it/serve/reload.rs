//! The configuration, read anew.

use super::{Serve, node};
use crate::node::Metrics;
use rustix::process::Signal;
use std::os::unix::fs::symlink;

const GOOD: &str = "gpu_session_collector_config_last_reload_successful";

fn is_of(node: &'static str) -> impl Fn(&Metrics) -> bool {
    move |metrics| metrics.get("gpu_session_count", &[("gpu", "0"), ("node", node)]).is_some()
}

#[test]
fn a_changed_file_is_read_and_a_bad_one_changes_nothing() {
    let mut node = node("");
    let config = node.path("config.yaml");
    std::fs::write(&config, "node: a\n").unwrap();
    let serve = Serve::start(&node, &["--config", config.to_str().unwrap()]);
    let first = serve.shows("its node", is_of("a"));
    assert_eq!(first.get(GOOD, &[]), Some(1.0));

    std::fs::write(&config, "node: bb\ninterval: 7s\n").unwrap();
    node.at(15.0);
    serve.shows("the other node", is_of("bb"));
    serve.sampled(&node);
    // By the new interval.
    serve.samples(&mut node, [22, 29]);

    std::fs::write(&config, "nod: c\n").unwrap();
    node.at(36.0);
    let log = serve.said("the settings of before stay");
    assert!(log.contains("config.yaml") && log.contains("nod"), "{log}");
    let bad = serve.sampled(&node);
    assert_eq!(bad.get(GOOD, &[]), Some(0.0));
    assert!(is_of("bb")(&bad));
    serve.samples(&mut node, [43, 50]);
    assert_eq!(serve.lines("the settings of before stay"), 1, "told when it was read: {}", serve.log());

    std::fs::write(&config, "node: d\n").unwrap();
    node.at(57.0);
    let mended = serve.shows("the last node", is_of("d"));
    assert_eq!(mended.get(GOOD, &[]), Some(1.0));
    let at = mended.get("gpu_session_collector_config_last_reload_success_timestamp_seconds", &[]);
    assert_eq!(at, Some(crate::node::EPOCH as f64 + 57.0));
}

#[test]
fn sighup_reads_it_at_once_and_says_what_cannot_change() {
    let node = node("");
    let config = node.path("config.yaml");
    std::fs::write(&config, "node: a\n").unwrap();
    let serve = Serve::start(&node, &["--config", config.to_str().unwrap(), "--label", "rack=r1"]);
    serve.shows("its node", is_of("a"));
    std::fs::write(&config, "node: b\nlisten: \"off\"\nstate: {dir: /nonexistent}\n").unwrap();
    serve.signal(Signal::HUP);
    let metrics = serve.shows("the other node", is_of("b"));
    // Flags and the environment stand over the file, as at the start.
    assert_eq!(metrics.get(GOOD, &[("rack", "r1")]), Some(1.0));
    assert!(!serve.log().contains("listen: it changes only"), "a flag stands over it: {}", serve.log());
}

#[test]
fn what_cannot_change_is_said() {
    let node = node("");
    let config = node.path("config.yaml");
    let state = format!("state: {{dir: {}}}\n", node.path("state").display());
    std::fs::write(&config, format!("listen: 127.0.0.1:0\n{state}")).unwrap();
    let mut command = node.command(&["serve", "--config", config.to_str().unwrap()]);
    command.env_remove("GPU_SESSION_MONITOR_TEXTFILE").env_remove("GPU_SESSION_MONITOR_STATE_DIR");
    let serve = Serve::run(&mut command);
    serve.sampled(&node);
    std::fs::write(&config, "node: b\nlisten: \"off\"\nstate: {dir: /nonexistent/x}\n").unwrap();
    serve.signal(Signal::HUP);
    serve.shows("the other node", is_of("b"));
    serve.said("listen: it changes only when");
    serve.said("state.dir: it changes only when");
    assert!(node.path("state/state.json").exists());
}

#[test]
fn a_configmap_is_swapped_by_a_link() {
    let mut node = node("");
    for (folder, name) in [("v1", "a"), ("v2", "b")] {
        std::fs::create_dir(node.path(folder)).unwrap();
        std::fs::write(node.path(folder).join("config.yaml"), format!("node: {name}\n")).unwrap();
    }
    symlink("v1", node.path("..data")).unwrap();
    symlink("..data/config.yaml", node.path("config.yaml")).unwrap();
    let serve = Serve::start(&node, &["--config", node.path("config.yaml").to_str().unwrap()]);
    serve.shows("its node", is_of("a"));
    symlink("v2", node.path("..data_tmp")).unwrap();
    std::fs::rename(node.path("..data_tmp"), node.path("..data")).unwrap();
    node.at(15.0);
    serve.shows("the other node", is_of("b"));
}
