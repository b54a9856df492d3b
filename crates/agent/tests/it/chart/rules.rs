//! The chart's alerts, by promtool; and its dashboards.

use super::{chart, helm, of_kind, rendered, template};
use crate::node::workspace;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// What the Prometheus operator would give to Prometheus, as a file.
fn rules(folder: &Path) -> Value {
    let [rule] = &of_kind(&rendered("existing-stack"), "PrometheusRule")[..] else { panic!() };
    assert_eq!(rule["metadata"]["labels"]["release"], "kube-prometheus-stack");
    let spec = rule["spec"].clone();
    std::fs::write(folder.join("rules.yaml"), spec.to_string()).unwrap();
    spec
}

fn promtool(folder: &Path, args: &[&str]) -> Result<String, String> {
    let output = Command::new("promtool").args(args).current_dir(folder).output();
    let output = output.expect("promtool; `make test` installs it (scripts/setup.sh)");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    if output.status.success() { Ok(said) } else { Err(said) }
}

#[test]
fn every_file_of_rules_is_in_it_and_promtool_takes_them() {
    let folder = tempfile::tempdir().unwrap();
    let spec = rules(folder.path());
    let mut wanted = Vec::new();
    let mut files: Vec<_> =
        std::fs::read_dir(chart().join("rules")).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let document: Value = serde_saphyr::from_str(&text).unwrap();
        wanted.extend(document["groups"].as_array().unwrap().clone());
    }
    assert!(!wanted.is_empty() && spec["groups"] == json!(wanted), "{spec}");
    let said = promtool(folder.path(), &["check", "rules", "--lint=all", "--lint-fatal", "rules.yaml"]);
    assert!(said.as_ref().is_ok_and(|said| said.contains("SUCCESS")), "{said:?}");
    for rule in wanted.iter().flat_map(|group| group["rules"].as_array().unwrap()) {
        assert!(rule["annotations"]["summary"].is_string() && rule["annotations"]["description"].is_string());
    }
    assert!(of_kind(&rendered("defaults"), "PrometheusRule").is_empty());
}

#[test]
fn the_alerts_fire_when_they_should_and_not_else() {
    let folder = tempfile::tempdir().unwrap();
    rules(folder.path());
    let tests = std::fs::read_to_string(workspace().join("tests/chart/alerts.yaml")).unwrap();
    std::fs::write(folder.path().join("tests.yaml"), &tests).unwrap();
    let said = promtool(folder.path(), &["test", "rules", "tests.yaml"]);
    assert!(said.is_ok(), "{said:?}");
    // And a test that expects another is told.
    std::fs::write(folder.path().join("tests.yaml"), tests.replace("node: never", "node: fresh")).unwrap();
    let said = promtool(folder.path(), &["test", "rules", "tests.yaml"]);
    assert!(said.as_ref().is_err_and(|said| said.contains("FAILED")), "{said:?}");
}

#[test]
fn a_dashboard_in_the_chart_s_folder_is_a_config_map_word_for_word() {
    let folder = tempfile::tempdir().unwrap();
    let copied = Command::new("cp").arg("-r").arg(chart()).arg(folder.path()).status().unwrap();
    assert!(copied.success());
    let chart = folder.path().join("gpu-session-monitoring");
    std::fs::create_dir_all(chart.join("dashboards")).unwrap();
    let text = "{\n  \"legend\": \"{{ user }} {{ $labels.node }}\"\n}\n";
    std::fs::write(chart.join("dashboards/GPU_nodes.json"), text).unwrap();
    let made = |enabled: &str| -> Vec<Value> {
        let set = format!("dashboards.enabled={enabled}");
        let output = helm(&["template", "gpu-session-monitoring", chart.to_str().unwrap(), "--set", &set]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        of_kind(&String::from_utf8(output.stdout).unwrap(), "ConfigMap")
    };
    assert!(made("false").is_empty());
    let all = made("true");
    let map = all.iter().find(|map| map["data"]["GPU_nodes.json"] == text).expect("the dashboard");
    assert_eq!(map["metadata"]["name"], "gpu-session-monitoring-gpu-nodes");
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
}

#[test]
fn no_dashboard_is_made_where_nobody_asks() {
    assert!(of_kind(&template(&[]).unwrap(), "ConfigMap").is_empty());
}
