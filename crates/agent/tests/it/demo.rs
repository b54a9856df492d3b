//! The demo, as a newcomer runs it.

use crate::chain::await_answer;
use crate::node::{program, workspace};
use rustix::process::{Pid, Signal, kill_process_group};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

fn get(address: &str, path: &str, accept: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn it_shows_who_is_where_serves_metrics_and_cleans_up() {
    crate::node::driver();
    let temporary = tempfile::tempdir().unwrap();
    // The first port is taken: another must be found.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut demo = Command::new(crate::node::program())
        .args(["demo", "--listen", &taken.local_addr().unwrap().to_string()])
        .env("DEMO_SECONDS", "60")
        .env("TMPDIR", temporary.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = demo.stdout.take().unwrap();
    let mut shown = String::new();
    let mut buffer = [0; 4096];
    while !shown.contains("Ctrl-C ends it") {
        let n = stdout.read(&mut buffer).unwrap();
        assert!(n > 0, "it ended: {shown}");
        shown.push_str(&String::from_utf8_lossy(&buffer[..n]));
    }
    for wanted in ["0_1_0", "alice", "gpu_total_sessions{node=\"demo-node\"}"] {
        assert!(shown.contains(wanted), "{wanted} is not in {shown}");
    }
    let address = shown.split("http://").nth(1).and_then(|rest| rest.split('/').next()).unwrap().to_owned();
    assert!(get(&address, "/", "text/html").contains("/page/app.js"));
    let text = get(&address, "/metrics", "text/plain");
    assert!(
        text.contains("version=0.0.4") && text.contains("gpu_session_users{gpu=\"1\",node=\"demo-node\"} 4"),
        "{text}"
    );
    assert!(
        text.contains("gpu_session_collector_snapshot_age_seconds")
            && text.contains("gpu_session_collector_stale{node=\"demo-node\"} 0")
    );
    let open = get(&address, "/metrics", "application/openmetrics-text;version=1.0.0");
    assert!(open.contains("version=1.0.0") && open.contains("# EOF"), "{open}");

    let id = rustix::process::Pid::from_child(&demo);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    assert!(demo.wait().unwrap().success());
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0, "its folder is gone");
}

#[test]
fn a_folder_that_is_not_the_demos_is_never_removed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("scenario.yaml"), "version: 1\ngpus: []\n").unwrap();
    let output =
        Command::new(crate::node::program()).args(["demo", "--stage"]).arg(folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(folder.path().join("scenario.yaml").exists());
}

#[test]
fn without_the_simulated_driver_it_says_where_to_get_it() {
    // A link, for a copy that another thread's child holds open for writing cannot be run.
    let alone = tempfile::tempdir_in(Path::new(crate::node::program()).parent().unwrap()).unwrap();
    let program = alone.path().join("gpu-session-monitor");
    std::fs::hard_link(crate::node::program(), &program).unwrap();
    let output = Command::new(program).arg("demo").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cargo build -p nvml-sim"));
}

#[test]
fn the_script_leaves_an_alert_in_prometheus_to_look_at_and_ends_at_ctrl_c() {
    crate::node::driver();
    let temporary = tempfile::tempdir().unwrap();
    let mut script = Command::new("bash");
    script.arg(workspace().join("scripts/demo.sh")).env("DEMO_PROGRAM", program());
    script.env("TMPDIR", temporary.path()).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut script = script.process_group(0).spawn().unwrap();
    let mut lines = BufReader::new(script.stdout.take().unwrap()).lines().map(Result::unwrap);
    let line = lines.find(|line| line.contains("Prometheus: http://")).expect("where Prometheus is");
    let port =
        line.split("127.0.0.1:").nth(1).and_then(|rest| rest.split('/').next()).unwrap().parse().unwrap();
    let line = lines.find(|line| line.contains("the page of a cluster")).expect("where its page is");
    let page: u16 = line.rsplit(':').next().unwrap().trim_end_matches('/').parse().unwrap();
    let log = temporary.path().join("no.log");
    let recorded = "/api/v1/query?query=node:gpu_session_count:sum";
    await_answer(port, recorded, |text| text.contains("\"node\":\"demo-node\""), &log);
    let alerts = await_answer(port, "/api/v1/alerts", |text| text.contains("\"firing\""), &log);
    assert!(alerts.contains("GpuAllocationIdle"), "{alerts}");
    await_answer(page, "/api/v1/cluster/nodes", |text| text.contains("\"node\":\"demo-node\""), &log);
    // As a terminal does it: to all of them.
    kill_process_group(Pid::from_child(&script), Signal::INT).unwrap();
    assert!(script.wait().unwrap().success());
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0, "their folders are gone");
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "Prometheus has ended");
    assert!(TcpStream::connect(("127.0.0.1", page)).is_err(), "the page has ended");
}

#[test]
fn the_script_says_so_where_no_prometheus_can_be_had() {
    crate::node::driver();
    let folder = tempfile::tempdir().unwrap();
    let copied = Command::new("cp").arg("-r").arg(workspace().join("scripts")).arg(folder.path()).status();
    assert!(copied.unwrap().success());
    let bin = folder.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    for name in ["bash", "dirname", "mkdir", "mktemp", "rm"] {
        std::os::unix::fs::symlink(Path::new("/usr/bin").join(name), bin.join(name)).unwrap();
    }
    let mut script = Command::new("/usr/bin/bash");
    script.arg(folder.path().join("scripts/demo.sh")).env("DEMO_PROGRAM", program());
    let output = script.env("PATH", &bin).env("DEMO_SECONDS", "5").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("the demo runs without") && said.contains("Ctrl-C ends it"), "{said}");
}
