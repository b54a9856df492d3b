//! The web configuration: users, hashes, certificates.

use super::{is_message, of_parts, parts};
use crate::Target;
use gpu_session_monitor::outputs::server::{Web, WebSettings};
use std::net::{Ipv4Addr, SocketAddr};

pub(super) const TARGET: Target = Target {
    name: "web-config",
    cases: 700,
    words: &[
        "\n",
        "  ",
        ": ",
        "- ",
        "{",
        "}",
        "[",
        "]",
        "'",
        "\"",
        "#",
        "&a",
        "*a",
        "|\n",
        "? ",
        "---\n",
        "~",
        "basic_auth_users:\n",
        "  bob: ",
        "tls_server_config:\n",
        "  cert_file: web.yaml\n",
        "  key_file: web.yaml\n",
        "  cert: ",
        "  key: ",
        "client_auth_type: RequireAndVerifyClientCert",
        "client_ca_file",
        "client_allowed_sans",
        "min_version: TLS13",
        "cipher_suites: [TLS_AES_128_GCM_SHA256]",
        "curve_preferences: [X25519]",
        "http_server_config: {headers: {",
        "X-Frame-Options",
        "rate_limit: {}",
        "$2y$10$",
        "-----BEGIN CERTIFICATE-----\n",
        "-----END CERTIFICATE-----\n",
    ],
    seeds,
    run,
};

/// What no message may show.
const SECRET: &str = "s3cr3tpassphrase";

fn seeds() -> Vec<Vec<u8>> {
    let hash = "$2y$10$abcdefghijklmnopqrstuuGPL25cHGfMI3nGwZL5xVoGYUWyMNpS6";
    let users = format!("basic_auth_users:\n  alice: {hash}\n");
    let tls = "tls_server_config:\n  cert_file: a.pem\n  key_file: b.pem\n  client_auth_type: NoClientCert\n  min_version: TLS12\n";
    let http = "http_server_config:\n  http2: true\n  headers:\n    X-Frame-Options: deny\nrate_limit: {interval: 1s, burst: 5}\n";
    vec![
        of_parts(&[users.as_bytes(), b"  alice: "]),
        of_parts(&[tls.as_bytes(), b"  key: "]),
        of_parts(&[http.as_bytes(), b"basic_auth_users:\n  alice: "]),
        of_parts(&[b"# nothing\n"]),
    ]
}

/// A text and, where there is a second part, that and a secret value at the end.
fn run(bytes: &[u8]) {
    let [text, before] = parts(bytes);
    let mut file = text.to_vec();
    if !before.is_empty() {
        file.extend_from_slice(before);
        file.extend_from_slice(SECRET.as_bytes());
        file.push(b'\n');
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.yaml");
    std::fs::write(&path, &file).unwrap();
    let settings = WebSettings { config_file: Some(path.clone()), ..WebSettings::default() };
    let said = match Web::open(&settings, SocketAddr::from((Ipv4Addr::LOCALHOST, 9836))) {
        Ok(web) => web.summary("/metrics"),
        Err(problem) => {
            let problem = format!("{problem:#}");
            assert!(problem.contains("web.yaml"), "{problem}");
            problem
        }
    };
    assert!(is_message(&said) && said.len() <= 4096 + 4 * file.len(), "{said}");
    // A key is told by its name, and so is what was written in its place.
    let is_value = before.ends_with(b": ");
    assert!(!is_value || !said.contains(SECRET), "{said}");
}
