//! The kernel's process connector, as `doctor` shows it. Needs root in the initial namespaces.

use crate::node::{Node, Run, scenario_file};
use std::process::Command;

/// `doctor` in namespaces that `unshare` makes.
fn doctor(node: &Node, namespaces: &[&str]) -> String {
    let inner = node.command(&["doctor"]);
    let mut command = Command::new("unshare");
    command.args(namespaces).arg(inner.get_program()).args(inner.get_args()).env_clear();
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let run = Run::of(command.env("GPU_SESSION_MONITOR_PROCESS_EVENTS", "true").output().unwrap());
    let line = run.stdout.lines().find(|line| line.contains("process events"));
    line.unwrap_or_else(|| panic!("{}{}", run.stdout, run.stderr)).to_owned()
}

#[test]
fn doctor_says_what_is_missing_to_hear_of_processes() {
    let mut node = Node::new(&scenario_file("seed.yaml"));
    node.at(60.0);
    let well = doctor(&node, &[]);
    assert!(well.trim_start().starts_with("ok "), "this needs root in the initial namespaces: {well}");
    for (namespace, words) in [
        (&["--net"][..], "network namespace of its own"),
        (&["--pid", "--fork"], "pid namespace of its own"),
        (&["--user", "--map-root-user"], "user namespace of its own"),
    ] {
        let ill = doctor(&node, namespace);
        for words in ["failed", words, "hostPID: true", "hostNetwork: true", "CAP_NET_ADMIN"] {
            assert!(ill.contains(words), "{ill}");
        }
    }
}

#[test]
fn it_is_off_unless_told_and_a_flag_beats_the_file() {
    let mut node = Node::new(&scenario_file("seed.yaml"));
    node.at(60.0);
    let config = node.path("config.yaml");
    std::fs::write(&config, "process_events: true\n").unwrap();
    let config = config.to_str().unwrap();
    let shown = |args: &[&str]| !node.run(args).stdout.contains("not asked for (process_events)");
    assert!(!shown(&["doctor"]));
    assert!(shown(&["doctor", "--config", config]));
    assert!(!shown(&["doctor", "--config", config, "--process-events", "false"]));
    let wrong = node.run(&["doctor", "--process-events", "maybe"]);
    assert!(wrong.code == 2 && wrong.stderr.contains("true, false"), "{}", wrong.stderr);
}
