//! OTLP metrics: the last snapshot, sent to a receiver. What cannot be delivered is not kept: the next snapshot has
//! everything that this one had.

mod convert;
mod grpc;
mod headers;
mod http;
mod messages;
mod send;

pub use send::{Failed, Retry};

use super::http::Published;
use crate::url;
use convert::Converter;
use messages::ExportMetricsServiceRequest;
use send::Sender;
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;

/// How metrics travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Deserialize)]
pub enum Protocol {
    /// gRPC over HTTP/2
    #[value(name = "grpc")]
    #[serde(rename = "grpc")]
    Grpc,
    /// Protobuf over HTTP/1.1
    #[value(name = "http/protobuf")]
    #[serde(rename = "http/protobuf")]
    Http,
}

/// Where metrics are sent, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Base URL, without the last slash.
    pub endpoint: String,
    /// How they travel.
    pub protocol: Protocol,
    /// Time between two sendings.
    pub interval: Duration,
    /// Further headers, one a line; read anew for each sending.
    pub headers_file: Option<PathBuf>,
    /// The authorities that are believed instead of the system's, PEM; read anew for each sending.
    pub ca_file: Option<PathBuf>,
}

impl Target {
    /// Checks the URL; no error shows it, for it may hold a password.
    pub fn check_endpoint(written: &str, protocol: Protocol) -> Result<String, String> {
        const ALLOWED: &str = "allowed is http(s)://<host>[:<port>], and a path with http/protobuf only";
        let (base, userinfo) = url::address(written, ALLOWED)?;
        if userinfo.is_some() {
            return Err("a user or password does not belong in the URL; write the header `authorization: …` into a file and name it with otlp.headers_file".to_owned());
        }
        let path = base.split_once("://").and_then(|(_, rest)| rest.split_once('/'));
        if protocol == Protocol::Grpc && path.is_some() {
            return Err(format!("gRPC has no path; {ALLOWED}"));
        }
        Ok(base)
    }

    /// What is only found out by looking: whether the files can be used.
    pub fn check(&self) -> anyhow::Result<()> {
        headers::read(self.headers_file.as_deref())?;
        send::authorities(self.ca_file.as_deref())?;
        Ok(())
    }

    fn is_tls(&self) -> bool {
        self.endpoint.starts_with("https://")
    }
}

/// When metrics are sent.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Wall clock, Unix microseconds.
    pub now_us: i64,
    /// The clock that is never set, microseconds.
    pub monotonic_us: i64,
    /// Whether the snapshot was sent before; then only its age is.
    pub repeated: bool,
}

/// Sends the snapshot; returns what the receiver had to say although it took everything. `runtime` is for gRPC.
pub fn export(
    runtime: &tokio::runtime::Runtime,
    target: &Target,
    published: &Published,
    moment: Moment,
) -> Result<Option<String>, Failed> {
    let mut sender = Sender::open(runtime, target)?;
    let (mut said, mut failed, mut given_up) = (None, None, false);
    let mut send = |request: ExportMetricsServiceRequest| {
        // Where it may be better later, the rest is not even tried; what one request is refused for, another need not be.
        if given_up {
            return;
        }
        match sender.send(request) {
            Ok(words) => said = words.or(said.take()),
            Err(failure) => {
                given_up = failure.retry != Retry::Never;
                failed = if given_up { Some(failure) } else { failed.take().or(Some(failure)) };
            }
        }
    };
    let uname = rustix::system::uname();
    let resource = convert::resource(&uname.nodename().to_string_lossy(), published.labels());
    let mut converter = Converter::new(resource, published.labels(), &mut send);
    if !moment.repeated {
        converter.set_time(published.reading.snapshot.time_us);
        published.series(&mut converter);
    }
    converter.set_time(moment.now_us);
    published.age_series(moment.monotonic_us, &mut converter);
    converter.finish();
    failed.map_or(Ok(said), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_has_no_credentials_and_for_grpc_no_path() {
        let check = Target::check_endpoint;
        assert_eq!(check("http://h:4317/", Protocol::Grpc).as_deref(), Ok("http://h:4317"));
        assert_eq!(check("https://h/a/b/", Protocol::Http).as_deref(), Ok("https://h/a/b"));
        for (url, wanted) in [
            ("h:4317", "http"),
            ("http://h/a", "no path"),
            ("http://u:hunter2@h:4317", "otlp.headers_file"),
            ("http://h:4317/?token=hunter2", "query"),
        ] {
            let error = check(url, Protocol::Grpc).unwrap_err();
            assert!(error.contains(wanted) && !error.contains("hunter2"), "{url}: {error}");
        }
    }
}
