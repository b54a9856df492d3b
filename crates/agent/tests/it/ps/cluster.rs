//! `ps --prometheus`: what a real Prometheus has scraped is what the snapshot held.

use crate::chain::Prometheus as Server;
use crate::node::{Node, Run, plain, program, workspace};
use crate::report::truth::Known;
use crate::serve::wait_for;
use gpu_session_core::metrics::{Context, Format, Labels, render};
use gpu_session_core::snapshot::Snapshot;
use gpu_session_core::state::State;
use gpu_session_monitor::cli::{ApiMode, CommonArgs};
use gpu_session_monitor::pipeline;
use gpu_session_monitor::report::prometheus::Options;
use gpu_session_monitor::settings::Settings;
use gpu_session_monitor::view::prometheus::Prometheus;
use gpu_session_monitor::view::{Looks as _, NodeView};
use gpu_session_sources::capture::Capture;
use gpu_session_sources::clock::Clock;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// The last snapshot of each capture that is kept, by name.
fn snapshots() -> BTreeMap<String, Snapshot> {
    let common = CommonArgs { kubernetes_api: Some(ApiMode::Off), ..CommonArgs::default() };
    let monitor = pipeline::monitor(&Settings::resolve(&common).unwrap());
    let folders = std::fs::read_dir(workspace().join("testdata/captures")).unwrap();
    let snapshot = |folder: std::fs::DirEntry| {
        let capture = Capture::load(&folder.path().join("capture.json")).unwrap();
        let mut state = State::default();
        for sample in &capture.samples {
            monitor.step(&mut state, sample);
            monitor.settle(&mut state);
        }
        let last = capture.samples.last().unwrap();
        // No counter is held at 0: each is what the document has.
        let snapshot = monitor.snapshot(&state, last, i64::MAX, &Arc::new(state.counters()));
        (folder.file_name().into_string().unwrap(), snapshot)
    };
    folders.map(|folder| snapshot(folder.unwrap())).collect()
}

/// What metrics carry of a node.
fn carried(snapshot: &Snapshot, node: &str) -> NodeView {
    let mut view = NodeView::of(snapshot, Some(node.to_owned()));
    let rounded = |ratio: &mut Option<f64>| *ratio = ratio.map(|ratio| (ratio * 1e6).round() / 1e6);
    for session in &mut view.sessions {
        (session.uid, session.pod_uid, session.container_id) = (None, None, None);
        (session.measured_since_time, session.allocated) = (None, None);
        rounded(&mut session.sm_utilization_ratio);
        rounded(&mut session.memory_busy_ratio);
        rounded(&mut session.encoder_utilization_ratio);
        rounded(&mut session.decoder_utilization_ratio);
    }
    view.devices.iter_mut().for_each(|device| rounded(&mut device.utilization_ratio));
    // One of which neither figure is known has no series.
    view.allocations.retain(|held| held.sessions.is_some() || held.idle_seconds.is_some());
    view.sources.iter_mut().for_each(|source| source.errors.clear());
    view.sources.sort_by(|a, b| a.source.cmp(&b.source));
    if view.devices.is_empty() {
        view.driver_version = None;
    }
    view
}

/// Serves each text below its path.
pub(super) fn serving(texts: BTreeMap<String, String>) -> SocketAddr {
    answering(move |path| texts.get(path).cloned().unwrap_or_default())
}

/// Answers a request of each path and query with a text.
pub(super) fn answering(answer: impl Fn(&str) -> String + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let first = lines.next().unwrap_or_default();
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let text = first.split(' ').nth(1).map_or_else(String::new, &answer);
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\n";
            let _ = write!(stream, "{head}Content-Length: {}\r\n\r\n{text}", text.len());
        }
    });
    place
}

fn source(url: &str) -> Prometheus {
    let options = Options { url, token_file: None, matcher: None, timeout: Duration::from_secs(30) };
    Prometheus::of(&options, Clock::Real).unwrap()
}

