//! A server that answers every request as a test says.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

pub(crate) struct Fake {
    pub(crate) place: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

/// Whatever carries the bytes.
trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

impl Fake {
    pub(crate) fn start(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> Self {
        Self::serve(answer, |stream| Box::new(stream))
    }

    /// As `start`, over TLS; the authority that signed for `localhost` goes to this file.
    pub(crate) fn tls(authority: &Path, answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut of_authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
        of_authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let root = of_authority.self_signed(&key).unwrap();
        std::fs::write(authority, root.pem()).unwrap();
        let own = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&own, &rcgen::Issuer::new(of_authority, key)).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], own.into())
            .unwrap();
        let config = Arc::new(config);
        Self::serve(answer, move |stream| {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            Box::new(rustls::StreamOwned::new(connection, stream))
        })
    }

    /// A server that takes connections and never says anything.
    pub(crate) fn silent() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            // Kept, so that they stay open.
            let _open: Vec<_> = listener.incoming().collect();
        });
        Self { place, asked: Arc::default() }
    }

    fn serve(
        answer: impl Fn(&str) -> Vec<u8> + Send + 'static,
        wrap: impl Fn(TcpStream) -> Box<dyn Stream> + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = wrap(stream.unwrap());
                // A client that does not believe us, or has read enough, goes.
                let Ok(request) = request(&mut *stream) else { continue };
                kept.lock().unwrap().push(request.clone());
                let _ = stream.write_all(&answer(&request)).and_then(|()| stream.flush());
            }
        });
        Self { place, asked }
    }

    /// The requests so far, as they came.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// Head and body.
fn request(stream: &mut dyn Stream) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        bytes.push(byte[0]);
    }
    let head = String::from_utf8(bytes).unwrap();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
    });
    let mut body = vec![0; length.expect("a form has a length")];
    stream.read_exact(&mut body)?;
    Ok(head + &String::from_utf8(body).unwrap())
}

/// An answer with this status line.
pub(crate) fn answered(status: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}").into_bytes()
}

/// A vector of these series.
pub(crate) fn ok(series: &str) -> Vec<u8> {
    answered(
        "200 OK",
        &format!(r#"{{"status":"success","data":{{"resultType":"vector","result":{series}}}}}"#),
    )
}
