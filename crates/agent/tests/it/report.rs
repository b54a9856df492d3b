//! `report`: what was used in a period.

pub(crate) mod fake;
pub(crate) mod truth;

use crate::chain::free_port;
use crate::node::{Run, program};
use fake::{Fake, answered, ok};
use std::process::Command;

/// 2025-06-01T00:00:00Z, Unix seconds.
const BEGIN: i64 = 1_748_736_000;
/// Length of the period that is asked for.
const LENGTH: i64 = 6 * 3600;

/// The program an hour after the period, with nothing of this machine's.
fn command(dir: &std::path::Path, args: &[&str]) -> Command {
    let clock = dir.join("clock");
    std::fs::write(&clock, format!("{}", (BEGIN + LENGTH + 3600) * 1_000_000)).unwrap();
    let mut command = Command::new(program());
    command.arg("report").args(args).env_clear();
    command.env("GPU_SESSION_MONITOR_CLOCK", clock).env("GPU_SESSION_MONITOR_STATE_DIR", dir.join("state"));
    command
}

fn report(args: &[&str]) -> Run {
    let dir = tempfile::tempdir().unwrap();
    Run::of(command(dir.path(), args).output().unwrap())
}

/// A report of this server that must fail, and what it said.
fn refused(url: &str, args: &[&str], code: i32) -> String {
    let run = report(&[&["--prometheus", url], args].concat());
    assert_eq!((run.code, run.stdout.as_str()), (code, ""), "{args:?}: {}", run.stderr);
    assert!(!run.stderr.contains("s3cret"), "{}", run.stderr);
    run.stderr
}

#[test]
fn wrong_usage_says_what_is_allowed() {
    for (args, wanted) in [
        (&["--since", "yesterday"][..], "2026-11-01"),
        (&["--until", "2025-06-01T07:00:01Z"], "in the future (it is 2025-06-01T07:00:00Z now)"),
        (&["--since", "1h", "--until", "2h"], "earlier --since"),
        (&["--by", "team"], "user, namespace, pod, device, command"),
        (&["--format", "xml"], "table, csv, json"),
        (&["--by", "command", "--prometheus", "http://127.0.0.1:1"], "leave out --prometheus"),
        (&["--prometheus-matcher", "a=\"b\""], "--prometheus <URL>"),
        (&["--prometheus", "p:9090"], "http(s)://"),
        (&["--prometheus", "http://u:s3cret@h/?q"], "http(s)://"),
        (&["--prometheus", "http://u:s3cret@h", "--prometheus-token-file", "/x"], "one of them"),
        (&["--prometheus", "http://h", "--prometheus-token-file", "/nonexistent"], "/nonexistent"),
        (&["--prometheus", "http://h", "--prometheus-token-file", "/dev/null"], "holds no token"),
        (&["--prometheus", "http://h", "--prometheus-timeout", "1ms"], "100ms"),
    ] {
        let run = report(args);
        assert_eq!(run.code, 2, "{args:?}: {}", run.stderr);
        assert!(run.stderr.contains(wanted) && !run.stderr.contains("s3cret"), "{args:?}: {}", run.stderr);
    }
}

#[test]
fn one_form_is_posted_for_each_column() {
    let fake = Fake::start(|_| ok(r#"[{"metric":{"user":"alice"},"value":[1748757600,"3600"]}]"#));
    let url = format!("http://us%3Aer:s3cret%40@{}/prometheus/", fake.place);
    let args = ["--since", "2025-06-01", "--until", "2025-06-01 06:00", "--format", "csv"];
    let run = report(&[&["--prometheus", &url, "--prometheus-matcher", "cluster=\"a\""], &args[..]].concat());
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    let row = run.stdout.lines().nth(1).unwrap();
    assert!(row.starts_with("alice,3600,1,1,1,"), "{row}");
    let asked = fake.asked();
    assert_eq!(asked.len(), 8);
    for request in &asked {
        assert!(request.starts_with("POST /prometheus/api/v1/query HTTP/1.1\r\n"), "{request}");
        let head = request.to_ascii_lowercase();
        assert!(head.contains("content-type: application/x-www-form-urlencoded"), "{request}");
        // "us:er:s3cret@", by `base64`.
        assert!(request.contains("Basic dXM6ZXI6czNjcmV0QA=="), "{request}");
        assert!(request.contains("&time=1748757600&timeout=120000ms"), "{request}");
        assert!(request.contains("%7Bcluster%3D%22a%22%7D%5B21600s%5D"), "{request}");
    }
    let names = ["sessions_ended", "session_seconds", "sm_seconds", "idle_allocation_seconds"];
    assert!(names.iter().all(|name| asked.iter().any(|r| r.contains(&format!("gpu_user_{name}_total")))));
}

#[test]
fn a_token_is_read_from_its_file() {
    let fake = Fake::start(|_| ok("[]"));
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "abc.DEF-1\n").unwrap();
    let url = format!("http://{}", fake.place);
    let run = report(&["--prometheus", &url, "--prometheus-token-file", token.to_str().unwrap()]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stdout.contains(&format!("from Prometheus at {url}.")), "{}", run.stdout);
    assert!(run.stdout.ends_with("No use in this period.\n"), "{}", run.stdout);
    assert!(fake.asked().iter().all(|request| request.contains("Bearer abc.DEF-1\r\n")));
}

#[test]
fn its_warnings_are_told_once_and_the_output_is_written() {
    let partial = r#"{"status":"success","isPartial":true,"data":{"resultType":"vector","result":
        [{"metric":{"user":"bob"},"value":[1,"7200"]}]},"warnings":["store\u001b[2J down"]}"#;
    let fake = Fake::start(move |_| answered("200 OK", partial));
    let run = report(&["--prometheus", &format!("http://{}", fake.place), "--format", "csv"]);
    assert_eq!(run.code, 3);
    assert!(run.stdout.contains("bob,7200,2,"), "{}", run.stdout);
    assert_eq!(run.stderr.matches("warning: store\u{fffd}[2J down\n").count(), 1, "{}", run.stderr);
    assert_eq!(run.stderr.lines().count(), 2, "{}", run.stderr);
}

