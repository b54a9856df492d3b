//! A service in a cluster, reached through the API server: for a person who has a kubeconfig and no other way in.

use super::connect::prepared;
use super::problem::Problem;
use gpu_session_core::sample::SourceError;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use k8s_openapi::api::core::v1::Service as Object;
use kube::api::ListParams;
use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use tokio::runtime::Runtime;
use tower::BoxError;

/// Label of Prometheus' own charts.
const LABEL: &str = "app.kubernetes.io/name=prometheus";
/// Where the usual installations have it.
const WELL_KNOWN: [&str; 5] = [
    "monitoring/kube-prometheus-stack-prometheus:9090",
    "monitoring/prometheus-operated:9090",
    "monitoring/prometheus-k8s:9090",
    "monitoring/prometheus-server:80",
    "gpu-operator/prometheus-operated:9090",
];
/// Largest answer that is read.
const MAX_BYTES: usize = 64 << 20;
const NAME_IT: &str = "name the one to ask with --service <namespace>/<name>:<port>";

/// A port of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    namespace: String,
    /// As it stands in the path: `[https:]<name>:<port>`.
    place: String,
}

/// Text that names no service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a service is <namespace>/[<scheme>:]<name>:<port>, as in monitoring/prometheus:9090 or monitoring/https:prometheus:web"
)]
pub struct BadService;

impl FromStr for Service {
    type Err = BadService;

    fn from_str(text: &str) -> Result<Self, BadService> {
        let (namespace, place) = text.split_once('/').ok_or(BadService)?;
        let is_name = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.')
        };
        let parts: Vec<&str> = place.split(':').collect();
        let fits = match parts[..] {
            [name, port] => is_name(name) && is_name(port),
            [scheme, name, port] => ["http", "https"].contains(&scheme) && is_name(name) && is_name(port),
            _ => false,
        };
        if !fits || !is_name(namespace) {
            return Err(BadService);
        }
        Ok(Self { namespace: namespace.to_owned(), place: place.to_owned() })
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.place)
    }
}

/// As whom, and to which cluster.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// `None`: `$KUBECONFIG`, else `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
    /// `None`: the current one.
    pub context: Option<String>,
}

/// A service that answers.
pub struct ServiceProxy {
    runtime: Runtime,
    client: Client,
    url: String,
    service: Service,
    limit: Duration,
}

/// An answer of the service.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: Vec<u8>,
}

impl fmt::Display for ServiceProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} through {}", self.service, self.url)
    }
}

impl ServiceProxy {
    /// The service, or where none is named Prometheus where it usually is. No answer is waited for longer than `limit`.
    pub fn prometheus(
        access: &Access,
        service: Option<Service>,
        limit: Duration,
    ) -> Result<Self, SourceError> {
        let no_thread = |e: std::io::Error| {
            Problem::new("io", format!("no runtime: {e}"), "see the limits of this process")
        };
        let found = (|| {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(no_thread)?;
            let (client, url) = runtime.block_on(bounded(limit, "the API server", connect(access)))?;
            let mut proxy = Self {
                runtime,
                client,
                url,
                service: Service { namespace: String::new(), place: String::new() },
                limit,
            };
            proxy.service = match service {
                Some(service) => service,
                None => proxy.find()?,
            };
            Ok(proxy)
        })();
        found.map_err(|problem: Problem| problem.error(""))
    }

    /// What it answers to a GET of this path and query.
    pub fn get(&self, path: &str) -> Result<Answer, SourceError> {
        self.ask(&self.service, path).map_err(|problem| problem.error(""))
    }

