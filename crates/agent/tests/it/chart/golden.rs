//! What the chart makes, to the byte. `make golden` writes it anew; its diff is the review.

use super::{all_values, chart, helm, rendered};
use crate::node::workspace;

#[test]
fn golden_manifests() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    for (name, _) in all_values() {
        let text = rendered(&name);
        let golden = workspace().join("tests/chart/golden").join(&name).with_extension("yaml");
        if update {
            std::fs::write(&golden, &text).unwrap();
        }
        let wanted = std::fs::read_to_string(&golden).unwrap_or_else(|e| panic!("{}: {e}", golden.display()));
        assert!(text == wanted, "{} differs (UPDATE_GOLDEN=1 writes it anew):\n{text}", golden.display());
    }
}

#[test]
fn every_golden_file_has_its_values() {
    let names: Vec<String> = all_values().into_iter().map(|(name, _)| name).collect();
    for entry in std::fs::read_dir(workspace().join("tests/chart/golden")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(names.contains(&name), "{} is of no values file", path.display());
    }
}

#[test]
fn helm_finds_nothing_to_say_against_it() {
    for (name, path) in all_values() {
        let (chart, values) = (chart(), path.to_str().unwrap().to_owned());
        let output = helm(&["lint", "--strict", chart.to_str().unwrap(), "--values", &values]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.contains("1 chart(s) linted, 0"), "{name}: {said}");
        assert!(!said.contains("[WARNING]") && !said.contains("[ERROR]"), "{name}: {said}");
    }
}
