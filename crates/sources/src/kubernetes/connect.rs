//! The connection to the API server: what it may take and how often it may be used.

use super::Options;
use super::body::{Bounded, bounded};
use super::problem::{Problem, Slow};
use http::{Request, Response};
use kube::client::{Body, ClientBuilder};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;
use tonic::codegen::{Body as HttpBody, Bytes};
use tower::{BoxError, Layer, Service};

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Longest wait for the beginning of an answer: that of a watch comes at once, though it has nothing to say.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// A watch that ends sooner is followed by the next one after a pause, which grows up to the longest.
const SHORT_WATCH: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Called when a watch was opened.
pub(super) type Opened = Arc<dyn Fn() + Send + Sync>;

/// Connects for this node's pods, without a request; returns the address too, for messages.
pub(super) async fn connect(options: &Options, opened: Opened) -> Result<(Client, String), Problem> {
    if options.node.is_empty() {
        let remedy = "name it with kubernetes.node, in a pod from its field spec.nodeName";
        return Err(Problem::new("config", "this node's name in the cluster is not known", remedy));
    }
    connect_as(options.kubeconfig.as_deref(), opened).await
}

/// Connects with a kubeconfig, or as the service account of the pod that this runs in.
pub(super) async fn connect_as(
    kubeconfig: Option<&Path>,
    opened: Opened,
) -> Result<(Client, String), Problem> {
    let mut config = match kubeconfig {
        Some(path) => {
            let failed = |e| Problem::kubeconfig(path, &e);
            let kubeconfig = Kubeconfig::read_from(path).map_err(failed)?;
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.map_err(failed)?
        }
        None => Config::incluster_env().map_err(|e| Problem::in_cluster(&e))?,
    };
    // The node's own API server is not asked through a proxy, whatever the environment says.
    config.proxy_url = None;
    let (config, url) = prepared(config)?;
    let guard = Guard { opened, pace: Arc::default() };
    let builder = ClientBuilder::try_from(config).map_err(|e| Problem::set_up(&url, kubeconfig, &e))?;
    Ok((builder.with_layer(&guard).build(), url))
}

/// The configuration with what is ours, and the address, for messages.
pub(super) fn prepared(mut config: Config) -> Result<(Config, String), Problem> {
    static PROVIDER: Once = Once::new();
    // That another one is there already is as good.
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
    if let Some(path) = config.auth_info.token_file.as_deref()
        && let Some(token) = trimmed_token(Path::new(path))?
    {
        // A renewed one is read when this one is refused, with the next client.
        config.auth_info.token = Some(token.into());
        config.auth_info.token_file = None;
    }
    config.connect_timeout = Some(CONNECT_LIMIT);
    // The watch has its own, longer pauses between tries.
    config.default_retry = false;
    let agent = concat!("gpu-session-monitor/", env!("CARGO_PKG_VERSION"));
    config.headers.push((http::header::USER_AGENT, http::HeaderValue::from_static(agent)));
    let url = shown(&config.cluster_url);
    Ok((config, url))
}

/// The token without what is around it, where there is something: files often end in a line end, with which the client
/// would send nothing. Without a token the server would be asked as nobody. A file that cannot be read is seen by the
/// client.
fn trimmed_token(path: &Path) -> Result<Option<String>, Problem> {
    let Ok(text) = std::fs::read_to_string(path) else { return Ok(None) };
    match text.trim() {
        "" => Err(Problem::no_token(path)),
        token if token.len() == text.len() => Ok(None),
        token => Ok(Some(token.to_owned())),
    }
}

/// The address, without a user or password.
fn shown(url: &http::Uri) -> String {
    let authority = url.authority().map_or("", |a| a.as_str());
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{}://{host}", url.scheme_str().unwrap_or("http"))
}

/// Bounds each request in time, size and number.
#[derive(Clone)]
struct Guard {
    opened: Opened,
    pace: Arc<Mutex<Pace>>,
}

/// When the last watch was opened, or page asked for, and how long the next one waits.
#[derive(Default)]
struct Pace {
    last: Option<Instant>,
    pause: Duration,
}

impl Pace {
    /// How long a watch that is to be opened now waits.
    ///
    /// A server, or something before it, that closes each watch at once would else be asked without end: the
    /// end of a watch is no error.
    fn next(&mut self, now: Instant) -> Duration {
        let short = self.last.is_some_and(|last| now - last < SHORT_WATCH);
        self.pause = if short { (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE) } else { Duration::ZERO };
        self.last = Some(now + self.pause);
        self.pause
    }
}

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { inner, guard: self.clone() }
    }
}

struct Guarded<S> {
    inner: S,
    guard: Guard,
}

impl<S, B> Service<Request<Body>> for Guarded<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Bounded>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let has = |is: fn(&str) -> bool| request.uri().query().is_some_and(|query| query.split('&').any(is));
        let is_watch = has(|pair| pair == "watch=true");
        // No pages are asked for. A server that has always another one would else be asked without end.
        let is_next_page = has(|pair| pair.starts_with("continue="));
        let Guard { opened, pace } = self.guard.clone();
        let answer = self.inner.call(request);
        Box::pin(async move {
            if is_watch || is_next_page {
                let pause = pace.lock().unwrap_or_else(PoisonError::into_inner).next(Instant::now());
                tokio::time::sleep(pause).await;
            }
            let answer = tokio::time::timeout(HEAD_LIMIT, answer).await.map_err(|_| Slow(HEAD_LIMIT))?;
            let answer = answer.map_err(Into::into)?;
            if is_watch && answer.status().is_success() {
                opened();
            }
            bounded(answer, is_watch).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watches_that_end_at_once_are_opened_ever_more_slowly_and_long_ones_without_a_pause() {
        let mut pace = Pace::default();
        let mut now = Instant::now();
        let mut pauses = Vec::new();
        for lived in [0, 1, 1, 1, 1, 1, 1, 120, 1] {
            now += Duration::from_secs(lived);
            let pause = pace.next(now);
            now += pause;
            pauses.push(pause.as_secs());
        }
        assert_eq!(pauses, [0, 1, 2, 4, 8, 16, 30, 0, 1]);
    }

    #[test]
    fn an_address_is_shown_without_its_user() {
        for (url, text) in [
            ("https://admin:secret@10.0.0.1:6443/base", "https://10.0.0.1:6443"),
            ("https://api.example.com", "https://api.example.com"),
        ] {
            assert_eq!(shown(&url.parse().unwrap()), text);
        }
    }
}
