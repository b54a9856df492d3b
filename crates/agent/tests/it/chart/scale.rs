//! Many nodes: every panel's query and every recipe on Prometheus and on VictoriaMetrics. `make bench-cluster` has 1 000
//! nodes.

use super::dashboards::{dashboards, panels};
use super::live::{Hours, chosen, is_number, query_path};
use super::rules::{names, rules};
use crate::astrago::queries;
use crate::chain::{Server, await_answer, free_port, start};
use crate::node::{EPOCH, Node};
use crate::serve::Serve;
use crate::serve::scrapes::Scrapes;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Seconds between two scrapes.
const STEP: u32 = 300;
const LENGTH: u32 = 6 * 3_600;
/// GPUs of a node; each has a pod of a user, and a session.
const GPUS: usize = 8;
/// Users of the cluster.
const USERS: usize = 500;

/// Where the recipes are; they ask about a node of this name.
const RECIPES: &str = "astrago.md";
const ASKED: &str = "gpu-7";

/// A node on which everybody works for a while, and one holds a GPU for nothing.
fn scenario() -> String {
    let (mut gpus, mut processes, mut pods) = (String::new(), String::new(), String::new());
    for n in 0..GPUS {
        let (uid, id) = (format!("6f1a2b3c-0000-4000-8000-00000000000{n}"), format!("{n:064}"));
        let (slice, gpu) = (uid.replace('-', "_"), format!("GPU-5e550000-0000-4000-8000-00000000000{n}"));
        let sm = n * 12;
        gpus += "  - { profile: H100, power: { idle: 70W, busy: 700W, report: energy } }\n";
        let _ = writeln!(
            processes,
            "  - {{ pid: {}, name: job, start: 0s, end: {}s, cgroup: \"0::/kubepods.slice/kubepods-pod{slice}.slice/cri-containerd-{id}.scope\\n\", devices: [{{ gpu: {n}, memory: 20GiB, sm: {sm} }}] }}",
            100 + n,
            if n == 1 { 4 * 3_600 } else { 100_000 }
        );
        let _ = writeln!(
            pods,
            "  - {{ uid: {uid}, namespace: team-{n}, name: pod-{n}, annotations: {{ creator-user-name: user-{n} }}, containers: [{{ name: main, id: \"{id}\", devices: [{gpu}] }}] }}"
        );
    }
    // One that nobody can name.
    processes += "  - { pid: 200, name: stray, start: 0s, cgroup: \"0::/docker/0000000000000000000000000000000000000000000000000000000000000000\\n\", devices: [{ gpu: 0, memory: 1GiB, sm: 1 }] }\n";
    format!("version: 1\ngpus:\n{gpus}processes:\n{processes}pods:\n{pods}")
}

/// Six hours of the node.
fn hours() -> String {
    let mut node = Node::in_cluster(&scenario());
    let interval = format!("{STEP}s");
    let args =
        ["--interval", &interval, "--scrape-interval", &interval, "--node", "NODE", "--label", "cluster=lab"];
    let mut serve = Serve::start(&node, &args);
    serve.sampled(&node);
    let mut scrapes = Scrapes::default();
    for at in (STEP..=LENGTH).step_by(STEP as usize) {
        serve.samples(&mut node, [at]);
        scrapes.add(&serve, at);
    }
    assert!(serve.terminate().success());
    scrapes.openmetrics()
}

/// Metrics that panels, rules and recipes read.
fn queried(folder: &Path) -> impl Fn(&str) -> bool {
    let panels: String = dashboards().iter().map(|(_, dashboard)| dashboard.to_string()).collect();
    let text = rules(folder).to_string() + &panels + &queries(RECIPES).join(" ");
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let words: BTreeSet<String> = text.split(word).map(str::to_owned).collect();
    move |name| words.contains(name)
}

/// What all nodes said, to the file; series of each of them.
fn multiply(one: &str, nodes: usize, queried: impl Fn(&str) -> bool, path: &Path) -> usize {
    let name = |line: &str| line.split(['{', ' ']).next().unwrap().to_owned();
    let lines: Vec<&str> =
        one.lines().filter(|line| !line.starts_with('#') && queried(&name(line))).collect();
    let heads = one.lines().filter(|line| line.starts_with("# TYPE"));
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    for head in heads {
        writeln!(file, "{head}").unwrap();
    }
    for node in 0..nodes {
        let name = format!("node=\"node-{node}\"");
        for line in &lines {
            let line = line.replacen("node=\"NODE\"", &name, 1);
            match line.split_once("user=\"user-") {
                Some((before, after)) => {
                    let (n, after) = after.split_once('"').unwrap();
                    let user = (node * GPUS + n.parse::<usize>().unwrap()) % USERS;
                    writeln!(file, "{before}user=\"user-{user}\"{after}").unwrap();
                }
                None => writeln!(file, "{line}").unwrap(),
            }
        }
    }
    writeln!(file, "# EOF").unwrap();
    let series: BTreeSet<&str> = lines.iter().map(|line| line.rsplitn(3, ' ').nth(2).unwrap()).collect();
    series.len()
}

/// A VictoriaMetrics with the same.
pub(crate) struct Victoria {
    _server: Server,
    pub(crate) port: u16,
    pub(crate) log: PathBuf,
}

