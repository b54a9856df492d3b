//! Who may read what of `web`.

use super::{Page, known};
use crate::page::has_the_page;
use crate::web::client::Client;

#[test]
fn it_serves_the_page_and_says_to_curl_what_there_is() {
    let known = known();
    let page = Page::of(&known.url, &[]);
    has_the_page(&page.serve);
    let text = page.serve.ask("GET", "/", "*/*").unwrap();
    assert!(text.contains("content-type: text/plain") && text.contains("/api/v1/cluster"), "{text}");
    assert!(page.serve.ask("GET", "/metrics", "*/*").unwrap().starts_with("HTTP/1.1 404 "));
    let zipped = page.serve.fetch("GET", "/api/v1/cluster/sessions", "Accept-Encoding: gzip\r\n").unwrap();
    assert!(
        zipped.0.contains("content-encoding: gzip") && zipped.1.starts_with(&[0x1f, 0x8b]),
        "{}",
        zipped.0
    );
}

#[test]
fn other_machines_get_data_with_a_password_only() {
    let known = known();
    let page = Page::of(&known.url, &["--listen", "0.0.0.0:0"]);
    let client = Client::plain(&page.serve.address().replace("0.0.0.0", "127.0.0.1"));
    for path in ["/", "/page/app.js", "/healthz"] {
        assert_eq!(client.status(path), 200, "{path}");
    }
    for path in ["/api/v1/cluster", "/api/v1/cluster/sessions", "/api/v1/about", "/nothing"] {
        let answer = client.get(path).unwrap();
        assert!(answer.status == 403 && answer.body.contains("basic_auth_users"), "{path}: {answer:?}");
    }
    drop(page);

    let dir = tempfile::tempdir().unwrap();
    let web = dir.path().join("web.yaml");
    let hash = bcrypt::hash("s3cr3t", 4).unwrap();
    std::fs::write(&web, format!("basic_auth_users:\n  alice: {hash}\n")).unwrap();
    let args = ["--listen", "0.0.0.0:0", "--web-config-file", web.to_str().unwrap()];
    let page = Page::of(&known.url, &args);
    let client = Client::plain(&page.serve.address().replace("0.0.0.0", "127.0.0.1"));
    for path in ["/", "/page/app.js", "/api/v1/cluster"] {
        assert_eq!(client.status(path), 401, "{path}");
        assert_eq!(client.user("alice", "s3cr3t").status(path), 200, "{path}");
    }
    assert!(!page.serve.log().contains("s3cr3t"));
    assert!(page.serve.log().contains("authentication by 1 user with a password"), "{}", page.serve.log());
}
