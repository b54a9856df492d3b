//! The check against a real card (tools/gpu-check), as far as it can be tested without one.

use crate::node::{Run, driver, program, workspace};
use nvml_sim::proc_tree::ProcTree;
use nvml_sim::scenario::Scenario;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

/// Python with this script of the check.
fn python(script: &str) -> Command {
    let mut command = Command::new("python3");
    command.arg(workspace().join("tools/gpu-check").join(script)).current_dir(workspace());
    command
}

/// A simulated node on the real clock, in this folder; what it adds to a command's environment.
fn live(folder: &Path, scenario: &str) -> Vec<(&'static str, String)> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let parsed = Scenario::parse(scenario).unwrap_or_else(|e| panic!("{e}\n{scenario}"));
    let file = folder.join("scenario.yaml");
    std::fs::write(&file, scenario).unwrap();
    let mut tree = ProcTree::create(&folder.join("proc"), &parsed, now as i64 * 1_000_000).unwrap();
    tree.sync(now as i64 * 1_000_000).unwrap();
    tree.write_passwd(&folder.join("passwd")).unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    vec![
        ("NVML_SIM_SCENARIO", text(&file)),
        ("NVML_SIM_EPOCH", now.to_string()),
        ("GPU_CHECK_NVML_LIBRARY", text(&driver())),
        ("GPU_SESSION_MONITOR_PROC_ROOT", text(&folder.join("proc"))),
        ("GPU_SESSION_MONITOR_USERS_PASSWD", text(&folder.join("passwd"))),
    ]
}

fn scenario(style: &str, sm: u32, steps: &str) -> String {
    format!(
        "version: 1
utilization: {{ style: {style} }}
gpus: [{{ model: NVIDIA L40S, memory: 48GiB, reserved: 600MiB }}]
processes:
  - {{ pid: 11001, name: python3, uid: 1000, start: -60s, devices: [{{ gpu: 0, memory: 4GiB, sm: {sm}{steps} }}] }}
  - {{ pid: 11002, name: ollama, uid: 1000, start: -60s, devices: [{{ gpu: 0, memory: 2GiB }}] }}
passwd: [{{ name: alice, uid: 1000 }}]
"
    )
}

#[test]
fn its_own_tests_pass() {
    let mut command = Command::new("python3");
    command.args(["-m", "unittest", "discover", "-s", "tools/gpu-check"]).current_dir(workspace());
    let run = Run::of(command.output().unwrap());
    assert!(run.code == 0 && run.stderr.contains("\nOK"), "{}", run.stderr);
}

#[test]
fn without_a_driver_it_says_so() {
    // A library that is not there, so that a machine with a card gives the same answer.
    let mut command = Command::new(workspace().join("scripts/gpu-check.sh"));
    command.env("GPU_CHECK_NVML_LIBRARY", "/nonexistent/libnvidia-ml.so.1");
    let run = Run::of(command.output().unwrap());
    assert_eq!(run.code, 2, "{}", run.stderr);
    assert!(run.stderr.contains("no GPU: NVIDIA's library is not there"), "{}", run.stderr);
    assert_eq!(run.stdout, "", "nothing was built");
}

#[test]
fn the_probe_tells_apart_how_drivers_answer() {
    let steps: Vec<String> =
        (-60..120).map(|k| format!("{{ at: {k}s, sm: {} }}", if k % 2 == 0 { 90 } else { 5 })).collect();
    let steps = format!(", steps: [{}]", steps.join(", "));
    let start = |style: &str, folder: &Path| -> Child {
        let mut command = python("probe.py");
        command.args(["--seconds", "4", "--library"]).arg(driver());
        command.envs(live(folder, &scenario(style, 5, &steps)));
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let styles = [("ring", "many"), ("last", "last"), ("average", "average")];
    let folders = styles.map(|_| tempfile::tempdir().unwrap());
    let mut running = Vec::new();
    for ((style, answer), folder) in styles.iter().zip(&folders) {
        running.push((answer, start(style, folder.path())));
    }
    for (answer, child) in running {
        let run = Run::of(child.wait_with_output().unwrap());
        assert_eq!(run.code, 0, "{}", run.stderr);
        let answers: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
        assert_eq!(answers["style"]["style"], **answer, "{}", answers["style"]);
        assert_eq!(answers["style"]["unix_microseconds"], true);
        assert_eq!(answers["facts"]["memory_v2"]["reserved"], 600 << 20);
        if *answer == "many" {
            assert_eq!(answers["style"]["period_us"], 200_000);
        }
    }
}

#[test]
fn the_program_agrees_with_the_probe_about_processes_as_found() {
    for (style, sm) in [("ring", 10), ("average", 60)] {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let mut command = python("check.py");
        command.args(["--no-loads", "--seconds", "2", "--program", program(), "--out"]).arg(&out);
        let run = Run::of(command.envs(live(folder.path(), &scenario(style, sm, ""))).output().unwrap());
        assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
        assert!(run.stdout.contains("4 rows, 0 not within the tolerance, 0 problems"), "{}", run.stdout);
        let report = std::fs::read_to_string(out.join("gpu-check.md")).unwrap();
        assert!(report.contains(&format!("| {sm}.0 % |")) && report.contains("| 4096 MiB |"), "{report}");
        let capture = out.join("capture.json");
        let replay = Command::new(program()).args(["replay", capture.to_str().unwrap()]).output().unwrap();
        assert!(Run::of(replay).stdout.contains("pid=\"gpu0_11001\""));
    }
}