#[test]
fn a_refusal_is_told_with_its_reason_and_the_remedy() {
    let error = r#"{"status":"error","errorType":"execution","error":"too many\u001b samples"}"#;
    for (status, body, wanted) in [
        ("500 Internal Server Error", "oops", &["500", "see its log"][..]),
        ("401 Unauthorized", "", &["401", "--prometheus-token-file"]),
        ("404 Not Found", "<html>", &["404", "base of its API"]),
        ("422 Unprocessable Entity", error, &["422", "execution: too many\u{fffd} samples", "--since"]),
        ("400 Bad Request", error, &["--prometheus-matcher"]),
        ("302 Found\r\nLocation: /login", "", &["redirects to /login", "not followed"]),
        (
            "307 Temporary Redirect\r\nLocation: http://other/",
            "",
            &["redirects to http://other/", "not followed"],
        ),
        ("200 OK", "<html>sign in</html>", &["not that of the Prometheus API", "base of its API"]),
        ("200 OK", error, &["execution: too many\u{fffd} samples"]),
    ] {
        let fake = Fake::start(move |_| answered(status, body));
        let said = refused(&format!("http://u:s3cret@{}/base", fake.place), &[], 1);
        let place = format!("Prometheus at http://{}/base: ", fake.place);
        assert!(said.contains(&place), "{said}");
        assert!(wanted.iter().all(|words| said.contains(words)), "{status}: {said}");
        assert_eq!(fake.asked().len(), 1, "{status}: it asks no further");
    }
}

#[test]
fn a_connection_that_fails_is_told() {
    let said = refused(&format!("http://u:s3cret@127.0.0.1:{}", free_port()), &[], 1);
    assert!(said.contains("refused") && said.contains("see that it runs there"), "{said}");
    let silent = Fake::silent();
    let url = format!("http://{}", silent.place);
    let said = refused(&url, &["--prometheus-timeout", "200ms"], 1);
    assert!(said.contains("within 200ms") && said.contains("--prometheus-timeout"), "{said}");
    let half = Fake::start(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{\"status\":".to_vec());
    let said = refused(&format!("http://{}", half.place), &[], 1);
    assert!(said.contains("see that it runs there"), "{said}");
    let other = Fake::start(|_| b"SSH-2.0-OpenSSH_9.2\r\n".to_vec());
    let said = refused(&format!("http://{}", other.place), &[], 1);
    assert!(said.contains("not HTTP"), "{said}");
}

#[test]
fn an_answer_that_is_too_large_is_not_read() {
    let fake = Fake::start(|_| answered("200 OK", &" ".repeat((64 << 20) + 1)));
    let said = refused(&format!("http://{}", fake.place), &[], 1);
    assert!(said.contains("larger than 64 MiB"), "{said}");
}

#[test]
fn https_is_believed_with_the_authority_that_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::tls(&dir.path().join("ca.pem"), |_| ok("[]"));
    let url = format!("https://localhost:{}", fake.place.port());
    let args = ["--prometheus", &url];
    let run = Run::of(command(dir.path(), &args).output().unwrap());
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("TLS: ") && run.stderr.contains("SSL_CERT_FILE"), "{}", run.stderr);
    let trusted = command(dir.path(), &args).env("SSL_CERT_FILE", dir.path().join("ca.pem")).output();
    let run = Run::of(trusted.unwrap());
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    assert_eq!(fake.asked().len(), 8);
}
