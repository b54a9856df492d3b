//! The pod that serves the page of the cluster.

use super::security::{against_baseline, against_restricted};
use super::{containers, list, of_kind, rendered, template};
use serde_json::{Value, json};

fn page(kind: &str, values: &str) -> Option<Value> {
    let is_page = |manifest: &Value| manifest["metadata"]["labels"]["app.kubernetes.io/component"] == "page";
    of_kind(&rendered(values), kind).into_iter().find(is_page)
}

fn pod(values: &str) -> Value {
    page("Deployment", values).unwrap()["spec"]["template"]["spec"].take()
}

#[test]
fn its_pod_keeps_every_rule_of_the_restricted_standard() {
    for values in ["page", "page-secured"] {
        let pod = pod(values);
        assert!(against_baseline(&pod).is_empty(), "{values}: {:?}", against_baseline(&pod));
        assert!(against_restricted(&pod).is_empty(), "{values}: {:?}", against_restricted(&pod));
        assert_eq!(pod["automountServiceAccountToken"], false);
        for container in containers(&pod) {
            assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
            assert!(!container["resources"].to_string().contains("nvidia.com"), "{container}");
        }
        let account = page("ServiceAccount", values).unwrap();
        assert_eq!(
            (&account["metadata"]["name"], &account["automountServiceAccountToken"]),
            (&pod["serviceAccountName"], &json!(false))
        );
        for binding in of_kind(&rendered(values), "ClusterRoleBinding") {
            assert_ne!(binding["subjects"][0]["name"], pod["serviceAccountName"], "it has no rights");
        }
    }
}

#[test]
fn without_passwords_it_listens_in_its_pod_only() {
    let has = |argument: &str, values: &str| {
        let pod = pod(values);
        containers(&pod).all(|container| list(container, "args").iter().any(|given| given == argument))
    };
    assert!(has("--listen=127.0.0.1:9837", "page"));
    assert!(has("--listen=0.0.0.0:8443", "page-secured"));
    assert!(has("--web-config-file=/etc/gpu-session-monitor-web/web.yaml", "page-secured"));
    assert!(has("--prometheus-matcher=cluster=\"a\"", "page-secured"));
    assert!(page("Service", "page").is_none() && page("Service", "page-secured").is_some());
    let policy = |values: &str| page("NetworkPolicy", values).unwrap()["spec"].take();
    assert_eq!(policy("page")["ingress"], Value::Null, "nobody is let in");
    assert_eq!(policy("page-secured")["ingress"][0]["ports"][0]["port"], "page");
    let service = page("Service", "page-secured").unwrap();
    let labels = page("Deployment", "page-secured").unwrap()["spec"]["template"]["metadata"]["labels"].take();
    let selector = service["spec"]["selector"].as_object().unwrap();
    assert!(selector.iter().all(|(key, value)| labels[key] == *value), "{selector:?}");
}

#[test]
fn agents_and_the_page_are_told_apart() {
    let agents = of_kind(&rendered("page-secured"), "DaemonSet").remove(0);
    let selector = agents["spec"]["selector"]["matchLabels"].clone();
    let labels = page("Deployment", "page-secured").unwrap()["spec"]["template"]["metadata"]["labels"].take();
    assert!(selector.as_object().unwrap().iter().any(|(key, value)| labels[key] != *value));
    assert!(page("Deployment", "daemonset").is_none(), "none is made unless it is asked for");
}

#[test]
fn what_cannot_be_meant_is_refused() {
    for (set, words) in [
        ("page.enabled=true", &["page.prometheus", "http://"][..]),
        ("page.enabled=true,page.prometheus=prometheus:9090", &["/page/prometheus"]),
        ("page.enabled=true,page.prometheus=http://u:s3cret@p", &["/page/prometheus"]),
        ("page.enabled=true,page.prometheus=http://p,page.tls=true", &["page.tls", "page.configSecret"]),
        ("page.refresh=often", &["/page/refresh"]),
        ("page.port=80", &["/page/port"]),
        ("page.url=x", &["/page", "'url' not allowed"]),
    ] {
        let said = template(&["--set", set]).expect_err(set);
        assert!(words.iter().all(|word| said.contains(word)), "{set}: {said}");
    }
}
