//! An independent client of NVML agrees with the scenario about what the simulated driver says.

use crate::node::{driver, workspace};
use std::process::Command;

#[test]
fn nvidia_ml_py_sees_what_the_scenarios_say() {
    let python = workspace().join("target/test-tools/bin/python");
    assert!(python.exists(), "{} is missing: `make test` makes it (scripts/setup.sh)", python.display());
    let mut command = Command::new(python);
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
