//! Secrets that pass by this program are in nothing that it writes or answers. The word stands for all of them.

use crate::node::{Node, Run, plain, scenario_file};
use crate::pods::{RealNode, Work};
use crate::receiver::{Protocol, Receiver, Reply};
use crate::serve::{Serve, wait_for};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const SECRET: &str = "hunter2";

/// Everything that can be asked for over HTTP.
const PATHS: [&str; 23] = [
    "/",
    "/metrics",
    "/metrics?token=hunter2",
    "/healthz",
    "/readyz",
    "/api/v1/sessions",
    "/api/v1/devices",
    "/api/v1/users",
    "/api/v1/allocations",
    "/api/v1/sessions?since=7d",
    "/hunter2",
    "/api/v1/openapi.json",
    "/api/v1/about",
    "/page/app.js",
    "/api/v1/cluster",
    "/api/v1/cluster/nodes",
    "/api/v1/cluster/sessions",
    "/api/v1/cluster/allocations",
    "/api/v1/cluster/users",
    "/api/v1/cluster/timeline?node=a&gpu=0",
    "/api/v1/cluster/device?node=a&gpu=0",
    "/api/v1/cluster/user?user=a",
    "/api/v1/cluster?token=x",
];

/// Bytes of all files in the folder and below it.
fn files(folder: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() { bytes.extend(files(&path)) } else { bytes.extend(std::fs::read(path).unwrap()) }
    }
    bytes
}

#[track_caller]
fn assert_clean(what: &str, bytes: &[u8]) {
    let found = bytes.windows(SECRET.len()).position(|window| window == SECRET.as_bytes());
    let around = found.map(|at| String::from_utf8_lossy(&bytes[at.saturating_sub(200)..at]).into_owned());
    assert_eq!(around, None, "{what} holds the secret");
}

#[track_caller]
fn assert_run_is_clean(what: &str, run: &Run) {
    assert_clean(what, (run.stdout.clone() + &run.stderr).as_bytes());
}

/// All answers, to a client that brings secrets.
fn assert_answers_are_clean(serve: &Serve) {
    let headers = "Authorization: Bearer hunter2\r\nCookie: session=hunter2\r\nX-Token: hunter2\r\n";
    for path in PATHS {
        for method in ["GET", "POST"] {
            let (head, body) = serve.fetch(method, path, headers).unwrap();
            assert_clean(path, head.as_bytes());
            assert_clean(path, &body);
        }
    }
}

#[test]
fn arguments_and_environment_of_a_simulated_process() {
    let process =
        "  - { pid: 7, name: x, uid: 1000, end: 40s, devices: [{ gpu: 0, memory: 1GiB, sm: 50 }] }\n";
    let mut node = Node::new(&plain(1, process));
    node.at(10.0);
    for file in ["cmdline", "environ"] {
        std::fs::write(node.path("proc/7").join(file), "TOKEN=hunter2\0--password=hunter2\0").unwrap();
    }
    let capture = node.path("capture.json");
    let record = ["record", "--output", capture.to_str().unwrap()];
    for args in [&["collect"][..], &["ps"], &["ps", "--json"], &["doctor"], &record] {
        assert_run_is_clean(args[0], &node.run(args));
    }
    assert_clean("capture", &std::fs::read(&capture).unwrap());
    let mut serve = Serve::start(&node, &[]);
    serve.samples(&mut node, (15..=60).step_by(5));
    assert_answers_are_clean(&serve);
    assert!(serve.terminate().success());
    assert_clean("log", serve.log().as_bytes());
    // The session ended, so that the ledger has it.
    let report = node.run(&["report", "--since", "2023-11-14", "--until", "2023-11-16", "--format", "json"]);
    assert_run_is_clean("report", &report);
    assert!(node.path("state/ledger.db").exists());
    assert_clean("state and ledger", &files(&node.path("state")));
    assert_clean("textfiles", &files(&node.path("textfiles")));
}

/// A process of the machine, with secrets in its arguments and environment.
struct Keeper(Child);

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn arguments_and_environment_of_a_real_process() {
    let mut command = Command::new("sh");
    command.args(["-c", "while :; do sleep 1; done", "--password=hunter2"]).env("API_TOKEN", SECRET);
    let keeper = Keeper(command.stdout(Stdio::null()).spawn().unwrap());
    wait_for("what the kernel tells to who asks", || {
        let told = std::fs::read(format!("/proc/{}/cmdline", keeper.0.id())).unwrap();
        let told = String::from_utf8_lossy(&told).into_owned();
        if told.contains(SECRET) { Ok(()) } else { Err(told) }
    });
    let node = RealNode::new(&[Work::by(keeper.0.id(), 0)]);
    let capture = node.path("capture.json");
    let record = ["record", "--samples", "2", "--output", capture.to_str().unwrap()];
    for args in [&["collect"][..], &["ps", "--json"], &["doctor"], &record] {
        assert_run_is_clean(args[0], &Run::of(node.command(args).output().unwrap()));
    }
    let textfile = std::fs::read(node.path("gpu_sessions.prom")).unwrap();
    assert!(String::from_utf8_lossy(&textfile).contains("command=\"sh\""), "the process is there");
    let serve = Serve::run(&mut node.command(&["serve", "--listen", "127.0.0.1:0", "--interval", "1s"]));
    serve.shows("its session", |metrics| metrics.get("gpu_total_sessions", &[]) == Some(1.0));
    assert_answers_are_clean(&serve);
    assert_clean("log", serve.log().as_bytes());
    drop(serve);
    assert_clean("capture", &std::fs::read(&capture).unwrap());
    assert_clean("textfile", &textfile);
    assert_clean("state and ledger", &files(&node.path("state")));
}

