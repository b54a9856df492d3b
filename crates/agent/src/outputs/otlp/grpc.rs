//! OTLP over gRPC.

use super::messages::{ExportMetricsServiceRequest, ExportMetricsServiceResponse, MetricsServiceClient};
use super::send::{Failed, LIMIT, MOST_ANSWER_BYTES, Retry, remedy, words};
use anyhow::anyhow;
use std::error::Error;
use tokio::runtime::Runtime;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataMap;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;
use ureq::http::HeaderMap;

pub(super) struct Grpc<'a> {
    runtime: &'a Runtime,
    client: MetricsServiceClient<Channel>,
    metadata: MetadataMap,
}

impl<'a> Grpc<'a> {
    pub(super) fn open(
        runtime: &'a Runtime,
        endpoint: &str,
        tls: bool,
        authorities: Option<Vec<u8>>,
        headers: &HeaderMap,
    ) -> Result<Self, Failed> {
        let unusable = |e: tonic::transport::Error| Failed::never(anyhow!("{}", chain(&e)));
        let mut endpoint = Endpoint::from_shared(endpoint.to_owned())
            .and_then(|e| e.user_agent(concat!("gpu-session-monitor/", env!("CARGO_PKG_VERSION"))))
            .map_err(unusable)?
            .connect_timeout(LIMIT);
        if tls {
            let config = match authorities {
                Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
                None => ClientTlsConfig::new().with_native_roots(),
            };
            endpoint = endpoint.tls_config(config).map_err(unusable)?;
        }
        let connecting = async { tokio::time::timeout(LIMIT, endpoint.connect()).await };
        let channel = match runtime.block_on(connecting) {
            Ok(connected) => connected.map_err(|e| Failed::soon(anyhow!("{}; {}", chain(&e), remedy(&e))))?,
            Err(_) => return Err(Failed::soon(anyhow!("no connection within {} s", LIMIT.as_secs()))),
        };
        let client = MetricsServiceClient::new(channel)
            .send_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(MOST_ANSWER_BYTES);
        Ok(Self { runtime, client, metadata: MetadataMap::from_headers(headers.clone()) })
    }

    pub(super) fn send(
        &mut self,
        request: ExportMetricsServiceRequest,
        headers: &HeaderMap,
    ) -> Result<ExportMetricsServiceResponse, Failed> {
        let mut request = Request::new(request);
        *request.metadata_mut() = self.metadata.clone();
        request.set_timeout(LIMIT);
        let sending = async { tokio::time::timeout(LIMIT, self.client.export(request)).await };
        match self.runtime.block_on(sending) {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(refused(&status, headers)),
            Err(_) => Err(Failed::soon(anyhow!("no answer within {} s", LIMIT.as_secs()))),
        }
    }
}

/// What a status means, by the protocol's own table.
fn refused(status: &Status, headers: &HeaderMap) -> Failed {
    let asked = status.get_details_retry_info().and_then(|info| info.retry_delay).map(Retry::After);
    let retry = match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => asked.unwrap_or(Retry::Soon),
        // It may be for good, unless the receiver says when.
        Code::ResourceExhausted => asked.unwrap_or(Retry::Never),
        _ => Retry::Never,
    };
    let remedy = match status.code() {
        Code::Unauthenticated | Code::PermissionDenied => {
            "; give the headers that it wants with otlp.headers_file"
        }
        Code::Unimplemented => {
            "; it does not receive metrics by gRPC: see its settings, or set otlp.protocol: http/protobuf"
        }
        _ => "",
    };
    let said = words(status.message(), headers);
    Failed { error: anyhow!("it answered {:?}{said}{remedy}", status.code()), retry }
}

/// An error with what it came of, for the outermost says little.
fn chain(error: &dyn Error) -> String {
    let mut told = error.to_string();
    let mut inner = error.source();
    while let Some(error) = inner {
        let words = error.to_string();
        if !told.contains(&words) {
            told = format!("{told}: {words}");
        }
        inner = error.source();
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tonic_types::ErrorDetails;

    #[test]
    fn a_status_is_tried_again_as_the_protocol_says() {
        let retry = |status: Status| refused(&status, &HeaderMap::new()).retry;
        let with = |code, delay: Option<Duration>| {
            Status::with_error_details(code, "x", ErrorDetails::with_retry_info(delay))
        };
        let delay = Duration::from_secs(7);
        assert_eq!(retry(Status::unavailable("x")), Retry::Soon);
        assert_eq!(retry(with(Code::Unavailable, Some(delay))), Retry::After(delay));
        assert_eq!(retry(Status::resource_exhausted("x")), Retry::Never);
        assert_eq!(retry(with(Code::ResourceExhausted, Some(delay))), Retry::After(delay));
        for code in [Code::InvalidArgument, Code::Unauthenticated, Code::Unimplemented, Code::Internal] {
            assert_eq!(retry(with(code, Some(delay))), Retry::Never, "{code:?}");
        }
    }
}
