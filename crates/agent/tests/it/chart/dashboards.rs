//! The chart's dashboards.

use super::{chart, helm, list, of_kind, template};
use crate::node::workspace;
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Command;

/// The dashboards of the chart, by their file's name.
pub(super) fn dashboards() -> Vec<(String, Value)> {
    let folder = std::fs::read_dir(chart().join("dashboards")).unwrap();
    let mut all: Vec<_> = folder
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let text = std::fs::read_to_string(entry.path()).unwrap();
            (entry.file_name().into_string().unwrap(), serde_json::from_str(&text).unwrap())
        })
        .collect();
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    assert!(!all.is_empty());
    all
}

/// The panels of a dashboard, without the titles of its rows.
pub(super) fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    list(dashboard, "panels").iter().filter(|panel| panel["type"] != "row")
}

#[test]
fn the_dashboards_are_ones_that_grafana_shows() {
    let mut uids = BTreeSet::new();
    for (name, dashboard) in dashboards() {
        assert!(uids.insert(dashboard["uid"].to_string()), "{name}: its uid is another's");
        assert_eq!(name, format!("{}.json", dashboard["uid"].as_str().unwrap()));
        let variables = list(&dashboard["templating"], "list");
        assert_eq!(variables[0]["type"], "datasource");
        let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
        for panel in list(&dashboard, "panels") {
            let (title, place) = (&panel["title"], &panel["gridPos"]);
            assert!(title.as_str().is_some_and(|title| !title.is_empty()), "{name}: {panel}");
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{name}: {title}: its id is another's");
            let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| place[side].as_u64().unwrap());
            assert!(w > 0 && h > 0 && x + w <= 24, "{name}: {title} is outside the grid");
            for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                assert!(cells.insert(cell), "{name}: {title} is over another");
            }
        }
        for panel in panels(&dashboard) {
            let title = &panel["title"];
            assert!(panel["description"].as_str().is_some_and(|told| !told.is_empty()), "{name}: {title}");
            let mut letters = BTreeSet::new();
            for target in list(panel, "targets") {
                assert!(letters.insert(target["refId"].to_string()), "{name}: {title}");
                assert_eq!(target["datasource"]["uid"], "${datasource}");
                let known = |used: &str| variables.iter().any(|variable| variable["name"] == used);
                let expr = target["expr"].as_str().unwrap();
                for used in expr.split("\"$").skip(1).map(|rest| rest.split('"').next().unwrap()) {
                    assert!(known(used), "{name}: {title}: ${used}");
                }
            }
        }
    }
}

/// What TypeScript says to a dashboard, by Grafana's own types.
fn told_by_types(name: &str, dashboard: &Value) -> Result<(), String> {
    let packages = workspace().join("target/test-tools/dashboards");
    let folder = tempfile::Builder::new().prefix("of-").tempdir_in(&packages).unwrap();
    let file = folder.path().join(format!("{name}.ts"));
    std::fs::copy(workspace().join("tests/dashboards/dashboard.ts"), folder.path().join("dashboard.ts"))
        .unwrap();
    let code = format!(
        "import type {{ Dashboard }} from './dashboard';\nexport const dashboard: Dashboard = {dashboard:#};\n"
    );
    std::fs::write(&file, code).unwrap();
    let mut tsc = Command::new("node");
    tsc.arg(packages.join("node_modules/typescript/bin/tsc")).args([
        "--noEmit",
        "--strict",
        "--skipLibCheck",
    ]);
    tsc.args(["--module", "esnext", "--moduleResolution", "bundler", "--target", "es2022"]).arg(file);
    let run = tsc.output().expect("node runs; scripts/setup.sh sees to it");
    if run.status.success() { Ok(()) } else { Err(String::from_utf8(run.stdout).unwrap()) }
}

#[test]
fn grafana_s_own_types_know_everything_in_the_dashboards() {
    for (name, dashboard) in dashboards() {
        told_by_types(&name, &dashboard).unwrap_or_else(|told| panic!("{name}: {told}"));
    }
}

#[test]
fn what_grafana_does_not_know_would_be_found() {
    let (name, good) = dashboards().remove(0);
    for (known, unknown) in [
        ("\"unit\":", "\"units\":"),
        ("\"mode\":\"multi\"", "\"mode\":\"many\""),
        ("\"legendFormat\":", "\"legend\":"),
        ("\"mergeValues\":", "\"merge\":"),
        ("\"schemaVersion\":38", "\"schemaVersion\":\"38\""),
    ] {
        let text = good.to_string();
        assert!(text.contains(known), "{known}");
        let bad = serde_json::from_str(&text.replace(known, unknown)).unwrap();
        let told = told_by_types(&name, &bad).expect_err(unknown);
        assert!(told.contains("error TS"), "{told}");
    }
}

/// Seconds of a duration such as 60s or 5m.
fn seconds(duration: &str) -> u32 {
    let (number, unit) = duration.split_at(duration.len() - 1);
    number.parse::<u32>().unwrap() * if unit == "m" { 60 } else { 1 }
}

#[test]
fn steps_over_time_are_no_finer_than_scrapes_and_some_scrapes_are_in_what_is_counted() {
    let values = std::fs::read_to_string(chart().join("values.yaml")).unwrap();
    let values: Value = serde_saphyr::from_str(&values).unwrap();
    let scrape = seconds(values["metrics"]["scrapeInterval"].as_str().unwrap());
    let (mut rates, mut counts) = (0, 0);
    for (name, dashboard) in dashboards() {
        for panel in panels(&dashboard) {
            for target in list(panel, "targets").iter().filter(|target| target["range"] == true) {
                let (expr, place) = (target["expr"].as_str().unwrap(), format!("{name}: {}", panel["title"]));
                let step = target["interval"].as_str().unwrap_or_else(|| panic!("{place} has no interval"));
                let (rate, count) = (expr.contains("$__rate_interval"), expr.contains("$__interval"));
                assert!(seconds(step) >= if count { 3 * scrape } else { scrape }, "{place}: {step}");
                // Windows that are longer than a step would count what is in them more than once.
                assert!(!(expr.contains("increase(") && rate), "{place}");
                rates += usize::from(rate);
                counts += usize::from(count);
            }
        }
    }
    assert!(rates > 0 && counts > 0);
}

#[test]
fn each_dashboard_is_a_config_map_that_the_sidecar_finds() {
    let maps = of_kind(&template(&["--set", "dashboards.enabled=true"]).unwrap(), "ConfigMap");
    for (name, dashboard) in dashboards() {
        let map = maps.iter().find(|map| map["data"][&name].is_string()).unwrap_or_else(|| panic!("{name}"));
        assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
        let text = map["data"][&name].as_str().unwrap();
        assert_eq!(serde_json::from_str::<Value>(text).unwrap(), dashboard);
    }
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
