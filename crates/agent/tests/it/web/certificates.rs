//! TLS and clients' certificates.

use super::client::Client;
use super::{Authority, PASSWORD, TLS, keeps_secrets, serve, users};
use crate::serve::node;
use std::os::unix::fs::PermissionsExt as _;

#[test]
fn clients_need_a_certificate_of_the_authority_with_a_name_that_is_allowed() {
    let node = node("");
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    ours.install(&node);
    let web = format!(
        "{TLS}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n  client_allowed_sans: [prom.example]\n"
    );
    let serve = serve(&node, &web, &[]);
    assert!(
        serve.log().contains("https://") && serve.log().contains("authentication by client certificates")
    );
    let client = |own: Option<(String, String)>| Client::with_tls(&serve.address(), &ours.ca, own.as_ref());
    let good = client(Some(ours.issue(&["prom.example"])));
    assert_eq!((good.status("/metrics"), good.status("/api/v1/nothing")), (200, 404));
    for (who, own) in [
        ("nobody", None),
        ("another name", Some(ours.issue(&["other.example"]))),
        ("another authority", Some(theirs.issue(&["prom.example"]))),
    ] {
        assert!(client(own).get("/metrics").is_err(), "{who}");
    }
    assert!(Client::plain(&serve.address()).get("/metrics").is_err(), "no TLS is no way in");
    assert!(Client::with_tls(&serve.address(), &theirs.ca, None).get("/metrics").is_err());
    assert_eq!(good.status("/metrics"), 200);
    keeps_secrets(&serve, &[]);
}

#[test]
fn a_certificate_that_is_given_must_be_good_and_a_password_is_needed_beside_it() {
    let node = node("");
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    ours.install(&node);
    let web = format!(
        "{TLS}  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: ca.crt\n  min_version: TLS13\nhttp_server_config:\n  headers:\n    \
         Strict-Transport-Security: max-age=60\n{}",
        users(&[("alice", PASSWORD)])
    );
    let serve = serve(&node, &web, &[]);
    let client = |own: Option<(String, String)>| {
        Client::with_tls(&serve.address(), &ours.ca, own.as_ref()).user("alice", PASSWORD)
    };
    let answer = client(None).get("/metrics").unwrap();
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("strict-transport-security: max-age=60"), "{}", answer.head);
    let own = ours.issue(&["x"]);
    assert_eq!(client(Some(own.clone())).status("/metrics"), 200);
    assert!(client(Some(theirs.issue(&["x"]))).get("/metrics").is_err());
    let only_certificate = Client::with_tls(&serve.address(), &ours.ca, Some(&own));
    assert_eq!(only_certificate.status("/metrics"), 401);
    keeps_secrets(&serve, &[]);
}

#[test]
fn a_key_that_others_may_read_is_told() {
    let node = node("");
    Authority::new("ours").install(&node);
    std::fs::set_permissions(node.path("web.key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let serve = serve(&node, TLS, &[]);
    serve.said("web.key may be read by others");

    // And where the key is in the configuration itself.
    let indented = |name: &str| {
        let text = std::fs::read_to_string(node.path(name)).unwrap();
        text.lines().map(|line| format!("    {line}\n")).collect::<Vec<_>>().concat()
    };
    let web = format!("tls_server_config:\n  cert_file: web.crt\n  key: |\n{}", indented("web.key"));
    std::fs::write(node.path("web.yaml"), web + "rate_limit: {interval: 1s, burst: 5}\n").unwrap();
    std::fs::set_permissions(node.path("web.yaml"), std::fs::Permissions::from_mode(0o644)).unwrap();
    serve.said("web.yaml may be read by others");
    serve.said("rate_limit has no effect here");
}
