//! What installing, using, upgrading, removing and purging it does.

use super::unit::{Manager, Unit, install_driver};
use super::{Debian, package, package_of};
use crate::node::{EPOCH, Metrics, Node};
use crate::serve::Serve;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

const CONFIG: &str = "/etc/gpu-session-monitor/config.yaml";
const TEXTFILE: &str = "/var/lib/prometheus/node-exporter/gpu_sessions.prom";
const SERVICE: &str = "gpu-session-monitor.service";
/// What starts it with the machine.
const ENABLED: &str = "/etc/systemd/system/multi-user.target.wants/gpu-session-monitor.service";
/// What the simulated node needs: its own /proc and users, which others see as /srv, and a port that is free.
const EDITS: &str = "proc: { root: /srv/proc }\nusers: { passwd: /srv/passwd }\nkubelet: { socket: \"off\" }\n\
    listen: 127.0.0.1:0\nscrape_interval: 1s\nnode: gpu-7\n";

#[test]
fn it_is_installed_used_upgraded_removed_and_purged() {
    let debian = Debian::new();
    install_driver(&debian);
    // As the package prometheus-node-exporter makes it.
    std::fs::create_dir_all(debian.path("/var/lib/prometheus/node-exporter")).unwrap();
    let before = debian.inventory();

    debian.install(package());
    is_installed(&debian);
    let mut node = node();
    std::fs::write(debian.path(CONFIG), debian.read(CONFIG) + EDITS).unwrap();
    let used = serve(&debian, &mut node);
    // The folder is the service's own, and root reads it.
    let report = ["gpu-session-monitor", "report", "--since", "2023-11-14", "--until", "2023-11-16"];
    assert!(debian.run(&report).contains("alice"));
    collect(&debian, &node);
    let kept = state(&debian);
    // As the documentation backs it up.
    let backup = "umask 077; tar -C /var/lib -czf /tmp/backup.tar.gz gpu-session-monitor";
    debian.run(&["sh", "-c", backup]);

    debian.install(&package_of("99.0-1"));
    assert_eq!(version(&debian), "99.0-1");
    assert!(debian.read(CONFIG).ends_with(EDITS));
    assert_eq!(state(&debian), kept);
    assert!(serve(&debian, &mut node) > used, "counters go on");
    // And puts it back.
    assert_ne!(state(&debian), kept);
    let lines = [
        "mv /var/lib/gpu-session-monitor /var/lib/gpu-session-monitor.old",
        "tar -C /var/lib -xzpf /tmp/backup.tar.gz",
    ];
    for line in lines {
        debian.run(&["sh", "-c", line]);
    }
    assert_eq!(state(&debian), kept);
    debian.run(&["rm", "-r", "/var/lib/gpu-session-monitor.old", "/tmp/backup.tar.gz"]);
    assert!(serve(&debian, &mut node) > used, "and it goes on from there");
    let kept = state(&debian);

    // As `systemctl disable` does it: an administrator's wish, that an upgrade does not undo.
    std::fs::remove_file(debian.path(ENABLED)).unwrap();
    debian.install(&package_of("99.1-1"));
    assert!(!debian.has(ENABLED));

    debian.run(&["dpkg", "--remove", "gpu-session-monitor"]);
    assert!(!debian.has("/usr/bin/gpu-session-monitor") && !debian.has(TEXTFILE));
    assert_eq!(state(&debian), kept);
    assert!(debian.read(CONFIG).ends_with(EDITS));

    debian.run(&["dpkg", "--purge", "gpu-session-monitor"]);
    let after = debian.inventory();
    let left: Vec<_> = after.difference(&before).collect();
    let lost: Vec<_> = before.difference(&after).collect();
    assert!(left.is_empty() && lost.is_empty(), "left: {left:?}, lost: {lost:?}");
}

#[test]
fn what_others_wrote_into_the_textfiles_folder_stays() {
    let debian = Debian::new();
    std::fs::create_dir_all(debian.path("/var/lib/prometheus/node-exporter")).unwrap();
    debian.install(package());
    std::fs::write(debian.path(TEXTFILE), "another_metric 1\n").unwrap();
    debian.run(&["dpkg", "--purge", "gpu-session-monitor"]);
    assert_eq!(debian.read(TEXTFILE), "another_metric 1\n");
}

/// A simulated node that the service's user may read.
fn node() -> Node {
    let node = crate::serve::node("");
    let own = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(node.path(""), own).unwrap();
    node
}

fn version(debian: &Debian) -> String {
    debian.run(&["dpkg-query", "--show", "--showformat=${Version}", "gpu-session-monitor"])
}

