//! The queries of docs/astrago.md, each run against a real Prometheus that has what the program wrote of the demo's node.

use crate::chain::await_answer;
use crate::node::{EPOCH, Node, scenario_file, workspace};
use crate::report::truth::Known;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Minutes of the demo that are there; then GPU 2 is held and idle, an instance is free, and all others are used.
const MINUTES: i64 = 32;

/// One that begins a minute before the end and does nothing: nobody can say yet that it sleeps.
const YOUNG: &str = "processes:\n  - { pid: 40999, name: young, start: 31m, cgroup: \"0::/docker/00000000000000000000000000000000000000000000000000000000000000ab\\n\", devices: [{ gpu: 2, memory: 30GiB }] }\n";

/// What the program says each minute, in OpenMetrics with its times; then for some minutes what is left of it, as a
/// textfile that nobody writes any more. Each series is there with these further labels, as well.
fn recorded(left: i64, further: &[&str]) -> String {
    let scenario = scenario_file("demo.yaml").replacen("processes:\n", YOUNG, 1);
    let mut node = Node::in_cluster(&scenario);
    let (mut by_name, mut text) = (BTreeMap::<String, String>::new(), String::new());
    for minute in 1..=MINUTES + left {
        if minute <= MINUTES {
            node.at(minute as f64 * 60.0);
            let run = node.run(&["collect", "--output", "-", "--node", "gpu-7"]);
            assert_eq!(run.code, 0, "{}", run.stderr);
            text = run.stdout;
        }
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap().to_owned();
            let (labels, at) = (&line[name.len()..], EPOCH + minute * 60);
            let series = by_name.entry(name.clone()).or_default();
            let _ = writeln!(series, "{line} {at}");
            for further in further {
                let labels = match labels.strip_prefix('{') {
                    Some(own) => format!("{{{further},{own}"),
                    None => format!("{{{further}}}{labels}"),
                };
                let _ = writeln!(series, "{name}{labels} {at}");
            }
        }
    }
    by_name.into_values().collect::<String>() + "# EOF\n"
}

/// The queries of a page, in order.
pub(crate) fn queries(page: &str) -> Vec<String> {
    let text = std::fs::read_to_string(workspace().join("docs").join(page)).unwrap();
    let blocks = text.split("```promql\n").skip(1);
    blocks.map(|block| block.split("\n```").next().unwrap().to_owned()).collect()
}

/// The series that a query gives a moment after the last minute, by their labels.
fn ask(known: &Known, query: &str) -> BTreeMap<String, f64> {
    ask_later(known, query, 0)
}

/// The same some minutes later.
fn ask_later(known: &Known, query: &str, minutes: i64) -> BTreeMap<String, f64> {
    let place = known.url.strip_prefix("http://127.0.0.1:").unwrap();
    let (port, base) = place.split_once('/').unwrap();
    let time = EPOCH + (MINUTES + minutes) * 60 + 5;
    let form: String = form_urlencoded::byte_serialize(query.as_bytes()).collect();
    let path = format!("/{base}/api/v1/query?time={time}&query={form}");
    let answer = await_answer(
        port.parse().unwrap(),
        &path,
        |text| text.contains("\"status\""),
        std::path::Path::new("/"),
    );
    let document: Value = serde_json::from_str(&answer).unwrap_or_else(|e| panic!("{query}: {e}: {answer}"));
    assert_eq!(document["status"], "success", "{query}: {answer}");
    let series = document["data"]["result"].as_array().unwrap();
    let number = |series: &Value| series["value"][1].as_str().unwrap().parse().unwrap();
    series.iter().map(|series| (series["metric"].to_string(), number(series))).collect()
}

#[test]
fn both_languages_have_the_same_queries() {
    assert_eq!(queries("astrago.md"), queries("astrago.ko.md"));
}

