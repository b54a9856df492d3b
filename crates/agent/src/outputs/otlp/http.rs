//! OTLP over HTTP/1.1, in protobuf.

use super::messages::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use super::send::{Failed, LIMIT, MOST_ANSWER_BYTES, Retry, remedy, words};
use anyhow::anyhow;
use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message as _;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tonic_types::pb;
use ureq::http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use ureq::http::{HeaderMap, HeaderValue, Response, StatusCode};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

const PROTOBUF: &str = "application/x-protobuf";

pub(super) struct Http {
    url: String,
    agent: ureq::Agent,
}

impl Http {
    pub(super) fn open(endpoint: &str, authorities: Option<Vec<u8>>) -> Self {
        let roots = match authorities {
            Some(pem) => RootCerts::from(
                parse_pem(&pem)
                    .filter_map(|item| match item {
                        Ok(PemItem::Certificate(certificate)) => Some(certificate),
                        _ => None,
                    })
                    .collect::<Vec<_>>(),
            ),
            None => RootCerts::PlatformVerifier,
        };
        let tls = TlsConfig::builder()
            .root_certs(roots)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = ureq::Agent::config_builder()
            .user_agent(concat!("gpu-session-monitor/", env!("CARGO_PKG_VERSION")))
            .timeout_global(Some(LIMIT))
            .proxy(None)
            .max_redirects(0)
            // A redirect is told; nothing is sent on to where it points.
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .tls_config(tls);
        Self { url: format!("{endpoint}/v1/metrics"), agent: config.build().new_agent() }
    }

    pub(super) fn send(
        &mut self,
        request: &ExportMetricsServiceRequest,
        headers: &HeaderMap,
    ) -> Result<ExportMetricsServiceResponse, Failed> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        let body = gzip.write_all(&request.encode_to_vec()).and_then(|()| gzip.finish());
        let body = body.map_err(|e| Failed::never(e.into()))?;
        let mut post =
            self.agent.post(&self.url).header(CONTENT_TYPE, PROTOBUF).header(CONTENT_ENCODING, "gzip");
        for (name, value) in headers {
            post = post.header(name, value);
        }
        let mut answer = post.send(&body[..]).map_err(|e| failed(&e))?;
        let read = answer.body_mut().with_config().limit(MOST_ANSWER_BYTES as u64).read_to_vec();
        if answer.status() != StatusCode::OK {
            // What came of the body is enough for a message.
            return Err(refused(&answer, &read.unwrap_or_default(), headers, SystemTime::now()));
        }
        let body = read.map_err(|e| failed(&e))?;
        ExportMetricsServiceResponse::decode(&body[..]).map_err(|_| {
            Failed::never(anyhow!("its answer is not OTLP; see that otlp.endpoint names the base of its paths (/v1/metrics is added)"))
        })
    }
}

fn failed(error: &ureq::Error) -> Failed {
    match error {
        ureq::Error::Timeout(_) => Failed::soon(anyhow!("no answer within {} s", LIMIT.as_secs())),
        ureq::Error::Protocol(_) | ureq::Error::Http(_) => {
            Failed::never(anyhow!("the answer is not HTTP; see that otlp.protocol is the receiver's"))
        }
        ureq::Error::Rustls(e) => Failed::soon(anyhow!("{e}; {}", remedy(e))),
        ureq::Error::Io(e) => Failed::soon(anyhow!("{e}; {}", remedy(e))),
        other => Failed::soon(anyhow!("{other}; {}", remedy(other))),
    }
}

/// What a status means, by the protocol's own table.
fn refused(answer: &Response<ureq::Body>, body: &[u8], headers: &HeaderMap, now: SystemTime) -> Failed {
    let status = answer.status();
    let asked = answer.headers().get(RETRY_AFTER).and_then(|after| retry_after(after, now));
    let retry = match status {
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => asked.map_or(Retry::Soon, Retry::After),
        _ => Retry::Never,
    };
    let remedy = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            "; give the headers that it wants with otlp.headers_file"
        }
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
            "; see that it receives OTLP, and that otlp.endpoint names the base of its paths (/v1/metrics is added)"
        }
        _ if status.is_redirection() => {
            "; a redirect is not followed: name the address itself with otlp.endpoint"
        }
        _ => "",
    };
    let of_protocol = answer.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == PROTOBUF);
    let said = pb::Status::decode(body).ok().filter(|_| of_protocol).map(|status| status.message);
    let said = words(&said.unwrap_or_default(), headers);
    Failed { error: anyhow!("it answered {status}{said}{remedy}"), retry }
}

/// Seconds, or a date.
fn retry_after(value: &HeaderValue, now: SystemTime) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    let at = || httpdate::parse_http_date(text).ok().map(|at| at.duration_since(now).unwrap_or_default());
    text.parse().ok().map(Duration::from_secs).or_else(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let read = |text: &'static str| retry_after(&HeaderValue::from_static(text), now);
        assert_eq!(read("120"), Some(Duration::from_secs(120)));
        assert_eq!(read("Sun, 06 Nov 1994 08:50:37 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(read("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!([read("-5"), read("soon"), read("1.5")], [None; 3]);
    }
}
