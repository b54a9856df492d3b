//! The textfile is whole, ours, and where it should be.

use crate::node::{Node, Run, plain};
use std::os::unix::fs::PermissionsExt as _;

fn node() -> Node {
    let mut node =
        Node::new(&plain(1, "  - { pid: 7, name: x, uid: 1000, devices: [{ gpu: 0, memory: 1GiB }] }\n"));
    node.at(10.0);
    node
}

#[test]
fn it_can_be_read_by_others_and_nothing_else_is_left_in_the_folder() {
    let node = node();
    node.collected();
    node.collected();
    let mode = std::fs::metadata(node.textfile()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
    assert_eq!(std::fs::read_dir(node.path("textfiles")).unwrap().count(), 1);
}

#[test]
fn a_missing_folder_is_an_error_with_the_command_that_makes_it() {
    let node = node();
    let run = node.run(&["collect", "--textfile", "/nonexistent/folder/gpu.prom"]);
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("mkdir -p /nonexistent/folder"), "{}", run.stderr);
    assert!(!node.path("state").exists(), "nothing is counted that nobody can read");
}

#[test]
fn a_link_planted_at_the_target_is_not_followed() {
    let node = node();
    let victim = node.path("victim");
    std::fs::write(&victim, "precious").unwrap();
    std::os::unix::fs::symlink(&victim, node.textfile()).unwrap();
    node.collected();
    assert_eq!(std::fs::read_to_string(victim).unwrap(), "precious");
    assert!(std::fs::symlink_metadata(node.textfile()).unwrap().is_file());
}

#[test]
fn another_file_with_our_names_is_named_and_ours_is_written() {
    let node = node();
    let other = node.path("textfiles/old_script.prom");
    std::fs::write(&other, "gpu_session_count{gpu=\"0\"} 50\n").unwrap();
    let run = node.collect();
    assert_eq!(run.code, 3);
    assert!(run.stderr.contains("old_script.prom"), "{}", run.stderr);
    assert_eq!(node.metrics().get("gpu_session_collector_foreign_textfiles", &[]), Some(1.0));
    assert_eq!(node.metrics().get("gpu_session_count", &[("gpu", "0")]), Some(1.0));
    assert!(other.exists());
}

/// Runs a command line in a mount namespace of its own, where it can make a small or read-only file system.
fn in_namespace(node: &Node, script: &str) -> Run {
    let mut command = node.command(&[]);
    let environment: Vec<_> =
        command.get_envs().filter_map(|(k, v)| Some((k.to_owned(), v?.to_owned()))).collect();
    command = std::process::Command::new("unshare");
    command.args(["--mount", "--map-root-user", "sh", "-euc", script]).env_clear().envs(environment);
    command.env("PROGRAM", crate::node::program()).env("FOLDER", node.path("textfiles"));
    Run::of(command.output().expect("unshare of util-linux"))
}

#[test]
fn a_full_disk_leaves_the_file_of_before() {
    let node = node();
    let script = "mount -t tmpfs -o size=64k tmpfs \"$FOLDER\"\n\
        \"$PROGRAM\" collect\n\
        before=$(cat \"$FOLDER/gpu_sessions.prom\")\n\
        dd if=/dev/zero of=\"$FOLDER/filler\" bs=1k count=100 2>/dev/null || true\n\
        code=0; \"$PROGRAM\" collect || code=$?\n\
        [ \"$before\" = \"$(cat \"$FOLDER/gpu_sessions.prom\")\" ] && echo same; ls -A \"$FOLDER\"; exit $code\n";
    let run = in_namespace(&node, script);
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert_eq!(run.stdout, "same\nfiller\ngpu_sessions.prom\n");
    assert!(run.stderr.contains("No space left") && run.stderr.contains("stays"), "{}", run.stderr);
}

#[test]
fn a_read_only_folder_is_an_error_that_names_it() {
    let node = node();
    let script = "mount -t tmpfs -o ro tmpfs \"$FOLDER\"\n\"$PROGRAM\" collect\n";
    let run = in_namespace(&node, script);
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("gpu_sessions.prom") && run.stderr.contains("Read-only"), "{}", run.stderr);
}
