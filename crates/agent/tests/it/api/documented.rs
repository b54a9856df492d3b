//! The commands of docs/api.md, as they stand there.

use super::Site;
use crate::node::workspace;
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

/// What stands for the user's own in the document, and what it is here.
const PLACES: [(&str, &str); 4] = [
    ("2026-11-27T02:00", "2023-11-14T22:00"),
    ("2026-11-27T03:00", "2023-11-14T23:00"),
    ("2026-11-27T11:00+09:00", "2023-11-15T07:00+09:00"),
    ("2026-11-27T12:00+09:00", "2023-11-15T08:00+09:00"),
];

fn commands() -> Vec<String> {
    let document = std::fs::read_to_string(workspace().join("docs/api.md")).unwrap();
    document.lines().filter(|line| line.starts_with("curl ")).map(str::to_owned).collect()
}

fn shell(site: &Site, command: &str) -> Command {
    let here = PLACES.iter().fold(command.to_owned(), |text, (there, here)| text.replace(there, here));
    let here = here.replace("127.0.0.1:9836", &site.serve.address());
    let mut shell = Command::new("sh");
    shell.args(["-ec", &format!("exec {here}")]);
    shell
}

#[test]
fn each_command_of_the_document_answers_its_question() {
    let site = Site::demo(75);
    let (following, asking): (Vec<_>, Vec<_>) =
        commands().into_iter().partition(|line| line.contains("/api/v1/stream"));
    assert!(asking.len() >= 7 && !following.is_empty());
    for command in &asking {
        let output = shell(&site, command).output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        let lists = ["sessions", "devices", "users", "allocations"];
        let found = lists.iter().find_map(|list| document[*list].as_array());
        assert!(found.is_some_and(|list| !list.is_empty()), "{command}: {document}");
    }
    for command in &following {
        let mut child = shell(&site, command).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let events: Vec<String> = lines
            .filter_map(|line| line.strip_prefix("event: ").map(str::to_owned))
            .take_while(|event| event != "sample")
            .collect();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(events.iter().any(|event| event == "session"), "{command}: {events:?}");
    }
}