#[test]
fn a_snapshot_comes_back_as_it_was() {
    let snapshots = snapshots();
    assert!(snapshots.len() >= 6);
    let (mut texts, mut jobs, mut expected) = (BTreeMap::new(), Vec::new(), Vec::new());
    // As in the chart, and scraped as node_exporter's pod often is: with labels of its own, which rename ours.
    let targets = [
        ("a", json!({})),
        ("b", json!({"node": "w", "namespace": "monitoring", "pod": "exporter-x", "container": "e"})),
    ];
    for (name, snapshot) in &snapshots {
        for (prefix, labels) in &targets {
            let node = format!("{prefix}-{name}");
            let own = Labels::new([("node", node.as_str())]).unwrap();
            texts.insert(format!("/{node}"), render(snapshot, Context::default(), &own, Format::Text));
            jobs.push((node.clone(), labels.clone()));
            expected.push(carried(snapshot, &node));
        }
    }
    expected.sort_by(|a, b| a.node.cmp(&b.node));
    assert!(expected.iter().any(|node| !node.allocations.is_empty()), "the captures have allocations");
    let target = serving(texts).to_string();
    let job = |(node, labels): (String, Value)| {
        json!({ "job_name": node, "metrics_path": format!("/{node}"),
                "static_configs": [{ "targets": [target], "labels": labels }] })
    };
    let node = Node::new(&plain(1, ""));
    let server = Server::with(&node, &jobs.into_iter().map(job).collect());
    let mut source = source(&server.url());
    let view = wait_for("all nodes", || {
        let view = source.look().map_err(|e| format!("{e:#}"))?;
        let read = |node: &NodeView| !node.sources.is_empty();
        let whole = view.nodes.len() == expected.len() && view.nodes.iter().all(read);
        whole.then_some(view).ok_or_else(|| "not all are scraped".to_owned())
    });
    for (found, wanted) in view.nodes.iter().zip(&expected) {
        assert_eq!(found.sources, wanted.sources, "{:?}", wanted.node);
        assert_eq!(found.devices, wanted.devices, "{:?}", wanted.node);
        assert_eq!(found.sessions, wanted.sessions, "{:?}", wanted.node);
        assert_eq!(found.allocations, wanted.allocations, "{:?}", wanted.node);
        assert_eq!(found, wanted);
    }
}

/// 2025-06-01T00:00:00Z, Unix seconds.
const NOW: i64 = 1_748_736_000;

/// A node with a session, whose last sample is this old, in series that go on or, `gone`, stopped with it.
fn series(node: &str, age: i64, gone: bool) -> Vec<(&'static str, String, f64)> {
    let sampled = (NOW - age) as f64;
    let of = |labels: &str| format!("node=\"{node}\"{labels}");
    let session = ",session=\"s1\",gpu=\"0\",user=\"alice\"";
    let mut all = vec![("gpu_session_collector_last_sample_timestamp_seconds", of(""), sampled)];
    if !gone {
        all.extend([
            ("gpu_device_info", of(",gpu=\"0\",uuid=\"GPU-a\",model=\"NVIDIA L40S\""), 1.0),
            ("gpu_session_count", of(",gpu=\"0\""), 1.0),
            ("gpu_session_users", of(",gpu=\"0\""), 1.0),
            ("gpu_user_sessions", of(",gpu=\"0\",user=\"alice\""), 1.0),
            ("gpu_session_info", of(&format!("{session},uuid=\"GPU-a\",pid=\"10\",command=\"train\"")), 1.0),
            ("gpu_session_start_time_seconds", of(session), sampled - 60.0),
            ("gpu_session_collector_source_up", of(",source=\"nvml\""), 1.0),
            ("gpu_session_collector_source_duration_seconds", of(",source=\"nvml\""), 0.1),
        ]);
    }
    all
}

/// In OpenMetrics, at these times before now.
fn known(nodes: &[(&str, i64, bool)]) -> Known {
    let mut by_name: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (node, age, gone) in nodes {
        for (name, labels, value) in series(node, *age, *gone) {
            let at = if *gone { NOW - age } else { NOW - 30 };
            by_name.entry(name).or_default().push(format!("{name}{{{labels}}} {value} {at}\n"));
        }
    }
    let metric = |(name, lines): (&str, Vec<String>)| format!("# TYPE {name} gauge\n{}", lines.concat());
    Known::of(&(by_name.into_iter().map(metric).collect::<String>() + "# EOF\n"))
}

