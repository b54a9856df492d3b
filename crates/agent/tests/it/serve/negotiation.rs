//! The forms in which `/metrics` is answered.

use super::{Serve, node};
use crate::chain::promtool;
use crate::witness::open_metrics_series;
use flate2::read::GzDecoder;
use std::io::Read as _;

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
