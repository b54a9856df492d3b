//! One question over HTTP, to what runs on this node.

use std::sync::Arc;
use std::time::Duration;
use ureq::http::StatusCode;
use ureq::tls::{RootCerts, TlsConfig};

/// Longest wait for a whole answer.
const LIMIT: Duration = Duration::from_secs(5);
/// Largest answer that is read.
const MAX_BYTES: u64 = 64 << 20;

/// What came of it.
#[derive(Debug)]
pub(super) enum Answer {
    /// 200, with this body.
    Body(Vec<u8>),
    /// Another status.
    Refused(StatusCode),
    /// Nobody answers there.
    Silent(String),
    /// Somebody does, with something else.
    Odd(String),
}

/// Asks for metrics; follows no redirect and goes through no proxy.
pub(super) fn get(url: &str) -> Answer {
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::PlatformVerifier)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    let config = ureq::Agent::config_builder()
        .user_agent(concat!("gpu-session-monitor/", env!("CARGO_PKG_VERSION")))
        .accept("text/plain")
        .timeout_global(Some(LIMIT))
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .proxy(None)
        .tls_config(tls);
    match config.build().new_agent().get(url).call() {
        Ok(answer) if answer.status() != StatusCode::OK => Answer::Refused(answer.status()),
        Ok(mut answer) => match answer.body_mut().with_config().limit(MAX_BYTES).read_to_vec() {
            Ok(body) => Answer::Body(body),
            Err(e) => Answer::Odd(e.to_string()),
        },
        Err(ureq::Error::Io(e)) => Answer::Silent(e.to_string()),
        Err(e @ (ureq::Error::HostNotFound | ureq::Error::ConnectionFailed | ureq::Error::Timeout(_))) => {
            Answer::Silent(e.to_string())
        }
        Err(e) => Answer::Odd(e.to_string()),
    }
}
