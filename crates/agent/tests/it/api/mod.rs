//! The API of `serve`, asked as its users ask it.

mod client;
mod described;
mod documented;
mod filters;
mod history;
mod pages;
mod stream;

use crate::node::{EPOCH, Node, scenario_file};
use crate::serve::{Serve, wait_for};
use gpu_session_client::Client;
use serde_json::Value;

/// A node and a `serve` on it.
struct Site {
    node: Node,
    serve: Serve,
}

impl Site {
    /// The node of the demo, in its cluster, watched each minute up to this one.
    fn demo(minutes: u32) -> Self {
        let mut node = Node::in_cluster(&scenario_file("demo.yaml"));
        node.at(60.0);
        let mut site = Self { serve: Serve::start(&node, &[]), node };
        site.watch(1..=minutes);
        site
    }

    /// A sample in each of these minutes.
    fn watch(&mut self, minutes: impl IntoIterator<Item = u32>) {
        self.sample_at(minutes.into_iter().map(|minute| 60 * minute));
    }

    /// A sample at each of these seconds.
    fn sample_at(&mut self, seconds: impl IntoIterator<Item = u32>) {
        for second in seconds {
            self.node.at(f64::from(second));
            let now = f64::from(second) + EPOCH as f64;
            wait_for("a sample", || {
                let (status, _, body) = self.answer("GET", "/sessions?limit=1");
                let document: Value = serde_json::from_str(&body).unwrap();
                let there = status == 200 && document["timestamp"] == now;
                there.then_some(()).ok_or_else(|| self.serve.log())
            });
        }
    }

    fn client(&self) -> Client {
        Client::new(&format!("http://{}", self.serve.address())).unwrap()
    }

    /// Status, head and body of an answer; the path is below /api/v1.
    fn answer(&self, method: &str, path: &str) -> (u16, String, String) {
        let answer = self.serve.ask(method, &format!("/api/v1{path}"), "*/*").unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_ascii_lowercase(), body.to_owned())
    }

    /// The document there.
    fn get(&self, path: &str) -> Value {
        let (status, head, body) = self.answer("GET", path);
        assert_eq!(status, 200, "{path}: {body}");
        assert!(head.contains("content-type: application/json"), "{head}");
        serde_json::from_str(&body).unwrap_or_else(|e| panic!("{path}: {e}: {body}"))
    }

    /// The list in it.
    fn list(&self, path: &str) -> Vec<Value> {
        let name = path.trim_start_matches('/').split('?').next().unwrap();
        let document = self.get(path);
        document[name].as_array().unwrap_or_else(|| panic!("{path}: {document}")).clone()
    }

    /// The words of a refusal, which has to be a problem document.
    fn refused(&self, path: &str, status: u16) -> String {
        let (found, head, body) = self.answer("GET", path);
        assert_eq!(found, status, "{path}: {body}");
        is_problem(path, status, &head, &body)
    }
}

fn is_problem(path: &str, status: u16, head: &str, body: &str) -> String {
    assert!(head.contains("content-type: application/problem+json"), "{path}: {head}");
    let problem: Value = serde_json::from_str(body).unwrap();
    assert_eq!(problem["status"], status, "{path}");
    assert!(problem["title"].as_str().is_some_and(|title| !title.is_empty()), "{path}");
    problem["detail"].as_str().unwrap().to_owned()
}
