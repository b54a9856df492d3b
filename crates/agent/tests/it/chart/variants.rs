//! Nodes with MIG have workloads of their own where these are privileged.

use super::{list, measuring, of_kind, rendered};
use serde_json::{Value, json};

/// Whether a node with these labels is one of the pod's, by Kubernetes' rules for selectors and required affinity.
fn takes(pod: &Value, labels: &Value) -> bool {
    let selector = pod["nodeSelector"].as_object().unwrap();
    let affinity = &pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    let terms = list(affinity, "nodeSelectorTerms");
    let one = |term: &Value| {
        list(term, "matchExpressions").iter().all(|rule| {
            assert_eq!(rule["operator"], "NotIn");
            !list(rule, "values").contains(&labels[rule["key"].as_str().unwrap()])
        })
    };
    selector.iter().all(|(key, value)| labels[key] == *value) && (terms.is_empty() || terms.iter().any(one))
}

#[test]
fn every_node_with_gpus_is_of_one_variant() {
    let gpu = |more: Value| {
        let mut labels = json!({ "nvidia.com/gpu.present": "true" });
        labels.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        labels
    };
    for (name, mig, others) in [
        (
            "mig-monitor",
            gpu(json!({ "nvidia.com/mig.capable": "true" })),
            [gpu(json!({ "nvidia.com/mig.capable": "false" })), gpu(json!({}))],
        ),
        ("mig-daemonset", gpu(json!({ "nvidia.com/mig.capable": "true" })), [gpu(json!({})), gpu(json!({}))]),
        ("mig-cluster", gpu(json!({ "pool": "mig" })), [gpu(json!({})), gpu(json!({ "pool": "a" }))]),
    ] {
        let all = measuring(&rendered(name));
        let of = |labels: &Value| -> Vec<String> {
            let taken = all.iter().filter(|(_, pod)| takes(pod, labels));
            taken.map(|(maker, _)| maker.clone()).collect()
        };
        let wanted: Vec<String> =
            all.iter().map(|(maker, _)| maker.clone()).filter(|maker| maker.ends_with("-mig")).collect();
        assert_eq!((of(&mig), wanted.len()), (wanted, all.len() / 2), "{name}");
        for labels in &others {
            assert!(of(labels).len() == all.len() / 2 && of(labels).iter().all(|m| !m.ends_with("-mig")));
        }
        assert!(of(&json!({ "nvidia.com/mig.capable": "true", "pool": "mig" })).is_empty(), "{name}");
    }
}

#[test]
fn of_several_labels_a_node_that_lacks_one_is_of_the_others() {
    let set = r#"mig={"monitor":true,"nodeSelector":{"nvidia.com/mig.capable":"true","pool":"b"}}"#;
    let all = measuring(&super::template(&["--set-json", set]).unwrap());
    for (labels, suffix) in [
        (json!({ "nvidia.com/mig.capable": "true", "pool": "b" }), true),
        (json!({ "nvidia.com/mig.capable": "true", "pool": "a" }), false),
        (json!({ "pool": "b" }), false),
        (json!({}), false),
    ] {
        let mut labels = labels;
        labels["nvidia.com/gpu.present"] = json!("true");
        for (maker, pod) in &all {
            assert_eq!(takes(pod, &labels), maker.ends_with("-mig") == suffix, "{maker} {labels}");
        }
    }
}

#[test]
fn workloads_of_two_variants_select_no_pod_of_each_other() {
    let text = rendered("mig-daemonset");
    let all = of_kind(&text, "DaemonSet");
    assert_eq!(all.len(), 2);
    let selects = |one: &Value, other: &Value| {
        let selector = one["spec"]["selector"]["matchLabels"].as_object().unwrap();
        selector.iter().all(|(key, value)| other["spec"]["template"]["metadata"]["labels"][key] == *value)
    };
    for one in &all {
        for other in &all {
            assert_eq!(selects(one, other), one == other);
        }
    }
    // And who guards their ports takes both.
    let policy = of_kind(&text, "NetworkPolicy").remove(0)["spec"]["podSelector"]["matchLabels"].take();
    for one in &all {
        let labels = &one["spec"]["template"]["metadata"]["labels"];
        assert!(policy.as_object().unwrap().iter().all(|(key, value)| labels[key] == *value), "{policy}");
    }
}
