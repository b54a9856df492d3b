//! The demo, as a newcomer runs it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
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
