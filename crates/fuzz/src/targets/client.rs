//! What a running agent answers, as `gpu-session-client` reads it: documents and the stream.

use super::is_message;
use crate::Target;
use crate::servers::Http;
use gpu_session_client::{Client, Filter, View};
use std::sync::{LazyLock, Mutex};

pub(super) const TARGET: Target = Target {
    name: "client",
    cases: 700,
    words: &[
        "event: session\n",
        "event: device\n",
        "event: sample\n",
        "event: session_ended\n",
        "event: device_gone\n",
        "data: ",
        "id: 1\n",
        "\n\n",
        "\r\n",
        ":",
        "\"session\":\"a\"",
        "\"gpu\":\"0\"",
        "\"next_cursor\":\"x\"",
        "null",
        "\\u001b",
        "1e308",
        "-1",
    ],
    seeds,
    run,
};

fn seeds() -> Vec<Vec<u8>> {
    let session =
        r#"{"session":"a","gpu":"0","device_uuid":"GPU-a","pid":1,"start_time":100.5,"user":"alice"}"#;
    let stream = format!(
        "event: session\ndata: {session}\nid: 1\n\n:\n\nevent: sample\ndata: {{\"timestamp\":1.5,\"total_sessions\":1,\"sources\":[]}}\n\n\
         event: session_ended\ndata: {{\"session\":\"a\",\"gpu\":\"0\"}}\n\n"
    );
    let page = |next: &str| {
        format!(
            "{{\"schema_version\":1,\"timestamp\":1.5,\"total_sessions\":1,\"sources\":[],\"sessions\":[{session}]{next}}}"
        )
    };
    let refusal = r#"{"title":"Bad Request","status":400,"detail":"gpu: \u001b[2J is no device"}"#;
    vec![
        [b"\x00", stream.as_bytes()].concat(),
        [b"\x00", page("").as_bytes()].concat(),
        [b"\x00", page(",\"next_cursor\":\"x\"").as_bytes()].concat(),
        [b"\x01", refusal.as_bytes()].concat(),
    ]
}

static AGENT: LazyLock<Mutex<(Http, Client)>> = LazyLock::new(|| {
    let server = Http::start();
    let client = Client::new(&server.url).unwrap();
    Mutex::new((server, client))
});

/// A byte for the status, then the body.
fn run(bytes: &[u8]) {
    let Some((status, body)) = bytes.split_first() else { return };
    let status = [200, 400, 401, 404, 500, 503, 302][usize::from(*status) % 7];
    let agent = AGENT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (server, client) = &*agent;
    server.says(vec![(status, "application/json", body.to_vec())]);
    let filter = Filter::new();
    // Three pages at most: a server may name a next one for ever.
    let pages =
        client.pages(&filter, Client::sessions).take(3).map(|page| page.map(|page| page.sessions.len()));
    let devices = client.devices(&filter).map(|page| page.devices.len());
    let history = client.session_history(&Filter::new().since("1h")).map(|page| page.sessions.len());
    for answer in pages.chain([devices, history]) {
        match answer {
            Ok(count) => assert!(status == 200 && count <= body.len()),
            Err(problem) => told(&problem.to_string()),
        }
    }
    let mut view = View::default();
    match client.stream(&filter) {
        Ok(events) => {
            let mut failed = false;
            for event in events {
                assert!(!failed, "nothing comes after an error");
                match event {
                    Ok(event) => drop(view.apply(event)),
                    Err(problem) => {
                        told(&problem.to_string());
                        failed = true;
                    }
                }
            }
            assert!(view.sessions.len() + view.devices.len() <= body.len());
        }
        Err(problem) => told(&problem.to_string()),
    }
}

fn told(problem: &str) {
    assert!(is_message(problem) && problem.contains("http://127.0.0.1:"), "{problem}");
    assert!(!problem.chars().any(char::is_control), "{problem:?}");
}
