//! `serve` on a simulated node, whose clock the test moves.

mod agree;
mod ends;
mod health;
mod negotiation;
mod otlp;
mod outputs;
mod reload;
pub(crate) mod scrapes;

use crate::node::{EPOCH, Metrics, Node, plain};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What is waited for comes in a moment, or never.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

const ALICE: [(&str, &str); 2] = [("gpu", "0"), ("user", "alice")];

/// A node with one GPU that alice uses by half; `faults` is YAML.
pub(crate) fn node(faults: &str) -> Node {
    let process = "  - { pid: 10, name: a, uid: 1000, devices: [{ gpu: 0, memory: 1GiB, sm: 50 }] }\n";
    let mut node = Node::new(&(plain(1, process) + faults));
    node.at(10.0);
    node
}

/// A `serve` that runs.
pub(crate) struct Serve {
    pub(crate) child: Child,
    log: Arc<Mutex<String>>,
}

impl Serve {
    /// Starts it on any free port, without a textfile.
    pub(crate) fn start(node: &Node, args: &[&str]) -> Self {
        let all = [&["--listen", "127.0.0.1:0"], args].concat();
        Self::run(node.command(&[&["serve"], &all[..]].concat()).env_remove("GPU_SESSION_MONITOR_TEXTFILE"))
    }

    /// Runs `serve` and waits for the line that it says at its start.
    pub(crate) fn run(command: &mut std::process::Command) -> Self {
        Self::run_until(command, "; devices ")
    }

