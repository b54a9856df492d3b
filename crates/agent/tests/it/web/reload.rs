//! The web configuration, read anew while it is used.

use super::client::{Client, ReadWrite};
use super::{Authority, PASSWORD, TLS, keeps_secrets, serve, users, write_key};
use crate::serve::{node, wait_for};
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// Asks on a connection that stays open; returns the status.
fn ask_on(stream: &mut dyn ReadWrite, authorization: &str) -> String {
    status_on(stream, authorization).unwrap()
}

/// The status; an error where the connection was closed.
fn status_on(stream: &mut dyn ReadWrite, authorization: &str) -> std::io::Result<String> {
    let text = format!("HEAD /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: {authorization}\r\n\r\n");
    stream.write_all(text.as_bytes())?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8(head).unwrap().split(' ').nth(1).unwrap().to_owned())
}

fn basic(password: &str) -> String {
    use base64::Engine as _;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("alice:{password}")))
}

#[test]
fn certificates_and_users_change_under_connections_that_stay() {
    let node = node("");
    let (first, second) = (Authority::new("first"), Authority::new("second"));
    first.install(&node);
    let serve = serve(&node, &format!("{TLS}{}", users(&[("alice", PASSWORD)])), &[]);
    let client = |authority: &Authority| Client::with_tls(&serve.address(), &authority.ca, None);
    let mut held = client(&first).connect().unwrap();
    assert_eq!(ask_on(&mut *held, &basic(PASSWORD)), "200");

    // The certificate alone, and some seconds later its key: never both of one.
    second.install(&node);
    wait_for("the other certificate", || {
        let answer = client(&second).user("alice", PASSWORD).get("/metrics");
        answer.map_err(|e| format!("{e}: {}", serve.log()))
    });
    assert!(client(&first).user("alice", PASSWORD).get("/metrics").is_err());
    assert_eq!(ask_on(&mut *held, &basic(PASSWORD)), "200", "what is open stays open");

    let other = "an0ther-s3cr3t";
    std::fs::write(node.path("web.yaml"), format!("{TLS}{}", users(&[("alice", other)]))).unwrap();
    serve.signal(Signal::HUP);
    wait_for("the other password", || {
        let status = ask_on(&mut *held, &basic(other));
        if status == "200" { Ok(()) } else { Err(status) }
    });
    assert_eq!(ask_on(&mut *held, &basic(PASSWORD)), "401", "the old one is forgotten");
    keeps_secrets(&serve, &[other]);
}

#[test]
fn what_is_not_good_changes_nothing_and_is_told_once() {
    let node = node("");
    let authority = Authority::new("a");
    authority.install(&node);
    let serve = serve(&node, &format!("{TLS}{}", users(&[("alice", PASSWORD)])), &[]);
    let client = Client::with_tls(&serve.address(), &authority.ca, None).user("alice", PASSWORD);
    assert_eq!(client.status("/metrics"), 200);
    std::fs::write(node.path("web.yaml"), "basic_auth_users: {alice: s3cr3t-pa55word}\n").unwrap();
    serve.said("web.config_file: the one of before stays");
    assert_eq!(client.status("/metrics"), 200);
    std::fs::write(node.path("web.yaml"), format!("{TLS}{}", users(&[("alice", PASSWORD)]))).unwrap();
    serve.said("web.config_file: was read anew");
    assert_eq!(serve.lines("the one of before stays"), 1, "{}", serve.log());
    // A key of another certificate.
    write_key(&node, &authority.issue(&["localhost"]).1);
    serve.said("belong to each other");
    assert_eq!(client.status("/metrics"), 200);
    assert_eq!(serve.lines("the one of before stays"), 2, "{}", serve.log());
    keeps_secrets(&serve, &[]);
}

#[test]
fn where_it_is_named_changes_with_a_new_start_only() {
    let node = node("");
    let config = node.path("config.yaml");
    std::fs::write(node.path("web.yaml"), users(&[("alice", PASSWORD)])).unwrap();
    std::fs::write(&config, format!("web: {{config_file: {}}}\n", node.path("web.yaml").display())).unwrap();
    let serve = crate::serve::Serve::start(&node, &["--config", config.to_str().unwrap()]);
    let client = Client::plain(&serve.address());
    assert_eq!(client.status("/metrics"), 401);
    std::fs::write(&config, "node: b\n").unwrap();
    serve.signal(Signal::HUP);
    serve.said("web: it changes only when");
    assert_eq!((client.status("/metrics"), client.user("alice", PASSWORD).status("/metrics")), (401, 200));
}

