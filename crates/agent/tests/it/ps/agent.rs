//! `ps --connect`: what a running agent sees.

use super::cluster::answering;
use crate::node::{Node, Run, scenario_file};
use crate::serve::Serve;
use serde_json::{Value, json};

fn connected(node: &Node, url: &str, args: &[&str]) -> Run {
    let mut command = node.command(&[&["ps"], args].concat());
    Run::of(command.env("GPU_SESSION_MONITOR_CONNECT", url).output().unwrap())
}

#[test]
fn it_is_what_the_agent_sees() {
    let mut node = Node::in_cluster(&scenario_file("demo.yaml"));
    node.at(600.0);
    let serve = Serve::start(&node, &[]);
    serve.samples(&mut node, [605, 610]);
    let url = format!("http://{}/", serve.address());
    let run = connected(&node, &url, &["--json"]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(document["nodes"].as_array().unwrap().len(), 1);
    for part in ["sessions", "devices", "allocations"] {
        let answer = serve.ask("GET", &format!("/api/v1/{part}"), "*/*").unwrap();
        let told: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert!(!told[part].as_array().unwrap().is_empty(), "{part}");
        assert_eq!(document["nodes"][0][part], told[part], "{part}");
    }
    // The figures for people are those of the node itself.
    let table = connected(&node, &url, &[]);
    assert_eq!(table.code, 0, "{}", table.stderr);
    let users = |text: &str| text.lines().filter(|line| line.contains(" alice ")).count();
    assert!(users(&table.stdout) > 0, "{}", table.stdout);
    assert!(table.stdout.contains("HELD BUT IDLE") && !table.stdout.contains("NODE"), "{}", table.stdout);
}

#[test]
fn credentials_are_given_and_never_shown() {
    let mut node = crate::serve::node("");
    let file = node.path("web.yaml");
    std::fs::write(&file, format!("basic_auth_users:\n  viewer: {}\n", bcrypt::hash("s3cret:@", 4).unwrap()))
        .unwrap();
    let serve = Serve::start(&node, &["--web-config-file", file.to_str().unwrap()]);
    node.at(15.0);
    let run = connected(&node, &format!("http://{}", serve.address()), &[]);
    assert_eq!((run.code, run.stdout.as_str()), (1, ""));
    assert!(run.stderr.contains("401") && run.stderr.contains("credentials"), "{}", run.stderr);
    let run = connected(&node, &format!("http://viewer:s3cret%3A%40@{}", serve.address()), &[]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stdout.contains("alice"), "{}", run.stdout);
    let run = connected(&node, "http://viewer:s3cret@127.0.0.1:1", &[]);
    assert_eq!(run.code, 1);
    assert!(!run.stderr.contains("s3cret") && run.stderr.contains("127.0.0.1:1"), "{}", run.stderr);
}

#[test]
fn wrong_usage_says_what_is_allowed() {
    let node = crate::serve::node("");
    for (args, wanted) in [
        (&["--connect", "gpu-7:9836"][..], "http(s)://"),
        (&["--connect", "http://u:s3cret@h", "--connect-token-file", "/x"], "one of them"),
        (&["--connect", "http://h", "--connect-token-file", "/dev/null"], "holds no token"),
        (&["--connect", "http://h", "--prometheus", "http://p"], "cannot be used with"),
        (&["--connect", "http://h:99999"], "1 to 65535"),
        (&["--connect-token-file", "/x"], "--connect <URL>"),
        (&["--prometheus-matcher", "a=\"b\""], "--prometheus <URL>"),
        (&["--gpu", "first"], "MIG label"),
        (&["--watch", "1ms"], "100ms"),
        (&["--watch", "soon"], "--watch"),
        (&["--wide", "--json"], "cannot be used with"),
    ] {
        let run = node.run(&[&["ps"], args].concat());
        assert_eq!(run.code, 2, "{args:?}: {}", run.stderr);
        assert!(run.stderr.contains(wanted) && !run.stderr.contains("s3cret"), "{args:?}: {}", run.stderr);
    }
}

/// A text that would move a terminal's cursor, turn the reading direction and look like a line of ours.
const HOSTILE: &str = "\u{9b}2J\u{202e}\ngpu-session-monitor: error: forged";

#[test]
fn what_an_agent_says_is_harmless_and_ends() {
    let node = crate::serve::node("");
    let page = |list: &str, entry: Value, further: Option<&str>| {
        let source = json!({ "source": "nvml", "up": false, "duration_seconds": 0.1, "errors": [HOSTILE] });
        let head =
            json!({ "schema_version": 1, "timestamp": 1.0, "sources": [source], "next_cursor": further });
        let mut document = head.as_object().unwrap().clone();
        document.insert(list.to_owned(), json!([entry]));
        Value::from(document).to_string()
    };
    let answer = move |cursor: fn(&str) -> Option<&str>| {
        answering(move |path| {
            let device = json!({ "gpu": HOSTILE, "uuid": "GPU-a", "model": HOSTILE, "sessions": 1 });
            let session = json!({ "session": "s", "gpu": "0", "device_uuid": "GPU-a", "pid": 1, "start_time": 0.5,
                                  "command": HOSTILE, "user": HOSTILE, "container_id": HOSTILE });
            let held = json!({ "gpu": "0", "device_uuid": "GPU-a", "namespace": HOSTILE, "pod": HOSTILE, "container": "c" });
            if path.starts_with("/api/v1/devices") {
                page("devices", device, cursor(path))
            } else if path.starts_with("/api/v1/sessions") {
                page("sessions", session, None)
            } else {
                page("allocations", held, None)
            }
        })
    };
    let at = answer(|_| None);
    for args in [&["--json"][..], &[], &["--wide"]] {
        let run = connected(&node, &format!("http://{at}"), args);
        assert_eq!(run.code, 3, "{}", run.stderr);
        for text in [&run.stdout, &run.stderr] {
            let bad = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
            assert!(
                !text.contains(bad) && !text.contains("\ngpu-session-monitor: error: forged"),
                "{text:?}"
            );
            assert!(!text.contains("\\u009b") && !text.contains("\\u202e"), "{text}");
        }
        assert!(run.stdout.contains("forged") && run.stderr.contains("forged"), "{}", run.stdout);
    }
    // Pages without end.
    let repeated = answer(|_| Some("again"));
    let run = connected(&node, &format!("http://{repeated}"), &[]);
    assert_eq!((run.code, run.stdout.as_str()), (1, ""));
    assert!(run.stderr.contains("names a page before it"), "{}", run.stderr);
}

#[test]
fn the_command_line_wins_over_the_environment() {
    let mut node = crate::serve::node("");
    let serve = Serve::start(&node, &[]);
    node.at(15.0);
    serve.sampled(&node);
    let url = format!("http://{}", serve.address());
    let run = |environment: &[(&str, &str)], args: &[&str]| {
        let mut command = node.command(&[&["ps"], args].concat());
        Run::of(command.envs(environment.iter().copied()).output().unwrap())
    };
    let (prometheus, connect) = ("GPU_SESSION_MONITOR_PROMETHEUS", "GPU_SESSION_MONITOR_CONNECT");
    let elsewhere = "http://127.0.0.1:1";
    let shown = run(
        &[
            (prometheus, elsewhere),
            ("GPU_SESSION_MONITOR_DEVICE", "5"),
            ("GPU_SESSION_MONITOR_NODE", "other"),
        ],
        &["--connect", &url],
    );
    assert!(shown.code == 0 && shown.stdout.contains("alice"), "{}", shown.stderr);
    let asked = run(&[(connect, &url)], &["--prometheus", elsewhere]);
    assert!(asked.code == 1 && asked.stderr.contains("Prometheus at http://127.0.0.1:1"), "{}", asked.stderr);
    let both = run(&[(connect, &url), (prometheus, elsewhere)], &[]);
    assert!(both.code == 2 && both.stderr.contains("both set"), "{}", both.stderr);
}
