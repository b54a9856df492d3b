//! Receivers of OTLP, by the protocol's own service: gRPC and HTTP, with TLS and without, that take, refuse and hang to
//! order.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::serve::Listener;
use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use prost::Message as _;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::collections::VecDeque;
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tonic::codec::CompressionEncoding;
use tonic::codegen::tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Code, Request, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// How a request is answered.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// Everything is taken.
    Take,
    /// All but so many data points are, with these words.
    Partly(i64, String),
    /// Refused, by gRPC's code or HTTP's status, to be tried again after so many seconds.
    Refuse(Code, u16, Option<u64>),
    /// Refused, with the request's headers in the words.
    Echo,
    /// Never.
    Hang,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Grpc,
    Http,
}

impl Protocol {
    pub(crate) const ALL: [Self; 2] = [Self::Grpc, Self::Http];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http/protobuf",
        }
    }
}

/// What came.
#[derive(Clone)]
pub(crate) struct Received {
    pub(crate) headers: HeaderMap,
    pub(crate) request: ExportMetricsServiceRequest,
    /// Whether it was refused.
    pub(crate) refused: bool,
}

#[derive(Clone, Default)]
struct Book {
    received: Arc<Mutex<Vec<Received>>>,
    replies: Arc<Mutex<VecDeque<Reply>>>,
}

impl Book {
    fn note(&self, headers: HeaderMap, request: ExportMetricsServiceRequest) -> Reply {
        let reply = self.replies.lock().unwrap().pop_front().unwrap_or(Reply::Take);
        let refused = !matches!(reply, Reply::Take | Reply::Partly(..));
        self.received.lock().unwrap().push(Received { headers, request, refused });
        reply
    }
}

