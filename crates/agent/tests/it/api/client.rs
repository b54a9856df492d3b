//! The client, where the server is none or not well.

use gpu_session_client::{Client, Filter, Kind};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::thread::JoinHandle;

/// A server that answers one request with these bytes, and returns its head.
fn answering(bytes: impl Into<Vec<u8>>) -> (Client, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Client::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let bytes = bytes.into();
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
        let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
        // A client that has had enough hangs up.
        let _ = stream.write_all(&bytes);
        head.join("\n")
    });
    (client, served)
}

fn answer(status: &str, more: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{more}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

#[test]
fn an_error_says_where_what_and_the_remedy() {
    let problem = r#"{"title":"x","status":401,"detail":"give a\nuser"}"#;
    let large = "x".repeat((16 << 20) + 1);
    for (bytes, kind, words) in [
        (
            answer("401 Unauthorized", "", problem),
            Kind::Refused(401),
            &["give a\u{fffd}user", "credentials"][..],
        ),
        (answer("404 Not Found", "", "<html>"), Kind::Refused(404), &["404", "gpu-session-monitor"]),
        (answer("302 Found", "Location: http://other/\r\n", ""), Kind::Refused(302), &["302", "redirects"]),
        (answer("200 OK", "", "<html>"), Kind::Answer, &["not understood", "gpu-session-monitor"]),
        (answer("200 OK", "", "{\"schema_version\":1}"), Kind::Answer, &["not understood", "timestamp"]),
        (answer("200 OK", "", &large), Kind::Transport, &["16777216 bytes", "ask for less"]),
        ("SSH-2.0-x\r\n".to_owned(), Kind::Transport, &["not HTTP", "gpu-session-monitor"]),
        (String::new(), Kind::Transport, &["gpu-session-monitor"]),
    ] {
        let shown: String = bytes.chars().take(40).collect();
        let (client, served) = answering(bytes);
        let error = client.sessions(&Filter::new()).unwrap_err();
        served.join().unwrap();
        assert_eq!(error.kind(), kind, "{shown}: {error}");
        let text = error.to_string();
        assert!(text.starts_with("http://127.0.0.1:"), "{text}");
        for word in words {
            assert!(text.contains(word), "{shown}: {word} is not in {text}");
        }
    }
    let nobody = Client::new(&format!("http://127.0.0.1:{}", crate::chain::free_port())).unwrap();
    let error = nobody.stream(&Filter::new()).map(drop).unwrap_err();
    assert!(error.kind() == Kind::Transport && error.to_string().contains("refused"), "{error}");
}

#[test]
fn what_is_asked_is_sent_whole_and_escaped() {
    let (client, served) = answering(answer("200 OK", "", "{}"));
    let client = client.with_basic("us", "s3cret").unwrap();
    let filter =
        Filter::new().user("a&b=c d/\u{e9}").namespace("").idle_for(std::time::Duration::from_secs(90));
    let _ = client.sessions(&filter);
    let head = served.join().unwrap();
    assert!(head.starts_with("GET /api/v1/sessions?user=a%26b%3Dc%20d"), "{head}");
    assert!(head.contains("%C3%A9&namespace=&idle_for=90s HTTP/1.1"), "{head}");
    // "us:s3cret", by `base64`.
    assert!(head.to_lowercase().contains("authorization: basic dxm6cznjcmv0"), "{head}");
}

#[test]
fn the_present_and_the_past_are_not_mistaken_for_each_other() {
    let client = Client::new("http://127.0.0.1:1").unwrap();
    assert_eq!(client.sessions(&Filter::new().since("1h")).unwrap_err().kind(), Kind::Usage);
    assert_eq!(client.session_history(&Filter::new()).unwrap_err().kind(), Kind::Usage);
    assert_eq!(client.stream(&Filter::new().until("now")).map(drop).unwrap_err().kind(), Kind::Usage);
}
