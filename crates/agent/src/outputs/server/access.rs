//! Who may read what.

use super::Web;
use super::basic::unauthorized;
use super::connections::Peer;
use super::live::Loaded;
use super::problem::Refusal;
use crate::outputs::http::page;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http_body::Body as _;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// Always open: whoever asks them is a kubelet or a balancer, and they name nobody.
const PROBES: [&str; 2] = ["/healthz", "/readyz"];
/// Served to whoever can connect, where nothing says otherwise; so are the files of the page, which name nobody.
const PUBLIC: [&str; 2] = ["/", "/metrics"];
/// No route takes a body; a small one is not read.
const LARGEST_BODY: u64 = 4 << 10;

/// Marks answers to requests that not everybody may make. Where there is no authentication everybody is somebody.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admitted;

/// What decides whether a request is answered.
#[derive(Clone, Copy, Debug)]
struct Situation {
    /// Users with passwords are configured, or tokens.
    credentials: bool,
    /// What the connection has of what is required.
    certificates: Certificates,
    /// It is served to this machine only.
    loopback: bool,
}

/// Of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Certificates {
    /// One may connect without.
    NotRequired,
    /// The connection was made when none, or another one, was required.
    Missing,
    /// The handshake verified one by what is required now.
    Proved,
}

/// What is done with a request.
#[derive(Debug)]
enum Gate {
    Open,
    Credentials,
    Refused(Refusal),
}

fn gate(situation: Situation, path: &str, host: Option<&str>) -> Gate {
    if PROBES.contains(&path) {
        return Gate::Open;
    }
    if situation.certificates == Certificates::Missing {
        let detail = "a client certificate is required since this connection was made; connect again";
        return Gate::Refused(Refusal::new(StatusCode::MISDIRECTED_REQUEST, detail));
    }
    if situation.credentials {
        return Gate::Credentials;
    }
    if situation.certificates == Certificates::Proved || PUBLIC.contains(&path) || page::FILES.contains(&path)
    {
        return Gate::Open;
    }
    if !situation.loopback {
        let detail = "this is served to other machines only with authentication: name a web.config_file with \
                      basic_auth_users or client certificates, or set web.kubernetes_auth; or listen on 127.0.0.1";
        return Gate::Refused(Refusal::new(StatusCode::FORBIDDEN, detail));
    }
    if host.is_some_and(is_this_machine) {
        return Gate::Open;
    }
    // A page of elsewhere whose name was bound to our address would be of one origin with us.
    let detail = "without authentication this is answered under localhost or a loopback address only, and the request \
                  names another host";
    Gate::Refused(Refusal::new(StatusCode::MISDIRECTED_REQUEST, detail))
}

/// Whether a host, with or without a port, is `localhost` or an address of loopback.
fn is_this_machine(host: &str) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        let Some((address, after)) = rest.split_once(']') else { return false };
        let is_port = after.is_empty() || after.strip_prefix(':').is_some_and(is_port);
        return is_port && address.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback());
    }
    let (name, port) = host.split_once(':').unwrap_or((host, ""));
    if !is_port(port) {
        return false;
    }
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Lets a request go on to the routes, or answers it.
pub(super) async fn check(State(web): State<Arc<Web>>, request: Request, next: Next) -> Response {
    let loaded = web.live.now();
    let peer = request.extensions().get::<Peer>().cloned();
    let is_current = peer.as_ref().is_some_and(|peer| peer.is_current(&loaded));
    let is_api = request.uri().path().starts_with("/api");
    let admitted = match claim(&web, &loaded, peer.as_ref(), &request) {
        Ok(Some(claim)) => claim.check(&web, &loaded).await,
        Ok(None) => Ok(()),
        Err(refusal) => Err(refusal),
    };
    let is_probe = PROBES.contains(&request.uri().path());
    let mut response = match admitted {
        Ok(()) => {
            let mut response = next.run(request).await;
            // Whatever is no probe has passed what there is.
            if !is_probe {
                response.extensions_mut().insert(Admitted);
            }
            response
        }
        Err(refusal) => refused(refusal, &web, &loaded),
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if is_api {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if !is_current {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    for (name, value) in &loaded.headers {
        headers.insert(name, value.clone());
    }
    response
}

/// What of a request says whose it is.
struct Claim {
    authorization: Option<(String, String)>,
    path: String,
    verb: String,
    peer: IpAddr,
}

/// The claim that is to be checked; `None` where nothing is asked for.
fn claim(
    web: &Web,
    loaded: &Loaded,
    peer: Option<&Peer>,
    request: &Request,
) -> Result<Option<Claim>, Refusal> {
    let body = request.body().size_hint();
    if body.upper().is_none_or(|most| most > LARGEST_BODY) {
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "nothing here takes a body"));
    }
    let situation = Situation {
        credentials: loaded.users.len() > 0 || web.bearer.is_some(),
        certificates: if loaded.requires_certificate() {
            let has = peer.is_some_and(|peer| peer.has_certificate(loaded));
            if has { Certificates::Proved } else { Certificates::Missing }
        } else {
            Certificates::NotRequired
        },
        loopback: web.is_loopback(),
    };
    match gate(situation, request.uri().path(), host(request)) {
        Gate::Open => Ok(None),
        Gate::Refused(refusal) => Err(refusal),
        Gate::Credentials => Ok(Some(Claim::of(request, peer))),
    }
}

impl Claim {
    fn of(request: &Request, peer: Option<&Peer>) -> Self {
        let verb = match *request.method() {
            Method::GET | Method::HEAD => "get".to_owned(),
            ref other => other.as_str().to_ascii_lowercase(),
        };
        let peer = peer.map_or(Ipv6Addr::UNSPECIFIED.into(), |peer| peer.address);
        let authorization = authorization(request.headers());
        Self {
            authorization: authorization.map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest.to_owned())),
            path: request.uri().path().to_owned(),
            verb,
            peer,
        }
    }

    async fn check(&self, web: &Web, loaded: &Loaded) -> Result<(), Refusal> {
        let Some((scheme, given)) = &self.authorization else { return Err(unauthorized()) };
        match (scheme.as_str(), &web.bearer) {
            ("basic", _) if loaded.users.len() > 0 => {
                let right = web.basic.check(&loaded.users, given, self.peer).await?;
                if right { Ok(()) } else { Err(unauthorized()) }
            }
            ("bearer", Some(bearer)) => bearer.check(given, &self.path, &self.verb, self.peer).await,
            _ => Err(unauthorized()),
        }
    }
}