    /// Runs a server and waits until it says these words.
    pub(crate) fn run_until(command: &mut std::process::Command, words: &str) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let (stderr, log) = (child.stderr.take().unwrap(), Arc::new(Mutex::new(String::new())));
        let written = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines() {
                *written.lock().unwrap() += &(line.unwrap() + "\n");
            }
        });
        let serve = Self { child, log };
        serve.said(words);
        serve
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until the words are in its log.
    pub(crate) fn said(&self, words: &str) -> String {
        wait_for(words, || Some(self.log()).filter(|log| log.contains(words)).ok_or_else(|| self.log()))
    }

    pub(crate) fn lines(&self, words: &str) -> usize {
        self.log().lines().filter(|line| line.contains(words)).count()
    }

    /// Where it listens, as it says.
    pub(crate) fn address(&self) -> String {
        let log = self.log();
        let listen = log.split("listen ").nth(1).unwrap();
        listen.split("://").nth(1).unwrap().split('/').next().unwrap().to_owned()
    }

    /// The whole answer, or why there is none.
    pub(crate) fn ask(&self, method: &str, path: &str, accept: &str) -> std::io::Result<String> {
        let (head, body) = self.fetch(method, path, &format!("Accept: {accept}\r\n"))?;
        Ok(head + &String::from_utf8(body).expect("text"))
    }

    /// Head, with the empty line, and body of the answer; `headers` end in line ends.
    pub(crate) fn fetch(
        &self,
        method: &str,
        path: &str,
        headers: &str,
    ) -> std::io::Result<(String, Vec<u8>)> {
        let address = self.address();
        let mut stream = TcpStream::connect(&address)?;
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: {address}\r\n{headers}Connection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
        let body = answer.split_off(end.map_or(answer.len(), |end| end + 4));
        Ok((String::from_utf8(answer).expect("text"), body))
    }

    pub(crate) fn metrics(&self) -> Metrics {
        let answer = self.ask("GET", "/metrics", "*/*").unwrap();
        Metrics::parse(answer.split_once("\r\n\r\n").unwrap().1)
    }

    /// Waits until the metrics are as wanted.
    pub(crate) fn shows(&self, what: &str, wanted: impl Fn(&Metrics) -> bool) -> Metrics {
        wait_for(what, || Some(self.metrics()).filter(&wanted).ok_or_else(|| self.log()))
    }

    /// Waits for the sample of the node's clock as it is.
    pub(crate) fn sampled(&self, node: &Node) -> Metrics {
        let now = EPOCH as f64 + node.now();
        self.shows(&format!("a sample of {}", node.now()), |metrics| {
            metrics.get("gpu_session_collector_last_sample_timestamp_seconds", &[]) == Some(now)
        })
    }

    /// A sample at each of these seconds; the metrics of the last.
    pub(crate) fn samples(&self, node: &mut Node, at: impl IntoIterator<Item = u32>) -> Metrics {
        at.into_iter().fold(Metrics::default(), |_, at| {
            node.at(f64::from(at));
            self.sampled(node)
        })
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        wait_for("the end", || self.child.try_wait().unwrap().ok_or_else(String::new))
    }

    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended()
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks again and again; the error says how things stand.
pub(crate) fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let begin = Instant::now();
    loop {
        match ask() {
            Ok(found) => return found,
            Err(state) => assert!(begin.elapsed() < LONGEST_WAIT, "{what} does not come: {state}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn it_samples_by_its_interval_and_answers_what_can_be_asked() {
    let mut node = node("");
    let serve = Serve::start(&node, &["--interval", "5s"]);
    let first = serve.sampled(&node);
    assert_eq!(first.get("gpu_session_count", &[("gpu", "0")]), Some(1.0));
    // Ticks are at 15 and 20; one that is missed is not made up for.
    serve.samples(&mut node, [15]);
    node.at(33.0);
    serve.sampled(&node);
    let at_38 = serve.samples(&mut node, [35]);
    assert_eq!(at_38.get("gpu_process_utilization", &[("gpu", "0")]), Some(50.0));
    assert_eq!(at_38.get("gpu_session_collector_snapshot_age_seconds", &[]), Some(0.0));
    node.at(39.5);
    let between = serve.shows("an age", |metrics| {
        metrics.get("gpu_session_collector_snapshot_age_seconds", &[]) == Some(4.5)
    });
    assert_eq!(between.get("gpu_session_collector_stale", &[]), Some(0.0));

    let text = serve.ask("GET", "/metrics", "*/*").unwrap();
    assert!(text.contains("version=0.0.4") && !text.contains("# EOF"), "{text}");
    let open = serve.ask("GET", "/metrics", "application/openmetrics-text;version=1.0.0").unwrap();
    assert!(open.contains("version=1.0.0") && open.ends_with("} 0\n# EOF\n") | open.ends_with(" 0\n# EOF\n"));
    assert_eq!(open.matches("# EOF").count(), 1);
    let head = serve.ask("HEAD", "/metrics", "*/*").unwrap();
    assert!(
        head.starts_with("HTTP/1.1 200 ") && head.contains("content-length: ") && head.ends_with("\r\n\r\n")
    );
    assert!(serve.ask("GET", "/nothing", "*/*").unwrap().starts_with("HTTP/1.1 404 "));
    assert!(serve.ask("POST", "/metrics", "*/*").unwrap().starts_with("HTTP/1.1 405 "));
}

#[test]
fn a_source_is_told_when_it_fails_and_when_it_answers_again() {
    let fault = "faults:\n  - { from: 18s, until: 33s, function: \"nvmlInit*\", return: DRIVER_NOT_LOADED }\n  - { from: 18s, until: 33s, function: \"nvmlSystemGetDriverVersion*\", return: DRIVER_NOT_LOADED }\n  - { from: 18s, until: 33s, function: \"nvmlDeviceGet*\", return: DRIVER_NOT_LOADED }\n";
    let mut node = node(fault);
    let serve = Serve::start(&node, &[]);
    serve.samples(&mut node, [10, 15]);
    assert_eq!(serve.lines("warning"), 0, "{}", serve.log());
    let down = serve.samples(&mut node, [20, 25, 30]);
    assert_eq!(down.get("gpu_session_collector_source_up", &[("source", "nvml")]), Some(0.0));
    assert_eq!(down.get("gpu_session_count", &[("gpu", "0")]), None);
    assert_eq!(serve.lines("warning: nvml: "), 1, "{}", serve.log());
    serve.samples(&mut node, [35, 40, 45]);
    serve.said("nvml: answers again");
    assert_eq!(serve.log().lines().count(), 3, "{}", serve.log());
}
