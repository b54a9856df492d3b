//! How things stand: every list, its search, filters, order and pages.

use super::world::{EVIL, NOW};
use super::{Page, encoded, known};
use serde_json::{Value, json};

#[test]
fn totals_are_of_now_and_duplicates_count_once() {
    let known = known();
    let page = Page::of(&known.url, &[]);
    let cluster = page.get("");
    for (field, wanted) in [
        ("schema_version", json!(1)),
        ("now", json!(NOW as f64)),
        ("timestamp", json!(NOW as f64)),
        ("refresh_seconds", json!(15.0)),
        ("failure", Value::Null),
        ("warnings", json!([])),
        ("nodes", json!(3)),
        ("nodes_old", json!(1)),
        ("nodes_incomplete", json!(1)),
        ("nodes_unknown", json!(0)),
        ("devices", json!(3)),
        ("devices_unknown", json!(0)),
        ("devices_in_use", json!(2)),
        ("devices_held_idle", json!(1)),
        ("sessions", json!(3)),
        ("users", json!(2)),
        ("namespaces", json!(["ml"])),
    ] {
        assert_eq!(cluster[field], wanted, "{field}: {cluster}");
    }
    let about = page.serve.ask("GET", "/api/v1/about", "*/*").unwrap();
    assert!(about.contains("\"scope\":\"cluster\"") && about.contains("\"node\":null"), "{about}");
}

#[test]
fn nodes_with_their_devices() {
    let known = known();
    let page = Page::of(&known.url, &[]);
    assert_eq!(page.column("/nodes", "node"), ["gone", "n1", "n2"]);
    assert_eq!(page.column("/nodes?state=old", "node"), ["gone"]);
    assert_eq!(page.column("/nodes?state=incomplete", "node"), ["n2"]);
    assert_eq!(page.column("/nodes?state=busy&sort=-node", "node"), ["n2", "n1"]);
    assert_eq!(page.column("/nodes?state=idle", "node"), [""; 0]);
    assert_eq!(page.column("/nodes?node=n1", "node"), ["n1"]);
    assert_eq!(page.column("/nodes?search=ALICE+l40s", "node"), ["n1"]);
    assert_eq!(page.column("/nodes?sort=-sessions", "node"), ["n1", "n2", "gone"]);
    assert_eq!(page.column("/nodes?sort=timestamp", "node"), ["gone", "n1", "n2"]);
    let nodes = page.get("/nodes?node=n1");
    let devices = &nodes["nodes"][0]["devices"];
    assert_eq!((&devices[0]["gpu"], &devices[0]["held_idle"]), (&json!("0"), &json!(0)));
    assert_eq!((&devices[1]["gpu"], &devices[1]["held_idle"]), (&json!("1"), &json!(1)));
    assert_eq!(devices[1]["utilization_ratio"], Value::Null);
    let down = page.get("/nodes?node=n2");
    assert_eq!(down["nodes"][0]["sources_down"], json!(["nvml"]));
    assert_eq!(down["nodes"][0]["devices"][0]["held_idle"], Value::Null, "nobody says who holds it");
}

#[test]
fn sessions_by_what_is_known_of_them() {
    let known = known();
    let page = Page::of(&known.url, &[]);
    for (query, pids) in [
        ("", &[10, 11, 20][..]),
        ("?user=alice", &[10]),
        (&*format!("?user={}", encoded(EVIL)), &[11]),
        (&*format!("?search={}", encoded(EVIL)), &[11]),
        ("?user=", &[20]),
        ("?namespace=ml", &[10]),
        // Of the target, not of the session.
        ("?namespace=monitoring", &[]),
        ("?pod=", &[11, 20]),
        ("?gpu=0", &[10, 11, 20]),
        ("?gpu=0_1_0", &[20]),
        ("?node=n2", &[20]),
        ("?node=gone", &[]),
        ("?search=PYTHON+train", &[10]),
        ("?search=mig+1g.5gb", &[20]),
        ("?idle_for=1m", &[]),
        ("?sort=-start_time", &[11, 20, 10]),
        ("?sort=running_seconds", &[11, 20, 10]),
        ("?sort=-running_seconds", &[10, 20, 11]),
        ("?sort=-idle_seconds", &[10, 11, 20]),
        ("?sort=memory_used_bytes", &[10, 11, 20]),
        ("?sort=-memory_used_bytes", &[10, 11, 20]),
        ("?sort=-pid&limit=2", &[20, 11]),
        ("?sort=-pid&limit=2&offset=2", &[10]),
        ("?offset=99", &[]),
    ] {
        let found = page.column(&format!("/sessions{query}"), "pid");
        assert_eq!(found, pids.iter().map(|pid| json!(pid)).collect::<Vec<_>>(), "{query}");
    }
    let part = page.get("/sessions?sort=-pid&limit=1&offset=1");
    assert_eq!((&part["total"], &part["offset"]), (&json!(3), &json!(1)));
    assert_eq!(part["refresh_seconds"], 15.0);
    assert_eq!(part["sessions"][0]["idle_seconds"], Value::Null, "it works");
    let mut all = Vec::new();
    for offset in 0..3 {
        all.extend(
            page.column(&format!("/sessions?sort=sm_utilization_ratio&limit=1&offset={offset}"), "session"),
        );
    }
    assert_eq!(all, page.column("/sessions?sort=sm_utilization_ratio", "session"), "each row is on one page");
}

