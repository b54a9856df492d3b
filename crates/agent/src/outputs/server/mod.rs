//! What stands between the socket and the routes: connections, TLS, credentials, and who may read what.

mod access;
mod activity;
mod basic;
mod bearer;
mod cache;
mod connections;
mod live;
mod problem;
mod sans;
mod stream;
mod tls;
mod turns;
mod web_config;

use crate::say;
use axum::{Router, middleware};
use basic::Basic;
use bearer::Bearer;
use live::{Live, Loaded};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tls::Tls;
use tokio::net::TcpListener;
use tokio::sync::Notify;

/// How often the web configuration and what it names are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// Connections that the system keeps until they are accepted.
const BACKLOG: i32 = 4096;

/// How it is served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebSettings {
    /// The web configuration file.
    pub config_file: Option<PathBuf>,
    /// Whether the Kubernetes API judges bearer tokens.
    pub kubernetes_auth: bool,
    /// As whom it is asked; without one as the service account of the pod that this runs in.
    pub kubeconfig: Option<PathBuf>,
}

impl WebSettings {
    /// With what was written; whether there is an API server to ask is found out here.
    pub fn of(
        config_file: Option<PathBuf>,
        kubernetes_auth: bool,
        kubeconfig: Option<PathBuf>,
    ) -> anyhow::Result<Self> {
        anyhow::ensure!(
            !kubernetes_auth || kubeconfig.is_some() || std::env::var_os("KUBERNETES_SERVICE_HOST").is_some(),
            "web.kubernetes_auth: this is no pod, so there is no API server to ask; name one with kubernetes.kubeconfig"
        );
        Ok(Self { config_file, kubernetes_auth, kubeconfig })
    }
}

/// What is known of those who may read.
pub struct Web {
    listen: SocketAddr,
    live: Live,
    basic: Basic,
    bearer: Option<Bearer>,
    /// Somebody asks for a new reading.
    wanted: Notify,
}

impl Web {
    /// Reads the web configuration; the error says what is wrong where.
    pub fn open(settings: &WebSettings, listen: SocketAddr) -> anyhow::Result<Self> {
        let bearer = settings.kubernetes_auth.then(|| Bearer::new(settings.kubeconfig.clone()));
        let live = Live::open(settings.config_file.clone())?;
        let web =
            Self { listen, live, basic: Basic::new()?, bearer: bearer.transpose()?, wanted: Notify::new() };
        web.warn();
        Ok(web)
    }

    /// Where this path is served, whether with TLS, and to whom, in words.
    pub fn summary(&self, path: &str) -> String {
        let loaded = self.live.now();
        let scheme = if loaded.tls.is_some() { "https" } else { "http" };
        let tls = if loaded.tls.is_some() { "TLS" } else { "no TLS" };
        format!("{scheme}://{}{path} ({tls}; {})", self.listen, self.authentication(&loaded))
    }

    fn authentication(&self, loaded: &Loaded) -> String {
        let mut ways = Vec::new();
        match loaded.users.len() {
            0 => {}
            1 => ways.push("1 user with a password".to_owned()),
            users => ways.push(format!("{users} users with passwords")),
        }
        if self.bearer.is_some() {
            ways.push("tokens of Kubernetes".to_owned());
        }
        let mut said = ways.join(" or ");
        if loaded.requires_certificate() {
            said = if said.is_empty() {
                "client certificates".to_owned()
            } else {
                format!("client certificates and {said}")
            };
        }
        match said.as_str() {
            "" if self.is_loopback() => "no authentication".to_owned(),
            "" => "no authentication, so /api is not served".to_owned(),
            ways => format!("authentication by {ways}"),
        }
    }

    fn warn(&self) {
        let loaded = self.live.now();
        if let Some(key) = &loaded.exposed_key {
            say::warn(format_args!("web.config_file: {} may be read by others: chmod o-r", key.display()));
        }
        if loaded.rate_limit {
            say::warn(
                "web.config_file: rate_limit has no effect here; the limits of connections and checks are fixed",
            );
        }
        if loaded.tls.is_none() && !self.is_loopback() && (loaded.users.len() > 0 || self.bearer.is_some()) {
            say::warn(
                "web.config_file: passwords and tokens come over the network as they are; configure tls_server_config",
            );
        }
    }

    /// Whether this machine alone is served.
    fn is_loopback(&self) -> bool {
        self.listen.ip().to_canonical().is_loopback()
    }

    /// For the next handshake; `None` where there is no TLS.
    fn tls(&self) -> Option<Tls> {
        self.live.now().tls.clone()
    }

    /// Has the web configuration read anew soon, without waiting for it.
    pub fn reread_soon(&self) {
        self.wanted.notify_one();
    }

    /// Where it is not good the one of before stays, which is told. `follow` alone calls it, so no two readings run at once.
    fn reread(&self) {
        if !self.live.has_file() {
            return;
        }
        match self.live.reread() {
            Ok(()) => {
                say::info(format_args!(
                    "web.config_file: was read anew: {}",
                    self.authentication(&self.live.now())
                ));
                self.warn();
            }
            Err(e) => say::error(format_args!("web.config_file: the one of before stays: {e:#}")),
        }
    }

    /// Reads the web configuration anew whenever it is another one.
    async fn follow(self: &Arc<Self>) {
        while self.live.has_file() {
            let wanted = tokio::select! {
                () = tokio::time::sleep(LOOK) => false,
                () = self.wanted.notified() => true,
            };
            let web = Arc::clone(self);
            // Files may be on something slow, or that never answers.
            let look = move || {
                if web.live.is_due() || wanted {
                    web.reread();
                }
            };
            let _ = tokio::task::spawn_blocking(look).await;
        }
    }
}

/// Serves for ever.
pub async fn serve(listener: TcpListener, router: Router, web: Arc<Web>) {
    // That of the standard library is short for all who come at once; the old one stays where this fails.
    let _ = rustix::net::listen(&listener, BACKLOG);
    let router = router.layer(middleware::from_fn_with_state(Arc::clone(&web), access::check));
    tokio::join!(connections::serve(listener, router, Arc::clone(&web)), web.follow());
}
