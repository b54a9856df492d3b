//! Pods, containers and users behind sessions, and devices held idle, by Kubernetes' own protocols.

use crate::kubernetes::{NODE, documented_rights};
use crate::node::{Metrics, Node, scenario_file};
use kube_sim::{Request, api, kubelet};
use std::time::Duration;

/// The process of the seed's example, and the labels of its pod.
const WORKLOAD: [(&str, &str); 2] = [("gpu", "1"), ("pid", "gpu1_12345")];
const WORKLOAD_POD: [(&str, &str); 3] =
    [("namespace", "workspace"), ("pod", "workload-pod"), ("container", "gpu-container")];

fn seed() -> Node {
    let mut node = Node::in_cluster(&scenario_file("seed.yaml"));
    node.at(60.0);
    node
}

/// That every request was for pods of this node (or namespaces, where they are allowed), and nothing else.
fn assert_within_rights(requests: &[Request], namespaces: bool) {
    for request in requests {
        let pods = request.resource == "pods"
            && request.query.get("fieldSelector").is_some_and(|s| *s == format!("spec.nodeName={NODE}"));
        let of_namespaces = namespaces && request.resource == "namespaces";
        assert!(pods || of_namespaces, "{request:?}");
        assert!(["list", "watch"].contains(&&*request.verb), "{request:?}");
    }
}