    fn ask(&self, service: &Service, path: &str) -> Result<Answer, Problem> {
        let Service { namespace, place } = service;
        let path = format!("/api/v1/namespaces/{namespace}/services/{place}/proxy{path}");
        let request = Request::get(path).body(kube::client::Body::empty());
        let request = request.map_err(|e| Problem::new("config", format!("{service}: {e}"), NAME_IT))?;
        let asked = async {
            let answer =
                self.client.send(request).await.map_err(|e| Problem::client(&self.url, "services", &e))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), MAX_BYTES)
                .collect()
                .await
                .map_err(|e| self.unread(service, &e))?;
            Ok((status, body.to_bytes()))
        };
        let (status, body) = self.runtime.block_on(bounded(self.limit, &self.url, asked))?;
        match refusal(&body).filter(|_| !status.is_success()) {
            Some(said) => Err(self.refused(service, status, &said)),
            None => Ok(Answer { status: status.as_u16(), body: body.to_vec() }),
        }
    }

    fn unread(&self, service: &Service, error: &BoxError) -> Problem {
        if error.is::<LengthLimitError>() {
            let what = format!("{service}: the answer is larger than {} MiB, not read", MAX_BYTES >> 20);
            return Problem::new("too_large", what, "ask for fewer series (--prometheus-matcher)");
        }
        Problem::new(
            "io",
            format!("{}: {}", self.url, crate::pods::chain(&**error)),
            "see the connection to it",
        )
    }

    /// What the API server itself said in place of the service.
    fn refused(&self, service: &Service, status: StatusCode, said: &str) -> Problem {
        let Service { namespace, place } = service;
        let what = format!("{}: {status} ({})", self.url, crate::pods::brief(said));
        match status {
            StatusCode::FORBIDDEN => Problem::new(
                "forbidden",
                what,
                format!(
                    "ask for a Role in the namespace {namespace} with the rule {{apiGroups: [\"\"], resources: \
                     [\"services/proxy\"], resourceNames: [\"{place}\"], verbs: [\"get\"]}}, bound to you"
                ),
            ),
            StatusCode::UNAUTHORIZED => Problem::new(
                "unauthorized",
                what,
                "see that the credentials of the context in the kubeconfig are current",
            ),
            StatusCode::NOT_FOUND => Problem::new("gone", what, NAME_IT),
            _ => Problem::new(
                "http_status",
                what,
                format!("see that pods of the service {service} run and that the API server reaches them"),
            ),
        }
    }

    /// The one service of the label; else the first of the well-known ones that is there.
    fn find(&self) -> Result<Service, Problem> {
        let api = Api::<Object>::all(self.client.clone());
        let params = ListParams::default().labels(LABEL);
        let list = async { api.list(&params).await.map_err(|e| Problem::client(&self.url, "services", &e)) };
        // Who may not list may ask all the same.
        let listed = self
            .runtime
            .block_on(bounded(self.limit, &self.url, list))
            .map(|list| list.items)
            .unwrap_or_default();
        let mut labelled: Vec<Service> = listed.iter().filter_map(port_of).collect();
        match labelled.len() {
            0 => {}
            1 => return Ok(labelled.remove(0)),
            _ => {
                let names: Vec<String> = labelled.iter().take(10).map(ToString::to_string).collect();
                let what =
                    format!("{}: several services have the label {LABEL}: {}", self.url, names.join(", "));
                return Err(Problem::new("config", what, NAME_IT));
            }
        }
        let mut refused = None;
        for service in WELL_KNOWN.iter().filter_map(|text| text.parse::<Service>().ok()) {
            match self.ask(&service, "/api/v1/query?query=1") {
                Err(problem) if problem.is_gone() => {}
                // Whether it is there is not told to who may not ask it.
                Err(problem) if problem.is_forbidden() => drop(refused.get_or_insert(problem)),
                Ok(_) => return Ok(service),
                Err(problem) => return Err(problem),
            }
        }
        if let Some(problem) = refused {
            return Err(problem.or(NAME_IT));
        }
        let what = format!(
            "{}: no service with the label {LABEL} can be seen, and none of {}",
            self.url,
            WELL_KNOWN.join(", ")
        );
        Err(Problem::new("config", what, NAME_IT))
    }
}

/// The port of a service that Prometheus' API is at.
fn port_of(object: &Object) -> Option<Service> {
    let ports = object.spec.as_ref()?.ports.as_deref()?;
    let is_web = |name: &Option<String>| {
        name.as_deref().is_some_and(|name| ["web", "http-web", "http"].contains(&name))
    };
    let port = ports.iter().find(|port| port.port == 9090 || is_web(&port.name)).or(ports.first())?;
    let (namespace, name) = (object.metadata.namespace.as_deref()?, object.metadata.name.as_deref()?);
    format!("{namespace}/{name}:{}", port.port).parse().ok()
}

/// What the API server says in a Status; `None` for an answer of anybody else.
fn refusal(body: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Status {
        kind: String,
        #[serde(default)]
        message: String,
    }
    let status: Status = serde_json::from_slice(body).ok()?;
    (status.kind == "Status").then_some(status.message)
}

async fn bounded<T>(
    limit: Duration,
    whom: &str,
    work: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(Problem::slow(whom, limit)))
}

async fn connect(access: &Access) -> Result<(Client, String), Problem> {
    let shown =
        access.kubeconfig.clone().unwrap_or_else(|| "the kubeconfig ($KUBECONFIG, ~/.kube/config)".into());
    let failed =
        |e| Problem::kubeconfig(&shown, &e).with_remedy("see --kubeconfig, KUBECONFIG and --context");
    let read = match &access.kubeconfig {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    let options = KubeConfigOptions { context: access.context.clone(), ..KubeConfigOptions::default() };
    let config = Config::from_custom_kubeconfig(read.map_err(failed)?, &options).await.map_err(failed)?;
    if config.proxy_url.is_some() {
        return Err(Problem::new(
            "config",
            "the API server is behind a proxy (proxy-url of the kubeconfig, or HTTPS_PROXY)",
            "reach Prometheus by kubectl port-forward, and name it with gpu-session-monitor ps --prometheus",
        ));
    }
    let (config, url) = prepared(config)?;
    let builder = ClientBuilder::try_from(config).map_err(|e| Problem::set_up(&url, Some(&shown), &e))?;
    Ok((builder.build(), url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_a_namespace_a_name_and_a_port() {
        for text in ["monitoring/prometheus:9090", "m/https:prometheus:web"] {
            assert_eq!(text.parse::<Service>().unwrap().to_string(), text);
        }
        for text in
            ["prometheus:9090", "m/prometheus", "m/ftp:p:1", "m/a/b:1", "m/p:1?x", "/p:1", "m/:1", "m/../x:1"]
        {
            assert_eq!(text.parse::<Service>(), Err(BadService), "{text}");
        }
        assert!(WELL_KNOWN.iter().all(|text| text.parse::<Service>().is_ok()));
    }

    #[test]
    fn only_the_api_servers_own_refusal_is_one() {
        assert_eq!(refusal(br#"{"kind":"Status","message":"no"}"#).as_deref(), Some("no"));
        assert_eq!(refusal(br#"{"status":"error","error":"bad"}"#), None);
        assert_eq!(refusal(b"<html>"), None);
    }
}
