//! The web page: files that are part of the program, the same for everybody. What it shows it asks the API for, so the files
//! name nobody.

use super::{all, negotiate};
use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::LazyLock;

/// Nothing but what is served here: no script or style in the page itself, none of elsewhere, and no frame around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      font-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Paths of the files beside `/`.
pub(in crate::outputs) const FILES: [&str; 3] = ["/page/app.js", "/page/app.css", "/page/favicon.svg"];

static INDEX: LazyLock<File> = LazyLock::new(|| {
    File::new("text/html; charset=utf-8", include_bytes!("../../../assets/page/index.html"))
});
static SCRIPT: LazyLock<File> = LazyLock::new(|| {
    File::new("text/javascript; charset=utf-8", include_bytes!("../../../assets/page/app.js"))
});
static STYLE: LazyLock<File> =
    LazyLock::new(|| File::new("text/css; charset=utf-8", include_bytes!("../../../assets/page/app.css")));
static ICON: LazyLock<File> =
    LazyLock::new(|| File::new("image/svg+xml", include_bytes!("../../../assets/page/favicon.svg")));

/// A file in the two forms in which it is answered, each with its tag.
struct File {
    content_type: &'static str,
    plain: (Bytes, HeaderValue),
    /// `None` where it could not be compressed.
    gzip: Option<(Bytes, HeaderValue)>,
}

impl File {
    fn new(content_type: &'static str, bytes: &'static [u8]) -> Self {
        let gzip = compressed(bytes).map(|bytes| (tag(&bytes), Bytes::from(bytes)));
        let plain = Bytes::from_static(bytes);
        Self { content_type, plain: (plain, tag(bytes)), gzip: gzip.map(|(tag, bytes)| (bytes, tag)) }
    }

    fn answer(&self, headers: &HeaderMap, vary: &'static str) -> Response {
        let gzip = self.gzip.as_ref().filter(|_| negotiate::gzip(&all(headers, &header::ACCEPT_ENCODING)));
        let (bytes, tag) = gzip.unwrap_or(&self.plain);
        let fixed = [
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
            (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
            (header::CACHE_CONTROL, "no-cache"),
            (header::VARY, vary),
        ];
        let mut response = if is_known(&all(headers, &header::IF_NONE_MATCH), tag) {
            (StatusCode::NOT_MODIFIED, fixed).into_response()
        } else {
            (fixed, [(header::CONTENT_TYPE, self.content_type)], bytes.clone()).into_response()
        };
        response.headers_mut().insert(header::ETAG, tag.clone());
        if gzip.is_some() && response.status() == StatusCode::OK {
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }
}

/// The routes of the page; to who takes no HTML `/` says this instead.
pub(super) fn routes(index: &'static str) -> Router {
    let root = move |headers: HeaderMap| async move {
        if negotiate::html(&all(&headers, &header::ACCEPT)) {
            return INDEX.answer(&headers, "Accept, Accept-Encoding");
        }
        ([(header::VARY, "Accept, Accept-Encoding")], index).into_response()
    };
    let [script, style, icon] = FILES;
    Router::new()
        .route("/", get(root))
        .route(script, file(&SCRIPT))
        .route(style, file(&STYLE))
        .route(icon, file(&ICON))
}

fn file(file: &'static LazyLock<File>) -> axum::routing::MethodRouter {
    get(move |headers: HeaderMap| async move { file.answer(&headers, "Accept-Encoding") })
}

fn compressed(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(bytes).ok()?;
    gzip.finish().ok()
}

/// Of the first half of its SHA-256.
fn tag(bytes: &[u8]) -> HeaderValue {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let half = digest.as_ref().iter().take(16).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    // Hexadecimal digits in quotes are a value of a header.
    HeaderValue::try_from(format!("\"{half}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

/// Whether the client has it (RFC 9110, section 13.1.2): a cache in between may have made the tag weak.
fn is_known(if_none_match: &str, tag: &HeaderValue) -> bool {
    let own = tag.to_str().unwrap_or_default();
    let mut tags = if_none_match.split(',').map(str::trim);
    tags.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_have_no_script_or_style_that_the_policy_forbids() {
        let page = String::from_utf8_lossy(&INDEX.plain.0).to_lowercase();
        for forbidden in ["<style", "style=", "javascript:", " onclick", " onload", "http://", "https://"] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
        for script in page.split("<script").skip(1) {
            let (attributes, rest) = script.split_once('>').unwrap();
            assert!(attributes.contains("src=\"/page/app.js\""), "{attributes}");
            assert!(rest.trim_start().starts_with("</script>"), "an inline script");
        }
        for word in ["<noscript", "/metrics", "/api/v1", "/healthz", "/readyz"] {
            assert!(page.contains(word), "{word}");
        }
    }

    #[test]
    fn a_tag_that_the_client_has_is_known() {
        let tag = tag(b"x");
        let own = tag.to_str().unwrap();
        for (given, known) in [
            (own.to_owned(), true),
            (format!("\"a\", W/{own}"), true),
            ("*".to_owned(), true),
            (String::new(), false),
            ("\"a\"".to_owned(), false),
            (own.trim_matches('"').to_owned(), false),
        ] {
            assert_eq!(is_known(&given, &tag), known, "{given}");
        }
    }
}
