//! The server between the socket and the routes.

mod access;
mod attacks;
mod bearer;
mod certificates;
pub(crate) mod client;
mod prometheus;
mod reload;

use crate::node::Node;
use crate::serve::{Serve, node};
use client::Client;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::os::unix::fs::PermissionsExt as _;

/// What must be in no log and no answer.
const PASSWORD: &str = "s3cr3t-pa55word";
const WRONG: &str = "s3cr3t-wr0ng";

/// An authority that makes certificates; PEM.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    ca: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), ca }
    }

    /// A certificate with these names, and its key.
    fn issue(&self, names: &[&str]) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// The server's, into the node's folder.
    fn install(&self, node: &Node) {
        let (certificate, key) = self.issue(&["localhost", "127.0.0.1"]);
        write_key(node, &key);
        std::fs::write(node.path("web.crt"), certificate).unwrap();
        std::fs::write(node.path("ca.crt"), &self.ca).unwrap();
    }
}

fn write_key(node: &Node, key: &str) {
    std::fs::write(node.path("web.key"), key).unwrap();
    std::fs::set_permissions(node.path("web.key"), std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// The cheapest hash: tests are not about its cost.
fn hash(password: &str) -> String {
    bcrypt::hash(password, 4).unwrap()
}

fn users(list: &[(&str, &str)]) -> String {
    let lines = list.iter().map(|(user, password)| format!("  {user}: {}\n", hash(password)));
    format!("basic_auth_users:\n{}", lines.collect::<String>())
}

const TLS: &str = "tls_server_config:\n  cert_file: web.crt\n  key_file: web.key\n";

/// Starts with this web configuration.
fn serve(node: &Node, web: &str, args: &[&str]) -> Serve {
    let file = node.path("web.yaml");
    std::fs::write(&file, web).unwrap();
    Serve::start(node, &[&["--web-config-file", file.to_str().unwrap()], args].concat())
}

/// Not a word of a secret.
fn keeps_secrets(serve: &Serve, further: &[&str]) {
    let log = serve.log();
    for secret in [PASSWORD, WRONG, "$2b$", "PRIVATE KEY"].iter().chain(further) {
        assert!(!log.contains(secret), "{secret} is in the log: {log}");
    }
}

#[test]
fn users_have_passwords_and_wrong_ones_are_told_nothing() {
    let node = node("");
    let serve = serve(&node, &users(&[("alice", PASSWORD)]), &[]);
    let client = Client::plain(&serve.address());
    assert!(serve.log().contains("no TLS; authentication by 1 user with a password"), "{}", serve.log());
    let alice = client.user("alice", PASSWORD);
    let answer = alice.get("/metrics").unwrap();
    assert_eq!((answer.status, answer.body.contains("gpu_session_collector_build_info")), (200, true));
    assert!(answer.head.contains("x-content-type-options: nosniff"), "{}", answer.head);
    assert_ne!(alice.status("/api/v1/nothing"), 401);
    let wrong = [
        client.clone(),
        client.user("alice", WRONG),
        client.user("bob", PASSWORD),
        client.as_whom(&format!("Bearer {WRONG}")),
        client.as_whom(&format!("Basic {WRONG}")),
        client.as_whom(WRONG),
    ];
    for client in &wrong {
        for path in ["/metrics", "/", "/api/v1/sessions", "/nothing"] {
            let answer = client.get(path).unwrap();
            assert_eq!(answer.status, 401, "{path}");
            assert!(answer.head.contains("www-authenticate: basic realm=\"gpu-session-monitor\""));
            assert!(answer.head.contains("content-type: application/problem+json"), "{}", answer.head);
            let all = answer.head + &answer.body;
            assert!(!all.contains(WRONG) && !all.contains(PASSWORD), "{all}");
        }
        for probe in ["/healthz", "/readyz"] {
            assert!(![401, 403].contains(&client.status(probe)), "{probe}");
        }
    }
    keeps_secrets(&serve, &[]);
}

#[test]
fn a_web_configuration_that_is_wrong_is_wrong_usage_and_quotes_no_secret() {
    let node = node("");
    let authority = Authority::new("a");
    authority.install(&node);
    let file = node.path("web.yaml");
    let other = authority.issue(&["x"]).1;
    std::fs::write(node.path("other.key"), &other).unwrap();
    for (text, wanted) in [
        ("basic_auth_users: {alice: s3cr3t-hash}\n", "htpasswd"),
        ("basic_auth_users: [s3cr3t-hash]\n", "line 1"),
        ("basic_auth_user: {alice: s3cr3t-hash}\n", "basic_auth_user"),
        ("tls_server_config: {cert_file: web.crt, key_file: other.key}\n", "belong to each other"),
        ("tls_server_config: {cert_file: web.crt, key: s3cr3t-key}\n", "no private key"),
        ("tls_server_config: {cert_file: web.crt, key_file: absent.key}\n", "absent.key"),
        ("http_server_config: {headers: {Server: s3cr3t}}\n", "Strict-Transport-Security"),
    ] {
        std::fs::write(&file, text).unwrap();
        let run =
            node.run(&["serve", "--listen", "127.0.0.1:0", "--web-config-file", file.to_str().unwrap()]);
        assert_eq!(run.code, 2, "{text}: {}", run.stderr);
        assert!(run.stderr.contains("web.yaml") && run.stderr.contains(wanted), "{text}: {}", run.stderr);
        assert!(!run.stderr.contains("s3cr3t"), "{text}: {}", run.stderr);
    }
    let run = node.run(&["serve", "--listen", "127.0.0.1:0", "--web-config-file", "/nonexistent/web.yaml"]);
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("/nonexistent/web.yaml"), "{}", run.stderr);
    let run = node.run(&["serve", "--listen", "127.0.0.1:0", "--web-kubernetes-auth", "true"]);
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("kubernetes.kubeconfig"), "{}", run.stderr);
}
