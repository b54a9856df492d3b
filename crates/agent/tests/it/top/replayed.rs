//! Recordings: what the sources of a simulated node said, on the screen.

use super::{screen, seen};
use crate::node::workspace;
use clap::Parser as _;
use gpu_session_monitor::cli::{Cli, Command, CommonArgs};
use gpu_session_monitor::settings::Settings;
use gpu_session_monitor::top::State;
use gpu_session_monitor::view::recording::Recording;

fn recording(common: &CommonArgs) -> Recording {
    let settings = Settings::resolve(common).ok().unwrap();
    Recording::load(&workspace().join("testdata/captures/h100-550-demo/capture.json"), &settings).unwrap()
}

/// The last sample of the demo's recording.
pub(super) fn demo() -> State {
    let Command::Top(args) = Cli::parse_from(["gpu-session-monitor", "top"]).command else { panic!("top") };
    let mut recording = recording(&args.common);
    let mut state = seen(recording.view(recording.samples()));
    state.at_sample(3, 3);
    state
}

#[test]
fn a_recording_shows_who_was_where_and_who_held_a_device_idle() {
    let state = demo();
    let text = screen(&state, (120, 40));
    assert!(
        text.contains("recording 3/3") && text.contains("2023-11-14T22:23:30Z") && !text.contains(" ago"),
        "{text}"
    );
    let row = |word: &str| text.lines().rfind(|line| line.contains(word)).unwrap().to_owned();
    for (word, wanted) in [
        ("tritonserver", &["0_1_0", "alice", "team-vision/alice", "21010", "14.0 GiB"][..]),
        ("32077", &["carol", "blender", " 18 ", "5.0 GiB", "active"]),
        ("HELD IDLE", &["0_10_0", "dave", "team-nlp/dave-eval"]),
        ("41000", &["erin", "IDLE"]),
    ] {
        assert!(wanted.iter().all(|part| row(word).contains(part)), "{word}: {}", row(word));
    }
}

#[test]
fn a_sample_is_the_same_whichever_way_it_is_come_to() {
    let mut recording = recording(&CommonArgs::default());
    let all: Vec<_> = (0..recording.samples()).map(|sample| recording.view(sample)).collect();
    assert!(all.len() == 3 && all[0] != all[2]);
    for sample in [2, 0, 1, 1, 2, 1] {
        assert_eq!(recording.view(sample), all[sample], "{sample}");
    }
}
