//! The requests: where to, with what credentials, and what went wrong.

use super::Options;
use super::answer::{self, Vector};
use crate::url;
use anyhow::{Context as _, anyhow, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use gpu_session_core::text::clean;
use percent_encoding::percent_decode_str;
use std::fmt;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use ureq::http::header::{AUTHORIZATION, LOCATION};
use ureq::http::{HeaderValue, Response, StatusCode};
use ureq::tls::{RootCerts, TlsConfig};

/// Largest answer that is read: some 400 000 pods.
const MAX_BYTES: u64 = 64 << 20;
/// As much is read of a refusal.
const MAX_REFUSAL: u64 = 64 << 10;
/// Longest token that is taken.
const MAX_TOKEN: u64 = 64 << 10;
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// With less time than this nothing is asked any more.
const LEAST_LIMIT: Duration = Duration::from_millis(1);

const ALLOWED: &str = "allowed is http(s)://[<user>:<password>@]<host>[:<port>][/<path>], with what is special in \
                       user and password percent-encoded";
const IS_IT: &str = "see that --prometheus names the base of its API, as in http://prometheus:9090 or \
                     http://host/prometheus";
const SMALLER: &str = "ask for fewer series (--prometheus-matcher), and where this is a report for less (--since, --until, --by)";

#[derive(Clone)]
pub(crate) struct Client {
    /// Base of the API, without user, password and the last slash.
    base: String,
    authorization: Option<HeaderValue>,
    timeout: Duration,
    /// When all answers together have to be there, and after how long that is.
    whole: Option<(Instant, Duration)>,
    agent: ureq::Agent,
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)
    }
}

impl Client {
    pub(crate) fn new(options: &Options<'_>) -> anyhow::Result<Self> {
        let (base, userinfo) =
            url::address(options.url, ALLOWED).map_err(|e| anyhow!("--prometheus: {e}"))?;
        let authorization = match (userinfo, options.token_file) {
            (Some(_), Some(_)) => {
                bail!("--prometheus-token-file: the URL has a user or password too; give one of them")
            }
            (Some(userinfo), None) => Some(basic(&userinfo)?),
            (None, Some(path)) => {
                let token = token(path).context("--prometheus-token-file")?;
                Some(secret(&format!("Bearer {token}"))?)
            }
            (None, None) => None,
        };
        if options.timeout < Duration::from_millis(100) {
            bail!("--prometheus-timeout: at least 100ms");
        }
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = ureq::Agent::config_builder()
            .user_agent(concat!("gpu-session-monitor/", env!("CARGO_PKG_VERSION")))
            .accept("application/json")
            .timeout_global(Some(options.timeout))
            .timeout_connect(Some(CONNECT_LIMIT.min(options.timeout)))
            .max_redirects(0)
            // A redirect is told; nothing is sent on to where it points.
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .tls_config(tls);
        let agent = config.build().new_agent();
        Ok(Self { base, authorization, timeout: options.timeout, whole: None, agent })
    }

    /// The same, whose answers from now on have to come within twice the time that one may take, all together.
    pub(crate) fn for_one_question(&self) -> Self {
        let limit = self.timeout.saturating_mul(2);
        let whole = Instant::now().checked_add(limit).map(|end| (end, limit));
        Self { whole, ..self.clone() }
    }

    /// How long the next answer may take; the error where there is no time left.
    fn limit(&self) -> anyhow::Result<Duration> {
        let Some((end, _)) = self.whole else { return Ok(self.timeout) };
        let rest = end.saturating_duration_since(Instant::now());
        if rest < LEAST_LIMIT { Err(self.late()) } else { Ok(rest.min(self.timeout)) }
    }

    /// An answer did not come in time.
    fn late(&self) -> anyhow::Error {
        let shown = humantime::format_duration;
        match self.whole {
            Some((end, limit)) if end.saturating_duration_since(Instant::now()) < LEAST_LIMIT => anyhow!(
                "not all of its answers within {}; ask for a shorter period, or wait longer (--prometheus-timeout)",
                shown(limit)
            ),
            _ => anyhow!(
                "no whole answer within {}; {SMALLER}, or wait longer (--prometheus-timeout)",
                shown(self.timeout)
            ),
        }
    }

    /// The answer to an instant query at this time, Unix seconds.
    pub(crate) fn query(&self, query: &str, at: i64) -> anyhow::Result<Vector> {
        self.ask("query", &[("query", query), ("time", &at.to_string())])
    }

    /// The answer to a query at each of these moments, from `since` to `until`, Unix seconds, `step` seconds apart.
    pub(crate) fn range(&self, query: &str, since: i64, until: i64, step: i64) -> anyhow::Result<Vector> {
        let [since, until, step] = [since, until, step].map(|number| number.to_string());
        self.ask("query_range", &[("query", query), ("start", &since), ("end", &until), ("step", &step)])
    }

    fn ask(&self, path: &str, form: &[(&str, &str)]) -> anyhow::Result<Vector> {
        let limit = self.limit().with_context(|| format!("Prometheus at {self}"))?;
        let request = self.agent.post(format!("{}/api/v1/{path}", self.base));
        let mut request = request.config().timeout_global(Some(limit)).build();
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        // The server gives up when we do. Whole milliseconds, which all of them read.
        let limit = format!("{}ms", limit.as_millis());
        let form = form.iter().copied().chain([("timeout", &*limit)]);
        let answered = request.send_form(form);
        let told = answered.map_err(|e| self.failed(&e)).and_then(|answer| self.read(answer));
        told.with_context(|| format!("Prometheus at {self}"))
    }

