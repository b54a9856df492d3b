//! What the description says, and what is answered: Schemathesis, an independent reader of OpenAPI, compares them.

use super::Site;
use crate::node::workspace;
use std::process::Command;

#[test]
fn an_independent_client_finds_no_answer_that_is_not_described() {
    let site = Site::demo(45);
    let program = workspace().join("target/test-tools/bin/schemathesis");
    assert!(program.exists(), "{} is missing: `make test` makes it (scripts/setup.sh)", program.display());
    let url = format!("http://{}", site.serve.address());
    let output = Command::new(program)
        .current_dir(site.node.dir.path())
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("PYTHONPATH", workspace().join("tests/api"))
        .args(["run", &format!("{url}/api/v1/openapi.json"), "--url", &url, "--no-color"])
        // A stream has no end to wait for: its answers are tested beside this.
        .args(["--include-path-regex", "^/api/", "--exclude-path", "/api/v1/stream"])
        .args(["--checks", "all", "--exclude-checks", "positive_data_acceptance"])
        .args(["--seed", "20260101", "--max-examples", "60", "--generation-database", "none"])
        .args(["--phases", "examples,coverage,fuzzing", "--request-timeout", "20", "--continue-on-failure"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("Tested: 6") && !said.contains("WARNINGS"), "{said}");
}
