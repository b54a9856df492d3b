//! `kubectl gpu-sessions`: `ps` of the cluster that kubectl looks at, from its Prometheus through its API server.

use super::ps::{Page, filter, show};
use crate::cli::KubectlArgs;
use crate::exit::{Exit, Failure};
use crate::{say, view};
use gpu_session_sources::clock::Clock;
use gpu_session_sources::kubernetes::proxy::{Access, ServiceProxy};

/// Runs it; what goes wrong is told on standard error.
pub fn run(args: &KubectlArgs) -> Exit {
    look(args).unwrap_or_else(|Failure { exit, error }| {
        say::error(format_args!("{error:#}"));
        exit
    })
}

fn look(args: &KubectlArgs) -> Result<Exit, Failure> {
    let access = Access { kubeconfig: args.kubeconfig.clone(), context: args.context.clone() };
    let proxy = ServiceProxy::prometheus(&access, args.service.clone(), args.request_timeout)
        .map_err(|e| anyhow::anyhow!("{}", e.message))?;
    let filter = filter(&args.show, args.node.clone(), args.namespace.clone());
    let page = Page { show: args.show.clone(), filter, clock: Clock::Real, local: false };
    show(view::through(proxy, args.prometheus_matcher.as_deref()), page)
}
