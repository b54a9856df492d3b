//! A client of gpu-session-monitor's HTTP API: small, typed, blocking. Sizes and times are bounded, and errors say what went
//! wrong, where, and the remedy.
//!
//! ```no_run
//! use gpu_session_client::{Client, Filter};
//!
//! let client = Client::new("http://127.0.0.1:9836")?;
//! for page in client.pages(&Filter::new().user("alice"), Client::sessions) {
//!     for session in page?.sessions {
//!         println!("{} {:?}", session.gpu, session.command);
//!     }
//! }
//! # Ok::<(), gpu_session_client::Error>(())
//! ```

mod error;
mod events;
mod filter;
mod pages;
mod view;

pub use error::{Error, Kind};
pub use events::Events;
pub use filter::Filter;
pub use gpu_session_api as api;
pub use pages::{Paged, Pages};
pub use view::View;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use gpu_session_api::{
    About, AllocationHistory, Allocations, DeviceUsages, Devices, SessionHistory, Sessions, UserUsages, Users,
};
use serde::de::DeserializeOwned;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use ureq::http::header::{ACCEPT, AUTHORIZATION};
use ureq::http::uri::Authority;
use ureq::http::{HeaderValue, Response, StatusCode, Uri};
use ureq::tls::{RootCerts, TlsConfig};

/// Largest answer that is read: a page of 1 000 sessions is some 1 MiB.
const MAX_BYTES: u64 = 16 << 20;
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Longest wait for an answer; the server gives up a query of its ledger after ten seconds.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// Longest time for a whole answer, but for a stream.
const WHOLE_LIMIT: Duration = Duration::from_secs(60);
/// Longest silence in a stream, in which the server says something every 15 seconds.
const SILENCE_LIMIT: Duration = Duration::from_secs(45);

/// A client of one server.
#[derive(Clone)]
pub struct Client {
    /// Base of the server, without the last slash.
    base: String,
    authorization: Option<HeaderValue>,
    agent: ureq::Agent,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Client {
    /// Of the server at this URL: `http(s)://host[:port][/path]`.
    pub fn new(url: &str) -> Result<Self, Error> {
        let base = url.trim().trim_end_matches('/');
        let uri: Option<Uri> = base.parse().ok();
        let whole = uri.as_ref().is_some_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.authority().is_some_and(is_place)
                && uri.query().is_none()
        });
        if !whole || base.contains('#') {
            return Err(Error::usage(
                "the URL of the server is not one: write http(s)://<host>[:<port>][/<path>], and give user and password \
                 apart from it",
            ));
        }
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = ureq::Agent::config_builder()
            .user_agent(concat!("gpu-session-client/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT_LIMIT))
            .timeout_recv_response(Some(ANSWER_LIMIT))
            .timeout_per_read(Some(SILENCE_LIMIT))
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .tls_config(tls);
        Ok(Self { base: base.to_owned(), authorization: None, agent: config.build().new_agent() })
    }

    /// With a user and a password.
    pub fn with_basic(self, user: &str, password: &str) -> Result<Self, Error> {
        self.with(&format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}"))))
    }

    /// With a token.
    pub fn with_bearer(self, token: &str) -> Result<Self, Error> {
        self.with(&format!("Bearer {}", token.trim()))
    }

    fn with(self, authorization: &str) -> Result<Self, Error> {
        let mut value = HeaderValue::from_str(authorization).map_err(|_| {
            Error::usage("the credentials cannot be sent: a token is one line of printable ASCII")
        })?;
        value.set_sensitive(true);
        Ok(Self { authorization: Some(value), ..self })
    }

    /// Who answers, and for what.
    pub fn about(&self) -> Result<About, Error> {
        self.get("about", &[])
    }

    /// Sessions now.
    pub fn sessions(&self, filter: &Filter) -> Result<Sessions, Error> {
        self.get("sessions", &filter.now()?)
    }

    /// Devices now.
    pub fn devices(&self, filter: &Filter) -> Result<Devices, Error> {
        self.get("devices", &filter.now()?)
    }

    /// Users now.
    pub fn users(&self, filter: &Filter) -> Result<Users, Error> {
        self.get("users", &filter.now()?)
    }

    /// Allocations now.
    pub fn allocations(&self, filter: &Filter) -> Result<Allocations, Error> {
        self.get("allocations", &filter.now()?)
    }

    /// Sessions of the filter's period.
    pub fn session_history(&self, filter: &Filter) -> Result<SessionHistory, Error> {
        self.get("sessions", &filter.then()?)
    }

    /// What was used of each device in the filter's period.
    pub fn device_usage(&self, filter: &Filter) -> Result<DeviceUsages, Error> {
        self.get("devices", &filter.then()?)
    }

    /// What each user used in the filter's period.
    pub fn user_usage(&self, filter: &Filter) -> Result<UserUsages, Error> {
        self.get("users", &filter.then()?)
    }

    /// Allocations of the filter's period.
    pub fn allocation_history(&self, filter: &Filter) -> Result<AllocationHistory, Error> {
        self.get("allocations", &filter.then()?)
    }

    /// The answers to a question, page by page: `client.pages(&filter, Client::sessions)`.
    pub fn pages<D: Paged>(
        &self,
        filter: &Filter,
        ask: fn(&Self, &Filter) -> Result<D, Error>,
    ) -> Pages<'_, D> {
        Pages::new(self, filter.clone(), ask)
    }

