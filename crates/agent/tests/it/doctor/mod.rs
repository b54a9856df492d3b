//! `doctor` on simulated nodes, beside the real programs that it asks.

mod cluster;
mod driver;
mod exporters;
mod process;
mod prometheus;
mod report;
mod state;

use crate::node::{Node, Run, plain, scenario_file};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;

/// A run of `doctor --json`.
struct Report {
    code: i32,
    checks: Vec<Value>,
}

impl Report {
    fn of(run: &Run) -> Self {
        let document: Value =
            serde_json::from_str(&run.stdout).unwrap_or_else(|e| panic!("{e}: {}{}", run.stdout, run.stderr));
        assert_eq!(document["schema_version"], 1);
        Self { code: run.code, checks: document["checks"].as_array().unwrap().clone() }
    }

    /// The statuses that a check came to, in its order.
    fn statuses(&self, check: &str) -> Vec<&str> {
        let found = self.found(check).map(|line| line["status"].as_str().unwrap()).collect::<Vec<_>>();
        assert!(!found.is_empty(), "{check} is missing");
        found
    }

    fn found(&self, check: &str) -> impl Iterator<Item = &Value> {
        self.checks.iter().filter(move |line| line["check"] == check)
    }

    /// That a check came to this alone, and that these words are in its detail and remedy.
    fn assert(&self, check: &str, status: &str, words: &[&str]) {
        let lines: Vec<&Value> = self.found(check).collect();
        assert_eq!(self.statuses(check), [status], "{lines:?}");
        let text = format!("{} {}", lines[0]["detail"], lines[0]["remedy"]);
        for word in words {
            assert!(text.contains(word), "{word} is not in {text}");
        }
        let needs_one = matches!(status, "warning" | "failed");
        assert_eq!(lines[0]["remedy"].is_string(), needs_one, "{text}");
    }
}

/// With these arguments.
fn examine(node: &Node, args: &[&str]) -> Report {
    Report::of(&node.run(&[&["doctor", "--json"], args].concat()))
}

/// The seed's node, where `collect` has run.
fn seed() -> Node {
    let mut node = Node::new(&scenario_file("seed.yaml"));
    node.at(60.0);
    node.collected();
    node
}

/// A node of one GPU that nobody uses, and these faults.
fn idle(faults: &str) -> Node {
    let mut node = Node::new(&(plain(1, "") + faults));
    node.at(10.0);
    node
}

/// Answers every request alike, and is gone with the test's process.
fn server(status: &str, body: &str) -> String {
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/metrics", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (mut request, mut byte) = (Vec::new(), [0]);
            while !request.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                request.push(byte[0]);
            }
            // A client that has heard enough is no failure.
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    url
}