/// Whom the request is for: the address of the request, and only without one the header; nothing where that is there
/// twice, for others may have looked at the other one.
fn host(request: &Request) -> Option<&str> {
    let mut headers = request.headers().get_all(header::HOST).iter();
    let (header, None) = (headers.next(), headers.next()) else { return None };
    let authority = request.uri().authority().map(axum::http::uri::Authority::as_str);
    authority.or_else(|| header.and_then(|host| host.to_str().ok()))
}

/// The scheme and what follows; nothing where it is said twice.
fn authorization(headers: &HeaderMap) -> Option<(&str, &str)> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(one), None) = (given.next(), given.next()) else { return None };
    let (scheme, rest) = one.to_str().ok()?.split_once(' ')?;
    Some((scheme, rest.trim()))
}

fn refused(refusal: Refusal, web: &Web, loaded: &Loaded) -> Response {
    let asks = refusal.status == StatusCode::UNAUTHORIZED;
    let mut response = refusal.into_response();
    let headers = response.headers_mut();
    if asks && loaded.users.len() > 0 {
        let basic = HeaderValue::from_static("Basic realm=\"gpu-session-monitor\"");
        headers.append(header::WWW_AUTHENTICATE, basic);
    }
    if asks && web.bearer.is_some() {
        let bearer = HeaderValue::from_static("Bearer realm=\"gpu-session-monitor\"");
        headers.append(header::WWW_AUTHENTICATE, bearer);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(credentials: bool, certificates: bool, loopback: bool, path: &str, host: Option<&str>) -> u16 {
        let certificates = if certificates { Certificates::Proved } else { Certificates::NotRequired };
        decided_in(Situation { credentials, certificates, loopback }, path, host)
    }

    fn decided_in(situation: Situation, path: &str, host: Option<&str>) -> u16 {
        match gate(situation, path, host) {
            Gate::Open => 200,
            Gate::Credentials => 401,
            Gate::Refused(refusal) => refusal.status.as_u16(),
        }
    }

    #[test]
    fn what_is_open_when() {
        let (api, local) = ("/api/v1/sessions", Some("localhost:9836"));
        let elsewhere = Some("gpu-7:9836");
        for (situation, path, host, wanted) in [
            ((false, false, true), api, local, 200),
            ((false, false, true), api, Some("127.0.0.1"), 200),
            ((false, false, true), api, Some("[::1]:9836"), 200),
            ((false, false, true), api, elsewhere, 421),
            ((false, false, true), api, None, 421),
            ((false, false, true), "/metrics", elsewhere, 200),
            ((false, false, true), "/apis", elsewhere, 421),
            ((false, false, false), api, local, 403),
            ((false, false, false), "/metrics", elsewhere, 200),
            ((false, false, false), "/", elsewhere, 200),
            ((false, false, false), "/metrics/", elsewhere, 403),
            ((false, false, false), "/page/app.js", elsewhere, 200),
            ((false, false, true), "/page/app.css", elsewhere, 200),
            ((false, false, false), "/page/", elsewhere, 403),
            ((false, false, false), "/page/other.js", elsewhere, 403),
            ((true, false, false), "/page/app.js", elsewhere, 401),
            ((false, true, false), api, elsewhere, 200),
            ((true, false, false), api, elsewhere, 401),
            ((true, true, true), "/metrics", local, 401),
            ((true, false, true), "/", local, 401),
        ] {
            let (credentials, certificates, loopback) = situation;
            let found = decided(credentials, certificates, loopback, path, host);
            assert_eq!(found, wanted, "{situation:?} {path} {host:?}");
        }
        for credentials in [false, true] {
            let missing = Situation { credentials, certificates: Certificates::Missing, loopback: true };
            for path in [api, "/metrics", "/"] {
                assert_eq!(decided_in(missing, path, local), 421, "{credentials} {path}");
            }
        }
        for probe in PROBES {
            assert_eq!(decided(true, true, false, probe, elsewhere), 200);
        }
    }

    #[test]
    fn names_that_only_look_like_this_machine_are_others() {
        for other in [
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil.example",
            "[::2]",
            "[::1].evil.example",
            "[::1]evil:80",
            "[::1]:80.evil.example",
            "localhost:80.evil.example",
            "::1",
            "10.0.0.1",
            "",
            "[",
            "0.0.0.0",
        ] {
            assert!(!is_this_machine(other), "{other}");
        }
        for own in ["LOCALHOST", "127.9.9.9:1", "[::1]", "localhost"] {
            assert!(is_this_machine(own), "{own}");
        }
    }

    #[test]
    fn credentials_that_are_said_twice_are_none() {
        let mut headers = HeaderMap::new();
        assert_eq!(authorization(&headers), None);
        headers.append(header::AUTHORIZATION, HeaderValue::from_static("Bearer  x "));
        assert_eq!(authorization(&headers), Some(("Bearer", "x")));
        headers.append(header::AUTHORIZATION, HeaderValue::from_static("Basic y"));
        assert_eq!(authorization(&headers), None);
    }
}
