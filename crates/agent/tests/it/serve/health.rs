//! `/healthz` and `/readyz`.

use super::{Serve, node, wait_for};
use crate::node::Node;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// Status and text.
fn asked(serve: &Serve, path: &str) -> (u16, String) {
    status(&serve.ask("GET", path, "*/*").unwrap())
}

fn status(answer: &str) -> (u16, String) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn waits(serve: &Serve, path: &str, wanted: &(u16, String)) {
    wait_for(&format!("{path} {wanted:?}"), || {
        let found = asked(serve, path);
        if found == *wanted { Ok(()) } else { Err(format!("{found:?}")) }
    });
}

#[test]
fn it_is_ready_while_the_sample_is_fresh() {
    // The driver answers at first, then never again.
    let mut node =
        node("faults: [{ from: 18s, function: \"nvmlDeviceGetComputeRunningProcesses*\", hang: true }]\n");
    let serve = Serve::start(&node, &["--timeout", "5m"]);
    serve.samples(&mut node, [10, 15]);
    assert_eq!(asked(&serve, "/healthz"), (200, "ok\n".to_owned()));
    assert_eq!(asked(&serve, "/readyz"), (200, "ready: the last sample is 0 s old\n".to_owned()));
    node.at(20.0);
    node.at(45.0);
    waits(&serve, "/readyz", &(200, "ready: the last sample is 30 s old\n".to_owned()));
    node.at(46.0);
    let told =
        "not ready: the last sample is 31 s old, more than 30 s is stale, the source nvml is being read\n";
    waits(&serve, "/readyz", &(503, told.to_owned()));
    let stale = serve.metrics().get("gpu_session_collector_stale", &[]);
    assert_eq!(stale, Some(1.0), "the same limit");
    waits(&serve, "/healthz", &(200, "ok\n".to_owned()));
}

#[test]
fn before_the_first_sample_it_is_not_ready_and_says_what_is_waited_for() {
    let node = node("faults: [{ function: \"nvmlDeviceGetComputeRunningProcesses*\", hang: true }]\n");
    let serve = Serve::start(&node, &["--timeout", "5m"]);
    let told = "not ready: there is no sample yet, the source nvml is being read\n";
    waits(&serve, "/readyz", &(503, told.to_owned()));
    assert_eq!(asked(&serve, "/healthz"), (200, "ok\n".to_owned()));
    assert!(!serve.metrics().names().contains(&"gpu_session_count"));
}

/// A `serve` whose log nobody reads any more, so that the loop hangs when it has something to say.
struct Unread {
    child: std::process::Child,
    address: String,
    log: BufReader<std::io::PipeReader>,
}

impl Unread {
    fn start(node: &Node) -> Self {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let mut command = node.command(&["serve", "--listen", "127.0.0.1:0"]);
        command.env_remove("GPU_SESSION_MONITOR_TEXTFILE").stderr(writer.try_clone().unwrap());
        let child = command.spawn().unwrap();
        let (mut log, mut line) = (BufReader::new(reader), String::new());
        log.read_line(&mut line).unwrap();
        let address = line.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned();
        // As full as it can be; the child's end is to wait, not to fail.
        let blocking = rustix::fs::fcntl_getfl(&writer).unwrap();
        rustix::fs::fcntl_setfl(&writer, blocking | rustix::fs::OFlags::NONBLOCK).unwrap();
        for size in [1 << 12, 1] {
            while writer.write(&vec![b'\n'; size]).is_ok() {}
        }
        rustix::fs::fcntl_setfl(&writer, blocking).unwrap();
        Self { child, address, log }
    }

    fn healthz(&self) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        status(&answer)
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_loop_that_hangs_is_told_and_one_that_goes_on_again_too() {
    let mut node = node(
        "faults: [{ from: 18s, function: \"nvmlDeviceGetComputeRunningProcesses*\", return: UNKNOWN }]\n",
    );
    let mut unread = Unread::start(&node);
    assert_eq!(unread.healthz(), (200, "ok\n".to_owned()));
    wait_for("a loop that hangs", || {
        node.at(node.now() + 61.0);
        // A loop that lives comes round in a moment, wherever the clock stands.
        std::thread::sleep(Duration::from_millis(300));
        let (code, told) = unread.healthz();
        if code == 503 { Ok(()) } else { Err(told) }
    });
    let (_, told) = unread.healthz();
    assert!(told.starts_with("the loop hangs: it has not come round for "), "{told}");
    let mut log = std::mem::replace(&mut unread.log, BufReader::new(std::io::pipe().unwrap().0));
    std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
    wait_for("a loop that goes on", || {
        let found = unread.healthz();
        if found.0 == 200 { Ok(()) } else { Err(found.1) }
    });
}
