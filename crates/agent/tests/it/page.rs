//! The page of `serve`, as a browser and as others ask for it.

use crate::serve::{Serve, node};
use flate2::read::GzDecoder;
use gpu_session_api::Scope;
use gpu_session_client::Client;
use std::io::Read as _;

const BROWSER: &str = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n";
const FILES: [(&str, &str); 4] = [
    ("/", "text/html; charset=utf-8"),
    ("/page/app.js", "text/javascript; charset=utf-8"),
    ("/page/app.css", "text/css; charset=utf-8"),
    ("/page/favicon.svg", "image/svg+xml"),
];

/// The value of a header in a head.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// The files, as they have to be whoever serves them.
pub(crate) fn has_the_page(serve: &Serve) {
    for (path, content_type) in FILES {
        let (head, body) = serve.fetch("GET", path, BROWSER).unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {head}");
        let policy = header(&head, "content-security-policy").unwrap();
        for part in ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"]
        {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        for (name, value) in [
            ("content-type", content_type),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cache-control", "no-cache"),
        ] {
            assert_eq!(header(&head, name), Some(value), "{path}: {head}");
        }
        assert_eq!(header(&head, "content-encoding"), None);

        let (zipped, bytes) =
            serve.fetch("GET", path, &format!("{BROWSER}Accept-Encoding: gzip\r\n")).unwrap();
        assert_eq!(header(&zipped, "content-encoding"), Some("gzip"), "{path}: {zipped}");
        assert!(header(&zipped, "vary").unwrap().contains("Accept-Encoding"));
        let mut unzipped = Vec::new();
        GzDecoder::new(&bytes[..]).read_to_end(&mut unzipped).unwrap();
        assert!(unzipped == body && bytes != body, "{path}");
        let tags = [header(&head, "etag").unwrap(), header(&zipped, "etag").unwrap()];
        assert_ne!(tags[0], tags[1], "each form has its own");

        for (sent, tag) in [(BROWSER, tags[0]), (&*format!("{BROWSER}Accept-Encoding: gzip\r\n"), tags[1])] {
            let known = format!("{sent}If-None-Match: \"other\", W/{tag}\r\n");
            let (head, body) = serve.fetch("GET", path, &known).unwrap();
            assert!(head.starts_with("HTTP/1.1 304 ") && body.is_empty(), "{path}: {head}");
            assert_eq!(header(&head, "etag"), Some(tag));
            let (head, _) = serve.fetch("GET", path, &format!("{sent}If-None-Match: \"other\"\r\n")).unwrap();
            assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {head}");
        }
        let (head, nothing) = serve.fetch("HEAD", path, BROWSER).unwrap();
        assert!(head.starts_with("HTTP/1.1 200 ") && nothing.is_empty(), "{path}: {head}");
        assert_eq!(header(&head, "content-length"), Some(&*body.len().to_string()), "{path}: {head}");
        assert!(serve.ask("POST", path, "*/*").unwrap().starts_with("HTTP/1.1 405 "), "{path}");
    }
    for other in ["/page", "/page/", "/page/index.html", "/page/../../etc/passwd"] {
        assert!(serve.ask("GET", other, "*/*").unwrap().starts_with("HTTP/1.1 404 "), "{other}");
    }
}

#[test]
fn a_browser_gets_the_page_and_curl_the_list_of_what_there_is() {
    let node = node("");
    let serve = Serve::start(&node, &["--node", "gpu-7"]);
    has_the_page(&serve);
    for accept in ["*/*", "text/plain", "application/openmetrics-text"] {
        let answer = serve.ask("GET", "/", accept).unwrap();
        assert_eq!(header(&answer, "vary"), Some("Accept, Accept-Encoding"));
        assert_eq!(header(&answer, "content-type"), Some("text/plain; charset=utf-8"), "{accept}: {answer}");
        for path in ["/metrics", "/api/v1", "/healthz", "/readyz"] {
            assert!(answer.contains(path), "{accept}: {answer}");
        }
    }
    let client = Client::new(&format!("http://{}", serve.address())).unwrap();
    let about = client.about().unwrap();
    assert_eq!((about.scope, about.node.as_deref(), about.history), (Scope::Node, Some("gpu-7"), true));
    assert_eq!(about.version, env!("CARGO_PKG_VERSION"));
    drop(serve);
    let serve = Serve::start(&node, &["--ledger-enabled", "false"]);
    let about = Client::new(&format!("http://{}", serve.address())).unwrap().about().unwrap();
    assert_eq!((about.node, about.history), (None, false));
    let refused = serve.ask("GET", "/api/v1/about?x=1", "*/*").unwrap();
    assert!(refused.starts_with("HTTP/1.1 400 ") && refused.contains("`x`"), "{refused}");
}

#[test]
fn the_files_are_for_everybody_and_the_api_is_not() {
    let node = node("");
    let everywhere = ["serve", "--listen", "0.0.0.0:0"];
    let serve = Serve::run(node.command(&everywhere).env_remove("GPU_SESSION_MONITOR_TEXTFILE"));
    let port = serve.address().rsplit_once(':').unwrap().1.to_owned();
    let client = crate::web::client::Client::plain(&format!("127.0.0.1:{port}"));
    for (path, _) in FILES {
        assert_eq!(client.status(path), 200, "{path}");
    }
    let refused = client.get("/api/v1/about").unwrap();
    assert_eq!(refused.status, 403);
    assert!(refused.body.contains("\"detail\"") && refused.body.contains("basic_auth_users"), "{refused:?}");
}
