//! What is open without authentication.

use super::client::Client;
use super::{PASSWORD, keeps_secrets, users};
use crate::node::Node;
use crate::serve::{Serve, node};

/// A server that listens on all addresses.
fn everywhere(node: &Node, args: &[&str]) -> Serve {
    let all = [&["serve", "--listen", "0.0.0.0:0"], args].concat();
    Serve::run(node.command(&all).env_remove("GPU_SESSION_MONITOR_TEXTFILE"))
}

/// A client of a server that listens on all addresses.
fn through_loopback(serve: &Serve) -> Client {
    Client::plain(&serve.address().replace("0.0.0.0", "127.0.0.1"))
}

#[test]
fn other_machines_get_metrics_only_until_there_is_authentication() {
    let node = node("");
    let serve = everywhere(&node, &[]);
    let client = through_loopback(&serve);
    assert_eq!((client.status("/metrics"), client.status("/")), (200, 200));
    for path in ["/api/v1/sessions", "/api", "/nothing", "/metrics/x", "//metrics", "/%6detrics"] {
        let answer = client.get(path).unwrap();
        assert_eq!(answer.status, 403, "{path}");
        assert!(answer.head.contains("application/problem+json"), "{}", answer.head);
        assert!(answer.body.contains("web.config_file"), "{}", answer.body);
        let problem: gpu_session_api::Problem = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((problem.status, problem.title.as_str()), (403, "Forbidden"));
    }
    assert!(serve.log().contains("no authentication, so /api is not served"), "{}", serve.log());

    let node = crate::serve::node("");
    std::fs::write(node.path("web.yaml"), users(&[("alice", PASSWORD)])).unwrap();
    let web = node.path("web.yaml");
    let serve = everywhere(&node, &["--web-config-file", web.to_str().unwrap()]);
    let client = through_loopback(&serve);
    assert_eq!(client.status("/api/v1/nothing"), 401);
    assert_eq!(client.user("alice", PASSWORD).status("/api/v1/nothing"), 404);
    serve.said("passwords and tokens come over the network as they are");
    keeps_secrets(&serve, &[]);
}

#[test]
fn a_page_of_elsewhere_cannot_read_the_api_under_its_own_name() {
    let node = node("");
    let serve = Serve::start(&node, &[]);
    let client = Client::plain(&serve.address());
    let of = |host: &str, path: &str| client.send(path, &[("Host", host)]).unwrap();
    for host in ["localhost", "localhost:9836", "127.0.0.1", &client.address, "[::1]:1"] {
        assert_eq!(of(host, "/api/v1/nothing").status, 404, "{host}");
    }
    for host in ["evil.example", "127.0.0.1.evil.example:80", "localhost.evil.example", "[::1].evil.example"]
    {
        let answer = of(host, "/api/v1/sessions");
        assert_eq!(answer.status, 421, "{host}");
        assert!(answer.head.contains("cache-control: no-store"), "{}", answer.head);
        assert_eq!(of(host, "/metrics").status, 200, "{host}");
    }
    let absolute = client.send("http://evil.example/api/v1/sessions", &[("Host", "localhost")]).unwrap();
    assert_eq!(absolute.status, 421);
    let twice = client.send("/api/v1/sessions", &[("Host", "localhost"), ("Host", "localhost")]).unwrap();
    assert_eq!(twice.status, 421);
    let cross =
        client.send("/api/v1/x", &[("Host", "localhost"), ("Origin", "http://evil.example")]).unwrap();
    assert!(!cross.head.contains("access-control-"), "{}", cross.head);
}
