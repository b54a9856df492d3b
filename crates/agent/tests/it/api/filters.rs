//! Each filter takes what it says, and no more; what is none is refused by name.

use super::{Site, is_problem};
use serde_json::Value;

/// What a filter has to take.
type Takes = Box<dyn Fn(&Value) -> bool>;

fn on_gpu_0(item: &Value) -> bool {
    item["gpu"].as_str().unwrap().starts_with("0_")
}

#[test]
fn each_filter_takes_what_it_says_and_leaves_the_rest() {
    let site = Site::demo(17);
    let first = site.list("/sessions")[0]["session"].as_str().unwrap().to_owned();
    let by_name = format!("session={first}");
    let seconds = 17.0 * 60.0 + crate::node::EPOCH as f64;
    let idle = move |s: &Value| {
        let measured = s["measured_since_time"].as_f64();
        measured
            .is_some_and(|since| seconds - since.max(s["last_active_time"].as_f64().unwrap_or(0.0)) >= 180.0)
    };
    let cases: [(&str, &str, Takes); 31] = [
        ("sessions", &by_name, Box::new(move |s| s["session"] == *first)),
        ("sessions", "gpu=0", takes(on_gpu_0)),
        ("sessions", "gpu=0_1_0", takes(|s| s["gpu"] == "0_1_0")),
        ("sessions", "gpu=1", takes(|s| s["gpu"] == "1")),
        ("sessions", "user=alice", takes(|s| s["user"] == "alice")),
        ("sessions", "namespace=team-vision", takes(|s| s["namespace"] == "team-vision")),
        ("sessions", "namespace=", takes(|s| s["namespace"].is_null())),
        ("sessions", "pod=jupyter-carol", takes(|s| s["pod"] == "jupyter-carol")),
        ("sessions", "pod=", takes(|s| s["pod"].is_null())),
        ("sessions", "container=notebook", takes(|s| s["container"] == "notebook")),
        ("sessions", "command=python3", takes(|s| s["command"] == "python3")),
        ("sessions", "pid=31420", takes(|s| s["pid"] == 31420)),
        ("sessions", "allocated=true", takes(|s| s["allocated"] == true)),
        ("sessions", "allocated=false", takes(|s| s["allocated"] == false)),
        ("sessions", "idle_for=3m", Box::new(idle)),
        ("sessions", "gpu=0&command=python3&user=carol", takes(|s| s["pid"] == 23001)),
        ("devices", "gpu=0", takes(on_gpu_0)),
        ("devices", "gpu=0_10_0", takes(|d| d["gpu"] == "0_10_0")),
        ("devices", "uuid=GPU-d0e1a000-0000-4000-8000-000000000000", takes(on_gpu_0)),
        ("devices", "uuid=mig-d0e1a000-0005-4000-8000-000000000000", takes(|d| d["gpu"] == "0_5_0")),
        ("devices", "user=dave", takes(|d| d["users"].to_string().contains("\"dave\""))),
        ("devices", "free=false", takes(|d| d["allocations"].as_u64().is_some_and(|n| n > 0))),
        ("users", "user=dave", takes(|u| u["user"] == "dave")),
        ("users", "gpu=0", takes(|u| u["devices"].as_array().unwrap().iter().any(on_gpu_0))),
        ("users", "gpu=3", takes(|u| u["user"] == "frank")),
        ("allocations", "gpu=0", takes(on_gpu_0)),
        ("allocations", "namespace=jupyterhub", takes(|a| a["namespace"] == "jupyterhub")),
        ("allocations", "pod=bob-finetune", takes(|a| a["pod"] == "bob-finetune")),
        ("allocations", "container=notebook", takes(|a| a["container"] == "notebook")),
        ("allocations", "user=erin", takes(|a| a["user"] == "erin")),
        ("allocations", "idle_for=10m", takes(|a| a["idle_seconds"].as_f64().is_some_and(|s| s >= 600.0))),
    ];
    for (list, query, takes) in cases {
        let all = site.list(&format!("/{list}"));
        let wanted: Vec<&Value> = all.iter().filter(|item| takes(item)).collect();
        let found = site.list(&format!("/{list}?{query}"));
        assert_eq!(found.iter().collect::<Vec<_>>(), wanted, "{list} {query}");
        assert!(
            !found.is_empty() && found.len() < all.len(),
            "{list} {query}: {} of {}",
            found.len(),
            all.len()
        );
    }
    let nobody =
        ["sessions?user=zed", "devices?user=zed", "users?user=", "allocations?user=", "sessions?gpu=9"];
    for query in nobody {
        assert!(site.list(&format!("/{query}")).is_empty(), "{query}");
    }
}

fn takes(takes: fn(&Value) -> bool) -> Takes {
    Box::new(takes)
}

