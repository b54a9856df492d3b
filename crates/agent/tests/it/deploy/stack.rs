//! What an environment installs.

use super::Checkout;
use crate::chart::setting;
use crate::node::Run;
use serde_json::Value;

fn helmfile(checkout: &Checkout, args: &[&str]) -> Run {
    let mut command = std::process::Command::new("helmfile");
    let file = checkout.path("helmfile.yaml.gotmpl");
    command.arg("--quiet").arg("--file").arg(file).args(["--environment", "lab"]).args(args);
    checkout.alone(&mut command).env("ASTRAGO_ENV", "lab").current_dir(checkout.path(""));
    Run::of(command.output().unwrap())
}

fn releases(values: &str) -> Vec<(String, String)> {
    let checkout = Checkout::new();
    checkout.environment("lab", values);
    let run = helmfile(&checkout, &["list", "--output", "json"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let all: Vec<Value> = serde_json::from_str(&run.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut all: Vec<_> =
        all.iter().map(|release| (text(&release["name"]), text(&release["namespace"]))).collect();
    all.sort();
    all
}

/// What the chart is given, as the script renders it.
fn rendered(values: &str) -> Vec<Value> {
    let checkout = Checkout::new();
    checkout.environment("lab", values);
    let run = checkout.run("lab", &["template", "gpu-session-monitoring"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let all: Vec<Value> =
        serde_saphyr::from_multiple(&run.stdout).unwrap_or_else(|e| panic!("{e}\n{}", run.stdout));
    all.into_iter().filter(|manifest| !manifest.is_null()).collect()
}

fn one<'a>(manifests: &'a [Value], kind: &str) -> &'a Value {
    let mut found = manifests.iter().filter(|manifest| manifest["kind"] == kind);
    let one = found.next().unwrap_or_else(|| panic!("no {kind}"));
    assert!(found.next().is_none(), "more than one {kind}");
    one
}

#[test]
fn each_release_has_its_switch() {
    let pair = |name: &str, namespace: &str| (name.to_owned(), namespace.to_owned());
    let (ours, operator) =
        (pair("gpu-session-monitoring", "gpu-operator"), pair("gpu-operator", "gpu-operator"));
    let stack = pair("kube-prometheus-stack", "monitoring");
    assert_eq!(releases("{}\n"), [operator.clone(), ours.clone(), stack.clone()]);
    assert_eq!(releases("gpu-operator: {existing: true}\n"), [ours.clone(), stack]);
    let existing = "kube-prometheus-stack: {existing: true}\ngpu-operator: {enabled: false}\n";
    assert_eq!(releases(existing), [ours]);
    assert_eq!(
        releases("kube-prometheus-stack: {enabled: false}\ngpu-session-monitoring: {enabled: false}\n"),
        [operator]
    );
}

#[test]
fn the_seeds_values_reach_the_collector() {
    let values = "gpu-session-monitoring:\n  enabled: true\ncollection:\n  schedule: \"*/2 * * * *\"\n\
                  gpu:\n  count: 4\n  devices: [0, 1, 2, 3]\n";
    let manifests = rendered(values);
    let job = one(&manifests, "CronJob");
    assert_eq!(job["spec"]["schedule"], "*/2 * * * *");
    let pod = &job["spec"]["jobTemplate"]["spec"]["template"]["spec"];
    let settings = ["DEVICE", "GPU_COUNT"].map(|name| setting(&pod["containers"][0], name));
    assert_eq!(settings, [Some("0,1,2,3"), Some("4")]);
}

#[test]
fn what_stands_below_the_releases_key_wins() {
    let values = "gpu-session-monitoring:\n  image: {repository: r.example/x}\n  collection: {schedule: \"*/3 * * * *\"}\n\
                  collection: {schedule: \"*/2 * * * *\", window: 30s}\n";
    let manifests = rendered(values);
    let job = one(&manifests, "CronJob");
    assert_eq!(job["spec"]["schedule"], "*/3 * * * *");
    let container = &job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0];
    assert!(container["args"].as_array().unwrap().contains(&Value::from("--window=30s")), "{container}");
    assert!(container["image"].as_str().unwrap().starts_with("r.example/x:"), "{container}");
}

#[test]
fn what_is_off_or_none_wins_too() {
    let values = "gpu: {count: 4}\ncollection: {suspend: true}\n\
                  gpu-session-monitoring: {gpu: {count: 0}, collection: {suspend: false}, mig: {monitor: true, nodeSelector: \
                  {nvidia.com/mig.capable: null, pool: mig}}}\n";
    let manifests = rendered(values);
    let jobs: Vec<_> = manifests.iter().filter(|manifest| manifest["kind"] == "CronJob").collect();
    assert_eq!(jobs.len(), 2);
    for job in &jobs {
        assert_eq!(job["spec"]["suspend"], false);
        let pod = &job["spec"]["jobTemplate"]["spec"]["template"]["spec"];
        assert_eq!(setting(&pod["containers"][0], "GPU_COUNT"), None);
    }
    let selector =
        |job: &Value| job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["nodeSelector"].to_string();
    assert!(jobs.iter().any(|job| selector(job).contains("\"pool\":\"mig\"")), "{jobs:?}");
    assert!(jobs.iter().all(|job| !selector(job).contains("mig.capable")), "{jobs:?}");
}

#[test]
fn alerts_and_dashboards_come_with_the_stack_that_knows_them() {
    let manifests = rendered("{}\n");
    assert!(manifests.iter().any(|manifest| manifest["kind"] == "PrometheusRule"));
    let shown = |manifest: &&Value| manifest["metadata"]["labels"]["grafana_dashboard"] == "1";
    assert_eq!(manifests.iter().filter(shown).count(), 3);
    let existing = rendered("kube-prometheus-stack: {existing: true}\n");
    assert!(existing.iter().all(|manifest| manifest["kind"] != "PrometheusRule"));
}

#[test]
fn a_key_that_nothing_reads_is_refused() {
    for (values, wanted) in [
        ("gpu-operater: {existing: true}\n", "gpu-operater"),
        ("mig: {monitor: true}\n", "values of the chart stand below gpu-session-monitoring"),
        ("gpu-operator: {enable: false}\n", "gpu-operator.enable is unknown"),
    ] {
        let checkout = Checkout::new();
        checkout.environment("lab", values);
        let run = checkout.run("lab", &["template"]);
        assert!(run.code == 1 && run.stderr.contains(wanted), "{values}: {} {}", run.code, run.stderr);
    }
    let checkout = Checkout::new();
    let run = checkout.run("labb", &["template"]);
    assert!(
        run.code == 1 && run.stderr.contains("environments/labb/values.yaml is not there"),
        "{}",
        run.stderr
    );
    let off = "kube-prometheus-stack: {enabled: false}\ngpu-operator: {enabled: false}\ngpu-session-monitoring: {enabled: false}\n";
    checkout.environment("off", off);
    let run = checkout.run("off", &["template"]);
    assert!(run.code == 1 && run.stderr.contains("environment off has no release"), "{}", run.stderr);
}

#[test]
fn a_daemonset_is_scraped_by_the_stack_that_is_installed_with_it() {
    let manifests = rendered("collection: {mode: daemonset}\n");
    assert_eq!(one(&manifests, "PodMonitor")["spec"]["podMetricsEndpoints"][0]["honorLabels"], true);
    let existing = rendered("kube-prometheus-stack: {existing: true}\ncollection: {mode: daemonset}\n");
    assert!(existing.iter().all(|manifest| manifest["kind"] != "PodMonitor"));
}

#[test]
fn a_wrong_value_is_named() {
    let checkout = Checkout::new();
    checkout.environment("lab", "collection: {mode: cronjobs}\n");
    let run = checkout.run("lab", &["template", "gpu-session-monitoring"]);
    assert!(run.code == 1 && run.stderr.contains("/collection/mode"), "{} {}", run.code, run.stderr);
    let run = checkout.run("lab", &["template", "grafana"]);
    assert!(run.code == 1 && run.stderr.contains("environment lab has no release grafana"), "{}", run.stderr);
}