#[test]
fn labels_of_pods_that_no_rule_reads_and_the_token_of_the_api() {
    let planted = "labels: { creator-id: \"1042\", token: hunter2-in-a-label }\n    ";
    let text = scenario_file("seed.yaml").replace("labels: { creator-id: \"1042\" }\n    ", planted);
    assert!(text.contains(SECRET));
    let mut node = Node::in_cluster(&text);
    node.at(60.0);
    let Run { stdout, stderr, code } = node.run(&["record", "--samples", "2", "--output", "-"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("workload-pod") && stdout.contains("creator-user-name"));
    node.collected();
    let state = std::fs::read_to_string(node.path("state/state.json")).unwrap();
    let textfile = std::fs::read_to_string(node.textfile()).unwrap();
    for output in [stdout, stderr, state, textfile] {
        assert_clean("output", output.as_bytes());
        assert!(!output.contains(crate::kubernetes::TOKEN));
    }
}

#[test]
fn credentials_for_a_prometheus_that_is_not_there_or_is_not_one() {
    let node = crate::serve::node("");
    let serve = Serve::start(&node, &[]);
    let token = node.path("token");
    std::fs::write(&token, "hunter2").unwrap();
    let nobody = crate::chain::free_port().to_string();
    let somebody = serve.address();
    for (url, args) in [
        (format!("http://u:hunter2@127.0.0.1:{nobody}"), &[][..]),
        (format!("http://u:hunter2@{somebody}/api"), &[]),
        (format!("http://{somebody}"), &["--prometheus-token-file", token.to_str().unwrap()]),
    ] {
        let page = crate::cluster_page::Page::of(&url, args);
        page.serve.said("warning: ");
        assert_answers_are_clean(&page.serve);
        assert_clean("log", page.serve.log().as_bytes());
    }
}

#[test]
fn values_in_a_configuration_that_is_refused() {
    let node = Node::new(&plain(1, ""));
    let config = node.path("config.yaml");
    for text in [
        "password: hunter2\n",
        "dcgm: { url: \"http://u:hunter2@h:9400/metrics\" }\nwindw: 1s\n",
        "dcgm: { url: \"http://u:hunter2@h:9400/metrics\" }\n",
        "dcgm: { url: [hunter2] }\n",
        "otlp: { endpoint: \"https://u:hunter2@h\" }\n",
        "otlp: { endpoint: \"https://h/?token=hunter2\" }\n",
        "otlp: { endpoint: { hunter2: 1 } }\n",
        "otlp: { token: hunter2 }\n",
        "# hunter2\nnode: [\n",
        "node: n\nusers: { rules: [{ token: hunter2 }] }\n",
    ] {
        std::fs::write(&config, text).unwrap();
        let run = node.run(&["serve", "--listen", "off", "--config", config.to_str().unwrap()]);
        assert_eq!(run.code, 2, "{text}: {}", run.stderr);
        assert!(!run.stderr.is_empty());
        assert_run_is_clean(text, &run);
    }
}

#[test]
fn headers_for_a_receiver_even_where_it_gives_them_back() {
    for protocol in Protocol::ALL {
        let receiver = Receiver::start(protocol);
        receiver.reply([Reply::Echo]);
        let mut node = Node::new(&plain(1, "  - { pid: 7, name: x, devices: [{ gpu: 0, memory: 1GiB }] }\n"));
        node.at(10.0);
        let headers = node.path("headers");
        std::fs::write(&headers, "authorization: Bearer hunter2\nx-token: hunter2\n").unwrap();
        let url = receiver.url();
        let args = ["--otlp-endpoint", &url, "--otlp-protocol", protocol.name(), "--otlp-headers-file"];
        let serve = Serve::start(&node, &[&args[..], &[headers.to_str().unwrap()]].concat());
        let log = serve.said("OTLP receiver at");
        assert!(log.contains("its words are not shown") && log.contains("otlp.headers_file"), "{log}");
        assert_eq!(receiver.received()[0].headers["authorization"], "Bearer hunter2");
        serve.samples(&mut node, [15, 30]);
        assert_answers_are_clean(&serve);
        assert_clean("log", serve.log().as_bytes());
        assert_clean("state", &files(&node.path("state")));
    }
}
