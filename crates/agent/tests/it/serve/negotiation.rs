//! The forms in which `/metrics` is answered.

use super::{ALICE, Serve, node};
use crate::chain::{Prometheus, promtool};
use crate::witness::open_metrics_series;
use flate2::read::GzDecoder;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What the parsers of Prometheus send.
const PROMETHEUS: &str = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

/// The body as text, and whether it came in gzip.
fn body(serve: &Serve, accept: &str, accept_encoding: &str) -> (String, bool) {
    let headers = format!("Accept: {accept}\r\nAccept-Encoding: {accept_encoding}\r\n");
    let (head, body) = serve.fetch("GET", "/metrics", &headers).unwrap();
    assert!(
        head.starts_with("HTTP/1.1 200 ") && head.contains("vary: Accept, Accept-Encoding\r\n"),
        "{head}"
    );
    assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{head}");
    let is_open_metrics =
        head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(
        is_open_metrics || head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"),
        "{head}"
    );
    let gzip = head.contains("content-encoding: gzip\r\n");
    let mut text = String::new();
    if gzip {
        // One member, for readers that stop after the first.
        let mut reader = GzDecoder::new(&body[..]);
        reader.read_to_string(&mut text).unwrap();
        assert!(reader.into_inner().is_empty());
    } else {
        text = String::from_utf8(body).unwrap();
    }
    assert_eq!(text.ends_with("# EOF\n"), is_open_metrics);
    (text, gzip)
}

#[test]
fn an_answer_is_the_same_in_gzip_and_parsers_read_it() {
    let mut node = node("");
    let serve = Serve::start(&node, &[]);
    // Asked for often enough, an answer is made ready before; it is the same then.
    for at in [10, 15, 20] {
        serve.samples(&mut node, [at]);
        for accept in ["*/*", PROMETHEUS] {
            for _ in 0..2 {
                let (plain, compressed) = (body(&serve, accept, "identity"), body(&serve, accept, "gzip"));
                assert_eq!((plain.1, compressed.1), (false, true));
                assert_eq!(plain.0, compressed.0);
            }
        }
    }
    let (text, _) = body(&serve, "*/*", "gzip");
    assert!(text.contains("gpu_user_sm_seconds_total{") && text.contains("gpu_session_collector_stale 0\n"));
    assert_eq!(promtool(&text).len(), 1, "nothing but the seed's own suffix");
    let (open_metrics, _) = body(&serve, PROMETHEUS, "gzip");
    let series = open_metrics.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(open_metrics_series(&open_metrics), series);
}

#[test]
fn the_client_decides() {
    let node = node("");
    let serve = Serve::start(&node, &[]);
    serve.sampled(&node);
    let is_open_metrics = |accept: &str| body(&serve, accept, "").0.ends_with("# EOF\n");
    assert!(is_open_metrics(PROMETHEUS) && is_open_metrics("application/openmetrics-text, */*"));
    assert!(!is_open_metrics("*/*") && !is_open_metrics("application/openmetrics-text;q=0.3, text/plain"));
    let is_gzip = |accept_encoding: &str| body(&serve, "*/*", accept_encoding).1;
    assert!(is_gzip("gzip, deflate, br") && is_gzip("identity;q=0.5, gzip"));
    assert!(!is_gzip("") && !is_gzip("br") && !is_gzip("gzip;q=0, *") && !is_gzip("identity, gzip;q=0.5"));
    let (head, body) = serve.fetch("HEAD", "/metrics", "Accept-Encoding: gzip\r\n").unwrap();
    assert!(head.contains("content-encoding: gzip\r\n") && body.is_empty(), "{head}");
}

/// Stands between, and notes the heads of the answers.
struct Between {
    address: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Between {
    fn start(serve: &Serve) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, to) = (listener.local_addr().unwrap().to_string(), serve.address());
        let heads = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&heads);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let (mut request, mut byte) = (Vec::new(), [0]);
                while !request.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                    request.push(byte[0]);
                }
                // When the test ends, so does what was asked.
                let Ok(mut there) = TcpStream::connect(&to) else { return };
                request.truncate(request.len().saturating_sub(2));
                there.write_all(&[&request[..], b"Connection: close\r\n\r\n"].concat()).unwrap();
                let mut answer = Vec::new();
                there.read_to_end(&mut answer).unwrap();
                let head = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
                noted.lock().unwrap().push(String::from_utf8_lossy(&answer[..head]).into_owned());
                let _ = stream.write_all(&answer);
            }
        });
        Self { address, heads }
    }
}

#[test]
fn a_real_prometheus_gets_open_metrics_in_gzip_and_reads_it() {
    let mut node = node("");
    let serve = Serve::start(&node, &["--scrape-interval", "15s"]);
    serve.samples(&mut node, (10..=60).step_by(5));
    let between = Between::start(&serve);
    let prometheus = Prometheus::scraping(&node, &between.address);
    assert_eq!(prometheus.query("up")[0].1, "1");
    assert_eq!(prometheus.query("gpu_session_count")[0].1, "1");
    let shown = serve.metrics().get("gpu_user_sm_seconds_total", &ALICE).unwrap();
    assert!(shown > 10.0);
    assert_eq!(prometheus.query("gpu_user_sm_seconds_total")[0].1, shown.to_string());
    assert_eq!(prometheus.query("gpu_session_collector_stale")[0].1, "0", "what each answer adds");
    let heads = between.heads.lock().unwrap().clone();
    for head in &heads {
        assert!(head.contains("content-encoding: gzip") && head.contains("openmetrics-text"), "{head}");
    }
    assert!(!heads.is_empty());
}
