//! Usage, settings and their errors.

use crate::node::{Metrics, Node, Run, plain, program, scenario_file};

fn bare(args: &[&str]) -> Run {
    Run::of(std::process::Command::new(program()).args(args).env_clear().output().unwrap())
}

#[test]
fn wrong_usage_is_two_and_says_what_is_allowed() {
    for (args, wanted) in [
        (&["collect", "--window", "fast"][..], "500ms"),
        (&["collect", "--window", "1h"], "from 100ms to 5m"),
        (&["collect", "--device", "gpu0"], "PCI bus id"),
        (&["collect", "--label", "gpu=1"], "own"),
        (&["collect", "--label", "a-b=1"], "label name"),
        (&["collect", "--label", "x"], "NAME=VALUE"),
        (&["collect", "--colect"], "--help"),
        (&["web"], "--prometheus <URL>"),
        (&["web", "--prometheus", "http://p", "--refresh", "1s"], "from 5s to 10m"),
        (&["web", "--prometheus", "p:9090"], "http(s)://"),
        (&["web", "--prometheus", "http://p", "--web-kubernetes-auth", "true"], "no API server to ask"),
        (&["web", "--prometheus", "http://p", "--listen", "off"], "--listen <ADDRESS>"),
        (&["colect"], "collect"),
        (&[], "Usage"),
    ] {
        let mut args = args.to_vec();
        if args.first() == Some(&"collect") {
            args.extend(["--state-dir", "/nonexistent/state"]);
        }
        let run = bare(&args);
        assert_eq!(run.code, 2, "{args:?}: {}", run.stderr);
        assert!(run.stderr.contains(wanted), "{args:?}: {}", run.stderr);
    }
}

#[test]
fn an_unknown_key_or_bad_value_in_the_file_is_named_and_loses_nothing() {
    let mut node = Node::new(&scenario_file("seed.yaml"));
    node.at(60.0);
    node.collected();
    let before = std::fs::read_to_string(node.textfile()).unwrap();
    let file = node.path("config.yaml");
    for (text, wanted) in [
        ("windw: 1s\n", "windw"),
        ("gpu:\n  devices: [0, gpu1]\n", "gpu1"),
        ("nvml: {library: /x, timout: 1s}\n", "timout"),
    ] {
        std::fs::write(&file, text).unwrap();
        let run = node.run(&["collect", "--config", file.to_str().unwrap()]);
        assert_eq!(run.code, 2, "{}", run.stderr);
        assert!(run.stderr.contains(wanted) && run.stderr.contains("config.yaml"), "{}", run.stderr);
    }
    let run = node.run(&["collect", "--config", "/nonexistent.yaml"]);
    assert_eq!(run.code, 2);
    assert_eq!(std::fs::read_to_string(node.textfile()).unwrap(), before);
}

#[test]
fn a_flag_beats_the_environment_and_that_the_file() {
    let mut node = Node::new(&plain(3, ""));
    node.at(10.0);
    let file = node.path("config.yaml");
    std::fs::write(&file, "gpu: {devices: [0]}\nnode: from-file\n").unwrap();
    let devices = |environment: Option<&str>, flag: Option<&str>| {
        let mut command = node.command(&["collect", "--output", "-", "--config", file.to_str().unwrap()]);
        command.args(flag.map(|flag| format!("--device={flag}")));
        if let Some(value) = environment {
            command.env("GPU_SESSION_MONITOR_DEVICE", value);
        }
        let run = Run::of(command.output().unwrap());
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert!(run.stdout.contains("node=\"from-file\""));
        Metrics::parse(&run.stdout).label("gpu_session_count", "gpu").join(",")
    };
    assert_eq!(devices(None, None), "0");
    assert_eq!(devices(Some("1"), None), "1");
    assert_eq!(devices(Some("1"), Some("2,0")), "0,2");
}

#[test]
fn help_has_examples_and_version_the_commit() {
    for command in ["collect", "ps", "top", "web", "doctor", "record", "replay", "report", "demo"] {
        let run = bare(&[command, "--help"]);
        assert!(run.code == 0 && run.stdout.contains("Example"), "{command}");
    }
    let version = bare(&["--version"]).stdout;
    assert!(version.contains(env!("CARGO_PKG_VERSION")) && version.contains("commit"), "{version}");
    assert!(bare(&["completions", "bash"]).stdout.contains("gpu-session-monitor"));
}

#[test]
fn doctor_names_what_is_wrong_and_what_is_well() {
    let mut node = Node::new(&scenario_file("seed.yaml"));
    node.at(60.0);
    node.collected();
    let well = node.run(&["doctor"]);
    assert_eq!(well.code, 0, "{}{}", well.stdout, well.stderr);
    assert!(
        well.stdout.contains("driver 550.54.15") && well.stdout.contains("NVIDIA A100-SXM4-40GB"),
        "{}",
        well.stdout
    );
    let ill = node.run(&["doctor", "--nvml-library", "/nonexistent.so", "--textfile", "/nonexistent/x.prom"]);
    assert_eq!(ill.code, 1);
    for remedy in ["install the NVIDIA driver", "mkdir -p /nonexistent"] {
        assert!(ill.stdout.contains(remedy), "{}", ill.stdout);
    }
}

#[test]
fn the_table_fits_and_has_no_escapes_in_a_pipe() {
    let mut node = Node::new(&scenario_file("seed.yaml"));
    node.at(60.0);
    let run = node.run(&["ps"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let row = run.stdout.lines().find(|line| line.contains("12345")).unwrap();
    for figure in ["python3", "75", "18.0 GiB", "45"] {
        assert!(row.contains(figure), "{row}");
    }
    assert!(!run.stdout.contains('\x1b'));
}

#[test]
fn openmetrics_goes_to_standard_output_only() {
    let mut node = Node::new(&scenario_file("seed.yaml"));
    node.at(60.0);
    let run = node.run(&["collect", "--output", "-", "--format", "openmetrics"]);
    assert!(run.code == 0 && run.stdout.ends_with("# EOF\n"));
    assert!(run.stdout.contains("# TYPE gpu_user_sm_seconds counter\n"));
    assert_eq!(node.run(&["collect", "--format", "openmetrics"]).code, 2);
}
