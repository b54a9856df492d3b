//! What the manifests are for Kubernetes, and what they promise beyond its schemas.

use super::{all_values, containers, manifests, measuring, of_kind, rendered, setting, template, tool};
use crate::node::workspace;
use serde_json::{Value, json};

/// The first and the last Kubernetes that the chart is for.
const VERSIONS: [&str; 2] = ["1.25", "1.37"];

#[test]
fn every_manifest_is_valid_for_every_kubernetes() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = tool("python");
    command.arg(workspace().join("tests/chart/validate.py")).args(VERSIONS);
    let mut count = 0;
    for (name, _) in all_values() {
        let (text, file) = (rendered(&name), folder.path().join(&name));
        count += manifests(&text).iter().filter(|m| m["apiVersion"] != "monitoring.coreos.com/v1").count();
        std::fs::write(&file, text).unwrap();
        command.arg(file);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.starts_with(&format!("{count} manifests, 1.25 ")), "{count}: {said}");
    assert_eq!(said.split_whitespace().filter(|word| word.starts_with("1.")).count(), 13, "{said}");
}

#[test]
fn a_manifest_that_is_wrong_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wrong.yaml");
    std::fs::write(&file, rendered("daemonset").replace("hostPID: true", "hostPid: true")).unwrap();
    let mut command = tool("python");
    let output = command.arg(workspace().join("tests/chart/validate.py")).args(VERSIONS).arg(file).output();
    let said = String::from_utf8(output.unwrap().stderr).unwrap();
    assert!(said.contains("hostPid"), "{said}");
}

#[test]
fn the_names_are_those_that_the_first_document_has() {
    let text = rendered("seed");
    let [cron] = &of_kind(&text, "CronJob")[..] else { panic!("{text}") };
    let [job, _removal] = &of_kind(&text, "Job")[..] else { panic!("{text}") };
    assert_eq!(cron["metadata"]["name"], "gpu-session-metrics-collector");
    // kubectl logs -l job-name=gpu-session-metrics-collector
    assert_eq!(job["metadata"]["name"], "gpu-session-metrics-collector");
    assert_eq!(job["metadata"]["annotations"]["helm.sh/hook"], "post-install,post-upgrade,test");
    assert_eq!(cron["spec"]["schedule"], "*/1 * * * *");
    assert_eq!(cron["spec"]["concurrencyPolicy"], "Forbid");
    for (name, pod) in measuring(&text) {
        assert_eq!(pod["nodeSelector"]["nvidia.com/gpu.present"], "true", "{name}");
        for container in containers(&pod) {
            let settings = ["DEVICE", "GPU_COUNT"].map(|name| setting(container, name));
            assert_eq!(settings, [Some("0,1,2,3"), Some("4")], "{name}");
        }
    }
}

#[test]
fn pods_of_a_run_stand_on_as_many_nodes() {
    let text = template(&["--set", "collection.completions=5"]).unwrap();
    for (kind, at, path) in
        [("CronJob", 0, "/spec/jobTemplate/spec"), ("Job", 0, "/spec"), ("Job", 1, "/spec")]
    {
        let manifest = of_kind(&text, kind).remove(at);
        let job = manifest.pointer(path).unwrap();
        assert_eq!((&job["completions"], &job["parallelism"]), (&json!(5), &json!(5)));
        // One node that fails ends nothing on the other four.
        assert!(job["backoffLimit"].as_i64().unwrap() >= 5, "{job}");
        assert!(super::removal::repels(&job["template"], &job["template"]), "{job}");
    }
}

#[test]
fn numbers_are_scraped_once() {
    for (name, _) in all_values() {
        for (maker, pod) in measuring(&rendered(&name)) {
            for container in containers(&pod).filter(|container| !super::removes(container)) {
                let served = setting(container, "LISTEN").is_some();
                assert_ne!(served, setting(container, "TEXTFILE").is_some(), "{name} {maker}");
                assert_eq!(served, maker.starts_with("DaemonSet/"), "{name} {maker}");
            }
        }
    }
    let found = |name: &str, kind: &str| of_kind(&rendered(name), kind).len();
    assert_eq!((found("daemonset", "PodMonitor"), found("daemonset-secured", "PodMonitor")), (0, 1));
    assert!(!rendered("daemonset-secured").contains("prometheus.io/scrape"));
    let monitor = of_kind(&rendered("daemonset-secured"), "PodMonitor").remove(0);
    assert_eq!(monitor["spec"]["podMetricsEndpoints"][0]["honorLabels"], true);
}

#[test]
fn further_relabelings_of_a_monitor_come_after_those_of_the_chart() {
    for (kind, endpoints) in [("podMonitor", "podMetricsEndpoints"), ("serviceMonitor", "endpoints")] {
        let own = format!(
            "metrics.{kind}.endpoint={{\"relabelings\":[{{\"targetLabel\":\"rack\",\"replacement\":\"r1\"}}]}}"
        );
        let set = format!("collection.mode=\"daemonset\",metrics.scrape=\"{kind}\",{own}");
        let text = super::template(&["--set-json", &set]).unwrap();
        let name = kind.replacen(kind.chars().next().unwrap(), &kind[..1].to_uppercase(), 1);
        let [monitor] = &of_kind(&text, &name)[..] else { panic!("{text}") };
        let rules = super::list(&monitor["spec"][endpoints][0], "relabelings");
        let targets: Vec<_> = rules.iter().map(|rule| rule["targetLabel"].as_str()).collect();
        assert_eq!(targets, [Some("instance"), None, Some("rack")], "{kind}");
    }
}

