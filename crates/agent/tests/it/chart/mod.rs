//! The Helm chart, rendered by the real helm.

mod arguments;
mod confined;
mod dashboards;
mod described;
mod golden;
mod live;
mod manifests;
mod nodes;
mod page;
mod refusals;
mod removal;
mod rules;
pub(crate) mod scale;
mod security;
mod variants;

use crate::node::workspace;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The chart's folder.
pub(crate) fn chart() -> PathBuf {
    workspace().join("charts/gpu-session-monitoring")
}

/// A program of the tests' tools.
fn tool(name: &str) -> Command {
    let path = workspace().join("target/test-tools/bin").join(name);
    assert!(path.exists(), "{} is missing: `make test` makes it (scripts/setup.sh)", path.display());
    Command::new(path)
}

/// Helm without a cluster.
fn helm(command: &[&str]) -> Output {
    helm_with(Path::new("/nonexistent"), command)
}

/// Helm with this kubeconfig, and nobody's configuration.
fn helm_with(kubeconfig: &Path, command: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    let mut helm = tool("helm");
    helm.env_clear().env("HOME", home.path()).env("KUBECONFIG", kubeconfig);
    helm.args(command).output().unwrap()
}

/// What `helm template` makes of the chart with these further arguments, or what it says instead.
fn template(args: &[&str]) -> Result<String, String> {
    let chart = chart();
    let command = [
        &["template", "gpu-session-monitoring", chart.to_str().unwrap(), "--namespace", "gpu-operator"],
        args,
    ];
    let output = helm(&command.concat());
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(String::from_utf8(output.stderr).unwrap())
    }
}

/// The files of values of the tests, by name.
fn all_values() -> Vec<(String, PathBuf)> {
    let folder = std::fs::read_dir(workspace().join("tests/chart/values")).unwrap();
    let mut all: Vec<_> = folder
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), path))
        .collect();
    all.sort();
    assert!(all.len() >= 10, "{all:?}");
    all
}

/// The chart with one of these files.
pub(crate) fn rendered(name: &str) -> String {
    let path = workspace().join("tests/chart/values").join(name).with_extension("yaml");
    template(&["--values", path.to_str().unwrap()]).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn manifests(text: &str) -> Vec<Value> {
    let all: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    all.into_iter().filter(|manifest| !manifest.is_null()).collect()
}

/// The manifests of a kind.
pub(crate) fn of_kind(text: &str, kind: &str) -> Vec<Value> {
    manifests(text).into_iter().filter(|manifest| manifest["kind"] == kind).collect()
}

/// Every pod that the manifests make, with the name of what makes it.
fn pods(text: &str) -> Vec<(String, Value)> {
    manifests(text)
        .into_iter()
        .filter_map(|manifest| {
            let path = match manifest["kind"].as_str().unwrap() {
                "CronJob" => "/spec/jobTemplate/spec/template/spec",
                "Job" | "DaemonSet" => "/spec/template/spec",
                _ => return None,
            };
            let name = format!("{}/{}", manifest["kind"].as_str().unwrap(), manifest["metadata"]["name"]);
            Some((name.replace('"', ""), manifest.pointer(path).unwrap().clone()))
        })
        .collect()
}

/// The pods of these that measure; the others clean up.
fn measuring(text: &str) -> Vec<(String, Value)> {
    pods(text).into_iter().filter(|(maker, _)| maker != REMOVAL).collect()
}

/// What makes the pods that clean up when the chart is uninstalled.
const REMOVAL: &str = "Job/gpu-session-metrics-removal";

/// Whether the container removes and does not measure.
fn removes(container: &Value) -> bool {
    list(container, "args").iter().any(|argument| argument == "--remove")
}

/// A list of a manifest; absent is empty.
fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

/// Containers of a pod, those that begin first too.
fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    list(pod, "initContainers").iter().chain(list(pod, "containers"))
}

/// A setting in a container's environment, such as `DEVICE`.
pub(crate) fn setting<'a>(container: &'a Value, name: &str) -> Option<&'a str> {
    let name = format!("GPU_SESSION_MONITOR_{name}");
    list(container, "env").iter().find(|variable| variable["name"] == name)?["value"].as_str()
}
