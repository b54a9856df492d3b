//! Periods, on Prometheus and on VictoriaMetrics.

use super::world::{self, EVIL, NOW};
use super::{Page, encoded, known};
use crate::chain::await_answer;
use crate::chart::scale::Victoria;
use crate::report::fake::{Fake, answered};
use serde_json::{Value, json};

#[test]
fn users_are_those_of_now_and_of_the_period() {
    let known = known();
    let page = Page::of(&known.url, &[]);
    assert_eq!(page.column("/users?since=1h", "user"), [json!("alice"), Value::Null, json!(EVIL)]);
    let users = page.get("/users?since=1h&user=alice");
    assert_eq!((&users["since"], &users["until"]), (&json!((NOW - 3_600) as f64), &json!(NOW as f64)));
    let alice = &users["users"][0];
    assert_eq!((&alice["sessions"], &alice["devices"], &alice["nodes"]), (&json!(1), &json!(1), &json!(1)));
    assert_eq!(alice["memory_used_bytes"], 20);
    let used = |name: &str| alice["used"][name].as_f64().unwrap_or_else(|| panic!("{name}: {alice}"));
    assert!((used("allocated_hours") / used("sm_hours") - 2.0).abs() < 1e-6, "{alice}");
    assert_eq!(alice["used"]["energy_kwh"], Value::Null, "it was not measured");
    assert_eq!(page.column("/users?since=1h&user=", "user"), [Value::Null]);
    assert_eq!(page.column("/users?since=1h&search=VECTOR", "user"), [json!(EVIL)]);
    assert_eq!(page.column("/users?sort=-user&limit=1", "user"), [json!("alice")]);
}

#[test]
fn what_prometheus_warns_of_is_told_with_each_answer_of_the_past() {
    let fake = Fake::start(|request| {
        let node = r#"{"metric":{"node":"n1"},"value":[0,"1748736000"]}"#;
        let series = if request.contains("last_sample") { node } else { "" };
        let body = format!(
            r#"{{"status":"success","warnings":["a store is away"],"data":{{"resultType":"vector","result":[{series}]}}}}"#
        );
        answered("200 OK", &body)
    });
    let page = Page::of(&format!("http://{}", fake.place), &[]);
    for path in ["", "/users", "/timeline?node=n1&gpu=0", "/device?node=n1&gpu=0", "/user?user=alice"] {
        assert_eq!(page.get(path)["warnings"], json!(["a store is away"]), "{path}");
    }
    let asked = fake.asked().len();
    page.get("/users?search=a");
    assert_eq!(fake.asked().len(), asked, "it is known for a while");
}

/// The sessions of a device, each as name, user, begin and end before now, and whether it ended.
fn timeline(page: &Page, query: &str) -> Vec<(String, Value, i64, i64, bool)> {
    let document = page.get(&format!("/timeline?{query}"));
    assert_eq!(document["truncated"], false);
    let before = |value: &Value| NOW - value.as_f64().unwrap().round() as i64;
    let rows = document["sessions"].as_array().unwrap();
    let row = |row: &Value| {
        let (begin, end) = (before(&row["start_time"]), before(&row["end_time"]));
        (row["session"].as_str().unwrap().to_owned(), row["user"].clone(), begin, end, row["ended"] == true)
    };
    rows.iter().map(row).collect()
}

fn session(name: &str, user: &Value, begin: i64, end: i64, ended: bool) -> (String, Value, i64, i64, bool) {
    (format!("00000000000000{name}"), user.clone(), begin, end, ended)
}