fn is_installed(debian: &Debian) {
    assert_eq!(version(debian), concat!(env!("CARGO_PKG_VERSION"), "-1"));
    let said = debian.run(&["gpu-session-monitor", "--version"]);
    assert!(said.contains(env!("CARGO_PKG_VERSION")), "{said}");
    assert!(debian.run(&["kubectl-gpu_sessions", "--help"]).contains("kubectl gpu-sessions"));
    for file in [
        "man/man1/gpu-session-monitor.1.gz",
        "man/man1/gpu-session-monitor-serve.1.gz",
        "bash-completion/completions/gpu-session-monitor",
        "zsh/vendor-completions/_gpu-session-monitor",
        "fish/vendor_completions.d/gpu-session-monitor.fish",
        "man/man1/kubectl-gpu_sessions.1.gz",
        "bash-completion/completions/kubectl-gpu_sessions",
        "zsh/vendor-completions/_kubectl-gpu_sessions",
        "fish/vendor_completions.d/kubectl-gpu_sessions.fish",
        "doc/gpu-session-monitor/copyright",
    ] {
        // A clean Debian may be told to leave documentation out; this one is not.
        assert!(debian.has(&format!("/usr/share/{file}")), "{file}");
    }
    let passwd = debian.read("/etc/passwd");
    let user = passwd.lines().find(|line| line.starts_with("gpu-session-monitor:")).expect("the user");
    assert!(user.ends_with("/nologin") && user.contains(":/nonexistent:"), "{user}");
    assert!(debian.has(ENABLED), "it starts with the machine");
    let timers = "/etc/systemd/system/timers.target.wants/gpu-session-monitor-collect.timer";
    assert!(!debian.has(timers), "it is for those who choose it");
    assert_eq!(debian.run(&["dpkg", "--verify", "gpu-session-monitor"]), "");
}

/// Runs the service for half a minute, and says what alice has used by then, in seconds.
fn serve(debian: &Debian, node: &mut Node) -> f64 {
    let unit = Unit::of(debian, SERVICE);
    let mut command = unit.command(&node.path(""));
    let manager = Manager::listen(&node.path(""), simulated(&mut command));
    let mut serve = Serve::run(&mut command);
    manager.told("READY=1");
    let begin = node.now() as u32;
    let metrics = serve.samples(node, (begin + 5..=begin + 30).step_by(5));
    assert_eq!(serve.terminate().code(), Some(0), "{}", serve.log());
    manager.told("STOPPING=1");
    std::fs::remove_file(node.path("notify")).unwrap();
    let owner = std::fs::metadata(debian.path(&unit.state()).join("state.json")).unwrap().uid();
    assert_eq!(owner.to_string(), debian.run(&["id", "--user", unit.value("User")]).trim());
    let used =
        metrics.get("gpu_user_sm_seconds_total", &[("gpu", "0"), ("user", "alice"), ("node", "gpu-7")]);
    used.expect("what alice has used")
}

/// Runs what the timer runs, once.
fn collect(debian: &Debian, node: &Node) {
    let unit = Unit::of(debian, "gpu-session-monitor-collect.service");
    let mut command = unit.command(&node.path(""));
    let run = crate::node::Run::of(simulated(&mut command).output().unwrap());
    assert_eq!(run.code, 0, "{}", run.stderr);
    let file = std::fs::metadata(debian.path(TEXTFILE)).unwrap();
    assert_eq!(file.mode() & 0o777, 0o644, "node_exporter reads it as another user");
    let metrics = Metrics::parse(&debian.read(TEXTFILE));
    assert_eq!(metrics.get("gpu_session_count", &[("gpu", "0"), ("node", "gpu-7")]), Some(1.0));
}

/// Tells the simulated driver and the program of the node's time.
fn simulated(command: &mut std::process::Command) -> &mut std::process::Command {
    command.env("NVML_SIM_SCENARIO", "/srv/scenario.yaml").env("NVML_SIM_CLOCK", "/srv/clock");
    command.env("NVML_SIM_EPOCH", EPOCH.to_string()).env("GPU_SESSION_MONITOR_CLOCK", "/srv/clock")
}

/// What survives: the files of both state folders.
fn state(debian: &Debian) -> Vec<(String, Vec<u8>)> {
    let folders = ["/var/lib/gpu-session-monitor", "/var/lib/gpu-session-monitor-collect"];
    let files = folders.iter().flat_map(|folder| {
        let entries = std::fs::read_dir(debian.path(folder)).unwrap();
        entries.map(move |entry| format!("{folder}/{}", entry.unwrap().file_name().display()))
    });
    let mut files: Vec<_> =
        files.map(|file| (file.clone(), std::fs::read(debian.path(&file)).unwrap())).collect();
    files.sort();
    let names: Vec<_> = files.iter().map(|(name, _)| name.as_str()).collect();
    for name in ["gpu-session-monitor/state.json", "gpu-session-monitor/ledger.db", "-collect/state.json"] {
        assert!(names.iter().any(|file| file.ends_with(name)), "{names:?}");
    }
    files
}
