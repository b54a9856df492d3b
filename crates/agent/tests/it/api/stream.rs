//! What changes: whoever replays it has the state that can be asked.

use super::Site;
use crate::hostile::hostile;
use crate::node::{EPOCH, Node, plain};
use crate::serve::{Serve, wait_for};
use gpu_session_client::{Error, Events, Filter, Kind, View};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

/// Takes events in up to the sample of the node's clock.
fn follow(site: &Site, events: &mut Events, view: &mut View) {
    let now = EPOCH as f64 + site.node.now();
    for event in events {
        let whole = view.apply(event.unwrap());
        if whole && view.sample.as_ref().is_some_and(|sample| (sample.timestamp - now).abs() < 1e-6) {
            return;
        }
    }
    panic!("the stream ended");
}

/// That the view is what can be asked.
fn assert_same(site: &Site, filter: &Filter, view: &View) {
    let client = site.client();
    let all = filter.clone().limit(1000);
    let sessions = client.sessions(&all).unwrap();
    assert_eq!(view.sample.as_ref().unwrap().sources, sessions.sources);
    let wanted: BTreeMap<_, _> = sessions.sessions.into_iter().map(|s| (s.session.clone(), s)).collect();
    assert_eq!(view.sessions, wanted);
}

#[test]
fn a_replayed_stream_is_the_state_after_each_sample() {
    let mut site = Site::demo(1);
    let client = site.client();
    let filters =
        [Filter::new(), Filter::new().gpu("0"), Filter::new().user("dave"), Filter::new().namespace("")];
    let mut streams: Vec<_> = filters
        .iter()
        .map(|filter| (client.stream(filter).unwrap(), View::default(), filter.clone()))
        .collect();
    let mut gone = 0;
    for minute in 1..=40 {
        if minute > 1 {
            site.watch([minute]);
        }
        if minute % 15 == 0 {
            // Whoever connects anew begins with nothing.
            for (events, view, filter) in &mut streams {
                (*events, *view) = (client.stream(filter).unwrap(), View::default());
            }
        }
        for (events, view, filter) in &mut streams {
            let before = view.sessions.len();
            follow(&site, events, view);
            gone += usize::from(view.sessions.len() < before);
            assert_same(&site, filter, view);
        }
        let devices = client.devices(&Filter::new()).unwrap().devices;
        let all = &streams[0].1.devices;
        assert_eq!(all.len(), devices.len());
        assert!(devices.iter().all(|device| all.get(&device.uuid) == Some(device)));
        assert!(streams[1].1.devices.values().all(|device| device.gpu.starts_with("0_")));
    }
    assert!(gone > 3, "sessions ended meanwhile");
}

#[test]
fn a_device_that_is_lost_is_told_and_one_that_comes_back() {
    let fault =
        "faults:\n  - { from: 18s, until: 33s, function: \"nvmlDeviceGet*\", gpu: 1, return: GPU_IS_LOST }\n";
    let process = "  - { pid: 10, name: a, uid: 1000, devices: [{ gpu: 0, memory: 1GiB, sm: 50 }, { gpu: 1, memory: 1GiB }] }\n";
    let mut node = Node::new(&(plain(2, process) + fault));
    node.at(10.0);
    let serve = Serve::start(&node, &[]);
    serve.sampled(&node);
    let mut site = Site { node, serve };
    let (mut events, mut view) = (site.client().stream(&Filter::new()).unwrap(), View::default());
    let mut counts = Vec::new();
    for second in [10, 15, 20, 25, 30, 35, 40] {
        site.sample_at([second]);
        follow(&site, &mut events, &mut view);
        assert_same(&site, &Filter::new(), &view);
        let devices = site.client().devices(&Filter::new()).unwrap().devices;
        assert!(devices.iter().all(|device| view.devices.get(&device.uuid) == Some(device)));
        assert_eq!(view.devices.len(), devices.len());
        counts.push((view.devices.len(), view.sessions.len()));
    }
    assert_eq!(counts[0], (2, 2));
    assert!(counts.contains(&(1, 1)), "{counts:?}");
    assert_eq!(counts[6], (2, 2));
}

#[test]
fn a_sample_is_told_with_its_age_to_whoever_comes_later() {
    let mut node = Node::new(&plain(1, ""));
    node.at(10.0);
    let serve = Serve::start(&node, &[]);
    serve.sampled(&node);
    let site = Site { node, serve };
    let ages = |mut site: Site, seconds: f64| {
        site.node.at(seconds);
        let mut view = View::default();
        for event in site.client().stream(&Filter::new()).unwrap() {
            if view.apply(event.unwrap()) {
                break;
            }
        }
        let sample = view.sample.unwrap();
        (sample.timestamp - EPOCH as f64, sample.now - EPOCH as f64, site)
    };
    let (timestamp, now, site) = ages(site, 11.0);
    assert_eq!((timestamp, now), (10.0, 11.0));
    // No sample is due yet, and the same one is told again.
    let (timestamp, now, _) = ages(site, 13.0);
    assert_eq!((timestamp, now), (10.0, 13.0));
}