fn ps(known: &Known, args: &[&str]) -> Run {
    let dir = tempfile::tempdir().unwrap();
    let clock = dir.path().join("clock");
    std::fs::write(&clock, format!("{}", NOW * 1_000_000)).unwrap();
    let mut command = Command::new(program());
    command.args(["ps", "--prometheus", &known.url]).args(args).env_clear();
    Run::of(command.env("GPU_SESSION_MONITOR_CLOCK", clock).output().unwrap())
}

#[test]
fn an_old_sample_is_shown_with_its_age_and_never_as_new() {
    let known = known(&[("fresh", 20, false), ("stuck", 3_600, false), ("gone", 1_200, true)]);
    let run = ps(&known, &[]);
    assert_eq!((run.code, run.stderr.as_str()), (3, ""));
    let row = |words: &[&str]| {
        let found = run.stdout.lines().find(|line| words.iter().all(|word| line.contains(word)));
        found.unwrap_or_else(|| panic!("{words:?}: {}", run.stdout)).to_owned()
    };
    assert!(row(&["NODE", "MODEL"]).ends_with("AS OF"));
    assert!(row(&["fresh", "L40S"]).ends_with(" now") && row(&["fresh", "alice"]).ends_with(" now"));
    assert!(
        row(&["stuck", "L40S"]).ends_with(" 1h00m ago") && row(&["stuck", "alice"]).ends_with(" 1h00m ago")
    );
    assert!(
        row(&["not of now"]).contains("at least 2 on 3 nodes; not of now: gone 20m00s ago, stuck 1h00m ago")
    );

    let run = ps(&known, &["--node", "fresh", "--json"]);
    assert_eq!((run.code, run.stderr.as_str()), (3, ""));
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(
        (document["schema_version"].as_u64(), document["nodes"].as_array().unwrap().len()),
        (Some(1), 1)
    );
    let node = &document["nodes"][0];
    assert_eq!((&node["node"], &node["timestamp"]), (&json!("fresh"), &json!((NOW - 20) as f64)));
    assert_eq!(node["sessions"][0]["user"], "alice");
    assert_eq!(node["sessions"][0]["uid"], Value::Null);
}

#[test]
fn a_node_that_is_gone_is_not_a_node_without_sessions() {
    // Its series ended a minute ago, and it is not old yet.
    let run = ps(&known(&[("gone", 200, true)]), &[]);
    assert_eq!((run.code, run.stderr.as_str()), (3, ""));
    assert!(run.stdout.ends_with("sessions: -\n"), "{}", run.stdout);
}

#[test]
fn what_is_named_and_not_there_is_told() {
    let known = known(&[("fresh", 20, false), ("other", 20, false)]);
    for (args, wanted) in [
        (&["--node", "typo"][..], "--node typo: no such node is there; see the names: fresh, other"),
        (&["--node", "fresh", "--gpu", "0,99"], "--gpu 99: no such device"),
    ] {
        let run = ps(&known, args);
        assert!(run.code == 3 && run.stderr.contains(wanted), "{args:?}: {} {}", run.code, run.stderr);
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    }
    let run = ps(&known, &["--node", "fresh", "--gpu", "0"]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    assert!(run.stdout.ends_with("sessions: 1 (of --node fresh --gpu 0)\n"), "{}", run.stdout);
}

#[test]
fn where_nothing_arrives_it_says_what_to_look_at() {
    let known = known(&[("gone", 7_200, true)]);
    let run = ps(&known, &[]);
    assert_eq!((run.code, run.stdout.as_str()), (1, ""));
    assert!(run.stderr.contains("no series") && run.stderr.contains(&known.url), "{}", run.stderr);
}

#[test]
fn one_whole_node_is_enough() {
    let run = ps(&known(&[("fresh", 20, false)]), &[]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    assert!(!run.stdout.contains("NODE") && run.stdout.ends_with("sessions: 1\n"), "{}", run.stdout);
    assert!(run.stdout.contains("1m00s"), "{}", run.stdout);
}
