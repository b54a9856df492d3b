//! Captures, and what is written of the snapshots that come of them.

use super::{is_clean, is_message};
use crate::{Target, corpus, exposition};
use gpu_session_core::json;
use gpu_session_core::metrics::{Context, Format, Labels, render};
use gpu_session_core::monitor::Monitor;
use gpu_session_core::rules::Rules;
use gpu_session_core::select::Selection;
use gpu_session_core::snapshot::Snapshot;
use gpu_session_core::state::State;
use gpu_session_monitor::outputs::table;
use gpu_session_sources::capture::Capture;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

/// Captures of any bytes: an error, or a replay.
pub(super) const TARGET: Target = Target {
    name: "capture",
    cases: 1_200,
    words: &[
        "\"pid\":",
        "\"time_us\":",
        "null",
        "{",
        "}",
        "[",
        "]",
        ",",
        "\"",
        "\\u001b",
        "\\n",
        "-",
        "\"past\":{",
        "\"cgroup\":",
        "\"mps\":true,",
        "\"hidden\":",
        "\"Entries\"",
        "9223372036854775807",
        "-9223372036854775808",
    ],
    seeds: captures,
    run: any_capture,
};

/// Good captures in which names and figures are others: what is written of them is read back.
pub(super) const EXPOSITION: Target = Target {
    name: "exposition",
    cases: 150,
    words: &[
        "\u{0}", "\"", "\\", "\\n", "\n", "{", "}", ",", "=", "#", " ", "le", "node", "\u{202e}", "\u{fffd}",
        "é", "\u{1}a",
    ],
    seeds: texts,
    run: other_names,
};

/// How `collect` measures, with small limits.
pub(super) fn monitor(ledger: bool) -> Monitor {
    Monitor {
        selection: Selection::All,
        session_limit: 20,
        user_limit: 5,
        rules: Rules::default(),
        hold_us: 0,
        ledger,
    }
}

/// What a replay shows at its end.
pub(super) fn replayed(monitor: &Monitor, capture: &Capture) -> Option<(State, Snapshot)> {
    let mut state = State::default();
    for sample in &capture.samples {
        monitor.step(&mut state, sample);
        monitor.settle(&mut state);
    }
    let last = capture.samples.last()?;
    let snapshot = monitor.snapshot(&state, last, last.time_us, &Arc::new(state.counters()));
    Some((state, snapshot))
}

/// A capture of the test data.
pub(super) fn recorded(name: &str) -> Vec<u8> {
    corpus::file(&format!("testdata/captures/{name}/capture.json"))
}

/// Those of the test data, each cut down to its first two samples.
fn captures() -> Vec<Vec<u8>> {
    let small = |name: &String| {
        let mut capture: serde_json::Value = serde_json::from_slice(&recorded(name)).unwrap();
        capture["samples"].as_array_mut().unwrap().truncate(2);
        serde_json::to_vec(&capture).unwrap()
    };
    corpus::captures().iter().map(small).collect()
}

fn any_capture(bytes: &[u8]) {
    let capture = match Capture::parse(bytes) {
        Ok(capture) => capture,
        Err(problem) => return assert!(is_message(&problem), "{problem}"),
    };
    let written = capture.to_json().unwrap();
    assert_eq!(Capture::parse(written.as_bytes()).as_ref(), Ok(&capture), "written and read");
    let Some((state, snapshot)) = replayed(&monitor(true), &capture) else { return };
    outputs(&snapshot, bytes.len());
    // The state is one that the next run takes.
    let state_written = state.to_json().unwrap();
    assert_eq!(State::from_json(&state_written).unwrap().to_json().unwrap(), state_written);
}

/// Everything that `replay` prints: in the format, harmless on a terminal, and no more than what was read warrants.
fn outputs(snapshot: &Snapshot, read: usize) {
    let sessions = serde_json::to_string(&json::sessions(snapshot)).unwrap();
    let shown = table::snapshot(snapshot);
    assert!(shown.lines().all(|line| !line.chars().any(char::is_control)), "{shown:?}");
    for format in [Format::Text, Format::OpenMetrics] {
        let text = render(snapshot, Context::default(), &Labels::default(), format);
        assert!(text.lines().count() <= most_lines(snapshot), "{} lines", text.lines().count());
        // A session needs some 20 bytes in a capture, and its series some thousand.
        assert!(
            text.len() + sessions.len() + shown.len() <= (256 << 10) + 2_000 * read,
            "{} of {read}",
            text.len()
        );
    }
}

/// Lines of metrics that a snapshot can have.
fn most_lines(snapshot: &Snapshot) -> usize {
    let counters = &*snapshot.counters;
    let one = snapshot.sessions.len() * 24 + snapshot.allocations.len() * 2;
    let on = snapshot.devices.iter().filter_map(|device| device.occupancy.as_ref());
    let occupied: usize = on.map(|on| on.users.len() + on.unattributed.len()).sum();
    let sums = counters.users.len() + counters.namespaces.len() + counters.pods.len();
    let errors = counters.source_errors.len() + counters.write_errors.len() + 2 * snapshot.health.len();
    200 + one + occupied + snapshot.devices.len() * 16 + sums * 12 + counters.gpus.len() * 20 + errors
}

/// Places in a capture whose text or number can be another without it being no capture any more.
static LEAVES: LazyLock<Vec<(serde_json::Value, Vec<String>)>> = LazyLock::new(|| {
    captures()
        .iter()
        .map(|capture| {
            let capture: serde_json::Value = serde_json::from_slice(capture).unwrap();
            let mut leaves = Vec::new();
            collect(&capture["samples"], "/samples", &mut leaves);
            (capture, leaves)
        })
        .collect()
});