    /// What changes, beginning with all that is: a [`View`] has the state that comes of it. After an error, or the end, begin
    /// with a new stream and a new [`View`].
    pub fn stream(&self, filter: &Filter) -> Result<Events, Error> {
        let answer = self.ask("stream", &filter.now()?, "text/event-stream", None)?;
        Ok(Events::new(self.base.clone(), answer.into_body().into_reader()))
    }

    /// That pages would have no end.
    fn repeated(&self) -> Error {
        Error::answer(&self.base, "a page names a page before it as the next one")
    }

    fn get<D: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> Result<D, Error> {
        let mut answer = self.ask(path, query, "application/json", Some(WHOLE_LIMIT))?;
        let body = answer.body_mut().with_config().limit(MAX_BYTES).read_to_vec();
        let body = body.map_err(|e| Error::transport(&self.base, &e))?;
        serde_json::from_slice(&body).map_err(|e| Error::answer(&self.base, &e))
    }

    fn ask(
        &self,
        path: &str,
        query: &[(&str, String)],
        accept: &str,
        whole: Option<Duration>,
    ) -> Result<Response<ureq::Body>, Error> {
        let request = self.agent.get(format!("{}/api/v1/{path}", self.base)).header(ACCEPT, accept);
        let mut request = request.config().timeout_global(whole).build();
        for (name, value) in query {
            request = request.query(*name, value);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let answer = request.call().map_err(|e| Error::transport(&self.base, &e))?;
        if answer.status() == StatusCode::OK { Ok(answer) } else { Err(Error::refused(&self.base, answer)) }
    }
}

/// Whether it is a host, with a port from 1 to 65535 or none. Of a port out of range, the request would go elsewhere.
fn is_place(authority: &Authority) -> bool {
    let port = authority.as_str().strip_prefix(authority.host());
    let fits = |port: &str| port.is_empty() || authority.port_u16().is_some_and(|port| port > 0);
    !authority.host().is_empty() && port.is_some_and(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_url_is_refused_without_repeating_it() {
        for url in [
            "",
            "host:9836",
            "ftp://h",
            "http://",
            "http://u:s3cret@h",
            "http://h/?s3cret",
            "http://h#s3cret",
            "http://h:99999",
            "http://h:0",
            "http://h:",
        ] {
            let error = Client::new(url).unwrap_err();
            assert_eq!(error.kind(), Kind::Usage, "{url}");
            assert!(
                error.to_string().contains("http(s)://") && !error.to_string().contains("s3cret"),
                "{url}: {error}"
            );
        }
        for url in ["http://h", "https://h:9836/", "http://[::1]:1/gpu/"] {
            assert!(Client::new(url).is_ok(), "{url}");
        }
    }

    #[test]
    fn credentials_are_not_shown() {
        let client = Client::new("http://h").unwrap().with_basic("u", "s3cret").unwrap();
        assert!(client.authorization.as_ref().is_some_and(HeaderValue::is_sensitive));
        assert!(!format!("{client:?}").contains("s3cret"));
        assert!(Client::new("http://h").unwrap().with_bearer("a\nb").is_err());
    }
}
