//! Bearer tokens that the API server judges.

use super::client::Client;
use super::{PASSWORD, keeps_secrets, users};
use crate::kubernetes::{TOKEN, documented_rights};
use crate::node::{Node, plain};
use crate::serve::{Serve, wait_for};
use kube_sim::api::{Fault, Rule};

const ACCOUNT: &str = "system:serviceaccount:gpu-operator:gpu-session-monitor";
const PROMETHEUS: &str = "s3cr3t-t0ken-of-prometheus";
const NOBODY: &str = "s3cr3t-t0ken-of-nobody";
const READER: &str = "s3cr3t-t0ken-of-a-reader";
const STRANGER: &str = "s3cr3t-t0ken-of-a-stranger";

/// A cluster whose Prometheus may read /metrics, and somebody who may do nothing.
pub(super) fn cluster() -> Node {
    let mut node = Node::in_cluster(&plain(1, ""));
    let api = &node.cluster().api;
    let own = [documented_rights(&[])].into_iter().chain(Rule::auth_delegator());
    api.accept_token_with(TOKEN, ACCOUNT, own);
    let metrics = Rule::of_paths(&["get"], &["/metrics"]);
    api.accept_token_with(PROMETHEUS, "system:serviceaccount:monitoring:prometheus", [metrics]);
    api.accept_token_with(READER, "alice", [documented()]);
    api.accept_token_with(STRANGER, "system:serviceaccount:default:default", []);
    node.at(10.0);
    node
}

/// The rule of the ClusterRole in docs/web.md.
fn documented() -> Rule {
    let docs = include_str!("../../../../../docs/web.md");
    let paths = docs.lines().find_map(|line| line.trim().strip_prefix("- nonResourceURLs:")).unwrap();
    Rule::of_paths(&["get"], &paths.split('"').skip(1).step_by(2).collect::<Vec<_>>())
}

pub(super) fn prometheus() -> &'static str {
    PROMETHEUS
}

fn bearer(client: &Client, token: &str) -> Client {
    client.as_whom(&format!("Bearer {token}"))
}

fn reviews(node: &mut Node, resource: &str) -> usize {
    node.cluster().cluster.requests().iter().filter(|request| request.resource == resource).count()
}

#[test]
fn the_api_server_says_who_may_read_what_and_answers_are_kept() {
    let mut node = cluster();
    let serve = Serve::start(&node, &["--web-kubernetes-auth", "true"]);
    assert!(serve.log().contains("authentication by tokens of Kubernetes"), "{}", serve.log());
    let client = Client::plain(&serve.address());
    for _ in 0..5 {
        assert_eq!(bearer(&client, PROMETHEUS).status("/metrics"), 200);
    }
    let asked = (reviews(&mut node, "tokenreviews"), reviews(&mut node, "subjectaccessreviews"));
    assert_eq!(asked, (1, 1), "one answer is good for a minute");
    assert_eq!(bearer(&client, PROMETHEUS).status("/api/v1/sessions"), 403, "each path is asked for");
    assert_eq!(bearer(&client, READER).status("/api/v1/nothing"), 404);
    assert_eq!(bearer(&client, READER).status("/metrics"), 200);
    // Though every account may read what the API server itself has below /api.
    for path in ["/metrics", "/api/v1/sessions", "/api", "/"] {
        assert_eq!(bearer(&client, STRANGER).status(path), 403, "{path}");
    }
    let answer = bearer(&client, NOBODY).get("/metrics").unwrap();
    assert_eq!(answer.status, 401);
    assert!(answer.head.contains("www-authenticate: bearer"), "{}", answer.head);
    assert_eq!(client.status("/metrics"), 401);
    assert_eq!(client.user("alice", PASSWORD).status("/metrics"), 401, "there are no users");
    let verbs: Vec<_> = node.cluster().cluster.requests().iter().map(|r| r.verb.clone()).collect();
    assert!(verbs.iter().all(|verb| ["list", "watch", "create"].contains(&verb.as_str())), "{verbs:?}");
    keeps_secrets(&serve, &[PROMETHEUS, NOBODY, READER, STRANGER, TOKEN]);
}

#[test]
fn either_a_token_or_a_password_is_enough() {
    let node = cluster();
    let serve = super::serve(&node, &users(&[("alice", PASSWORD)]), &["--web-kubernetes-auth", "true"]);
    let client = Client::plain(&serve.address());
    assert_eq!(bearer(&client, PROMETHEUS).status("/metrics"), 200);
    assert_eq!(client.user("alice", PASSWORD).status("/metrics"), 200);
    let answer = client.get("/metrics").unwrap();
    assert!(
        answer.head.contains("www-authenticate: basic") && answer.head.contains("www-authenticate: bearer")
    );
}

#[test]
fn while_the_api_server_is_away_no_token_is_accepted() {
    let mut node = cluster();
    let serve = Serve::start(&node, &["--web-kubernetes-auth", "true"]);
    let client = bearer(&Client::plain(&serve.address()), PROMETHEUS);
    node.cluster().api.set_fault(Fault::Fail { code: 500, retry_after: None, times: u32::MAX });
    let answer = client.get("/metrics").unwrap();
    assert_eq!(answer.status, 503);
    assert!(answer.head.contains("retry-after: 5"), "{}", answer.head);
    assert!(!answer.body.contains(PROMETHEUS));
    serve.said("web.kubernetes_auth: ");
    node.cluster().api.stop();
    assert_eq!(client.status("/metrics"), 503);
    // Told when it changes.
    wait_for("another cause", || match serve.lines("warning: web.kubernetes_auth: ") {
        2 => Ok(()),
        _ => Err(serve.log()),
    });
    node.cluster().api.set_fault(Fault::None);
    node.cluster().api.restart().unwrap();
    wait_for("tokens", || match client.status("/metrics") {
        200 => Ok(()),
        other => Err(other.to_string()),
    });
    serve.said("tokens are reviewed again");
    // What it may not ask is no answer either, and the remedy is told.
    node.cluster().api.accept_token_with(TOKEN, ACCOUNT, [documented_rights(&[])]);
    assert_eq!(client.status("/api/v1/sessions"), 503);
    serve.said("system:auth-delegator");
    keeps_secrets(&serve, &[PROMETHEUS, TOKEN]);
}