#[test]
fn a_connection_of_before_proves_nothing_of_what_is_required_now() {
    let required = format!("{TLS}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n");
    for (before, is_tls) in [("", false), (TLS, true)] {
        let node = node("");
        let authority = Authority::new("a");
        authority.install(&node);
        let serve = serve(&node, before, &[]);
        let tls = |own| Client::with_tls(&serve.address(), &authority.ca, own);
        let client = if is_tls { tls(None) } else { Client::plain(&serve.address()) };
        let mut held = client.connect().unwrap();
        assert_eq!(ask_on(&mut *held, ""), "200", "{before}");
        std::fs::write(node.path("web.yaml"), &required).unwrap();
        serve.signal(Signal::HUP);
        serve.said("web.config_file: was read anew: authentication by client certificates");
        // It is closed, unless the request comes before that.
        let answer = status_on(&mut *held, "");
        assert!(answer.as_ref().map_or(true, |status| status == "421"), "{before}: {answer:?}");
        assert!(status_on(&mut *held, "").is_err(), "{before}: it stays open");
        assert!(client.get("/metrics").is_err());
        assert_eq!(tls(Some(&authority.issue(&["x"]))).status("/metrics"), 200);
    }
}

#[test]
fn what_is_no_file_stops_nothing() {
    let node = node("");
    let mut serve = serve(&node, &users(&[("alice", PASSWORD)]), &[]);
    let client = Client::plain(&serve.address()).user("alice", PASSWORD);
    let path = node.path("web.yaml");
    std::fs::remove_file(&path).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    serve.signal(Signal::HUP);
    serve.said("no regular file");
    assert_eq!(client.status("/metrics"), 200);
    assert!(serve.terminate().success(), "{}", serve.log());
}

#[test]
fn a_file_that_was_emptied_opens_nothing() {
    let node = node("");
    let authority = Authority::new("a");
    authority.install(&node);
    let serve = serve(&node, &format!("{TLS}{}", users(&[("alice", PASSWORD)])), &[]);
    let client = Client::with_tls(&serve.address(), &authority.ca, None);
    for (text, wanted) in [
        ("", "tls_server_config is no longer there: a new start is needed"),
        (TLS, "basic_auth_users is no longer there: a new start is needed"),
        (&format!("{TLS}basic_auth_users:\n"), "nobody is below it"),
    ] {
        std::fs::write(node.path("web.yaml"), text).unwrap();
        serve.signal(Signal::HUP);
        serve.said(wanted);
        assert_eq!(client.status("/metrics"), 401, "{text}");
        assert_eq!(client.user("alice", PASSWORD).status("/metrics"), 200, "{text}");
    }
}

#[test]
fn a_stream_ends_when_others_may_read() {
    let mut node = node("");
    node.at(10.0);
    let serve = serve(&node, &users(&[("alice", PASSWORD)]), &[]);
    let alice = Client::plain(&serve.address()).user("alice", PASSWORD);
    wait_for("a sample", || match alice.status("/api/v1/sessions") {
        200 => Ok(()),
        other => Err(other.to_string()),
    });
    let mut stream = alice.connect().unwrap();
    let request = format!(
        "GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: {}\r\n\r\n",
        basic(PASSWORD)
    );
    stream.write_all(request.as_bytes()).unwrap();
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    while !String::from_utf8_lossy(&bytes).contains("event: sample") {
        let read = stream.read(&mut buffer).unwrap();
        assert_ne!(read, 0, "{}", String::from_utf8_lossy(&bytes));
        bytes.extend_from_slice(&buffer[..read]);
    }
    std::fs::write(node.path("web.yaml"), users(&[("bob", PASSWORD)])).unwrap();
    serve.signal(Signal::HUP);
    serve.said("web.config_file: was read anew");
    let begin = Instant::now();
    loop {
        match stream.read(&mut buffer).unwrap() {
            0 => break,
            // A stream that goes on has a comment now and then.
            read => bytes.extend_from_slice(&buffer[..read]),
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "{}", String::from_utf8_lossy(&bytes));
    }
    assert!(bytes.ends_with(b"0\r\n\r\n"), "it is ended, not cut");
}
