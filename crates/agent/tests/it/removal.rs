//! `collect --remove`: what goes, what stays, and who has to wait.

use crate::node::{Node, Run, plain};
use std::io::BufRead as _;
use std::path::Path;
use std::process::{Child, Stdio};

fn node() -> Node {
    let mut node =
        Node::new(&plain(1, "  - { pid: 7, name: x, uid: 1000, devices: [{ gpu: 0, memory: 1GiB }] }\n"));
    node.at(10.0);
    node
}

/// The command without a driver, a kubelet or an API that could be asked.
fn removal(node: &Node, args: &[&str]) -> std::process::Command {
    let mut command = node.command(&[&["collect", "--remove"], args].concat());
    command.env("GPU_SESSION_MONITOR_NVML_LIBRARY", "/nonexistent");
    command.env("GPU_SESSION_MONITOR_PROC_ROOT", "/nonexistent");
    command
}

fn remove(node: &Node, args: &[&str]) -> Run {
    Run::of(removal(node, args).output().unwrap())
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Every name that the program gives to a file in the state folder, in order.
const KEPT: [&str; 8] = [
    "ledger.db",
    "ledger.db-shm",
    "ledger.db-wal",
    "ledger.db.damaged",
    "ledger.db.damaged-shm",
    "ledger.db.damaged-wal",
    "state.json",
    "state.json.damaged",
];

#[test]
fn the_textfile_goes_and_what_is_kept_stays_and_is_named() {
    let node = node();
    node.collected();
    let run = remove(&node, &[]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(names(&node.path("textfiles")).is_empty());
    assert_eq!(names(&node.path("state")), ["lock", "state.json"]);
    let (textfile, state) = (node.textfile(), node.path("state"));
    let said = format!(
        "gpu-session-monitor: info: removed {}; left in {}: state.json (--purge removes that)\n",
        textfile.display(),
        state.display()
    );
    assert_eq!(run.stderr, said);
    let again = remove(&node, &[]);
    assert_eq!(again.code, 0, "{}", again.stderr);
    assert!(again.stderr.contains("gpu_sessions.prom was not there"), "{}", again.stderr);
    assert_eq!(again.stderr.lines().count(), 1);
}

#[test]
fn a_folder_that_is_not_there_holds_no_textfile() {
    let node = node();
    let run = remove(&node, &["--textfile", "/nonexistent/folder/gpu.prom"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.contains("/nonexistent/folder/gpu.prom was not there"), "{}", run.stderr);
}

#[test]
fn a_purge_removes_what_serve_and_collect_have_left_and_the_folder() {
    for (args, environment) in [(&["--purge"][..], None), (&[], Some("true"))] {
        let mut node = node();
        node.collected();
        let mut serve = crate::serve::Serve::start(&node, &[]);
        serve.samples(&mut node, [20, 30]);
        assert_eq!(serve.terminate().code(), Some(0));
        assert!(names(&node.path("state")).contains(&"ledger.db".to_owned()));
        let mut command = removal(&node, args);
        command.envs(environment.map(|value| ("GPU_SESSION_MONITOR_PURGE", value)));
        let run = Run::of(command.output().unwrap());
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert!(!node.textfile().exists() && !node.path("state").exists());
        let said = format!("removed state.json, ledger.db from {}\n", node.path("state").display());
        assert!(run.stderr.ends_with(&said) && run.stderr.lines().count() == 1, "{}", run.stderr);
        assert_eq!(remove(&node, &["--purge"]).code, 0, "a second time there is nothing");
        assert!(!node.path("state").exists());
    }
}

#[test]
fn a_purge_takes_every_file_of_ours_and_none_of_others() {
    let node = node();
    node.collected();
    let state = node.path("state");
    let others = ["ledger.db.backup", "notes", "state.json.old", ".state.json.mine.tmp"];
    for name in KEPT.iter().chain(&others).chain(&[".state.json.0123456789abcdef.tmp"]) {
        std::fs::write(state.join(name), "x").unwrap();
    }
    let run = remove(&node, &["--purge"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let mut left = others.map(str::to_owned);
    left.sort();
    assert_eq!(names(&state), left);
    assert!(KEPT.iter().all(|name| run.stderr.contains(name)), "{}", run.stderr);
    assert!(others.iter().all(|name| !run.stderr.contains(&format!("{name},"))), "{}", run.stderr);
}

#[test]
fn of_a_link_the_link_goes() {
    let node = node();
    node.collected();
    let victims = [node.path("victim"), node.path("other")];
    std::fs::remove_file(node.textfile()).unwrap();
    std::fs::remove_file(node.path("state/state.json")).unwrap();
    for (victim, link) in victims.iter().zip([node.textfile(), node.path("state/state.json")]) {
        std::fs::write(victim, "precious").unwrap();
        std::os::unix::fs::symlink(victim, link).unwrap();
    }
    let run = remove(&node, &["--purge"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(std::fs::symlink_metadata(node.textfile()).is_err() && !node.path("state").exists());
    assert!(victims.iter().all(|victim| std::fs::read_to_string(victim).unwrap() == "precious"));
}

#[test]
fn a_folder_in_its_place_is_no_textfile_and_stays() {
    let node = node();
    std::fs::create_dir(node.textfile()).unwrap();
    let run = remove(&node, &["--purge"]);
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("gpu_sessions.prom: not removed"), "{}", run.stderr);
    assert!(node.textfile().is_dir());
}

/// Runs it where this folder is a mount point, and after this command on it.
fn mounted(node: &Node, folder: &str, then: &str) -> Run {
    let plain = removal(node, &["--purge"]);
    let mut command = std::process::Command::new("unshare");
    let script = format!("mount --bind \"$1\" \"$1\"; {then}; shift; exec \"$@\"");
    command.args(["--mount", "--map-root-user", "sh", "-euc", &script, "sh"]).arg(node.path(folder));
    command.arg(crate::node::program()).args(plain.get_args());
    command.env_clear().envs(plain.get_envs().filter_map(|(key, value)| Some((key, value?))));
    Run::of(command.output().expect("unshare of util-linux"))
}

#[test]
fn a_folder_that_is_read_only_is_an_error_that_names_the_file() {
    for (folder, wanted) in
        [("textfiles", "gpu_sessions.prom: not removed"), ("state", "lock cannot be opened")]
    {
        let node = node();
        node.collected();
        let run = mounted(&node, folder, "mount -o remount,bind,ro \"$1\"");
        assert_eq!(run.code, 1, "{folder}: {}", run.stderr);
        assert!(run.stderr.contains(wanted) && run.stderr.contains("Read-only"), "{}", run.stderr);
        assert!(node.textfile().exists() && node.path("state/state.json").exists(), "{folder}");
    }
}

#[test]
fn a_mount_point_is_left_empty() {
    let node = node();
    node.collected();
    let run = mounted(&node, "state", "true");
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(names(&node.path("state")).is_empty() && !node.textfile().exists());
}

/// The lock in other hands, until standard input of who holds it is closed.
fn held(node: &Node) -> Child {
    let lock = node.path("state/lock");
    let mut holder = std::process::Command::new("flock")
        .args([lock.to_str().unwrap(), "-c", "echo held; read -r end"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("flock of util-linux");
    let mut line = String::new();
    std::io::BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "held\n");
    holder
}

#[test]
fn behind_a_run_that_is_at_it_nothing_is_removed() {
    let node = node();
    node.collected();
    let mut holder = held(&node);
    let run = remove(&node, &["--purge"]);
    drop(holder.stdin.take());
    holder.wait().unwrap();
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("another gpu-session-monitor runs"), "{}", run.stderr);
    assert!(node.textfile().exists() && node.path("state/state.json").exists());
}

#[test]
fn who_stays_keeps_others_out() {
    let node = node();
    node.collected();
    for purge in [false, true] {
        let args = ["--stay", "10m", "--purge"];
        let mut command = removal(&node, &args[..if purge { 3 } else { 2 }]);
        let mut staying = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        std::io::BufReader::new(staying.stderr.take().unwrap()).read_line(&mut said).unwrap();
        assert!(said.contains("gpu_sessions.prom"), "{said}");
        let run = node.collect();
        staying.kill().unwrap();
        staying.wait().unwrap();
        assert_eq!(run.code, 1, "{purge}");
        assert!(run.stderr.contains("another gpu-session-monitor runs"), "{}", run.stderr);
        assert!(!node.textfile().exists(), "{purge}");
    }
    let short = remove(&node, &["--stay", "1ms", "--purge"]);
    assert_eq!(short.code, 0, "{}", short.stderr);
    assert!(!node.path("state").exists());
}

#[test]
fn what_does_not_go_together_is_wrong_usage_and_removes_nothing() {
    let node = node();
    node.collected();
    for (args, wanted) in [
        (&["collect", "--purge"][..], "--remove"),
        (&["collect", "--stay", "1s"], "--remove"),
        (&["collect", "--remove", "--stay", "11m"], "--stay: 11m is not allowed: from 0s to 10m"),
        (&["collect", "--remove", "--stay", "soon"], "no duration"),
        (&["collect", "--remove", "--output", "-"], "--output"),
    ] {
        let run = node.run(args);
        assert_eq!(run.code, 2, "{args:?}: {}", run.stderr);
        assert!(run.stderr.contains(wanted), "{args:?}: {}", run.stderr);
    }
    let mut command = node.command(&["collect"]);
    let wrong = Run::of(command.env("GPU_SESSION_MONITOR_PURGE", "true").output().unwrap());
    assert_eq!(wrong.code, 2, "{}", wrong.stderr);
    assert!(node.textfile().exists() && node.path("state/state.json").exists());
    let off = Run::of(node.command(&["collect"]).env("GPU_SESSION_MONITOR_PURGE", "false").output().unwrap());
    assert_eq!(off.code, 0, "{}", off.stderr);
}

#[test]
fn a_run_says_in_one_line_what_it_saw() {
    let mut node = Node::new(&plain(
        2,
        "  - { pid: 7, name: x, uid: 1000, devices: [{ gpu: 0, memory: 1GiB }, { gpu: 1, memory: 1GiB }] }\n  \
         - { pid: 8, name: y, uid: 1001, devices: [{ gpu: 1, memory: 1GiB }] }\n",
    ));
    node.at(10.0);
    let run = node.collect();
    let wanted = "gpu-session-monitor: info: 2 devices, 3 sessions of 2 users; every source answered\n";
    assert_eq!((run.code, run.stderr.as_str()), (0, wanted));
}

#[test]
fn it_says_so_where_something_could_not_be_read() {
    let faults =
        "faults: [{ function: nvmlDeviceGetComputeRunningProcesses*, gpu: 1, return: GPU_IS_LOST }]\n";
    let process = "  - { pid: 7, name: x, uid: 1000, devices: [{ gpu: 0, memory: 1GiB }] }\n";
    let mut node = Node::new(&(plain(2, process) + faults));
    node.at(10.0);
    let run = node.collect();
    let info = |run: &Run| -> Vec<String> {
        run.stderr.lines().filter_map(|line| Some(line.split_once(": info: ")?.1.to_owned())).collect()
    };
    let wanted = "1 device, at least 1 session of 1 user; incomplete: nvml";
    assert_eq!((run.code, info(&run)), (3, vec![wanted.to_owned()]));
    let mut command = node.command(&["collect"]);
    let none = Run::of(command.env("GPU_SESSION_MONITOR_NVML_LIBRARY", "/nonexistent").output().unwrap());
    let wanted = "0 devices, at least 0 sessions of 0 users; incomplete: nvml";
    assert_eq!((none.code, info(&none)), (1, vec![wanted.to_owned()]));
}
