//! `ps` with filters.

use crate::node::{Node, scenario_file};
use serde_json::Value;

/// The demo's node after some minutes, of which `collect` knows.
fn node() -> Node {
    let mut node = Node::in_cluster(&scenario_file("demo.yaml"));
    for minute in [9.0, 10.0, 11.0] {
        node.at(minute * 60.0);
        node.collected();
    }
    node
}

fn sessions(node: &Node, args: &[&str]) -> Vec<Value> {
    let run = node.run(&[&["ps", "--json"], args].concat());
    assert_eq!(run.code, 0, "{}", run.stderr);
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    document["sessions"].as_array().unwrap().clone()
}

#[test]
fn each_filter_takes_what_it_names_and_all_together_what_all_take() {
    let node = node();
    let all = sessions(&node, &[]);
    assert!(all.len() > 3);
    // The clock goes on: figures differ, and sessions are the same.
    let known = |one: &Value| all.iter().any(|session| session["session"] == one["session"]);
    for field in ["user", "namespace", "pod", "gpu"] {
        let values: Vec<&str> = all.iter().filter_map(|session| session[field].as_str()).collect();
        let value = values.first().unwrap();
        let taken = sessions(&node, &[&format!("--{field}"), value]);
        let wanted = all.iter().filter(|session| {
            let own = session[field].as_str().unwrap_or("");
            own == *value || (field == "gpu" && own.starts_with(&format!("{value}_")))
        });
        assert_eq!(taken.len(), wanted.count(), "{field} {value}");
        assert!(!taken.is_empty() && taken.iter().all(known), "{field}");
    }
    let one = &all[0];
    let of = |field: &str| one[field].as_str().unwrap();
    let by_device = sessions(&node, &["--gpu", of("device_uuid")]);
    assert!(
        by_device.iter().any(|s| s["session"] == one["session"])
            && by_device.iter().all(|s| s["device_uuid"] == one["device_uuid"])
    );
    assert!(sessions(&node, &["--user", "nobody-of-that-name"]).is_empty());
    let user = all.iter().find_map(|s| s["user"].as_str()).unwrap();
    let other = all.iter().find(|s| s["user"].as_str() != Some(user)).unwrap();
    assert!(
        sessions(&node, &["--user", user, "--gpu", other["device_uuid"].as_str().unwrap()])
            .iter()
            .all(|s| s["user"] == user)
    );
}

#[test]
fn the_table_has_only_devices_of_what_is_left_and_says_what_was_asked() {
    let node = node();
    let all = node.run(&["ps"]).stdout;
    let user = sessions(&node, &[])[0]["user"].as_str().unwrap().to_owned();
    let run = node.run(&["ps", "--user", &user]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stdout.lines().count() < all.lines().count(), "{}", run.stdout);
    assert!(run.stdout.ends_with(&format!(" (of --user {user})\n")), "{}", run.stdout);
}

#[test]
fn a_filter_hides_neither_that_something_was_not_read_nor_that_some_are_not_listed() {
    let mut node = node();
    node.at(720.0);
    let last = |args: &[&str], code: i32| {
        let run = node.run(&[&["ps"], args].concat());
        assert_eq!(run.code, code, "{args:?}: {}", run.stderr);
        run.stdout.lines().last().unwrap().to_owned()
    };
    let (all, limit) = (last(&[], 0), ["--sessions-limit", "1"]);
    let all: u64 = all.strip_prefix("sessions: ").unwrap().parse().unwrap();
    let unlisted = format!("{} of all there are not listed (sessions.limit)", all - 1);
    let user = last(&[&limit[..], &["--user", "alice"]].concat(), 0);
    assert!(
        ["sessions: at least 1 (of --user alice)", "sessions: - (of --user alice)"]
            .iter()
            .any(|begin| user.starts_with(begin))
            && user.ends_with(&unlisted),
        "{user}"
    );
    // A device's count is known however many of it are listed.
    let gpu = last(&["--gpu", "1"], 0);
    let cut = last(&[&limit[..], &["--gpu", "1"]].concat(), 0);
    assert!(cut.starts_with(&gpu) && cut.contains("not listed"), "{gpu} {cut}");
    let missing = node.run(&["ps", "--gpu", "99"]);
    assert!(missing.code == 3 && missing.stderr.contains("--gpu 99: no such device"), "{}", missing.stderr);

    let process = "  - { pid: 10, name: p, uid: 1000, devices: [{ gpu: 0, memory: 1GiB, sm: 50 }] }\n";
    let fault = "faults: [{ from: 0s, function: \"nvmlDeviceGet*\", gpu: 1, return: GPU_IS_LOST }]\n";
    let mut node = Node::new(&(crate::node::plain(2, process) + fault));
    node.at(60.0);
    let run = node.run(&["ps", "--user", "alice"]);
    assert_eq!(run.code, 3, "{}", run.stderr);
    assert!(run.stdout.ends_with("sessions: at least 1 (of --user alice)\n"), "{}", run.stdout);
}

#[test]
fn idle_is_what_did_nothing_for_that_long() {
    let process = |pid: u32, sm: &str| {
        format!(
            "  - {{ pid: {pid}, name: p{pid}, uid: 1000, devices: [{{ gpu: 0, memory: 1GiB, {sm} }}] }}\n"
        )
    };
    let mut node = Node::new(&crate::node::plain(1, &(process(10, "sm: 50") + &process(11, "sm: 0"))));
    for minute in 1..20 {
        node.at(f64::from(minute) * 60.0);
        node.collected();
    }
    let pids =
        |args: &[&str]| sessions(&node, args).iter().map(|s| s["pid"].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(pids(&[]), [10, 11]);
    assert_eq!(pids(&["--idle"]), [11]);
    assert_eq!(pids(&["--idle", "17m"]), [11]);
    assert_eq!(pids(&["--idle", "2h"]), [0_u64; 0]);
}
