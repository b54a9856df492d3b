//! The real Prometheus against the server.

use super::bearer::{cluster, prometheus};
use super::{Authority, PASSWORD, TLS, keeps_secrets, users};
use crate::chain::{await_answer, free_port, start};
use crate::node::Node;

#[test]
fn it_scrapes_over_tls_with_a_password_and_with_a_token() {
    let node = cluster();
    Authority::new("ours").install(&node);
    let web = format!("{TLS}{}", users(&[("prometheus", PASSWORD)]));
    let serve = super::serve(&node, &web, &["--web-kubernetes-auth", "true"]);
    serve.said("https://");
    std::fs::write(node.path("scraper.token"), prometheus()).unwrap();
    std::fs::write(node.path("bad.token"), "s3cr3t-t0ken-of-nobody").unwrap();
    let port = scrape(&node, &serve.address());
    let log = node.path("prometheus.log");
    let query = |job: &str, value: &str| {
        let path = format!("/api/v1/query?query=up%7Bjob=%22{job}%22%7D");
        await_answer(port.1, &path, |text| text.contains(&format!(",\"{value}\"]")), &log)
    };
    query("password", "1");
    query("token", "1");
    query("wrong-password", "0");
    query("wrong-token", "0");
    query("stranger-to-tls", "0");
    for job in ["password", "token"] {
        let path = format!("/api/v1/query?query=gpu_session_count%7Bjob=%22{job}%22%7D");
        await_answer(port.1, &path, |text| text.contains("\"gpu\":\"0\""), &log);
    }
    keeps_secrets(&serve, &[prometheus(), "s3cr3t-t0ken-of-nobody"]);
}

/// Starts it; returns what keeps it, and its port.
fn scrape(node: &Node, address: &str) -> (crate::chain::Server, u16) {
    let job = |name: &str, how: &str| {
        format!("- job_name: {name}\n  scheme: https\n  static_configs: [{{targets: ['{address}']}}]\n{how}")
    };
    let tls = "  tls_config: {ca_file: ca.crt, server_name: localhost}\n";
    let basic =
        |password: &str| format!("{tls}  basic_auth: {{username: prometheus, password: {password}}}\n");
    let token = |file: &str| format!("{tls}  authorization: {{credentials_file: {file}}}\n");
    let jobs = [
        job("password", &basic(PASSWORD)),
        job("token", &token("scraper.token")),
        job("wrong-password", &basic("s3cr3t-wr0ng")),
        job("wrong-token", &token("bad.token")),
        job("stranger-to-tls", "  basic_auth: {username: prometheus, password: x}\n"),
    ];
    let text = format!("global: {{scrape_interval: 1s}}\nscrape_configs:\n{}", jobs.concat());
    let config = node.path("prometheus.yml");
    std::fs::write(&config, text).unwrap();
    let port = free_port();
    let args = [
        format!("--config.file={}", config.display()),
        format!("--storage.tsdb.path={}", node.path("tsdb").display()),
        format!("--web.listen-address=127.0.0.1:{port}"),
    ];
    (start("prometheus", &args, &node.path("prometheus.log")), port)
}