#[test]
fn what_is_free_and_whose_is_unknown() {
    let mut site = Site::demo(22);
    let free = site.list("/devices?free=true");
    assert_eq!(
        free.iter().map(|d| d["gpu"].as_str().unwrap()).collect::<Vec<_>>(),
        ["0_10_0"],
        "dave-eval is gone"
    );
    // Where the API server is away, a new pod's user is not known.
    site.node.cluster().api.stop();
    site.watch(23..=40);
    let unknown = site.list("/sessions?user=");
    assert!(!unknown.is_empty() && unknown.iter().all(|s| s["user"].is_null()), "{unknown:?}");
    let devices = site.list("/devices?user=");
    assert_eq!(devices.iter().map(|d| d["gpu"].as_str().unwrap()).collect::<Vec<_>>(), ["3"]);
}

#[test]
fn what_is_none_is_refused_by_name() {
    let site = Site::demo(1);
    for (query, words) in [
        ("sessions?usr=alice", &["`usr`", "`user`", "`idle_for`"][..]),
        ("sessions?user=a&user=b", &["`user`", "duplicate"]),
        ("sessions?pid=x", &["pid"]),
        ("sessions?pid=-1", &["pid"]),
        ("sessions?allocated=yes", &["allocated", "`true`", "`false`"]),
        ("sessions?idle_for=60", &["idle_for", "10s"]),
        ("sessions?gpu=GPU-1", &["gpu", "0_1_0"]),
        ("sessions?gpu=00", &["gpu", "0_1_0"]),
        ("sessions?gpu=", &["gpu", "0_1_0"]),
        ("sessions?limit=0", &["limit", "1000"]),
        ("sessions?limit=1001", &["limit", "1000"]),
        ("sessions?cursor=x", &["cursor", "next_cursor"]),
        ("devices?cursor=bnVsbA", &["cursor", "next_cursor"]),
        ("devices?free=1", &["free", "`true`"]),
        ("users?pid=1", &["`pid`", "`user`"]),
        ("allocations?free=true", &["`free`", "`idle_for`"]),
        ("stream?pod=x", &["`pod`", "`namespace`"]),
        ("sessions?since=yesterday", &["since", "2026-11-01"]),
        ("sessions?since=1h&until=2h", &["since", "until", "not before"]),
        ("sessions?until=2100-01-01", &["until", "future"]),
        ("sessions?since=1m&idle_for=1h", &["idle_for", "leave it out"]),
        ("sessions?since=1m&allocated=true", &["allocated", "leave it out"]),
        ("devices?since=1m&free=true", &["free", "leave it out"]),
        ("users?since=1m&gpu=0", &["gpu", "leave it out"]),
        ("allocations?until=now&idle_for=1h", &["idle_for", "leave it out"]),
    ] {
        let said = site.refused(&format!("/{query}"), 400);
        for word in words {
            assert!(said.contains(word), "{query}: {word} is not in {said}");
        }
    }
    let long = site.refused(&format!("/sessions?{}=%1b%0a", "x".repeat(5000)), 400);
    assert!(long.len() < 600 && !long.contains(char::is_control), "{long}");
}

#[test]
fn methods_and_paths() {
    let site = Site::demo(1);
    for path in ["/sessions", "/devices", "/users", "/allocations", "/stream", "/about", "/openapi.json"] {
        let (status, head, body) = site.answer("HEAD", path);
        assert_eq!((status, body.as_str()), (200, ""), "{path}: {head}");
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            let (status, head, body) = site.answer(method, path);
            assert_eq!(status, 405, "{method} {path}");
            assert!(head.contains("allow: get,head"), "{method} {path}: {head}");
            assert!(is_problem(path, 405, &head, &body).contains(method));
        }
    }
    for path in ["", "/", "/session", "/sessions/", "/sessions/1", "/../../etc/passwd"] {
        assert!(site.refused(path, 404).contains("/api/v1/sessions"), "{path}");
    }
    assert_eq!(site.get("/openapi.json")["openapi"], "3.1.0");
}

#[test]
fn ps_says_the_same() {
    let site = Site::demo(17);
    let run = site.node.run(&["ps", "--json"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let ps: Value = serde_json::from_str(&run.stdout).unwrap();
    let api = site.get("/sessions");
    let names = |document: &Value| -> Vec<String> { document.as_object().unwrap().keys().cloned().collect() };
    assert_eq!(names(&ps), names(&api));
    assert_eq!(ps["schema_version"], api["schema_version"]);
    // What is measured since the reading before is over another time; who it is, and what it holds, is the same.
    let stamps = ["last_active_time", "measured_since_time"];
    let measured = |key: &str| key.ends_with("ratio") || key.ends_with("seconds") || stamps.contains(&key);
    let known = |document: &Value| -> Vec<Value> {
        let mut sessions = document["sessions"].as_array().unwrap().clone();
        for session in &mut sessions {
            session.as_object_mut().unwrap().retain(|key, _| !measured(key));
        }
        sessions
    };
    assert!(known(&api).len() > 5);
    assert_eq!(known(&ps), known(&api));
}