fn config(node: &Node, text: &str) -> String {
    let path = node.path("config.yaml");
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn up(metrics: &Metrics, source: &str) -> Option<f64> {
    metrics.get("gpu_session_collector_source_up", &[("source", source)])
}

#[test]
fn the_seeds_example_reproduces_whole() {
    let mut node = seed();
    let run = node.collect();
    assert_eq!((run.code, run.complaints().as_str()), (0, ""));
    let text = std::fs::read_to_string(node.textfile()).unwrap();
    for line in [
        "gpu_session_count{gpu=\"0\"} 1",
        "gpu_total_sessions 3",
        "gpu_process_info{gpu=\"1\",pid=\"gpu1_12345\",command=\"python3\",pod=\"workload-pod\",namespace=\"workspace\",container=\"gpu-container\",status=\"active\"} 1",
        "gpu_process_utilization{gpu=\"1\",pid=\"gpu1_12345\",command=\"python3\",pod=\"workload-pod\",namespace=\"workspace\"} 75",
        "gpu_process_memory_utilization{gpu=\"1\",pid=\"gpu1_12345\",command=\"python3\",pod=\"workload-pod\",namespace=\"workspace\"} 45",
    ] {
        assert!(text.lines().any(|have| have == line), "{line}\nis not in\n{text}");
    }
    assert_within_rights(&node.cluster().cluster.requests(), false);
}

#[test]
fn users_come_from_astrago_and_jupyterhub() {
    let node = seed();
    let metrics = node.collected();
    for (gpu, user, rule) in [
        ("0", "dana", "annotation:hub.jupyter.org/username"),
        ("1", "kim", "annotation:creator-user-name"),
        ("2", "1043", "label:creator-id"),
    ] {
        let info = [("gpu", gpu), ("user", user), ("user_rule", rule), ("attributed_by", "kubernetes")];
        assert_eq!(metrics.get("gpu_session_info", &info), Some(1.0), "{info:?}");
        assert_eq!(metrics.get("gpu_session_users", &[("gpu", gpu)]), Some(1.0));
        assert_eq!(metrics.get("gpu_user_sessions", &[("gpu", gpu), ("user", user)]), Some(1.0));
        assert_eq!(metrics.get("gpu_device_allocations", &[("gpu", gpu)]), Some(1.0));
    }
    assert_eq!(metrics.values("gpu_sessions_unattributed", &[]), [0.0; 0]);
    assert_eq!(metrics.get("gpu_device_allocations", &[("gpu", "3")]), Some(0.0), "free");
}

#[test]
fn json_says_where_and_whose_a_session_is() {
    let node = seed();
    let run = node.run(&["ps", "--json"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let document: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    let session = document["sessions"].as_array().unwrap().iter().find(|s| s["pid"] == 12345).unwrap();
    for (key, value) in [
        ("namespace", "workspace"),
        ("pod", "workload-pod"),
        ("container", "gpu-container"),
        ("pod_uid", "6f1a2b3c-0000-4000-8000-000000000001"),
        ("container_id", "1000000000000000000000000000000000000000000000000000000000000001"),
        ("user", "kim"),
        ("user_rule", "annotation:creator-user-name"),
        ("attributed_by", "kubernetes"),
    ] {
        assert_eq!(session[key], value, "{key}");
    }
    assert_eq!(session["allocated"], true);
}

#[test]
fn doctor_checks_the_cluster() {
    let mut node = seed();
    let well = node.run(&["doctor"]).stdout;
    let unasked = node.run(&["doctor", "--cri-socket", "/nonexistent/cri.sock"]).stdout;
    assert!(
        unasked.lines().any(|line| line.trim_start().starts_with("failed") && line.contains(" CRI ")),
        "{unasked}"
    );
    for line in ["it answers, pods on gpu-7: 3", "containers that hold a GPU: 3, it can give 4"] {
        assert!(well.contains(line), "{line}\n{well}");
    }
    node.cluster().api.stop();
    node.cluster().kubelet.stop();
    let run = node.run(&["doctor", "--cri-socket", "/nonexistent/cri.sock"]);
    assert_eq!(run.code, 1);
    for name in ["Kubernetes API", "kubelet", "CRI"] {
        let failed =
            run.stdout.lines().any(|line| line.trim_start().starts_with("failed") && line.contains(name));
        assert!(failed, "{name}\n{}", run.stdout);
    }
    let run = node.run(&["doctor", "--kubernetes-node", ""]);
    assert_eq!(run.code, 2, "nobody named the node");
    assert!(run.stderr.contains("kubernetes.node"), "{}", run.stderr);
}

#[test]
fn sums_of_pods_and_namespaces_add_up_to_those_of_users() {
    let mut node = seed();
    for minute in 2..6 {
        node.at(f64::from(minute) * 60.0);
        node.collected();
    }
    let metrics = node.metrics();
    for unit in ["sm_seconds", "memory_byte_seconds"] {
        let [users, namespaces, pods] =
            ["user", "namespace", "pod"].map(|whose| metrics.sum(&format!("gpu_{whose}_{unit}_total"), &[]));
        assert!(users > 100.0, "{users}");
        assert!((users / namespaces - 1.0).abs() < 1e-9 && (users / pods - 1.0).abs() < 1e-9);
    }
    let workspace = metrics.sum("gpu_namespace_sm_seconds_total", &[("namespace", "workspace")]);
    let both =
        ["workload-pod", "inference-0"].map(|pod| metrics.sum("gpu_pod_sm_seconds_total", &[("pod", pod)]));
    assert!((workspace - both[0] - both[1]).abs() < 1e-6, "{workspace} {both:?}");
}

#[test]
fn a_device_that_is_held_for_nothing_shows() {
    let idle = scenario_file("seed.yaml").replace("sm: 30, mem: 12 }", "until: 90s, sm: 30, mem: 12 }");
    let mut node = Node::in_cluster(&idle);
    for minute in 1..=5 {
        node.at(f64::from(minute) * 60.0);
        node.collected();
    }
    let metrics = node.metrics();
    let of = [
        ("gpu", "2"),
        ("namespace", "workspace"),
        ("pod", "inference-0"),
        ("container", "triton"),
        ("user", "1043"),
    ];
    assert_eq!(metrics.get("gpu_allocation_sessions", &of), Some(0.0));
    let seconds = metrics.get("gpu_allocation_idle_seconds", &of).unwrap();
    assert!((200.0..=220.0).contains(&seconds), "the last work was at 90 s: {seconds}");
    let busy = [("gpu", "1"), ("user", "kim")];
    assert_eq!(metrics.get("gpu_allocation_sessions", &busy), Some(1.0));
    assert!(metrics.get("gpu_allocation_idle_seconds", &busy).unwrap() < 1.0);
    let table = node.run(&["ps"]).stdout;
    assert!(table.contains("HELD BUT IDLE") && table.contains("workspace/inference-0"), "{table}");
}

#[test]
fn while_the_api_is_away_known_sessions_keep_their_names_and_new_ones_say_that_they_have_none() {
    let late = "  - { pid: 14000, name: late, uid: 0, start: 90s, devices: [{ gpu: 3, memory: 1GiB }], cgroup: \"0::/kubepods.slice/kubepods-pod6f1a2b3c_0000_4000_8000_000000000001.slice/cri-containerd-1000000000000000000000000000000000000000000000000000000000000001.scope\\n\" }\npasswd:";
    let mut node = Node::in_cluster(&scenario_file("seed.yaml").replace("passwd:", late));
    node.at(60.0);
    node.collected();
    node.cluster().api.stop();
    node.at(120.0);
    let run = node.collect();
    assert_eq!(run.code, 3);
    assert!(run.stderr.contains("kubernetes") && run.stderr.contains("127.0.0.1"), "{}", run.stderr);
    let metrics = node.metrics();
    assert_eq!(up(&metrics, "kubernetes"), Some(0.0));
    let known = [&WORKLOAD[..], &WORKLOAD_POD].concat();
    assert_eq!(metrics.get("gpu_process_info", &known), Some(1.0));
    let nameless = [("command", "late"), ("pod", ""), ("namespace", ""), ("container", "")];
    assert_eq!(metrics.get("gpu_process_info", &nameless), Some(1.0));
    assert_eq!(
        metrics.get("gpu_sessions_unattributed", &[("gpu", "3"), ("reason", "pod_unknown")]),
        Some(1.0)
    );
    assert_eq!(
        metrics.values("gpu_allocation_idle_seconds", &[]),
        [0.0; 0],
        "nobody says that those pods run"
    );
    node.cluster().api.restart().unwrap();
    node.at(180.0);
    let back = node.collected();
    let named = [&[("command", "late")][..], &WORKLOAD_POD].concat();
    assert_eq!(back.get("gpu_process_info", &named), Some(1.0));
    assert_eq!(up(&back, "kubernetes"), Some(1.0));
}

#[test]
fn an_expired_token_and_missing_rights_are_named_with_their_remedy() {
    for (rights, kind, word) in [(false, "unauthorized", "token"), (true, "forbidden", "list")] {
        let mut node = seed();
        let cluster = node.cluster();
        cluster.api.revoke_token(crate::kubernetes::TOKEN);
        if rights {
            let nothing = api::Rule::new(&["get"], &["nodes"]);
            cluster.api.accept_token_with(crate::kubernetes::TOKEN, "someone", [nothing]);
        }
        let run = node.collect();
        assert_eq!(run.code, 3, "{}", run.stderr);
        assert!(run.stderr.contains(word), "{}", run.stderr);
        let errors = [("source", "kubernetes"), ("kind", kind)];
        assert_eq!(
            node.metrics().get("gpu_session_collector_source_errors_total", &errors),
            Some(2.0),
            "two readings"
        );
    }
}

#[test]
fn the_kubelet_alone_names_the_pod_but_no_user() {
    let mut node = seed();
    node.cluster().with_api = false;
    let metrics = node.collected();
    let placed = [&WORKLOAD[..], &WORKLOAD_POD].concat();
    assert_eq!(metrics.get("gpu_process_info", &placed), Some(1.0));
    let info = [("gpu", "1"), ("attributed_by", "kubelet"), ("user", "")];
    assert_eq!(metrics.get("gpu_session_info", &info), Some(1.0));
    assert_eq!(metrics.get("gpu_session_users", &[("gpu", "1")]), Some(0.0));
    let reason = [("gpu", "1"), ("reason", "metadata_unknown")];
    assert_eq!(metrics.get("gpu_sessions_unattributed", &reason), Some(1.0));
}

#[test]
fn a_kubelet_that_fails_is_said_and_costs_only_the_allocations() {
    for (fault, word) in [
        (kubelet::Fault::Deaf, "no whole answer"),
        (kubelet::Fault::Unavailable, "kubelet"),
        (kubelet::Fault::Half, "kubelet"),
        (kubelet::Fault::Garbage, "kubelet"),
    ] {
        let mut node = seed();
        node.cluster().kubelet.set_fault(fault.clone());
        let run = node.collect();
        assert_eq!(run.code, 3, "{fault:?}: {}", run.stderr);
        assert!(run.stderr.contains(word), "{fault:?}: {}", run.stderr);
        let metrics = node.metrics();
        assert_eq!(up(&metrics, "kubelet"), Some(0.0));
        let placed = [&WORKLOAD[..], &WORKLOAD_POD].concat();
        assert_eq!(metrics.get("gpu_process_info", &placed), Some(1.0), "{fault:?}");
        for absent in ["gpu_allocation_sessions", "gpu_device_allocations"] {
            assert_eq!(metrics.values(absent, &[]), [0.0; 0], "{fault:?} {absent}");
        }
    }
}

#[test]
fn rules_of_the_operator_read_namespaces_and_trust_only_some() {
    let with_owner = "namespaces:\n  - { name: workspace, labels: { owner: kim@example.com } }\npods:";
    let mut node = Node::in_cluster(&scenario_file("seed.yaml").replace("pods:", with_owner));
    node.at(60.0);
    let file = config(
        &node,
        "users:\n  rules:\n    - { from: annotation, key: hub.jupyter.org/username, trusted_namespaces: [\"hub-*\"] }\n    \
         - { from: namespace_label, key: owner, pattern: \"^([^@]+)@example[.]com$\", rename: \"corp/$1\", name: mail }\n    \
         - { from: namespace }\n",
    );
    let collect = |node: &Node| node.run(&["collect", "--config", &file]);
    let denied = collect(&node);
    assert_eq!(denied.code, 3, "rights on namespaces are missing: {}", denied.stderr);
    assert!(denied.stderr.contains("namespaces"), "{}", denied.stderr);
    let unknown = node.metrics();
    assert_eq!(unknown.values("gpu_sessions_unattributed", &[("reason", "namespace_unknown")]), [1.0; 3]);
    let rights = documented_rights(&["namespaces"]);
    node.cluster().api.accept_token_with(crate::kubernetes::TOKEN, "monitor", [rights]);
    node.at(120.0);
    let run = collect(&node);
    assert_eq!((run.code, run.complaints().as_str()), (0, ""));
    let metrics = node.metrics();
    for (gpu, user, rule) in
        [("0", "jupyterhub", "namespace"), ("1", "corp/kim", "mail"), ("2", "corp/kim", "mail")]
    {
        let info = [("gpu", gpu), ("user", user), ("user_rule", rule)];
        assert_eq!(metrics.get("gpu_session_info", &info), Some(1.0), "{info:?}");
    }
    assert_within_rights(&node.cluster().cluster.requests(), true);
}

#[test]
fn without_need_the_api_is_not_asked() {
    let mut node = seed();
    node.cluster().with_kubelet = false;
    node.collected();
    assert!(!node.cluster().cluster.requests().is_empty());
    node.cluster().cluster.clear_requests();
    for minute in 2..5 {
        node.at(f64::from(minute) * 60.0);
        node.collected();
    }
    assert!(node.cluster().cluster.requests().is_empty(), "every session is known");
}

#[test]
fn samples_in_a_row_share_one_watch() {
    let mut node = seed();
    let args = ["record", "--samples", "20", "--interval", "10s", "--output", "-"];
    let run = node.run(&args);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let requests = node.cluster().cluster.requests();
    assert_within_rights(&requests, false);
    assert!(requests.len() <= 3, "a list and a watch, whatever the number of samples: {requests:?}");
}

#[test]
fn hostile_labels_break_no_line() {
    let hostile = "annotations: { creator-user-name: \"a\\\"b\\\\c\\nd\\u001b[31m\\u202e\" }\n    labels:";
    let text =
        scenario_file("seed.yaml").replace("annotations: { creator-user-name: kim }\n    labels:", hostile);
    let mut node = Node::in_cluster(&text);
    node.at(60.0);
    let metrics = node.collected();
    let users = metrics.label("gpu_session_info", "user");
    assert!(users.contains(&"a\"b\\c\u{fffd}d\u{fffd}[31m\u{fffd}"), "{users:?}");
    let long = scenario_file("seed.yaml")
        .replace("creator-user-name: kim", &format!("creator-user-name: {}", "k".repeat(5_000)));
    let mut node = Node::in_cluster(&long);
    node.at(60.0);
    assert!(node.collected().label("gpu_session_info", "user").iter().all(|user| user.len() <= 128));
}

#[test]
fn a_slow_api_delays_a_collect_by_no_more_than_its_limit() {
    let mut node = seed();
    node.cluster().api.set_fault(api::Fault::Slow(Duration::from_secs(3_600)));
    let run = node.collect();
    assert_eq!(run.code, 3, "{}", run.stderr);
    let errors = [("source", "kubernetes"), ("kind", "timeout")];
    assert!(node.metrics().get("gpu_session_collector_source_errors_total", &errors).is_some());
}
