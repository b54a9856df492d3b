//! The chart's recording rules and alerts, by promtool; and their pages.

use super::{chart, of_kind, rendered, template, tool};
use crate::node::workspace;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The rules as plain files, for a Prometheus without the operator.
const PLAIN: &str = "deploy/prometheus/gpu-session-monitoring.rules.yaml";

/// What the Prometheus operator would give to Prometheus, as a file.
pub(super) fn rules(folder: &Path) -> Value {
    write_rules(folder, &rendered("existing-stack"))
}

fn write_rules(folder: &Path, manifests: &str) -> Value {
    let [rule] = &of_kind(manifests, "PrometheusRule")[..] else { panic!() };
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

fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(workspace().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == extension)).collect();
    files.sort();
    assert!(!files.is_empty(), "{folder}");
    files
}

fn document(path: &Path) -> Value {
    serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

pub(super) fn rules_of(spec: &Value) -> impl Iterator<Item = &Value> {
    spec["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap())
}

/// Names of the alerts, or of what is recorded (`record`).
pub(super) fn names(spec: &Value, kind: &str) -> BTreeSet<String> {
    rules_of(spec).filter_map(|rule| rule[kind].as_str()).map(str::to_owned).collect()
}

#[test]
fn every_file_of_rules_is_in_it_and_promtool_takes_them() {
    let folder = tempfile::tempdir().unwrap();
    let spec = rules(folder.path());
    let files = files("charts/gpu-session-monitoring/rules", "yaml");
    for kind in ["alert", "record"] {
        let wanted: BTreeSet<String> = files.iter().flat_map(|file| names(&document(file), kind)).collect();
        assert!(!wanted.is_empty() && names(&spec, kind) == wanted, "{spec}");
    }
    let said = promtool(folder.path(), &["check", "rules", "--lint=all", "--lint-fatal", "rules.yaml"]);
    assert!(said.as_ref().is_ok_and(|said| said.contains("SUCCESS")), "{said:?}");
    assert!(!spec.to_string().contains("${"), "a value is missing: {spec}");
    for rule in rules_of(&spec).filter(|rule| rule["alert"].is_string()) {
        let (texts, alert) = (&rule["annotations"], rule["alert"].as_str().unwrap());
        assert!(texts["summary"].is_string() && texts["description"].is_string(), "{alert}");
        assert!(texts["runbook_url"].as_str().unwrap().ends_with(&format!("/docs/runbooks/{alert}.md")));
        assert!(rule["labels"]["severity"].is_string() && rule["for"].is_string(), "{alert}");
        assert_eq!(rule["keep_firing_for"], "5m", "{alert}");
    }
    assert!(of_kind(&rendered("defaults"), "PrometheusRule").is_empty());
}

#[test]
fn the_rules_give_what_they_should_and_alerts_fire_then_and_not_else() {
    let folder = tempfile::tempdir().unwrap();
    let spec = rules(folder.path());
    let (mut fires, mut rests, mut recorded) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for path in files("tests/rules", "yaml") {
        std::fs::copy(&path, folder.path().join("tests.yaml")).unwrap();
        let said = promtool(folder.path(), &["test", "rules", "tests.yaml"]);
        assert!(said.is_ok(), "{}: {said:?}", path.display());
        for group in document(&path)["tests"].as_array().unwrap() {
            for case in super::list(group, "alert_rule_test") {
                let seen = if case["exp_alerts"].is_array() { &mut fires } else { &mut rests };
                seen.insert(case["alertname"].as_str().unwrap().to_owned());
            }
            let cases = super::list(group, "promql_expr_test").iter();
            recorded.extend(cases.map(|case| case["expr"].as_str().unwrap().to_owned()));
        }
    }
    let alerts = names(&spec, "alert");
    assert_eq!((&fires, &rests), (&alerts, &alerts), "each fires in some case, and in some not");
    assert_eq!(recorded, names(&spec, "record"));
    // And a test that expects another is told.
    let tests = std::fs::read_to_string(workspace().join("tests/rules/collectors.yaml")).unwrap();
    std::fs::write(folder.path().join("tests.yaml"), tests.replace("node: never", "node: fresh")).unwrap();
    let said = promtool(folder.path(), &["test", "rules", "tests.yaml"]);
    assert!(said.as_ref().is_err_and(|said| said.contains("FAILED")), "{said:?}");
}

#[test]
fn schedules_of_10_and_15_minutes_have_rates_and_alerts_with_minutes_that_suit() {
    let folder = tempfile::tempdir().unwrap();
    let values = workspace().join("tests/chart/values/existing-stack.yaml");
    let set = ["--values", values.to_str().unwrap(), "--set", "prometheusRule.sampleMinutes=30"];
    let spec = write_rules(folder.path(), &template(&set).unwrap());
    for rule in rules_of(&spec) {
        let expr = rule["expr"].as_str().unwrap();
        assert!(!expr.contains("< 600") && !expr.contains("[10m]") && !expr.contains("60 * 10"), "{rule}");
    }
    for path in files("tests/rules/seldom", "yaml") {
        std::fs::copy(&path, folder.path().join("tests.yaml")).unwrap();
        let said = promtool(folder.path(), &["test", "rules", "tests.yaml"]);
        assert!(said.is_ok(), "{}: {said:?}", path.display());
        // With the minutes of the default they are not.
        rules(folder.path());
        let said = promtool(folder.path(), &["test", "rules", "tests.yaml"]);
        assert!(said.as_ref().is_err_and(|said| said.contains("FAILED")), "{said:?}");
    }
}

/// The alerts with these values.
fn alerts(set: &[&str]) -> Vec<Value> {
    let set = [&["prometheusRule.enabled=true"], set].concat().join(",");
    let [rule] = &of_kind(&template(&["--set", &set]).unwrap(), "PrometheusRule")[..] else { panic!() };
    rules_of(&rule["spec"]).filter(|rule| rule["alert"].is_string()).cloned().collect()
}

#[test]
fn an_alert_is_as_the_values_say() {
    let named = |all: &[Value], name: &str| all.iter().find(|rule| rule["alert"] == name).cloned();
    let all = alerts(&[]);
    let idle = named(&all, "GpuAllocationIdle").unwrap();
    assert!(idle["expr"].as_str().unwrap().contains("> 3600 * 2\n"), "{idle}");
    assert!(named(&all, "GpuUserOverQuota").is_none(), "there are no quotas");
    let key = "prometheusRule.alerts.GpuAllocationIdle";
    let set = ["hours=8", "for=7m", "severity=page"].map(|set| format!("{key}.{set}"));
    let other = named(&alerts(&set.each_ref().map(String::as_str)), "GpuAllocationIdle").unwrap();
    assert!(other["expr"].as_str().unwrap().contains("> 3600 * 8\n"), "{other}");
    assert_eq!((&other["for"], &other["labels"]["severity"]), (&"7m".into(), &"page".into()));
    for name in all.iter().map(|rule| rule["alert"].as_str().unwrap()) {
        let without = alerts(&[&format!("prometheusRule.alerts.{name}.enabled=false")]);
        assert!(named(&without, name).is_none() && without.len() == all.len() - 1, "{name}");
    }
    let down = |all: &[Value]| named(all, "GpuSessionSourceDown").unwrap();
    assert_eq!(down(&all)["for"], "10m", "as sampleMinutes");
    assert_eq!(down(&alerts(&["prometheusRule.sampleMinutes=20"]))["for"], "20m");
    assert!(
        !down(&alerts(&["prometheusRule.keepFiringFor="]))
            .as_object()
            .unwrap()
            .contains_key("keep_firing_for")
    );
    let there = alerts(&["prometheusRule.runbookUrl=https://wiki.example.com/gpu"]);
    let page = "https://wiki.example.com/gpu/GpuAllocationIdle.md";
    assert_eq!(named(&there, "GpuAllocationIdle").unwrap()["annotations"]["runbook_url"], page);
    for bad in ["GpuAllocationIdle.hours=0", "GpuAllocationIdle.for=soon", "GpuFullButUnused.memoryRatio=90"]
    {
        let set = format!("prometheusRule.alerts.{bad}");
        let said = template(&["--set", &set]).unwrap_err();
        assert!(said.contains(bad.split(['.', '=']).nth(1).unwrap()), "{said}");
    }
}

/// The alerts' pages, in both languages.
pub(super) fn runbooks() -> Vec<(PathBuf, String)> {
    let pages = files("docs/runbooks", "md").into_iter();
    pages.map(|path| (path.clone(), std::fs::read_to_string(&path).unwrap())).collect()
}

/// Code blocks of this language in a page.
pub(super) fn blocks(page: &str, language: &str) -> Vec<String> {
    let opened = format!("```{language}\n");
    page.split(&opened).skip(1).map(|rest| rest.split("\n```").next().unwrap().to_owned()).collect()
}

#[test]
fn golden_plain_rules_are_what_the_command_of_the_page_writes() {
    let page = std::fs::read_to_string(workspace().join("docs/kubernetes.md")).unwrap();
    let commands = blocks(&page, "sh");
    let command = commands.iter().find(|block| block.contains("rules.yaml")).expect("the command");
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(chart().parent().unwrap(), folder.path().join("charts")).unwrap();
    let tools = Path::new(tool("helm").get_program()).parent().unwrap().to_owned();
    let path = std::env::join_paths(
        std::iter::once(tools).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", command]).current_dir(folder.path());
    let output = bash.env("PATH", path.unwrap()).env("HOME", folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(folder.path().join("gpu-session-monitoring.rules.yaml")).unwrap();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(workspace().join(PLAIN), &text).unwrap();
    }
    let wanted = std::fs::read_to_string(workspace().join(PLAIN)).unwrap();
    assert!(text == wanted, "{PLAIN} differs (UPDATE_GOLDEN=1 writes it anew)");
}

#[test]
fn each_alert_has_its_page_in_both_languages_and_its_row() {
    let folder = tempfile::tempdir().unwrap();
    let alerts = names(&rules(folder.path()), "alert");
    let pages: BTreeSet<String> = files("docs/runbooks", "md")
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap().split('.').next().unwrap().to_owned())
        .collect();
    assert_eq!(pages, alerts, "a page of each, and no other");
    let table = std::fs::read_to_string(workspace().join("docs/kubernetes.md")).unwrap();
    for alert in alerts {
        assert!(table.contains(&format!("| [`{alert}`](runbooks/{alert}.md) |")), "{alert} has no row");
        let page =
            |name: String| std::fs::read_to_string(workspace().join("docs/runbooks").join(name)).unwrap();
        let (english, korean) = (page(format!("{alert}.md")), page(format!("{alert}.ko.md")));
        let queries = blocks(&english, "promql");
        assert!(!queries.is_empty() && queries == blocks(&korean, "promql"), "{alert}: {queries:?}");
        assert_eq!(english.matches("\n## ").count(), 3);
        assert_eq!(korean.matches("\n## ").count(), 3);
    }
}