    fn read(&self, mut answer: Response<ureq::Body>) -> anyhow::Result<Vector> {
        if answer.status() != StatusCode::OK {
            return Err(refused(&mut answer));
        }
        let body = answer.body_mut().with_config().limit(MAX_BYTES).read_to_vec();
        answer::read(&body.map_err(|e| self.failed(&e))?).map_err(|what| anyhow!("{what}; {IS_IT}"))
    }

    fn failed(&self, error: &ureq::Error) -> anyhow::Error {
        const RUNS: &str = "see that it runs there, or name where it does with --prometheus";
        const TRUST: &str = "where an authority of your own signed its certificate, name that authority's file in the \
                             environment variable SSL_CERT_FILE";
        match error {
            ureq::Error::Timeout(_) => self.late(),
            ureq::Error::BodyExceedsLimit(_) | ureq::Error::LargeResponseHeader(..) => {
                anyhow!("the answer is larger than {} MiB, not read; {SMALLER}", MAX_BYTES >> 20)
            }
            ureq::Error::Protocol(_) | ureq::Error::Http(_) => {
                anyhow!("the answer is not HTTP ({error}); {IS_IT}")
            }
            ureq::Error::HostNotFound => anyhow!("no such host; {IS_IT}"),
            ureq::Error::Rustls(e) => anyhow!("TLS: {e}; {TRUST}"),
            // Where rustls fails while it reads or writes.
            ureq::Error::Io(e)
                if e.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>) =>
            {
                anyhow!("TLS: {e}; {TRUST}")
            }
            ureq::Error::Io(e) => anyhow!("{e}; {RUNS}"),
            other => anyhow!("{other}; {RUNS}"),
        }
    }
}

/// What a status other than 200 means, in its own words where it has some.
fn refused(answer: &mut Response<ureq::Body>) -> anyhow::Error {
    let status = answer.status();
    if status.is_redirection() {
        let to = answer.headers().get(LOCATION).map(|to| clean(&String::from_utf8_lossy(to.as_bytes())));
        let to = to.map(|to| format!(" to {to}")).unwrap_or_default();
        return anyhow!(
            "it redirects{to} ({status}), which is not followed; name the address itself with --prometheus"
        );
    }
    let mut body = Vec::new();
    // What came of it is enough for a message.
    let _ = answer.body_mut().as_reader().take(MAX_REFUSAL).read_to_end(&mut body);
    let words = answer::refusal(&body).map(|words| format!(" ({words})")).unwrap_or_default();
    let remedy = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            "give a token with --prometheus-token-file, or a user and password in the URL in \
             GPU_SESSION_MONITOR_PROMETHEUS"
        }
        StatusCode::BAD_REQUEST => "see that --prometheus-matcher, if given, is PromQL as in 'cluster=\"a\"'",
        StatusCode::UNPROCESSABLE_ENTITY
        | StatusCode::TOO_MANY_REQUESTS
        | StatusCode::SERVICE_UNAVAILABLE => SMALLER,
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => IS_IT,
        _ => "see its log",
    };
    anyhow!("it answered {status}{words}; {remedy}")
}

fn basic(userinfo: &str) -> anyhow::Result<HeaderValue> {
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let mut pair: Vec<u8> = percent_decode_str(user).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(password));
    secret(&format!("Basic {}", BASE64_STANDARD.encode(pair)))
}

/// The bearer token in a file.
pub(crate) fn token(path: &Path) -> anyhow::Result<String> {
    let name = path.display();
    let mut text = String::new();
    let file = std::fs::File::open(path).with_context(|| format!("{name}"))?;
    let read = file.take(MAX_TOKEN + 1).read_to_string(&mut text).with_context(|| format!("{name}"))?;
    let token = text.trim();
    if read as u64 > MAX_TOKEN || token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
        bail!("{name}: it holds no token: one line of printable ASCII without blanks");
    }
    Ok(token.to_owned())
}

fn secret(text: &str) -> anyhow::Result<HeaderValue> {
    let mut value = HeaderValue::from_str(text).map_err(|_| anyhow!("the credentials cannot be sent"))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answers_to_one_question_have_one_deadline() {
        let timeout = Duration::from_secs(3);
        let options = Options { url: "http://127.0.0.1:1", token_file: None, matcher: None, timeout };
        let client = Client::new(&options).unwrap();
        assert_eq!(client.limit().unwrap(), timeout, "each for itself");
        let mut asks = client.for_one_question();
        assert_eq!(asks.whole.unwrap().1, 2 * timeout);
        assert_eq!(asks.limit().unwrap(), timeout, "an answer has no more time than it has else");
        asks.whole = Some((Instant::now(), 2 * timeout));
        // Nothing is asked any more: there is no server that could refuse it.
        let error = format!("{:#}", asks.query("up", 0).unwrap_err());
        assert!(error.contains("not all of its answers within 6s; ask for a shorter period"), "{error}");
    }

    #[test]
    fn credentials_are_decoded_and_marked_as_secret() {
        let header = basic("us%3Aer:p%40ss:w").unwrap();
        assert!(header.is_sensitive());
        let encoded = header.to_str().unwrap().strip_prefix("Basic ").unwrap().to_owned();
        assert_eq!(BASE64_STANDARD.decode(encoded).unwrap(), b"us:er:p@ss:w");
        assert_eq!(basic("only").unwrap(), format!("Basic {}", BASE64_STANDARD.encode("only:")).as_str());
    }
}
