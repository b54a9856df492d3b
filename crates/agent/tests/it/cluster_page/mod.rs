//! `web`: the page of a cluster, on a real Prometheus.

mod access;
mod lists;
mod past;
mod world;

use crate::node::program;
use crate::report::truth::Known;
use crate::serve::{Serve, wait_for};
use serde_json::Value;
use std::process::Command;
use world::NOW;

/// `web` on a Prometheus, with a clock that the test moves.
pub(crate) struct Page {
    pub(crate) serve: Serve,
    dir: tempfile::TempDir,
}

impl Page {
    /// On the Prometheus at this URL.
    pub(crate) fn of(url: &str, args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = dir.path().join("clock");
        std::fs::write(&clock, format!("{}", NOW * 1_000_000)).unwrap();
        let mut command = Command::new(program());
        let listen: &[&str] = if args.contains(&"--listen") { &[] } else { &["--listen", "127.0.0.1:0"] };
        command.args([&["web"], listen, args].concat()).env_clear();
        command.env("GPU_SESSION_MONITOR_CLOCK", clock).env("GPU_SESSION_MONITOR_PROMETHEUS", url);
        Self { serve: Serve::run_until(&mut command, "; Prometheus at "), dir }
    }

    /// Moves the clock to so many seconds after the begin.
    pub(crate) fn at(&self, seconds: i64) {
        let now = (NOW + seconds) * 1_000_000;
        std::fs::write(self.dir.path().join("clock.new"), now.to_string()).unwrap();
        std::fs::rename(self.dir.path().join("clock.new"), self.dir.path().join("clock")).unwrap();
    }

    /// Status, head and body; the path is below /api/v1/cluster.
    fn answer(&self, path: &str) -> (u16, String, String) {
        let answer = self.serve.ask("GET", &format!("/api/v1/cluster{path}"), "*/*").unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_ascii_lowercase(), body.to_owned())
    }

    /// The document there.
    fn get(&self, path: &str) -> Value {
        let (status, head, body) = self.answer(path);
        assert_eq!(status, 200, "{path}: {body}");
        assert!(head.contains("content-type: application/json") && head.contains("no-store"), "{head}");
        serde_json::from_str(&body).unwrap_or_else(|e| panic!("{path}: {e}: {body}"))
    }

    /// The words of a refusal.
    fn refused(&self, path: &str, status: u16) -> String {
        let (found, head, body) = self.answer(path);
        assert_eq!(found, status, "{path}: {body}");
        assert!(head.contains("content-type: application/problem+json"), "{path}: {head}");
        let problem: Value = serde_json::from_str(&body).unwrap();
        problem["detail"].as_str().unwrap().to_owned()
    }

    /// Of each row of a list this field.
    fn column(&self, path: &str, field: &str) -> Vec<Value> {
        let list = path.trim_start_matches('/').split('?').next().unwrap();
        let document = self.get(path);
        let rows = document[list].as_array().unwrap_or_else(|| panic!("{path}: {document}"));
        rows.iter().map(|row| row[field].clone()).collect()
    }
}

/// The cluster of `world`, in a Prometheus.
pub(crate) fn known() -> Known {
    Known::of(&world::openmetrics())
}

/// Percent-encoded for a query.
fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[test]
fn a_prometheus_that_goes_away_leaves_what_was_seen_and_comes_back() {
    let mut known = known();
    let page = Page::of(&known.url, &["--refresh", "5s"]);
    let first = page.get("");
    assert_eq!((&first["timestamp"], &first["failure"]), (&(NOW as f64).into(), &Value::Null));
    wait_for("readiness", || {
        let answer = page.serve.ask("GET", "/readyz", "*/*").unwrap();
        if answer.starts_with("HTTP/1.1 200 ") { Ok(()) } else { Err(answer) }
    });
    page.at(60);
    known.end();
    let failing = wait_for("a failure", || {
        let document = page.get("");
        if document["failure"].is_null() { Err(document.to_string()) } else { Ok(document) }
    });
    let said = failing["failure"].as_str().unwrap();
    assert!(said.contains(&known.url) && said.contains("see that it runs there"), "{said}");
    assert!(failing["now"].as_f64() > failing["timestamp"].as_f64());
    assert_eq!(failing["sessions"], first["sessions"]);
    let nodes = page.get("/nodes");
    assert_eq!((&nodes["failure"], &nodes["total"]), (&failing["failure"], &3.into()));
    assert!(page.refused("/users?since=1h", 503).contains("see that it runs there"));
    let ready = page.serve.ask("GET", "/readyz", "*/*").unwrap();
    assert!(ready.starts_with("HTTP/1.1 200 ") && ready.contains("does not answer"), "{ready}");
    assert_eq!(page.serve.lines("warning"), 1, "{}", page.serve.log());

    known.begin();
    let back = wait_for("its return", || {
        let document = page.get("");
        if document["failure"].is_null() { Ok(document) } else { Err(document.to_string()) }
    });
    assert_eq!(back["timestamp"], (NOW + 60) as f64);
    page.serve.said("answers again");
}

#[test]
fn without_a_first_look_it_is_not_ready_and_says_why() {
    let mut known = known();
    known.end();
    let page = Page::of(&known.url, &["--refresh", "5s"]);
    let said = wait_for("the failure", || {
        let (status, head, body) = page.answer("");
        assert!(status == 503 && head.contains("retry-after: 5"), "{status}: {body}");
        if body.contains("see that it runs there") { Ok(body) } else { Err(body) }
    });
    assert!(said.contains("\"status\":503"), "{said}");
    let ready = page.serve.ask("GET", "/readyz", "*/*").unwrap();
    assert!(ready.starts_with("HTTP/1.1 503 ") && ready.contains("log says why"), "{ready}");
    assert!(page.serve.ask("GET", "/healthz", "*/*").unwrap().starts_with("HTTP/1.1 200 "));
    known.begin();
    // Who asks whether it is ready has it look again.
    wait_for("readiness", || {
        let answer = page.serve.ask("GET", "/readyz", "*/*").unwrap();
        if answer.starts_with("HTTP/1.1 200 ") { Ok(()) } else { Err(answer) }
    });
}

#[test]
fn it_ends_in_order_by_either_signal() {
    let known = known();
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
        let mut page = Page::of(&known.url, &[]);
        page.get("/nodes");
        page.serve.signal(signal);
        assert!(page.serve.ended().success());
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let run =
        Command::new(program()).args(["web", "--prometheus", &known.url, "--listen", &address]).output();
    let run = crate::node::Run::of(run.unwrap());
    assert!(
        run.code == 1 && run.stderr.contains("--listen") && run.stderr.contains(&address),
        "{}",
        run.stderr
    );
}
