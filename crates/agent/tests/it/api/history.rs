//! The past, against the ledger that `serve` wrote, read by other words.

use super::Site;
use crate::node::{EPOCH, Node, plain};
use crate::serve::Serve;
use gpu_session_client::api::SessionRecord;
use gpu_session_client::{Client, Filter, Kind};
use serde_json::Value;

/// The demo after 45 minutes, when the sessions that ended are in the ledger.
fn demo() -> Site {
    Site::demo(45)
}

/// A minute after the begin, as the API takes it.
fn minute(minute: i64) -> String {
    humantime::format_rfc3339_seconds(
        std::time::UNIX_EPOCH + std::time::Duration::from_secs((EPOCH + 60 * minute).unsigned_abs()),
    )
    .to_string()
}

fn period(from: i64, to: i64) -> Filter {
    Filter::new().since(minute(from)).until(minute(to)).limit(1000)
}

/// Names of sessions in the ledger by this condition, those that began last first.
fn in_ledger(site: &Site, condition: &str) -> Vec<String> {
    let db = rusqlite::Connection::open_with_flags(
        site.node.path("state/ledger.db"),
        rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY,
    )
    .unwrap();
    let sql = format!("SELECT session FROM session WHERE {condition} ORDER BY start_us DESC, id DESC");
    let mut statement = db.prepare(&sql).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

fn names(records: &[SessionRecord]) -> Vec<String> {
    records.iter().map(|record| record.session.clone()).collect()
}

#[test]
fn sessions_of_a_period_are_those_of_the_ledger() {
    let site = demo();
    let client = site.client();
    for (from, to) in [(1, 45), (1, 2), (12, 18), (20, 30), (39, 45)] {
        let found = client.session_history(&period(from, to)).unwrap();
        let us = |minute: i64| (EPOCH + 60 * minute) * 1_000_000;
        let condition = format!("start_us < {} AND (end_us >= {} OR ended = 0)", us(to), us(from));
        assert_eq!(names(&found.sessions), in_ledger(&site, &condition), "{from} to {to}");
        assert_eq!((found.since, found.until), ((EPOCH + 60 * from) as f64, (EPOCH + 60 * to) as f64));
        assert!(!found.sessions.is_empty(), "{from} to {to}");
    }
    let filters = [
        (period(1, 45).gpu("0"), "gpu LIKE '0~_%' ESCAPE '~'"),
        (period(1, 45).gpu("0_5_0"), "gpu = '0_5_0'"),
        (period(1, 45).user("erin"), "user = 'erin'"),
        (period(1, 45).namespace(""), "namespace IS NULL"),
        (period(1, 45).pod("frank-pretrain"), "pod = 'frank-pretrain'"),
        (period(1, 45).container("eval"), "container = 'eval'"),
        (period(1, 45).command("pt_main_thread"), "command = 'pt_main_thread'"),
        (period(1, 45).pid(32077), "pid = 32077"),
    ];
    for (filter, condition) in filters {
        let found = names(&client.session_history(&filter).unwrap().sessions);
        assert_eq!(found, in_ledger(&site, condition), "{condition}");
        assert!(!found.is_empty() && found.len() < in_ledger(&site, "1").len(), "{condition}");
    }
}

#[test]
fn a_record_says_what_was_measured() {
    let site = demo();
    let found = site.client().session_history(&period(1, 45).pid(32077)).unwrap();
    let [blender] = &found.sessions[..] else { panic!("{found:?}") };
    assert_eq!((blender.command.as_deref(), blender.user.as_deref()), (Some("blender"), Some("carol")));
    assert!(blender.ended && blender.gpu == "1");
    assert_eq!(blender.memory_peak_bytes, Some(5 << 30));
    let seconds = blender.end_time - blender.start_time;
    assert!((seconds - 21.0 * 60.0).abs() <= 60.0, "{seconds}");
    let sm = blender.sm_seconds.unwrap();
    assert!((sm / (0.18 * seconds) - 1.0).abs() < 0.1, "{sm} in {seconds}");
}

#[test]
fn pages_of_the_past_have_each_once_while_time_goes_on() {
    let mut site = demo();
    let client = site.client();
    let all = names(&client.session_history(&period(1, 45)).unwrap().sessions);
    let (mut paged, mut at) = (Vec::new(), 45);
    // It ends `now`, which moves on: the pages keep to when it was asked.
    for page in client.pages(&Filter::new().since(minute(1)).limit(2), Client::session_history) {
        let page = page.unwrap();
        assert_eq!(page.until as i64, EPOCH + 60 * 45);
        paged.extend(names(&page.sessions));
        at += 1;
        site.watch([at]);
    }
    assert_eq!(paged, all);
    let held = client.allocation_history(&period(1, 45)).unwrap().allocations;
    let pages: Vec<_> = client
        .pages(&period(1, 45).limit(1), Client::allocation_history)
        .map(|page| page.unwrap().allocations)
        .collect();
    assert_eq!(pages.concat(), held);
    let pods: Vec<&str> = held.iter().map(|a| a.pod.as_str()).collect();
    assert!(pods.contains(&"dave-eval") && pods.contains(&"jupyter-erin"), "{pods:?}");
    let erin = client.allocation_history(&period(1, 45).user("erin").gpu("2")).unwrap().allocations;
    assert!(
        matches!(&erin[..], [one] if one.idle_seconds.is_some_and(|s| s > 1800.0) && !one.ended),
        "{erin:?}"
    );
}

#[test]
fn usage_is_that_of_the_report() {
    let site = demo();
    let client = site.client();
    let report = |by: &str| -> Vec<Value> {
        let (since, until) = (minute(5), minute(40));
        let run =
            site.node.run(&["report", "--since", &since, "--until", &until, "--by", by, "--format", "json"]);
        assert_eq!(run.code, 0, "{}", run.stderr);
        serde_json::from_str::<Value>(&run.stdout).unwrap()["lines"].as_array().unwrap().clone()
    };
    let users = client.user_usage(&period(5, 40)).unwrap().users;
    let same: Vec<Value> = users.iter().map(|user| serde_json::to_value(user).unwrap()).collect();
    assert_eq!(same, report("user"));
    let devices = client.device_usage(&period(5, 40)).unwrap().devices;
    let mut lines = report("device");
    for line in &mut lines {
        let label = line["device"].take();
        let line = line.as_object_mut().unwrap();
        line.remove("device");
        line.insert("gpu".to_owned(), label);
    }
    let same: Vec<Value> = devices.iter().map(|device| serde_json::to_value(device).unwrap()).collect();
    assert_eq!(same, lines);
    let first = client.user_usage(&period(5, 40).limit(2)).unwrap().users;
    assert_eq!(first, users[..2], "who used most");
    let error = client.user_usage(&period(5, 40).cursor("x")).unwrap_err().to_string();
    assert!(error.contains("come whole"), "{error}");
    let of_gpu_0 = client.device_usage(&period(5, 40).gpu("0")).unwrap().devices;
    assert!(of_gpu_0.len() > 1 && of_gpu_0.iter().all(|device| device.gpu.starts_with("0_")), "{of_gpu_0:?}");
    let alice = client.user_usage(&period(5, 40).user("alice")).unwrap().users;
    assert!(matches!(&alice[..], [one] if one.user.as_deref() == Some("alice")), "{alice:?}");
}

#[test]
fn who_runs_on_is_there_before_the_ledger_has_it_again() {
    let mut site = demo();
    // What goes on is written each five minutes only.
    site.watch(46..=48);
    let last_minute = site.client().session_history(&Filter::new().since("1m")).unwrap();
    let running = last_minute.sessions.iter().filter(|session| !session.ended).count();
    assert_eq!(running, site.list("/sessions").len());
}

#[test]
fn without_a_ledger_the_past_is_not_there_and_the_remedy_is() {
    let mut node = Node::new(&plain(1, ""));
    node.at(10.0);
    let serve = Serve::start(&node, &["--ledger-enabled", "false"]);
    serve.sampled(&node);
    let site = Site { node, serve };
    for path in ["sessions", "devices", "users", "allocations"] {
        let said = site.refused(&format!("/{path}?since=1h"), 404);
        assert!(said.contains("ledger.enabled"), "{said}");
    }
    let error = site.client().session_history(&Filter::new().since("1h")).unwrap_err();
    assert_eq!(error.kind(), Kind::Refused(404));
    assert!(error.to_string().contains("ledger.enabled"), "{error}");
    assert!(site.client().sessions(&Filter::new()).is_ok());
}

#[test]
fn a_ledger_of_before_is_not_the_past_of_now() {
    let site = demo();
    assert!(!site.client().session_history(&Filter::new().since("1h")).unwrap().sessions.is_empty());
    let Site { node, mut serve } = site;
    assert!(serve.terminate().success());
    let serve = Serve::start(&node, &["--ledger-enabled", "false"]);
    serve.sampled(&node);
    let site = Site { node, serve };
    let said = site.refused("/sessions?since=1h", 404);
    assert!(said.contains("ledger.enabled"), "{said}");
}