/// What is the same whoever answers.
fn tells_of_the_past(page: &Page) {
    assert_eq!(
        timeline(page, "node=n1&gpu=0&since=2h"),
        [
            session("b1", &json!("bob"), 6_000, 4_800, true),
            session("a1", &json!("alice"), 3_600, 5, false),
            session("e1", &json!(EVIL), 600, 5, false),
        ]
    );
    // The index of a GPU takes its instances; labels of the target are not the session's.
    assert_eq!(timeline(page, "node=n2&gpu=0&since=1h"), [session("c1", &Value::Null, 1_800, 5, false)]);
    let instance = page.get("/timeline?node=n2&gpu=0_1_0&since=1h");
    let of = &instance["sessions"][0];
    assert_eq!((&of["gpu"], &of["pod"], &of["namespace"]), (&json!("0_1_0"), &Value::Null, &Value::Null));
    assert_eq!((&of["pid"], &of["command"]), (&json!(20), &json!("stray")));
    // Nobody knows what became of it.
    assert_eq!(
        timeline(page, "node=gone&gpu=0&since=2h"),
        [session("d1", &json!("dave"), 6_600, 1_200, false)]
    );
    for other in ["node=w&gpu=0", "node=n1&gpu=1", "node=absent&gpu=0", "node=n2&gpu=0_2_0"] {
        assert_eq!(timeline(page, other), [], "{other}");
    }
    assert_eq!(timeline(page, &format!("node={}&gpu=0", encoded(EVIL))), []);

    let figures = page.get("/device?node=n1&gpu=0&since=1h");
    let times = figures["times"].as_array().unwrap();
    assert!(times.len() > 200 && times.len() <= 301, "{}", times.len());
    let steps: Vec<f64> =
        times.windows(2).map(|pair| pair[1].as_f64().unwrap() - pair[0].as_f64().unwrap()).collect();
    assert!(steps.iter().all(|step| (step - steps[0]).abs() < 1e-6));
    // Two replicas are one.
    for (figure, wanted) in
        [("utilization_ratio", 0.5), ("memory_used_ratio", 0.25), ("sessions", 2.0), ("users", 2.0)]
    {
        is_about(&figures, figure, wanted);
    }
    let instance = page.get("/device?node=n2&gpu=0&since=30m");
    is_about(&instance, "sessions", 1.0);
    is_about(&instance, "users", 0.0);
    assert!(values(&instance, "utilization_ratio").iter().all(Value::is_null), "no instance has one");

    let alice = page.get("/user?user=alice&since=1h");
    for (figure, wanted) in
        [("gpus_busy", 0.5), ("gpus_held", 1.0), ("gpus_held_idle", 0.25), ("sessions", 1.0)]
    {
        is_about(&alice, figure, wanted);
    }
    let unknown = page.get("/user?user=&since=1h");
    is_about(&unknown, "sessions", 1.0);
    assert!(values(&unknown, "gpus_busy").iter().all(Value::is_null));
    let evil = page.get(&format!("/user?user={}&since=1h", encoded(EVIL)));
    assert!(values(&evil, "gpus_held").iter().all(Value::is_null), "nothing is made up for a hostile name");
}

fn values<'a>(figures: &'a Value, figure: &str) -> &'a Vec<Value> {
    let all = figures["series"].as_array().unwrap();
    let series = all.iter().find(|series| series["figure"] == figure);
    let values = series.unwrap_or_else(|| panic!("{figure}: {figures}"))["values"].as_array().unwrap();
    assert_eq!(values.len(), figures["times"].as_array().unwrap().len());
    values
}

#[track_caller]
fn is_about(figures: &Value, figure: &str, wanted: f64) {
    let values = values(figures, figure);
    let known: Vec<f64> = values.iter().filter_map(Value::as_f64).collect();
    assert!(known.len() * 10 > values.len() * 9, "{figure}: {values:?}");
    assert!(known.iter().all(|value| (value - wanted).abs() < 0.02), "{figure}: {known:?}");
}

#[test]
fn timelines_and_figures_by_prometheus() {
    let known = known();
    tells_of_the_past(&Page::of(&known.url, &[]));
}

#[test]
fn timelines_and_figures_by_victoria_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("input.om");
    std::fs::write(&input, world::openmetrics()).unwrap();
    let victoria = Victoria::start(folder.path());
    victoria.import(&input);
    // What it has taken can be found a moment later.
    let path = format!("/api/v1/query?query=count(gpu_session_info)&time={NOW}");
    await_answer(victoria.port, &path, |text| text.contains(",\"5\"]"), &victoria.log);
    let page = Page::of(&format!("http://127.0.0.1:{}", victoria.port), &[]);
    assert_eq!(page.get("")["sessions"], 3);
    tells_of_the_past(&page);
}
