//! The chart's README and notes.

use super::{chart, helm};
use crate::node::workspace;
use serde_json::Value;
use std::fmt::Write as _;

/// Keys of the values, with dots; a mapping that holds anything is one key.
fn keys(value: &Value, above: &str, found: &mut Vec<(String, Value)>) {
    let whole =
        |key: &str| key.ends_with("odeSelector") || key.ends_with("labels") || key.ends_with("resources");
    match value.as_object().filter(|map| !map.is_empty() && !whole(above)) {
        Some(map) => {
            for (key, below) in map {
                let name = if above.is_empty() { key.clone() } else { format!("{above}.{key}") };
                keys(below, &name, found);
            }
        }
        None => found.push((above.to_owned(), value.clone())),
    }
}

fn values() -> Vec<(String, Value)> {
    let text = std::fs::read_to_string(chart().join("values.yaml")).unwrap();
    let mut found = Vec::new();
    keys(&serde_saphyr::from_str(&text).unwrap(), "", &mut found);
    found
}

/// A row of each value: key, default, and the comment above it.
fn table() -> String {
    let text = std::fs::read_to_string(chart().join("values.yaml")).unwrap();
    let values = values();
    let (mut above, mut comment, mut table) = (Vec::<&str>::new(), Vec::new(), String::new());
    for line in text.lines() {
        let (words, depth) = (line.trim_start(), (line.len() - line.trim_start().len()) / 2);
        if let Some(words) = words.strip_prefix("# ") {
            comment.push(words);
            continue;
        }
        if let Some((key, _)) = words.split_once(':').filter(|_| !words.starts_with("- ")) {
            above.truncate(depth);
            above.push(key);
            let key = above.join(".");
            if let Some((_, default)) = values.iter().find(|(known, _)| *known == key) {
                assert!(!comment.is_empty(), "values.yaml: {key} has no comment");
                writeln!(table, "| `{key}` | {} | {} |", shown(default), comment.join(" ")).unwrap();
            }
        }
        comment.clear();
    }
    assert_eq!(table.lines().count(), values.len(), "a row of each value");
    table
}

fn shown(default: &Value) -> String {
    match default {
        Value::String(text) if text.is_empty() => String::new(),
        Value::String(text) => format!("`{text}`"),
        other => format!("`{other}`"),
    }
}

#[test]
fn golden_readme() {
    const BEGIN: &str = "| key | default | meaning |\n|---|---|---|\n";
    let (path, table) = (chart().join("README.md"), table());
    let readme = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once(BEGIN).expect("the table's head");
    let (old, after) = rest.split_once("\n\n").unwrap_or((rest, ""));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let after = if after.is_empty() { String::new() } else { format!("\n{after}") };
        std::fs::write(&path, format!("{before}{BEGIN}{table}{after}")).unwrap();
    } else {
        assert_eq!(old.trim_end(), table.trim_end(), "{} (UPDATE_GOLDEN=1 writes it)", path.display());
    }
}

/// What an installation with this says at its end.
fn notes(set: &str) -> String {
    let chart = chart();
    let release = ["install", "--dry-run=client", "gpu-session-monitoring", chart.to_str().unwrap()];
    let output = helm(&[&release[..], &["--namespace", "gpu-operator", "--set", set]].concat());
    let said = String::from_utf8(output.stdout).unwrap();
    said.split_once("NOTES:").unwrap_or_else(|| panic!("{set}: {said}")).1.to_owned()
}

#[test]
fn the_notes_name_the_three_commands() {
    for (set, wanted) in [
        (
            "collection.mode=cronjob",
            [
                "kubectl get cronjobs,jobs -n gpu-operator",
                "kubectl logs -l job-name=gpu-session-metrics-collector --all",
                "query?query=gpu_session_count",
            ],
        ),
        (
            "collection.mode=daemonset",
            [
                "kubectl rollout status daemonset/gpu-session-monitoring -n gpu-operator",
                "kubectl logs daemonset/gpu-session-monitoring -n gpu-operator",
                "query?query=gpu_session_count",
            ],
        ),
    ] {
        let notes = notes(set);
        assert!(wanted.iter().all(|command| notes.contains(command)), "{notes}");
    }
}

#[test]
fn the_notes_say_what_is_to_be_done_and_nothing_else() {
    for (set, wanted, others) in [
        ("collection.mode=cronjob", &[][..], &["remove gpu_sessions.prom", "-mig"][..]),
        ("mig.monitor=true", &["job-name=gpu-session-metrics-collector-mig"], &[]),
        ("collection.mode=daemonset", &["It names users"], &["remove gpu_sessions.prom", "-mig", "guard"]),
        ("collection.mode=daemonset,rights.root=false", &["remove gpu_sessions.prom"], &[]),
        ("collection.mode=daemonset,mig.monitor=true", &["daemonset/gpu-session-monitoring-mig"], &[]),
        ("collection.mode=daemonset,processEvents=true", &["the policy does not guard"], &[]),
        ("collection.mode=daemonset,web.kubernetesAuth=true", &[], &["It names users"]),
        (
            "page.enabled=true,page.prometheus=http://p",
            &["port-forward -n gpu-operator deployment/gpu-session-monitoring-page 9837", "in its pod only"],
            &["at the Service"],
        ),
        (
            "page.enabled=true,page.prometheus=http://p,page.configSecret=x,page.tls=true",
            &["at the Service gpu-session-monitoring-page", "https://localhost:9837/"],
            &["in its pod only"],
        ),
        ("enabled=false", &["Nothing is installed"], &["kubectl"]),
    ] {
        let notes = notes(set);
        assert!(wanted.iter().all(|words| notes.contains(words)), "{set}: {notes}");
        assert!(!others.iter().any(|words| notes.contains(words)), "{set}: {notes}");
        assert!(!notes.contains("\n\n\n"), "{set}: {notes}");
    }
}

#[test]
fn the_versions_are_the_program_s() {
    let text = std::fs::read_to_string(chart().join("Chart.yaml")).unwrap();
    let chart: Value = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    let page = std::fs::read_to_string(workspace().join("docs/kubernetes.md")).unwrap();
    assert!(page.contains("charts/gpu-session-monitoring"), "the page names the chart");
}