#[test]
fn every_query_finds_something_and_the_truth() {
    let known = Known::of(&recorded(0, &[]));
    let queries = queries("astrago.md");
    let answers: Vec<BTreeMap<String, f64>> = queries.iter().map(|query| ask(&known, query)).collect();
    for (query, answer) in queries.iter().zip(&answers) {
        assert!(!answer.is_empty(), "nothing: {query}");
        assert!(answer.values().all(|value| value.is_finite()), "{query}: {answer:?}");
    }
    let of = |beginning: &str| {
        let place = queries.iter().position(|query| query.starts_with(beginning));
        &answers[place.unwrap_or_else(|| panic!("no query begins with {beginning}"))]
    };
    let one = |beginning: &str| {
        of(beginning).iter().next().map(|(labels, value)| (labels.clone(), *value)).unwrap()
    };

    let (who, _) = one("gpu_session_info{");
    assert!(who.contains("frank") && who.contains("frank-pretrain") && who.contains("51700"), "{who}");
    let (use_of, ratio) = one("gpu_session_sm_utilization_ratio{");
    assert!(use_of.contains("pt_main_thread") && (0.9..1.0).contains(&ratio), "{use_of} {ratio}");
    // Alice's two processes are one user of 3g.40gb.
    let users = of("gpu_session_users\n");
    let profile =
        |name: &str| users.iter().find(|(labels, _)| labels.contains(name)).map(|(_, value)| *value);
    assert_eq!((users.len(), profile("3g.40gb"), profile("2g.20gb")), (4, Some(1.0), Some(1.0)), "{users:?}");
    let free = of("gpu_device_info{mig_profile!=\"\"}\n");
    assert!(free.len() == 1 && free.keys().all(|labels| labels.contains("0_10_0")), "{free:?}");
    let used = of("topk(10, sum by (user) (increase(gpu_user_sm_seconds_total");
    let most = used.iter().max_by(|a, b| a.1.total_cmp(b.1)).unwrap();
    assert!(most.0.contains("frank"), "{used:?}");
    let idle = of("count by (user) (\n  max by (cluster, node, gpu, user) (gpu_allocation_idle_seconds");
    assert!(idle.keys().any(|labels| labels.contains("erin")), "{idle:?}");
    assert!(!idle.keys().any(|labels| labels.contains("frank") || labels.contains("alice")), "{idle:?}");
    let asleep = of("gpu_session_memory_used_bytes\n");
    assert!(asleep.len() == 1 && asleep.keys().all(|labels| labels.contains("erin")), "{asleep:?}");
}

#[test]
fn the_pairs_of_old_and_new_give_the_same() {
    let known = Known::of(&recorded(0, &[]));
    let queries = queries("astrago.md");
    let old = [
        "sum by (cluster, node) (gpu_total_sessions)",
        "count by (cluster, node, namespace, pod) (gpu_process_info{pod!=\"\"})",
        "sum by (cluster, node, gpu, namespace, pod) (gpu_process_utilization)",
        "sum by (cluster, node, gpu, namespace, pod) (gpu_process_memory_utilization)",
    ];
    for query in old {
        let place =
            queries.iter().position(|other| other == query).unwrap_or_else(|| panic!("{query} is gone"));
        let (before, after) = (ask(&known, query), ask(&known, &queries[place + 1]));
        assert!(before.len() == after.len() && !before.is_empty(), "{query}: {before:?} {after:?}");
        for (labels, value) in &before {
            let new = after.get(labels).unwrap_or_else(|| panic!("{query}: {labels} is not in {after:?}"));
            assert!((value - new).abs() < 1e-3, "{query} {labels}: {value} {new}");
        }
    }
    let ids = "label_replace(label_join(gpu_session_info";
    let found = ask(&known, queries.iter().find(|query| query.starts_with(ids)).unwrap());
    assert!(found.keys().any(|labels| labels.contains("\"old_pid\":\"gpu3_51700\"")), "{found:?}");
}

/// The queries that tell of now: those of the page's first part that look at no period.
fn of_now() -> Vec<String> {
    let queries = queries("astrago.md");
    let first = queries.iter().take_while(|query| !query.contains("gpu_total_sessions"));
    let now: Vec<_> = first.filter(|query| !query.contains("d]") && !query.contains("h]")).cloned().collect();
    assert!(now.len() > 8, "{now:?}");
    now
}

#[test]
fn nobody_is_found_in_what_a_dead_collector_left() {
    let known = Known::of(&recorded(20, &[]));
    for query in of_now() {
        assert!(!ask(&known, &query).is_empty(), "nothing while it lives: {query}");
        let found = ask_later(&known, &query, 20);
        assert!(found.is_empty(), "{query}: {found:?}");
    }
}

#[test]
fn every_query_is_answered_with_two_clusters_of_the_same_nodes_and_two_scrapes_of_one() {
    let further = ["cluster=\"annex\"", "job=\"again\""];
    let known = Known::of(&recorded(0, &further));
    for query in queries("astrago.md") {
        assert!(!ask(&known, &query).is_empty(), "{query}");
    }
}
