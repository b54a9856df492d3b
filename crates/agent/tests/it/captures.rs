//! Golden captures: what the sources said, and what became of it, to the byte.
//!
//! `UPDATE_GOLDEN=1 cargo test captures` writes the expected output anew; its diff is the review.

use crate::node::{Node, Run, program, scenario_file, workspace};
use std::path::Path;
use std::process::Command;

fn replay(capture: &Path, format: &str) -> Run {
    let output = Command::new(program())
        .arg("replay")
        .arg(capture)
        .args(["--format", format])
        .env_clear()
        .env("HOME", "/")
        .output();
    Run::of(output.unwrap())
}

#[test]
fn every_capture_gives_its_golden_output() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut seen = 0;
    for entry in std::fs::read_dir(workspace().join("testdata/captures")).unwrap() {
        let folder = entry.unwrap().path();
        for (format, name) in
            [("text", "expected.prom"), ("openmetrics", "expected.om"), ("json", "expected.json")]
        {
            let run = replay(&folder.join("capture.json"), format);
            // The capture may be of a bad day: what it became is golden all the same.
            assert!([0, 1, 3].contains(&run.code), "{}: {}", folder.display(), run.stderr);
            let text = run.stdout;
            let golden = folder.join(name);
            if update {
                std::fs::write(&golden, &text).unwrap();
            }
            let expected = std::fs::read_to_string(&golden).unwrap_or_default();
            assert!(
                text == expected,
                "{} differs (UPDATE_GOLDEN=1 writes it anew):\n{text}",
                golden.display()
            );
        }
        seen += 1;
    }
    assert!(seen >= 4, "captures are missing: {seen}");
}

/// Scenarios whose captures are kept, with the seconds after the anchor at which they are recorded.
const RECORDED: [(&str, &str, f64); 6] = [
    ("a100-550-seed", "seed.yaml", 60.0),
    ("h100-550-demo", "demo.yaml", 600.0),
    ("l40s-550-lost-gpu", "lost-gpu.yaml", 60.0),
    ("many-550-profiles", "profiles.yaml", 60.0),
    ("many-550-bad-day", "bad-day.yaml", 50.0),
    ("h100-550-edges", "edges.yaml", 60.0),
];

/// A recording of a scenario is the capture that is kept, but for the time that reading took.
#[test]
fn a_recording_is_deterministic_and_is_the_capture_that_is_kept() {
    for (folder, scenario, at) in RECORDED {
        let mut node = Node::in_cluster(&scenario_file(scenario));
        node.at(at);
        assert_kept(&node, folder, &[]);
    }
}

/// Records three samples on the node and compares with the capture of this name.
pub(crate) fn assert_kept(node: &Node, folder: &str, more: &[&str]) {
    let file = node.path("capture.json");
    let record = ["record", "--output", file.to_str().unwrap(), "--samples", "3", "--interval", "5s"];
    let run = node.run(&[&record[..], more].concat());
    assert!([0, 3].contains(&run.code), "{}", run.stderr);
    let text = without_durations(&std::fs::read_to_string(&file).unwrap());
    let kept = workspace().join("testdata/captures").join(folder).join("capture.json");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(kept.parent().unwrap()).unwrap();
        std::fs::write(&kept, &text).unwrap();
    }
    assert!(text == std::fs::read_to_string(&kept).unwrap_or_default(), "{} differs", kept.display());
}

fn without_durations(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\"duration_us\":") {
        out.push_str(before);
        out.push_str("\"duration_us\":1000");
        rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    out + rest
}

#[test]
fn what_is_no_capture_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.json");
    for text in ["", "{}", "{\"format\":\"gpu-session-monitor capture\",\"version\":99,\"samples\":[]}"] {
        std::fs::write(&file, text).unwrap();
        let run = replay(&file, "text");
        assert!(run.code == 1 && run.stderr.contains("x.json"), "{text}: {}", run.stderr);
    }
    assert_eq!(replay(Path::new("/nonexistent.json"), "text").code, 1);
}