fn collect(value: &serde_json::Value, at: &str, leaves: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(map) => {
            // The same device is the same in all samples, and no other.
            let other = map.iter().filter(|(key, _)| !["uuid", "label", "boot_id"].contains(&key.as_str()));
            for (key, value) in other {
                collect(value, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), leaves);
            }
        }
        serde_json::Value::Array(list) => {
            list.iter().enumerate().for_each(|(n, value)| collect(value, &format!("{at}/{n}"), leaves));
        }
        serde_json::Value::String(_) | serde_json::Value::Number(_) => leaves.push(at.to_owned()),
        _ => {}
    }
}

/// Few changes, and many: of every text and number in turn.
fn texts() -> Vec<Vec<u8>> {
    let few = |n: u8| [&[n][..], b"node \"\\\n\0\0\x09", b"7\0\x01\x4d", b"user"].concat();
    let change = |at: u16| {
        [&at.to_be_bytes()[..], b"\"a\\\n{}=,\xe2\x80\xae", at.to_string().as_bytes(), b"\0"].concat()
    };
    let many = |n: u8| [vec![n], b"rack\0".to_vec(), (257..457).flat_map(change).collect()].concat();
    (0..7).map(few).chain((0..7).map(many)).collect()
}

/// One byte chooses the capture, then come labels of all series, then changes: two bytes the place, and the text up to a zero.
fn other_names(bytes: &[u8]) {
    let Some((which, rest)) = bytes.split_first() else { return };
    let (capture, leaves) = &LEAVES[usize::from(*which) % LEAVES.len()];
    let mut capture = capture.clone();
    let mut changes = rest.split(|byte| *byte == 0);
    let label = String::from_utf8_lossy(changes.next().unwrap_or_default()).into_owned();
    for change in changes {
        let Some(([high, low], text)) = change.split_first_chunk() else { continue };
        let at = usize::from(u16::from_be_bytes([*high, *low])) % leaves.len();
        let text = String::from_utf8_lossy(text);
        let slot = capture.pointer_mut(&leaves[at]).unwrap();
        *slot = match (slot.is_number(), text.parse::<serde_json::Number>()) {
            (true, Ok(number)) => number.into(),
            (true, Err(_)) => continue,
            (false, _) => gpu_session_core::text::clean(&text).into(),
        };
    }
    let Ok(capture) = Capture::parse(&serde_json::to_vec(&capture).unwrap()) else { return };
    let Some((_, snapshot)) = replayed(&monitor(false), &capture) else { return };
    outputs(&snapshot, 64 << 10);
    let Ok(labels) = Labels::new([("node", label.as_str()), ("rack", "\"\\\n")]) else {
        unreachable!("both are names")
    };
    read_back(&snapshot, &labels, &label);
}

/// Text and OpenMetrics say the same, and what was put in.
fn read_back(snapshot: &Snapshot, labels: &Labels, node: &str) {
    let context = Context { version: "1", revision: "r", age: Some((0.5, true)), ..Context::default() };
    let written = [Format::Text, Format::OpenMetrics].map(|format| render(snapshot, context, labels, format));
    let [text, open] = [(&written[0], false), (&written[1], true)]
        .map(|(text, is_open)| exposition::read(text, is_open).unwrap_or_else(|e| panic!("{e}")));
    let mut same: Vec<_> = open.series.into_iter().collect();
    for ((_, labels), _) in &mut same {
        // Written as a float there.
        if let Some(bound) = labels.get_mut("le") {
            *bound = bound.strip_suffix(".0").unwrap_or(bound).to_owned();
        }
    }
    assert!(same.into_iter().collect::<BTreeMap<_, _>>() == text.series, "the formats differ");
    let has = |name: &str, wanted: &[(&str, &str)]| {
        text.series.keys().any(|(series, labels)| {
            series == name && wanted.iter().all(|(label, value)| labels[*label] == *value)
        })
    };
    let node = gpu_session_core::text::clean(node);
    for (_, labels) in text.series.keys() {
        assert_eq!((&labels["node"], labels["rack"].as_str()), (&node, "\"\\\u{fffd}"));
        assert!(labels.values().all(|value| is_clean(value)), "{labels:?}");
    }
    for view in &snapshot.sessions {
        let command = view.session.command.as_deref().unwrap_or("");
        let wanted = [("session", &*view.id.to_string()), ("command", command)];
        assert!(!view.live || has("gpu_session_info", &wanted), "{wanted:?}");
    }
    for device in &snapshot.devices {
        let model = device.facts.model.as_deref().unwrap_or("");
        assert!(has("gpu_device_info", &[("uuid", &device.facts.uuid), ("model", model)]), "{model:?}");
    }
    for (gpu, user, usage) in &snapshot.counters.users {
        let wanted = [("gpu", &*gpu.to_string()), ("user", user)];
        assert!(
            usage.session_seconds.is_none() || has("gpu_user_session_seconds_total", &wanted),
            "{wanted:?}"
        );
    }
    ours_agrees(&written[0], &text);
}

/// Our own reader of the format, which is for what others write, reads what we write.
fn ours_agrees(text: &str, wanted: &exposition::Exposition) {
    let found = gpu_session_sources::exposition::series(text.as_bytes()).unwrap().map(Result::unwrap);
    let mut order = wanted.order.iter();
    for series in found {
        let key = order.next().expect("no more than there are");
        let says = |(label, value): (&String, &String)| {
            series.label(label).is_ok_and(|found| found.as_deref().unwrap_or("") == value)
        };
        let same = series.value.to_bits() == wanted.series[key].to_bits();
        assert!(same && series.name == key.0 && key.1.iter().all(says), "{key:?}");
    }
    assert_eq!(order.next(), None);
}
