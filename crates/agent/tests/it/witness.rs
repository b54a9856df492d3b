//! Independent clients: of NVML, which agrees with the scenario about what the simulated driver says, and of
//! OpenMetrics, which reads what we write.

use crate::node::{Node, driver, scenario_file, workspace};
use std::process::Command;

/// Python with the independent clients.
fn python() -> Command {
    let python = workspace().join("target/test-tools/bin/python");
    assert!(python.exists(), "{} is missing: `make test` makes it (scripts/setup.sh)", python.display());
    Command::new(python)
}

#[test]
fn the_reference_parser_reads_our_openmetrics() {
    let mut node = Node::new(&scenario_file("demo.yaml"));
    for at in [600.0, 660.0] {
        node.at(at);
        node.collected();
    }
    let run = node.run(&["collect", "--output", "-", "--format", "openmetrics"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let series = run.stdout.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(open_metrics_series(&run.stdout), series);
}

/// How many series the reference parser reads in it; what it does not accept is a failure.
pub(crate) fn open_metrics_series(text: &str) -> usize {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let script = "import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
print(sum(len(family.samples) for family in parse(open(sys.argv[1]).read())))";
    let output = python().args(["-c", script]).arg(file.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().parse().unwrap()
}

#[test]
fn nvidia_ml_py_sees_what_the_scenarios_say() {
    let mut command = python();
    command
        .arg(workspace().join("tests/witness/witness.py"))
        .arg("--library-dir")
        .arg(driver().parent().unwrap());
    for scenario in ["seed", "demo", "edges", "mig-224", "plain-64", "profiles", "bad-day"] {
        command.arg(workspace().join(format!("testdata/scenarios/{scenario}.yaml")));
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let last = text.lines().last().unwrap_or("");
    assert!(last.ends_with(" passed, 0 failed") && !last.starts_with("0 "), "{last}");
}
