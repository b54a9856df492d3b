//! The host's processes. Needs root in the initial namespaces, as all of `process_events` does.

use super::{Report, examine, idle, seed};
use crate::node::{Node, Run};
use std::process::Command;

/// `doctor` where `script` has made it so; `"$@"` in it is the program.
fn under(node: &Node, namespaces: &[&str], script: &str, args: &[&str]) -> Report {
    let inner = node.command(&[&["doctor", "--json"], args].concat());
    let mut command = Command::new("unshare");
    command
        .args(namespaces)
        .args(["sh", "-ec", script, "sh"])
        .arg(inner.get_program())
        .args(inner.get_args());
    command.env_clear().envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Report::of(&Run::of(command.output().unwrap()))
}

#[test]
fn a_tree_of_processes_is_the_hosts_or_is_none() {
    let node = seed();
    let report = examine(&node, &[]);
    report.assert("host processes", "ok", &["the host's"]);
    report.assert("hidepid", "ok", &["no hidepid"]);
    report.assert("cgroups", "ok", &["v2"]);
    report.assert("process events", "skipped", &["process_events"]);
    let empty = node.path("nothing");
    std::fs::create_dir(&empty).unwrap();
    let report = examine(&node, &["--proc-root", empty.to_str().unwrap()]);
    report.assert("host processes", "failed", &["proc.root"]);
    report.assert("cgroups", "skipped", &["cgroup"]);
    assert_eq!(report.code, 1);
}

#[test]
fn a_containers_own_processes_are_not_the_hosts() {
    let script = "mount -t proc proc /proc && exec \"$@\"";
    let report = under(&idle(""), &["--mount", "--pid", "--fork"], script, &["--proc-root", "/proc"]);
    report.assert("host processes", "failed", &["hostPID: true"]);
    assert_eq!(report.code, 1);
}

#[test]
fn hidden_processes_are_seen_by_root_only() {
    let node = idle("");
    let root = node.path("hidden");
    std::fs::create_dir(&root).unwrap();
    std::fs::set_permissions(node.dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let root = root.to_str().unwrap();
    let mount = format!("mount -t proc -o hidepid=2 proc {root}");
    let args = ["--proc-root", root];
    let by_root = under(&node, &["--mount"], &format!("{mount} && exec \"$@\""), &args);
    by_root.assert("hidepid", "ok", &["hidepid", "root sees"]);
    // The program lies where only root may go.
    let copy = node.path("program");
    std::fs::copy(crate::node::program(), &copy).unwrap();
    let script = format!(
        "{mount}; shift; exec setpriv --reuid 65534 --regid 65534 --clear-groups {} \"$@\"",
        copy.display()
    );
    let by_other = under(&node, &["--mount"], &script, &args);
    by_other.assert("hidepid", "failed", &["hidepid", "run as root", "gid="]);
    assert_eq!(by_other.code, 1);
}

#[test]
fn each_layout_of_cgroups_is_named() {
    let node = seed();
    let init = node.path("proc/1");
    std::fs::create_dir_all(&init).unwrap();
    for (text, word) in [
        ("12:memory:/\n1:name=systemd:/\n0::/\n", "hybrid"),
        ("0::/../../kubepods.slice\n", "private cgroup namespace"),
    ] {
        std::fs::write(init.join("cgroup"), text).unwrap();
        examine(&node, &[]).assert("cgroups", "ok", &[word]);
    }
}

#[test]
fn users_have_names_from_a_file_or_a_remedy() {
    let node = seed();
    examine(&node, &[]).assert("users", "ok", &["passwd"]);
    let report = examine(&node, &["--users-passwd", "/nonexistent/passwd"]);
    report.assert("users", "failed", &["/nonexistent/passwd"]);
    let mut command = node.command(&["doctor", "--json", "--kubernetes-api", "off"]);
    command.env_remove("GPU_SESSION_MONITOR_USERS_PASSWD").env("KUBERNETES_SERVICE_HOST", "127.0.0.1");
    Report::of(&Run::of(command.output().unwrap())).assert("users", "warning", &["users.passwd"]);
}
