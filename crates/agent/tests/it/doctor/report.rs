//! The table, the JSON and the page that lists the checks.

use super::{Report, examine, idle, seed};
use crate::node::{Run, workspace};
use gpu_session_monitor::doctor;

#[test]
fn the_table_says_what_the_json_says_one_line_each() {
    let node = seed();
    let run = node.run(&["doctor"]);
    let report = Report::of(&node.run(&["doctor", "--json"]));
    let mut lines: Vec<&str> = run.stdout.lines().collect();
    let last = lines.pop().unwrap();
    let count = |status| report.checks.iter().filter(|check| check["status"] == status).count();
    assert_eq!(count("failed") + count("warning"), 0, "{}", run.stdout);
    assert_eq!(last, format!("failed: 0; warning: 0; ok: {}; skipped: {}", count("ok"), count("skipped")));
    assert_eq!(lines.len(), report.checks.len() + 1, "{}", run.stdout);
    let column = lines[0].find("FOUND").unwrap();
    for (line, check) in lines[1..].iter().zip(&report.checks) {
        let text = |key: &str| check[key].as_str().unwrap().to_owned();
        assert!(line.trim_start().starts_with(&text("status")) && line.contains(&text("check")), "{line}");
        assert!(line[column..].starts_with(&text("detail")), "{line}");
        assert_eq!(*line, line.trim_end());
    }
    assert!(!run.stdout.contains('\x1b'), "no colours in a pipe");
    assert_eq!(run.stderr, "");
}

#[test]
fn on_a_terminal_it_is_as_wide_as_that_and_in_colour() {
    let node = seed();
    let inner = node.command(&["doctor"]);
    let on_terminal = |no_colour: bool| {
        let mut command = std::process::Command::new("script");
        let line = format!("stty cols 72; '{}' doctor", inner.get_program().to_str().unwrap());
        command.args(["-qec", &line, "/dev/null"]).env_clear();
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("TERM", "xterm");
        command.envs(no_colour.then_some(("NO_COLOR", "1")));
        Run::of(command.output().unwrap()).stdout
    };
    let coloured = on_terminal(false);
    assert!(coloured.contains("\x1b[38;5;10m ok "), "{coloured:?}");
    let plain = on_terminal(true);
    assert!(!plain.contains("\x1b[38;5;"), "{plain:?}");
    let bold = |line: &str| line.replace("\x1b[1m", "").replace("\x1b[0m", "");
    for line in plain.lines().map(bold) {
        assert!(line.trim_end().chars().count() <= 72, "{line:?}");
    }
    // The words of a long remedy go on in their column.
    assert!(plain.lines().any(|line| line.starts_with(&" ".repeat(20)) && line.len() > 40), "{plain}");
}

#[test]
fn every_check_speaks_and_in_order() {
    let report = examine(&idle(""), &[]);
    let mut told: Vec<&str> = report.checks.iter().map(|line| line["check"].as_str().unwrap()).collect();
    told.dedup();
    assert_eq!(told, doctor::names().collect::<Vec<_>>());
    for line in &report.checks {
        let keys: Vec<&String> = line.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["check", "detail", "remedy", "status"]);
    }
}

#[test]
fn hostile_names_break_no_line() {
    let node = seed();
    std::fs::write(node.path("textfiles/a\n\x1b[2Jok.prom"), "gpu_total_sessions 3\n").unwrap();
    let run = node.run(&["doctor"]);
    assert_eq!(run.code, 1);
    assert!(run.stdout.contains("a\u{fffd}\u{fffd}[2Jok.prom"), "{}", run.stdout);
    let last = run.stdout.lines().last().unwrap();
    assert!(last.starts_with("failed: 1 (other textfiles); warning: 0; ok: "), "{last}");
    assert!(!run.stdout.chars().any(|c| c.is_control() && c != '\n'), "{:?}", run.stdout);
    let report = examine(&node, &[]);
    report.assert("other textfiles", "failed", &["a\u{fffd}\u{fffd}[2Jok.prom"]);
}

#[test]
fn the_page_lists_the_checks_of_the_program() {
    let page = std::fs::read_to_string(workspace().join("docs/doctor.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    assert_eq!(rows.collect::<Vec<_>>(), doctor::names().collect::<Vec<_>>());
}
