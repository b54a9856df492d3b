//! A connection for the requests of one sending, and what can go wrong with it.

use super::grpc::Grpc;
use super::headers;
use super::http::Http;
use super::messages::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use super::{Protocol, Target};
use anyhow::{Context as _, anyhow, bail};
use gpu_session_core::text::clean;
use std::error::Error;
use std::io;
use std::path::Path;
use std::time::Duration;
use tokio::runtime::Runtime;
use ureq::http::HeaderMap;

/// Longest wait for a connection, and for each answer.
pub(super) const LIMIT: Duration = Duration::from_secs(10);

/// Largest answer that is read.
pub(super) const MOST_ANSWER_BYTES: usize = 64 << 10;

/// Largest file of authorities that is read.
const MOST_AUTHORITY_BYTES: u64 = 1 << 20;

/// Metrics that did not arrive.
#[derive(Debug)]
pub struct Failed {
    /// Why.
    pub error: anyhow::Error,
    /// Whether it is worth trying again before the next time.
    pub retry: Retry,
}

/// When to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// At the next time: the same would fail for the same reason.
    Never,
    /// Soon.
    Soon,
    /// As the receiver asked.
    After(Duration),
}

impl Failed {
    pub(super) fn never(error: anyhow::Error) -> Self {
        Self { error, retry: Retry::Never }
    }

    pub(super) fn soon(error: anyhow::Error) -> Self {
        Self { error, retry: Retry::Soon }
    }
}

/// A connection.
pub(super) struct Sender<'a> {
    channel: Channel<'a>,
    endpoint: &'a str,
    headers: HeaderMap,
}

enum Channel<'a> {
    Grpc(Box<Grpc<'a>>),
    Http(Http),
}

impl<'a> Sender<'a> {
    pub(super) fn open(runtime: &'a Runtime, target: &'a Target) -> Result<Self, Failed> {
        let headers = headers::read(target.headers_file.as_deref()).map_err(Failed::never)?;
        let authorities = authorities(target.ca_file.as_deref()).map_err(Failed::never)?;
        let (endpoint, tls) = (&*target.endpoint, target.is_tls());
        let channel = match target.protocol {
            Protocol::Grpc => {
                Grpc::open(runtime, endpoint, tls, authorities, &headers).map(Box::new).map(Channel::Grpc)
            }
            Protocol::Http => Ok(Channel::Http(Http::open(endpoint, authorities))),
        };
        let sender = |channel| Self { channel, endpoint, headers };
        channel.map(sender).map_err(|failed| at(endpoint, failed))
    }

    /// Sends one request; returns what the receiver said although it took everything.
    pub(super) fn send(&mut self, request: ExportMetricsServiceRequest) -> Result<Option<String>, Failed> {
        let answer = match &mut self.channel {
            Channel::Grpc(grpc) => grpc.send(request, &self.headers),
            Channel::Http(http) => http.send(&request, &self.headers),
        };
        answer.and_then(|answer| self.judge(answer)).map_err(|failed| at(self.endpoint, failed))
    }

    fn judge(&self, answer: ExportMetricsServiceResponse) -> Result<Option<String>, Failed> {
        let Some(partial) = answer.partial_success else { return Ok(None) };
        let said = words(&partial.error_message, &self.headers);
        match partial.rejected_data_points {
            1.. => Err(Failed::never(anyhow!(
                "the receiver refused {} data points{said}",
                partial.rejected_data_points
            ))),
            _ if said.is_empty() => Ok(None),
            _ => Ok(Some(format!("OTLP receiver at {}: it took everything{said}", self.endpoint))),
        }
    }
}

/// What to do about a connection that cannot be made or breaks.
pub(super) fn remedy(error: &(dyn Error + 'static)) -> &'static str {
    let mut inner = Some(error);
    while let Some(error) = inner {
        // rustls speaks through the errors of what it reads and writes.
        let through = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if error.is::<rustls::Error>() || through.is_some_and(<dyn Error + Send + Sync>::is::<rustls::Error>)
        {
            return "where an authority of your own signed its certificate, name that authority's with otlp.ca_file";
        }
        inner = error.source();
    }
    "see that it runs there, or name where it does with otlp.endpoint"
}

fn at(endpoint: &str, failed: Failed) -> Failed {
    Failed { error: failed.error.context(format!("OTLP receiver at {endpoint}")), retry: failed.retry }
}

/// The receiver's own words, with a space before them. They are left out where they show one of our headers.
pub(super) fn words(said: &str, headers: &HeaderMap) -> String {
    // Some give back a part only, such as the token without what stands before it.
    let secrets = headers.values().filter_map(|value| value.to_str().ok()).flat_map(str::split_whitespace);
    if secrets.filter(|secret| secret.len() > 3).any(|secret| said.contains(secret)) {
        return " (its words are not shown, for they hold one of the headers sent)".to_owned();
    }
    if said.trim().is_empty() { String::new() } else { format!(" ({})", clean(said.trim())) }
}

/// The certificates of the file, DER, at least one; `None` where the system's are believed.
pub(super) fn authorities(path: Option<&Path>) -> anyhow::Result<Option<Vec<u8>>> {
    use std::io::Read as _;
    let Some(path) = path else { return Ok(None) };
    let name = || format!("otlp.ca_file: {}", path.display());
    let mut pem = Vec::new();
    let file = std::fs::File::open(path).with_context(name)?;
    file.take(MOST_AUTHORITY_BYTES).read_to_end(&mut pem).with_context(name)?;
    let certificates = ureq::tls::parse_pem(&pem);
    let found = certificates.filter(|item| matches!(item, Ok(ureq::tls::PemItem::Certificate(_)))).count();
    if found == 0 {
        bail!("{}: it holds no certificate; name a PEM file with that of the authority", name());
    }
    Ok(Some(pem))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ureq::http::HeaderValue;

    #[test]
    fn a_receivers_words_are_cleaned_and_give_no_header_back() {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::from_static("Bearer hunter2"));
        assert_eq!(words(" ", &headers), "");
        assert_eq!(words("too\nmany", &headers), " (too\u{fffd}many)");
        assert!(words(&"x".repeat(10_000), &headers).len() < 200);
        assert!(!words("bad token hunter2", &headers).contains("hunter2"));
    }

    #[test]
    fn a_file_without_a_certificate_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hunter2").unwrap();
        let error = format!("{:#}", authorities(Some(file.path())).unwrap_err());
        assert!(error.contains("no certificate") && !error.contains("hunter2"), "{error}");
        assert!(authorities(Some(Path::new("/nonexistent/ca.pem"))).is_err());
    }
}
