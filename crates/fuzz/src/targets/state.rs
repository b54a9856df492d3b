//! The state file.

use super::capture::{monitor, recorded, replayed};
use super::is_message;
use crate::{Target, corpus};
use gpu_session_core::metrics::{Context, Format, Labels, render};
use gpu_session_core::sample::Sample;
use gpu_session_core::state::State;
use gpu_session_monitor::state_file::StateFolder;
use gpu_session_sources::capture::Capture;
use std::sync::{Arc, LazyLock};

pub(super) const TARGET: Target = Target {
    name: "state",
    cases: 500,
    words: &[
        "\"version\":2",
        "\"pending\":",
        "\"ended_us\":1,",
        "null",
        "{",
        "}",
        "[",
        "]",
        ",",
        "\"",
        "\\u001b",
        "-",
        "1e308",
        "-0.0",
        "9223372036854775807",
        "1152921504606846976",
    ],
    seeds,
    run,
};

static SAMPLES: LazyLock<Vec<Sample>> = LazyLock::new(|| {
    let last = |name: &String| Capture::parse(&recorded(name)).unwrap().samples.pop().unwrap();
    corpus::captures().iter().map(last).collect()
});

fn seeds() -> Vec<Vec<u8>> {
    let state = |name: &String| {
        let capture = Capture::parse(&recorded(name)).unwrap();
        replayed(&monitor(true), &capture).unwrap().0.to_json().unwrap()
    };
    corpus::captures().iter().map(state).chain([State::default().to_json().unwrap()]).collect()
}

fn run(bytes: &[u8]) {
    let state = match State::from_json(bytes) {
        Ok(state) => state,
        Err(problem) => {
            assert!(is_message(&problem.to_string()), "{problem}");
            return set_aside(bytes);
        }
    };
    let written = state.to_json().unwrap();
    let read = State::from_json(&written).unwrap();
    assert_eq!(read.to_json().unwrap(), written, "written and read");
    assert!(written.len() <= 4096 + 32 * bytes.len(), "{} bytes of {}", written.len(), bytes.len());
    on_disk(&read);
    for sample in SAMPLES.iter() {
        goes_on(read.clone(), sample);
    }
}

/// It is what the next run reads.
fn on_disk(state: &State) {
    let folder = tempfile::tempdir().unwrap();
    let open = StateFolder::open(folder.path()).unwrap();
    open.save(state).unwrap();
    assert_eq!(open.load().unwrap().to_json().unwrap(), state.to_json().unwrap());
    assert!(!folder.path().join("state.json.damaged").exists());
}

/// What cannot be read is kept as it is, and counting begins anew.
fn set_aside(bytes: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("state.json"), bytes).unwrap();
    let open = StateFolder::open(folder.path()).unwrap();
    assert_eq!(open.load().unwrap(), State::default());
    assert_eq!(std::fs::read(folder.path().join("state.json.damaged")).unwrap(), bytes);
    assert!(!folder.path().join("state.json").exists());
}

/// A state that was believed can be counted on with: no counter goes down, and what comes of it is believed again.
fn goes_on(mut state: State, sample: &Sample) {
    let monitor = monitor(true);
    let before = state.counters();
    monitor.step(&mut state, sample);
    monitor.settle(&mut state);
    let after = state.counters();
    for (gpu, user, usage) in &before.users {
        let then = after.users.iter().find(|(g, u, _)| (g, u) == (gpu, user)).map(|(.., usage)| usage);
        let value =
            |usage: &gpu_session_core::accounting::Usage| usage.session_seconds.map_or(0.0, |c| c.value);
        assert!(then.is_some_and(|then| value(then) >= value(usage)), "{gpu} {user}");
    }
    let snapshot = monitor.snapshot(&state, sample, sample.time_us, &Arc::new(after));
    render(&snapshot, Context::default(), &Labels::default(), Format::OpenMetrics);
    let written = state.to_json().unwrap();
    if let Err(problem) = State::from_json(&written) {
        panic!("the next run does not take it: {problem}");
    }
}
