//! The seed's chain with its real programs: collect -> textfile -> node_exporter -> Prometheus -> its API.

use crate::node::{Node, scenario_file};
use std::io::{Read as _, Seek as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server that ends with the test.
pub(crate) struct Server(pub(crate) Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn start(program: &str, args: &[String], log: &Path) -> Server {
    let log = std::fs::File::create(log).unwrap();
    let child =
        Command::new(program).args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
    Server(child.unwrap_or_else(|e| panic!("{program}: {e}; `make test` installs it (scripts/setup.sh)")))
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn get(port: u16, path: &str) -> std::io::Result<String> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

/// Asks until the answer is as it should be.
pub(crate) fn await_answer(port: u16, path: &str, wanted: impl Fn(&str) -> bool, log: &Path) -> String {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = get(port, path).unwrap_or_default();
        if wanted(&answer) {
            return answer;
        }
        let said = || std::fs::read_to_string(log).unwrap_or_default();
        assert!(Instant::now() < end, "{path}: {answer}\n{}", said());
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// A real Prometheus, which scrapes each second.
pub(crate) struct Prometheus {
    _server: Server,
    port: u16,
    log: PathBuf,
}

impl Prometheus {
    pub(crate) fn scraping(node: &Node, target: &str) -> Self {
        Self::with(
            node,
            &serde_json::json!([{ "job_name": "node", "static_configs": [{ "targets": [target] }] }]),
        )
    }

    /// One with these `scrape_configs`.
    pub(crate) fn with(node: &Node, jobs: &serde_json::Value) -> Self {
        let port = free_port();
        let config = node.path("prometheus.yml");
        let text = serde_json::json!({ "global": { "scrape_interval": "1s" }, "scrape_configs": jobs });
        std::fs::write(&config, text.to_string()).unwrap();
        let log = node.path("prometheus.log");
        let args = [
            format!("--config.file={}", config.display()),
            format!("--storage.tsdb.path={}", node.path("tsdb").display()),
            format!("--web.listen-address=127.0.0.1:{port}"),
        ];
        Self { _server: start("prometheus", &args, &log), port, log }
    }

    /// Base of its API.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The series of an instant query, as labels and value.
    pub(crate) fn query(&self, query: &str) -> Vec<(serde_json::Value, String)> {
        let path = format!("/api/v1/query?query={query}");
        let answer = await_answer(self.port, &path, |text| text.contains("\"value\""), &self.log);
        let document: serde_json::Value = serde_json::from_str(&answer).unwrap();
        let result = document["data"]["result"].as_array().unwrap().clone();
        result
            .into_iter()
            .map(|s| (s["metric"].clone(), s["value"][1].as_str().unwrap().to_owned()))
            .collect()
    }
}

#[test]
fn prometheus_answers_the_seeds_queries() {
    let mut node = Node::new(&scenario_file("seed.yaml"));
    node.at(60.0);
    node.collected();
    let exporter_port = free_port();
    let log = node.path("exporter.log");
    let textfiles = node.path("textfiles");
    let _exporter = start(
        "prometheus-node-exporter",
        &[
            "--collector.disable-defaults".to_owned(),
            "--collector.textfile".to_owned(),
            format!("--collector.textfile.directory={}", textfiles.display()),
            format!("--web.listen-address=127.0.0.1:{exporter_port}"),
        ],
        &log,
    );
    let served = await_answer(exporter_port, "/metrics", |text| text.contains("gpu_session_count"), &log);
    assert!(served.contains("node_textfile_scrape_error 0"), "{served}");

    let prometheus = Prometheus::scraping(&node, &format!("127.0.0.1:{exporter_port}"));
    let mut counts: Vec<(String, String)> = prometheus
        .query("gpu_session_count")
        .into_iter()
        .map(|(metric, value)| (metric["gpu"].as_str().unwrap().to_owned(), value))
        .collect();
    counts.sort();
    let wanted = [("0", "1"), ("1", "1"), ("2", "1"), ("3", "0")].map(|(g, v)| (g.to_owned(), v.to_owned()));
    assert_eq!(counts, wanted);
    let info = prometheus.query("gpu_process_info");
    let one = info.iter().find(|(metric, _)| metric["pid"] == "gpu1_12345").expect("the seed's process");
    assert_eq!(
        (one.0["command"].as_str(), one.0["status"].as_str(), one.1.as_str()),
        (Some("python3"), Some("active"), "1")
    );
    assert_eq!(prometheus.query("gpu_total_sessions")[0].1, "3");
    let use_of = |name: &str| prometheus.query(&format!("{name}%7Bpid=%22gpu1_12345%22%7D"))[0].1.clone();
    assert_eq!(
        (use_of("gpu_process_utilization").as_str(), use_of("gpu_process_memory_utilization").as_str()),
        ("75", "45")
    );
}

#[test]
fn promtool_finds_nothing_but_the_seeds_own_suffix() {
    let mut node = Node::new(&scenario_file("demo.yaml"));
    for at in [600.0, 660.0, 720.0] {
        node.at(at);
        let run = node.collect();
        assert_eq!(run.code, 0, "{}", run.stderr);
    }
    let complaints = promtool(&std::fs::read_to_string(node.textfile()).unwrap());
    assert_eq!(complaints.len(), 1, "{complaints:?}");
    assert!(
        complaints[0].starts_with("gpu_session_count ") && complaints[0].contains("_count"),
        "{complaints:?}"
    );
}

/// What promtool finds wrong with the text.
pub(crate) fn promtool(text: &str) -> Vec<String> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.rewind().unwrap();
    let output = Command::new("promtool").args(["check", "metrics"]).stdin(file).output();
    let output = output.expect("promtool; `make test` installs it (scripts/setup.sh)");
    let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    said.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect()
}
