//! What a Prometheus answers: for `top` and `ps`, and for `report`.

use super::{is_clean, is_message};
use crate::Target;
use crate::servers::Http;
use gpu_session_monitor::outputs::table;
use gpu_session_monitor::report::By;
use gpu_session_monitor::report::period::Period;
use gpu_session_monitor::report::prometheus::{Options, Prometheus as Report};
use gpu_session_monitor::view::filter::Left;
use gpu_session_monitor::view::prometheus::Prometheus;
use gpu_session_monitor::view::{Looks, View};
use gpu_session_sources::clock::Clock;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

pub(super) const TARGET: Target = Target {
    name: "prometheus",
    cases: 350,
    words: &[
        "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[",
        "]}}",
        "{\"metric\":{",
        "}",
        "\"value\":[1,\"",
        "\"]",
        ",",
        "\"warnings\":[\"w\"]",
        "\"isPartial\":true",
        "\"__name__\":\"gpu_device_info\"",
        "\"gpu\":\"0\"",
        "\"gpu\":\"0_1_0\"",
        "\"uuid\":\"GPU-a\"",
        "\"session\":\"a\"",
        "\"pid\":\"1\"",
        "\"node\":\"n\"",
        "\"exported_namespace\":\"x\"",
        "\\u001b[2J",
        "\\u202e",
        "NaN",
        "+Inf",
        "-1",
        "1e308",
        "18446744073709551615",
    ],
    seeds,
    run,
};

fn vector(series: &[&str]) -> String {
    format!(
        "{{\"status\":\"success\",\"data\":{{\"resultType\":\"vector\",\"result\":[{}]}}}}",
        series.join(",")
    )
}

fn seeds() -> Vec<Vec<u8>> {
    let of = |name: &str, labels: &str, value: &str| {
        format!(
            "{{\"metric\":{{\"__name__\":\"{name}\",\"instance\":\"n:9836\",\"job\":\"j\",\"node\":\"n\"{labels}}},\"value\":[1800000000,\"{value}\"]}}"
        )
    };
    let sampled = of("", "", "1799999999.5");
    let device = [
        of(
            "gpu_device_info",
            ",\"gpu\":\"0\",\"uuid\":\"GPU-a\",\"model\":\"H100\",\"driver_version\":\"550\"",
            "1",
        ),
        of("gpu_session_count", ",\"gpu\":\"0\"", "1"),
        of("gpu_user_sessions", ",\"gpu\":\"0\",\"user\":\"alice\"", "1"),
        of("gpu_session_collector_source_up", ",\"source\":\"nvml\"", "1"),
        of("gpu_device_memory_total_bytes", ",\"gpu\":\"0\"", "85899345920"),
    ];
    let session = of(
        "gpu_session_info",
        ",\"session\":\"a\",\"gpu\":\"0\",\"uuid\":\"GPU-a\",\"pid\":\"42\",\"command\":\"python\",\"exported_pod\":\"p\",\"pod\":\"q\"",
        "1",
    );
    let figures = [
        of("gpu_session_start_time_seconds", ",\"session\":\"a\"", "1799990000"),
        of("gpu_session_sm_seconds_total", ",\"session\":\"a\"", "7"),
    ];
    let held = of(
        "gpu_allocation_sessions",
        ",\"gpu\":\"0\",\"namespace\":\"ns\",\"pod\":\"p\",\"container\":\"c\"",
        "1",
    );
    let answers = [
        vector(&[&sampled]),
        vector(&device.each_ref().map(String::as_str)),
        vector(&[&session]),
        vector(&figures.each_ref().map(String::as_str)),
        vector(&[&held]),
    ];
    let refusal = r#"{"status":"error","errorType":"execution","error":"too many samples"}"#;
    vec![
        answers.join("\n").into_bytes(),
        answers[0].clone().into_bytes(),
        [&answers[0], refusal].join("\n").into_bytes(),
    ]
}

/// The server, and what reads its answers.
struct Readers {
    server: Http,
    view: Prometheus,
    report: Report,
}

static READERS: LazyLock<Mutex<Readers>> = LazyLock::new(|| {
    let server = Http::start();
    let url = server.url.clone();
    let options = Options { url: &url, token_file: None, matcher: None, timeout: Duration::from_secs(60) };
    let view = Prometheus::of(&options, Clock::Real).unwrap();
    let report = Report::new(&options).unwrap();
    Mutex::new(Readers { server, view, report })
});

/// A line for each answer.
fn run(bytes: &[u8]) {
    let mut readers = READERS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let answers: Vec<_> =
        bytes.split(|byte| *byte == b'\n').map(|line| (200, "application/json", line.to_vec())).collect();
    readers.server.says(answers.clone());
    match readers.view.look() {
        Ok(view) => shown(&view, bytes.len()),
        Err(problem) => assert!(is_message(&format!("{problem:#}")), "{problem:#}"),
    }
    assert!(readers.view.warnings().iter().all(|warning| !warning.chars().any(char::is_control)));
    readers.server.says(answers);
    let period = Period { since_us: 1_799_990_000_000_000, until_us: 1_800_000_000_000_000 };
    match readers.report.usage(&period, By::Pod) {
        Ok(answer) => assert!(answer.lines.len() <= bytes.len()),
        Err(problem) => assert!(is_message(&format!("{problem:#}")), "{problem:#}"),
    }
}

fn shown(view: &View, read: usize) {
    for node in &view.nodes {
        assert!(node.node.as_deref().is_none_or(is_clean));
        for device in &node.devices {
            assert!(
                is_clean(&device.gpu)
                    && is_clean(&device.uuid)
                    && device.model.as_deref().is_none_or(is_clean)
            );
        }
        for session in &node.sessions {
            let names = [&session.command, &session.user, &session.pod, &session.namespace, &session.place];
            assert!(names.into_iter().flatten().all(|name| is_clean(name)), "{session:?}");
        }
    }
    let table = table::view(
        view,
        &table::Look {
            width: None,
            wide: true,
            now: Some(1_800_000_000.0),
            filter: String::new(),
            left: Left::default(),
        },
    );
    assert!(table.lines().all(|line| !line.chars().any(char::is_control)), "{table:?}");
    let written = serde_json::to_string(view).unwrap();
    assert!(written.len() <= 4096 + 64 * read, "{} of {read}", written.len());
}