impl Victoria {
    pub(crate) fn start(folder: &Path) -> Self {
        let (port, log) = (free_port(), folder.join("victoria.log"));
        let args = [
            format!("-storageDataPath={}", folder.join("victoria").display()),
            "-retentionPeriod=100y".to_owned(),
            format!("-httpListenAddr=127.0.0.1:{port}"),
            "-search.maxUniqueTimeseries=2000000".to_owned(),
        ];
        let server = start("victoria-metrics", &args, &log);
        await_answer(port, "/health", |text| text.contains("OK"), &log);
        Self { _server: server, port, log }
    }

    fn post(&self, path: &str, body: &str) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let length = body.len();
        write!(stream, "POST {path} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.0 20") || answer.starts_with("HTTP/1.1 20"), "{answer}");
    }

    /// OpenMetrics, whose times are in seconds.
    pub(crate) fn import(&self, path: &Path) {
        let mut batch = String::new();
        for line in BufReader::new(std::fs::File::open(path).unwrap()).lines().map(Result::unwrap) {
            if !line.starts_with('#') {
                let _ = writeln!(batch, "{line}000");
            }
            if batch.len() > 16_000_000 {
                self.post("/api/v1/import/prometheus", &batch);
                batch.clear();
            }
        }
        self.post("/api/v1/import/prometheus", &batch);
    }

    /// What the rules recorded, as Prometheus has it.
    fn import_recorded(&self, prometheus: &Hours, record: &str) {
        let mut batch = String::new();
        for series in prometheus.ask(record, Some(60)).unwrap() {
            let (mut times, mut values) = (Vec::new(), Vec::new());
            for value in series["values"].as_array().unwrap() {
                times.push((value[0].as_f64().unwrap() * 1e3) as i64);
                values.push(value[1].as_str().unwrap().parse::<f64>().unwrap());
            }
            let line =
                serde_json::json!({ "metric": series["metric"], "values": values, "timestamps": times });
            let _ = writeln!(batch, "{line}");
        }
        self.post("/api/v1/import", &batch);
    }

    fn ask(&self, query: &str, step: Option<u32>, end: i64) -> Result<Vec<Value>, String> {
        let path = query_path(query, step, end);
        let answer = await_answer(self.port, &path, |text| text.contains("\"status\""), &self.log);
        let document: Value = serde_json::from_str(&answer).unwrap();
        document["data"]["result"].as_array().cloned().ok_or(answer)
    }
}

/// Something that is asked of the cluster.
struct Question {
    place: String,
    query: String,
    step: Option<u32>,
    /// Whether these nodes may have nothing to answer with.
    any: bool,
}

fn questions() -> Vec<Question> {
    let mut all = Vec::new();
    for (name, dashboard) in dashboards() {
        // A dashboard that is of one node at a time.
        let variables = super::list(&dashboard["templating"], "list");
        let one = variables.iter().any(|v| v["name"] == "node" && v["includeAll"] == false);
        let node = if one { "node-7" } else { ".*" };
        for panel in panels(&dashboard) {
            for target in super::list(panel, "targets") {
                let query = chosen(target["expr"].as_str().unwrap(), (".*", node), "20m", "6h");
                let step = (target["range"] == true).then_some(STEP);
                all.push(Question { place: format!("{name}, {}", panel["title"]), query, step, any: false });
            }
        }
    }
    all.extend(queries(RECIPES).into_iter().map(|query| {
        // There are no MIG instances here, for example.
        Question { place: RECIPES.to_owned(), query: query.replace(ASKED, "node-7"), step: None, any: true }
    }));
    assert!(all.iter().any(|question| question.place == RECIPES && question.query.contains("node-7")));
    all
}

#[test]
#[allow(clippy::print_stdout, reason = "`make bench-cluster` shows it")]
fn every_panel_and_recipe_is_answered_for_a_cluster_of_many_nodes() {
    let nodes: usize = std::env::var("CLUSTER_NODES").map_or(50, |n| n.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("input.om");
    let series = multiply(&hours(), nodes, queried(folder.path()), &input);
    println!(
        "{nodes} nodes of {GPUS} GPUs, {series} series of each that are queried, six hours at a step of {STEP} s"
    );
    assert!(series < 100 * GPUS, "{series} series of a node");
    let end = EPOCH + i64::from(LENGTH);
    let prometheus = Hours::filled(folder, end);
    let victoria = Victoria::start(prometheus.folder());
    victoria.import(&input);
    let recorded = names(&rules(prometheus.folder()), "record");
    for record in &recorded {
        victoria.import_recorded(&prometheus, record);
    }
    // What it has taken can be found a moment later.
    for record in &recorded {
        let path = query_path(record, None, end);
        await_answer(victoria.port, &path, |text| text.contains("\"value\""), &victoria.log);
    }
    println!("{:>12} {:>16}  query", "Prometheus", "VictoriaMetrics");
    let mut wrong = Vec::new();
    for Question { place, query, step, any } in questions() {
        let mut timed = |ask: &dyn Fn() -> Result<Vec<Value>, String>| {
            let begin = Instant::now();
            let answer = ask();
            if !answer.as_ref().is_ok_and(|all| all.iter().any(is_number) || (any && all.is_empty())) {
                wrong.push(format!("{place}: {query}: {answer:?}"));
            }
            begin.elapsed().as_millis()
        };
        let by_prometheus = timed(&|| prometheus.ask(&query, step));
        let by_victoria = timed(&|| victoria.ask(&query, step, end));
        println!("{by_prometheus:>9} ms {by_victoria:>13} ms  {place}: {}", query.replace('\n', " "));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
