//! What a workload controls must not break, grow or escape the output.

use crate::node::{Metrics, Node, plain};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Process names as YAML, each nastier than a person would choose.
const NAMES: [&str; 8] = [
    r#"name: "quote\"}{x=\"""#,
    r#"name: "back\\slash""#,
    r#"name: "line\nend 1""#,
    r#"name: "\x1b[2J\x1b]0;x\x07""#,
    r#"name: "a) R 1 ("#,
    "name_hex: \"fffe80\"",
    r#"name: "\u202Eevil""#,
    r#"name: "$(reboot)`x`;""#,
];

pub(crate) fn hostile() -> Node {
    let mut processes = String::new();
    for (i, name) in NAMES.iter().enumerate() {
        let name = name.to_string() + if name.matches('"').count() % 2 == 1 { "\"" } else { "" };
        let _ =
            writeln!(processes, "  - {{ pid: {}, {name}, devices: [{{ gpu: 0, memory: 1GiB }}] }}", 100 + i);
    }
    Node::new(&plain(1, &processes))
}

#[test]
fn hostile_names_stay_labels() {
    let mut node = hostile();
    node.at(10.0);
    let metrics = node.collected();
    let commands = metrics.label("gpu_process_info", "command");
    assert_eq!(commands.len(), NAMES.len());
    for command in &commands {
        assert!(command.len() <= 128 && !command.chars().any(char::is_control), "{command:?}");
        assert!(!command.contains('\u{202e}'), "{command:?}");
    }
    assert!(commands.contains(&"back\\slash") && commands.contains(&"$(reboot)`x`;"));
    for args in [&["ps"][..], &["ps", "--json"], &["doctor"]] {
        let run = node.run(args);
        let output = run.stdout + &run.stderr;
        assert!(!output.chars().any(|c| c.is_control() && c != '\n'), "{args:?}: {output:?}");
    }
}

#[test]
fn a_name_of_ten_thousand_bytes_is_cut() {
    // Longer than any kernel gives, as a tampered /proc could.
    let mut node = Node::new(&plain(1, "  - { pid: 7, name: x, devices: [{ gpu: 0, memory: 1GiB }] }\n"));
    node.at(10.0);
    let stat = node.path("proc/7/stat");
    let text =
        std::fs::read_to_string(&stat).unwrap().replacen("(x)", &format!("({})", "é".repeat(5_000)), 1);
    std::fs::write(&stat, text).unwrap();
    let metrics = node.collected();
    let [command] = metrics.label("gpu_process_info", "command")[..] else { panic!("one process") };
    assert!(command.len() <= 128 && command.starts_with(&"é".repeat(59)), "{command}");
}

#[test]
fn a_process_that_renames_itself_stays_one_series() {
    let mut names = String::new();
    for second in 1..20 {
        let _ = write!(names, "{{ at: {second}s, name: n{second} }}, ");
    }
    let text =
        format!("  - {{ pid: 7, name: first, names: [{names}], devices: [{{ gpu: 0, memory: 1GiB }}] }}\n");
    let mut node = Node::new(&plain(1, &text));
    let mut seen = BTreeSet::new();
    for second in 0..15 {
        node.at(f64::from(second));
        seen.extend(node.collected().label("gpu_process_info", "command").into_iter().map(str::to_owned));
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["first"]);
}

#[test]
fn ten_thousand_processes_are_counted_and_their_series_capped() {
    let text =
        "  - { pid: 1000, name: worker, count: 10000, uid: 1000, devices: [{ gpu: 0, memory: 1MiB }] }\n";
    let mut node = Node::new(&plain(1, text));
    node.at(10.0);
    let metrics = node.collected();
    assert_eq!(metrics.get("gpu_session_count", &[("gpu", "0")]), Some(10_000.0));
    assert_eq!(metrics.values("gpu_process_info", &[]).len(), 1000);
    assert_eq!(metrics.get("gpu_session_collector_series_dropped_total", &[]), Some(9_000.0));
    node.at(70.0);
    let later = node.collected();
    assert_eq!(
        later.get("gpu_session_collector_series_dropped_total", &[]),
        Some(9_000.0),
        "each counts once"
    );
    let sum = later.get("gpu_user_memory_byte_seconds_total", &[("user", "alice")]).unwrap();
    let truth = 10_000.0 * f64::from(1 << 20) * 60.0;
    assert!((sum / truth - 1.0).abs() < 0.01, "sums stay complete: {sum} {truth}");
    let run = node.run(&["collect", "--output", "-", "--sessions-limit", "0"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(Metrics::parse(&run.stdout).values("gpu_process_info", &[]).is_empty());
}