/// A receiver that runs until it is dropped.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    /// Certificate of its authority, where it speaks TLS.
    pub(crate) authority: Option<String>,
    book: Book,
    end: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Receiver {
    pub(crate) fn start(protocol: Protocol) -> Self {
        Self::run(protocol, "127.0.0.1:0".parse().unwrap(), None)
    }

    pub(crate) fn at(protocol: Protocol, address: SocketAddr) -> Self {
        Self::run(protocol, address, None)
    }

    pub(crate) fn with_tls(protocol: Protocol) -> Self {
        Self::run(protocol, "127.0.0.1:0".parse().unwrap(), Some(Certificates::new()))
    }

    fn run(protocol: Protocol, address: SocketAddr, tls: Option<Certificates>) -> Self {
        let book = Book::default();
        let authority = tls.as_ref().map(|tls| tls.authority.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind(address)).unwrap();
        let address = listener.local_addr().unwrap();
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let of_thread = book.clone();
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = ended => {}
                    () = serve(protocol, listener, of_thread, tls) => {}
                }
            });
        });
        Self { address, authority, book, end: Some(end), thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> String {
        let scheme = if self.authority.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// The next requests are answered so; further ones are taken.
    pub(crate) fn reply(&self, replies: impl IntoIterator<Item = Reply>) {
        self.book.replies.lock().unwrap().extend(replies);
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.book.received.lock().unwrap().clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        drop(self.end.take());
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}

async fn serve(protocol: Protocol, listener: tokio::net::TcpListener, book: Book, tls: Option<Certificates>) {
    match protocol {
        Protocol::Grpc => serve_grpc(listener, book, tls).await,
        Protocol::Http => serve_http(listener, book, tls).await,
    }
}

async fn serve_grpc(listener: tokio::net::TcpListener, book: Book, tls: Option<Certificates>) {
    let service = MetricsServiceServer::new(book).accept_compressed(CompressionEncoding::Gzip);
    let mut server = Server::builder();
    if let Some(tls) = tls {
        let identity = Identity::from_pem(&tls.certificate, tls.key.serialize_pem());
        server = server.tls_config(ServerTlsConfig::new().identity(identity)).unwrap();
    }
    server.add_service(service).serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
}

#[tonic::async_trait]
impl MetricsService for Book {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<tonic::Response<ExportMetricsServiceResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let headers = metadata.into_headers();
        match self.note(headers.clone(), message) {
            Reply::Take => Ok(ExportMetricsServiceResponse::default().into()),
            Reply::Partly(points, words) => Ok(partly(points, words).into()),
            Reply::Refuse(code, _, Some(seconds)) => {
                let details = ErrorDetails::with_retry_info(Some(Duration::from_secs(seconds)));
                Err(Status::with_error_details(code, "refused", details))
            }
            Reply::Refuse(code, _, None) => Err(Status::new(code, "refused")),
            Reply::Echo => Err(Status::unauthenticated(told(&headers))),
            Reply::Hang => std::future::pending().await,
        }
    }
}

async fn serve_http(listener: tokio::net::TcpListener, book: Book, tls: Option<Certificates>) {
    let routes = axum::Router::new().route("/v1/metrics", axum::routing::post(take)).with_state(book);
    match tls {
        Some(tls) => axum::serve(TlsListener { listener, acceptor: tls.acceptor() }, routes).await.unwrap(),
        None => axum::serve(listener, routes).await.unwrap(),
    }
}

async fn take(State(book): State<Book>, headers: HeaderMap, body: Bytes) -> Response {
    assert_eq!(headers[header::CONTENT_TYPE], "application/x-protobuf");
    assert_eq!(headers[header::CONTENT_ENCODING], "gzip");
    let mut plain = Vec::new();
    GzDecoder::new(&body[..]).read_to_end(&mut plain).unwrap();
    let request = ExportMetricsServiceRequest::decode(&plain[..]).unwrap();
    let protobuf = |body: Vec<u8>| ([(header::CONTENT_TYPE, "application/x-protobuf")], body);
    match book.note(headers.clone(), request) {
        Reply::Take => protobuf(Vec::new()).into_response(),
        Reply::Partly(points, words) => protobuf(partly(points, words).encode_to_vec()).into_response(),
        Reply::Refuse(_, status, seconds) => {
            let mut answer = StatusCode::from_u16(status).unwrap().into_response();
            if let Some(seconds) = seconds {
                answer.headers_mut().insert(header::RETRY_AFTER, seconds.into());
            }
            answer
        }
        Reply::Echo => {
            let status = tonic_types::pb::Status { message: told(&headers), ..Default::default() };
            (StatusCode::UNAUTHORIZED, protobuf(status.encode_to_vec())).into_response()
        }
        Reply::Hang => std::future::pending().await,
    }
}

fn partly(rejected_data_points: i64, error_message: String) -> ExportMetricsServiceResponse {
    let partial = ExportMetricsPartialSuccess { rejected_data_points, error_message };
    ExportMetricsServiceResponse { partial_success: Some(partial) }
}

fn told(headers: &HeaderMap) -> String {
    let all: Vec<_> = headers.values().filter_map(|value| value.to_str().ok()).collect();
    all.join(" ")
}

/// Of an authority of its own.
struct Certificates {
    authority: String,
    certificate: String,
    der: tokio_rustls::rustls::pki_types::CertificateDer<'static>,
    key: KeyPair,
}

impl Certificates {
    fn new() -> Self {
        let authority_key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&authority_key).unwrap().pem();
        let issuer = Issuer::new(params, authority_key);
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        Self { authority, certificate: certificate.pem(), der: certificate.der().clone(), key }
    }

    fn acceptor(&self) -> TlsAcceptor {
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let key = PrivatePkcs8KeyDer::from(self.key.serialize_der()).into();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.der.clone()], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

struct TlsListener {
    listener: tokio::net::TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for TlsListener {
    type Io = tokio_rustls::server::TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, address) = Listener::accept(&mut self.listener).await;
            // Whoever does not believe the certificate goes away.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
