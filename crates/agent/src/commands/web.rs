//! `web`: a page of the whole cluster.

use crate::cli::WebArgs;
use crate::cluster::Looker;
use crate::cluster::past::Past;
use crate::exit::{Exit, Failure};
use crate::outputs::http::cluster::{Shared, routes};
use crate::outputs::server::{self, Web, WebSettings};
use crate::report::prometheus::{Options, Prometheus};
use crate::settings::check_range;
use crate::view;
use crate::{VERSION, say};
use anyhow::Context as _;
use gpu_session_sources::clock::Clock;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

const LEAST_REFRESH: Duration = Duration::from_secs(5);
const MOST_REFRESH: Duration = Duration::from_secs(600);

pub(super) fn run(args: &WebArgs) -> Result<Exit, Failure> {
    check_range("--refresh", Some(args.refresh), LEAST_REFRESH, MOST_REFRESH)?;
    let settings = WebSettings::of(
        args.web_config_file.clone(),
        args.web_kubernetes_auth.unwrap_or(false),
        args.kubernetes_kubeconfig.clone(),
    )
    .map_err(Failure::usage)?;
    let clock = args.clock.as_deref().map_or(Ok(Clock::Real), Clock::file).map_err(Failure::usage)?;
    let options = Options {
        url: &args.prometheus,
        token_file: args.prometheus_token_file.as_deref(),
        matcher: args.prometheus_matcher.as_deref(),
        timeout: args.prometheus_timeout,
    };
    let source = view::prometheus::Prometheus::of(&options, clock.clone()).map_err(Failure::usage)?;
    let past = Past::of(&options).map_err(Failure::usage)?;
    // Its address without a password.
    let from = Prometheus::new(&options).map_err(Failure::usage)?.to_string();

    let listener = bind(args.listen)?;
    let web = Web::open(&settings, listener.local_addr()?).map_err(Failure::usage)?;
    let looker = Looker::start(Box::new(source), clock.clone(), args.refresh, args.prometheus_timeout)?;
    let shared = Shared::new(looker, past, clock);
    // One thread serves; answers that take their time are made on others.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let signals = Signals::of(&runtime)?;
    let refresh = humantime::format_duration(args.refresh);
    say::info(format_args!(
        "version {VERSION}; listen {}; Prometheus at {from}, looked at every {refresh} while somebody asks",
        web.summary("/")
    ));
    let served = runtime.block_on(serve(listener, shared, Arc::new(web), signals));
    // A question that Prometheus has not answered is left behind.
    runtime.shutdown_background();
    served?;
    Ok(Exit::Ok)
}

fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| {
        format!("--listen: {address} cannot be served on; end what uses it, or name another address")
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Takes them over from here on.
    fn of(runtime: &Runtime) -> std::io::Result<Self> {
        let _guard = runtime.enter();
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the end; SIGHUP has the web configuration read anew.
    async fn end(mut self, web: &Web) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => web.reread_soon(),
            }
        }
    }
}

/// Serves until a signal.
async fn serve(listener: TcpListener, shared: Shared, web: Arc<Web>, signals: Signals) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let serving = server::serve(listener, routes(shared), Arc::clone(&web));
    tokio::select! {
        () = serving => {}
        () = signals.end(&web) => {}
    }
    Ok(())
}