#[test]
fn allocations_that_do_nothing() {
    let known = known();
    let page = Page::of(&known.url, &[]);
    for (query, pods) in [
        ("", &["idle-0"][..]),
        ("?idle=true&idle_for=1h", &["idle-0"]),
        ("?idle_for=2h", &[]),
        ("?idle=false", &[]),
        ("?user=carol&namespace=ml&gpu=1&node=n1", &["idle-0"]),
        ("?search=carol+idle", &["idle-0"]),
        ("?sort=-idle_seconds", &["idle-0"]),
    ] {
        assert_eq!(page.column(&format!("/allocations{query}"), "pod"), pods, "{query}");
    }
}

#[test]
fn what_is_wrong_is_refused_by_name() {
    let known = known();
    let page = Page::of(&known.url, &[]);
    for (query, words) in [
        ("?x=1", &["x"][..]),
        ("/nodes?stat=old", &["stat"]),
        ("/nodes?state=new", &["old, incomplete, idle and busy"]),
        ("/nodes?sort=pid", &["sort", "utilization_ratio", "- before it"]),
        ("/nodes?node=a&node=b", &["node"]),
        ("/sessions?sort=", &["sort", "sm_utilization_ratio"]),
        ("/sessions?limit=0", &["from 1 to 1000"]),
        ("/sessions?limit=1001", &["from 1 to 1000"]),
        ("/sessions?offset=-1", &["number from 0"]),
        ("/sessions?gpu=x", &["0_1_0"]),
        ("/sessions?idle_for=long", &["long"]),
        ("/allocations?idle=maybe", &["true"]),
        ("/users?sort=hours", &["sort", "allocated_hours"]),
        ("/users?since=tomorrow", &["tomorrow"]),
        ("/users?until=2100-01-01", &["until", "future"]),
        ("/users?since=1h&until=2h", &["since", "not before"]),
        ("/users?since=93d", &["since", "longer than 92 days"]),
        ("/timeline?node=n1&gpu=0&since=1970-01-01", &["since", "longer than 92 days"]),
        ("/device?node=n1&gpu=0&since=2209h", &["since", "longer than 92 days"]),
        ("/user?user=a&since=100d", &["since", "longer than 92 days"]),
        ("/timeline?node=n1", &["gpu", "missing"]),
        ("/timeline?gpu=0", &["node", "missing"]),
        ("/device?node=n1&gpu=0&x=1", &["x"]),
        ("/user?since=1h", &["user", "missing"]),
    ] {
        let said = page.refused(query, 400);
        for word in words {
            assert!(said.contains(word), "{query}: {word} is not in {said}");
        }
    }
    assert!(
        page.get("/user?user=alice&since=92d")["times"].as_array().unwrap().len() > 200,
        "as long as may be"
    );
    let openapi = page.serve.ask("GET", "/api/v1/openapi.json", "*/*").unwrap();
    assert!(
        openapi.starts_with("HTTP/1.1 404 ") && openapi.contains("application/problem+json"),
        "{openapi}"
    );
    let long = page.refused(&format!("/sessions?search={}", "x".repeat(501)), 400);
    assert!(long.contains("search") && long.contains("500"), "{long}");
    for path in ["/", "/node", "/sessions/", "/sessions/1"] {
        assert!(page.refused(path, 404).contains("/timeline"), "{path}");
    }
    let head = page.serve.ask("HEAD", "/api/v1/cluster/nodes", "*/*").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
    let post = page.serve.ask("POST", "/api/v1/cluster/nodes", "*/*").unwrap();
    assert!(post.starts_with("HTTP/1.1 405 ") && post.contains("GET or HEAD"), "{post}");
}