#[test]
fn a_service_monitor_finds_the_service_and_that_the_pods() {
    let text = rendered("service-monitor");
    let [service] = &of_kind(&text, "Service")[..] else { panic!("{text}") };
    let [monitor] = &of_kind(&text, "ServiceMonitor")[..] else { panic!("{text}") };
    assert!(of_kind(&text, "PodMonitor").is_empty() && !text.contains("prometheus.io/scrape"));
    let carries = |labels: &Value, wanted: &Value| {
        let wanted = wanted.as_object().unwrap();
        !wanted.is_empty() && wanted.iter().all(|(key, value)| labels[key] == *value)
    };
    assert!(carries(&service["metadata"]["labels"], &monitor["spec"]["selector"]["matchLabels"]));
    let agents = of_kind(&text, "DaemonSet").remove(0)["spec"]["template"].take();
    assert!(carries(&agents["metadata"]["labels"], &service["spec"]["selector"]));
    let removal = of_kind(&text, "Job").remove(0)["spec"]["template"].take();
    assert!(!carries(&removal["metadata"]["labels"], &service["spec"]["selector"]));
    assert_eq!(service["spec"]["clusterIP"], "None");
    let port = &service["spec"]["ports"][0];
    assert_eq!(port["targetPort"], agents["spec"]["containers"][0]["ports"][0]["name"]);
    let endpoint = &monitor["spec"]["endpoints"][0];
    assert_eq!((&endpoint["port"], &endpoint["honorLabels"]), (&port["name"], &json!(true)));
    assert_eq!((&endpoint["scheme"], &endpoint["path"]), (&json!("https"), &json!("/metrics")));
    assert_eq!(endpoint["tlsConfig"]["insecureSkipVerify"], true);
    assert_eq!(monitor["metadata"]["labels"]["release"], "prometheus");
}

/// Rules of the ClusterRole whose name ends so, if there is one.
fn rights(text: &str, end: &str) -> Value {
    let named = |role: &Value| role["metadata"]["name"].as_str().unwrap().ends_with(end);
    let mut roles: Vec<Value> = of_kind(text, "ClusterRole").into_iter().filter(named).collect();
    assert!(roles.len() < 2);
    roles.pop().map_or(Value::Null, |role| role["rules"].clone())
}

/// Rules of the ClusterRole that a page shows.
fn documented(page: &str) -> Value {
    let text = std::fs::read_to_string(workspace().join("docs").join(page)).unwrap();
    let yaml = text.split("```yaml\n").find(|part| part.contains("kind: ClusterRole\n")).unwrap();
    let role: Value = serde_saphyr::from_str(yaml.split("```").next().unwrap()).unwrap();
    role["rules"].clone()
}

#[test]
fn the_rights_on_the_api_are_those_that_are_documented() {
    let (wanted, own) = (documented("attribution.md"), "gpu-session-monitoring");
    assert_eq!(rights(&rendered("defaults"), own), wanted);
    assert_eq!(rights(&rendered("daemonset-secured"), own), wanted);
    assert_eq!(rights(&rendered("daemonset-rules"), own)[0]["resources"], json!(["pods", "namespaces"]));
    assert_eq!(rights(&rendered("no-api"), own), Value::Null);
    let bound = |name: &str| -> Vec<String> {
        let bindings = of_kind(&rendered(name), "ClusterRoleBinding");
        bindings.iter().map(|binding| binding["roleRef"]["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(bound("daemonset"), ["gpu-session-monitoring"]);
    assert_eq!(bound("daemonset-secured"), ["gpu-session-monitoring", "system:auth-delegator"]);
    assert!(bound("no-api").is_empty());
}

#[test]
fn whoever_is_named_may_read_and_nobody_else() {
    for (name, there) in [("service-monitor", true), ("daemonset-secured", true), ("daemonset", false)] {
        let wanted = if there { documented("web.md") } else { Value::Null };
        assert_eq!(rights(&rendered(name), "-reader"), wanted, "{name}");
    }
    let bindings = |name: &str| -> Vec<Value> {
        let all = of_kind(&rendered(name), "ClusterRoleBinding").into_iter();
        all.filter(|b| b["roleRef"]["name"] == "gpu-session-monitoring-reader").collect()
    };
    assert!(bindings("daemonset-secured").is_empty());
    let [binding] = &bindings("service-monitor")[..] else { panic!() };
    let prometheus = json!([{ "kind": "ServiceAccount", "name": "kube-prometheus-stack-prometheus", "namespace": "monitoring" }]);
    assert_eq!(binding["subjects"], prometheus);
}

#[test]
fn without_the_api_no_token_is_given() {
    for (name, wanted) in [("no-api", false), ("daemonset", true)] {
        for (maker, pod) in measuring(&rendered(name)) {
            assert_eq!(pod["automountServiceAccountToken"], wanted, "{name} {maker}");
        }
    }
}