/// The lines of a stream as they come.
fn lines(site: &Site, query: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(site.serve.address()).unwrap();
    write!(stream, "GET /api/v1/stream{query} HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
    BufReader::new(stream)
}

#[test]
fn hostile_names_break_no_line_and_no_document() {
    let mut node = hostile();
    node.at(10.0);
    let serve = Serve::start(&node, &[]);
    serve.sampled(&node);
    let site = Site { node, serve };
    let mut commands = Vec::new();
    let mut name = String::new();
    for line in lines(&site, "").split(b'\n').map(Result::unwrap).skip_while(|line| line != b"\r").skip(1) {
        let line = String::from_utf8(line).unwrap();
        assert!(!line.contains(char::is_control), "{line:?}");
        match line.split_once(':') {
            Some(("event", value)) => value.trim().clone_into(&mut name),
            Some(("data", value)) => {
                let data: Value = serde_json::from_str(value).unwrap();
                commands.extend(data["command"].as_str().filter(|_| name == "session").map(str::to_owned));
            }
            Some((field, _)) => assert!(["id", ""].contains(&field), "{line:?}"),
            None if name == "sample" => break,
            None => assert_eq!(line, ""),
        }
    }
    let asked: Vec<String> =
        site.list("/sessions").iter().map(|s| s["command"].as_str().unwrap().to_owned()).collect();
    assert_eq!(commands, asked);
    assert_eq!(commands.len(), 8);
    for command in &commands {
        assert!(!command.contains(char::is_control) && !command.contains('\u{202e}'), "{command:?}");
        let filter = Filter::new().command(command.clone());
        let found = site.client().sessions(&filter).unwrap().sessions;
        assert!(
            !found.is_empty() && found.iter().all(|s| s.command.as_ref() == Some(command)),
            "{command:?}"
        );
    }
}

#[test]
fn whoever_does_not_read_holds_up_nobody_and_skips() {
    let busy = "  - { pid: 1000, name: worker, count: 1000, uid: 1000, devices: [{ gpu: 0, memory: 1MiB, sm: 0.05 }] }\n";
    let mut node = Node::new(&plain(1, busy));
    node.at(10.0);
    let serve = Serve::start(&node, &[]);
    serve.sampled(&node);
    let mut site = Site { node, serve };
    let mut slow = lines(&site, "");
    let last = 10 + 5 * 40;
    site.sample_at((15..=last).step_by(5));
    // Some 40 MB were to be told by now, more than lies in any buffer on the way.
    let (mut samples, mut line) = (0, String::new());
    let wanted = format!("id: {}", (EPOCH + i64::from(last)) * 1_000_000);
    let mut at_last = false;
    loop {
        line.clear();
        assert!(slow.read_line(&mut line).unwrap() > 0, "the stream ended");
        at_last |= line.trim() == wanted;
        if line.trim() == "event: sample" {
            samples += 1;
            if at_last {
                break;
            }
        }
    }
    assert!(samples < 41, "none was skipped");
}

#[test]
fn streams_are_few_and_a_place_that_is_left_is_free() {
    let site = Site::demo(1);
    let client = site.client();
    let mut streams: Vec<Events> = (0..32).map(|_| client.stream(&Filter::new()).unwrap()).collect();
    let Err(refused) = client.stream(&Filter::new()) else { panic!("one too many") };
    assert_eq!(refused.kind(), Kind::Refused(503));
    assert!(refused.to_string().contains("32 streams"), "{refused}");
    let (status, head, _) = site.answer("GET", "/stream");
    assert!(status == 503 && head.contains("retry-after: "), "{head}");
    assert!(client.sessions(&Filter::new()).is_ok(), "others are answered");
    streams.truncate(31);
    let again: Result<Events, Error> =
        Ok(wait_for("a free place", || client.stream(&Filter::new()).map_err(|e| e.to_string())));
    assert!(again.is_ok_and(|mut events| events.next().is_some_and(|event| event.is_ok())));
}

#[test]
fn where_nothing_changes_something_is_said_all_the_same() {
    let site = Site::demo(1);
    let told = lines(&site, "").lines().map(Result::unwrap);
    let after: Vec<String> = told.skip_while(|line| line != "event: sample").skip(1).take(4).collect();
    assert!(after[0].starts_with("data: ") && after[1..] == ["", ":", ""], "{after:?}");
}
