//! A client of the server's: plain or with TLS, one request per connection.

use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// In lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

/// Asks one address.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) address: String,
    tls: Option<Arc<ClientConfig>>,
    authorization: Option<String>,
}

impl Client {
    pub(crate) fn plain(address: &str) -> Self {
        Self { address: address.to_owned(), tls: None, authorization: None }
    }

    /// Trusts this authority (PEM); `own` is a certificate and key (PEM).
    pub(crate) fn with_tls(address: &str, ca: &str, own: Option<&(String, String)>) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match own {
            Some((certificate, key)) => {
                let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
                builder
                    .with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap())
                    .unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        Self { tls: Some(Arc::new(config)), ..Self::plain(address) }
    }

    /// With this Authorization header.
    pub(crate) fn as_whom(&self, authorization: &str) -> Self {
        Self { authorization: Some(authorization.to_owned()), ..self.clone() }
    }

    /// With a user's password.
    pub(crate) fn user(&self, user: &str, password: &str) -> Self {
        use base64::Engine as _;
        let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        self.as_whom(&format!("Basic {encoded}"))
    }

    /// A connection, with TLS where there is.
    pub(crate) fn connect(&self) -> io::Result<Box<dyn ReadWrite>> {
        let stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let Some(config) = &self.tls else { return Ok(Box::new(stream)) };
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        Ok(Box::new(StreamOwned::new(connection, stream)))
    }

    pub(crate) fn get(&self, path: &str) -> io::Result<Answer> {
        self.send(path, &[("Host", &self.address)])
    }

    pub(crate) fn status(&self, path: &str) -> u16 {
        self.get(path).unwrap().status
    }

    pub(crate) fn send(&self, path: &str, headers: &[(&str, &str)]) -> io::Result<Answer> {
        let mut text = format!("GET {path} HTTP/1.1\r\nConnection: close\r\n");
        let own = self.authorization.iter().map(|value| ("Authorization", value.as_str()));
        for (name, value) in headers.iter().copied().chain(own) {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        let mut stream = self.connect()?;
        stream.write_all((text + "\r\n").as_bytes())?;
        read(&mut *stream)
    }
}

pub(crate) trait ReadWrite: Read + Write {}

impl<T: Read + Write> ReadWrite for T {}

/// The answer until the connection's end, whichever way it is ended.
pub(crate) fn read(stream: &mut dyn ReadWrite) -> io::Result<Answer> {
    let mut bytes = Vec::new();
    let ended = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return Err(ended.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into()));
    };
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(head.to_owned()))?;
    Ok(Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() })
}
