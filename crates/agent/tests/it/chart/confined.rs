//! The program as the chart's security contexts leave it: a root filesystem that is read only, no capability, no new
//! privileges, as root and as another user. Needs root, to give it up.

use super::{containers, pods, rendered, setting};
use crate::node::{Node, Run, driver, plain, program};
use serde_json::json;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

/// Makes all read only but the folder, sees that it is, and becomes the user without a capability. The program and the
/// driver are below the folder too, for the user may not be let into where they were built.
const CONFINE: &str = r#"set -e
folder=$1 uid=$2 built=$3; shift 3
mount --bind "$folder" "$folder"
mkdir -p "$folder/built"
mount --bind "$built" "$folder/built"
mount -o remount,bind,ro /
if touch /written 2>/dev/null; then echo "the root can be written" >&2; exit 70; fi
exec setpriv --reuid="$uid" --regid="$uid" --clear-groups --no-new-privs \
    --bounding-set=-all --inh-caps=-all --ambient-caps=-all -- "$@""#;

/// The command of the program, confined.
fn confined(node: &Node, uid: u32, args: &[&str]) -> Command {
    let plain = node.command(args);
    let built = Path::new(program()).parent().unwrap();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", CONFINE, "sh"]).arg(node.dir.path());
    command
        .arg(uid.to_string())
        .arg(built)
        .arg(node.path("built/gpu-session-monitor"))
        .args(plain.get_args());
    command.env_clear().envs(plain.get_envs().filter_map(|(key, value)| Some((key, value?))));
    let library = driver().strip_prefix(built).unwrap().to_owned();
    command.env("GPU_SESSION_MONITOR_NVML_LIBRARY", node.path("built").join(library));
    command
}

fn node() -> Node {
    let process = "  - { pid: 10, name: a, uid: 1000, devices: [{ gpu: 0, memory: 1GiB, sm: 50 }] }\n";
    let mut node = Node::new(&plain(1, process));
    node.at(10.0);
    // Where the folders of the node are.
    std::fs::set_permissions(node.dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    node
}

#[test]
fn root_without_a_capability_collects() {
    let node = node();
    for args in [&["collect"][..], &["doctor"]] {
        let run = Run::of(confined(&node, 0, args).output().unwrap());
        assert_eq!(run.code, 0, "{args:?}: {}{}", run.stdout, run.stderr);
    }
    assert_eq!(node.metrics().get("gpu_session_users", &[("gpu", "0")]), Some(1.0));
    let run = Run::of(confined(&node, 0, &["collect", "--remove", "--purge"]).output().unwrap());
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(!node.textfile().exists() && !node.path("state").exists(), "{}", run.stderr);
}

#[test]
fn another_user_collects_into_folders_of_his() {
    let node = node();
    let (pod, uid) = (pods(&rendered("cronjob-unprivileged-user")).remove(0).1, 65532);
    assert_eq!(pod["securityContext"]["runAsUser"], json!(uid));
    std::fs::create_dir(node.path("state")).unwrap();
    for folder in ["state", "textfiles"] {
        chown(node.path(folder), Some(uid), Some(uid)).unwrap();
    }
    let run = Run::of(confined(&node, uid, &["collect"]).output().unwrap());
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(node.metrics().get("gpu_user_sessions", &[("gpu", "0"), ("user", "alice")]), Some(1.0));
    let run = Run::of(confined(&node, uid, &["collect", "--remove"]).output().unwrap());
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(!node.textfile().exists() && node.path("state/state.json").exists(), "{}", run.stderr);
}

#[test]
fn a_state_folder_that_dies_with_the_pod_is_below_its_volume() {
    let node = node();
    let pod = pods(&rendered("daemonset-unprivileged-user")).remove(0).1;
    let folder = setting(containers(&pod).next().unwrap(), "STATE_DIR");
    assert_eq!(folder, Some("/var/lib/gpu-session-monitor/state"));
    // A volume is everybody's to write, which the program refuses of its own folder.
    std::fs::create_dir(node.path("volume")).unwrap();
    std::fs::set_permissions(node.path("volume"), PermissionsExt::from_mode(0o2777)).unwrap();
    let state = |name: &str| format!("--state-dir={}", node.path(name).display());
    let run = |name: &str| {
        let args = ["collect", &state(name), "--output", "-"];
        Run::of(confined(&node, 65532, &args).output().unwrap())
    };
    let refused = run("volume");
    assert!(refused.code == 1 && refused.stderr.contains("others can write to it"), "{}", refused.stderr);
    let good = run("volume/state");
    assert_eq!(good.code, 0, "{}", good.stderr);
}
