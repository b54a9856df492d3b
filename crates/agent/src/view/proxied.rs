//! Prometheus through the API server of its cluster.

use super::prometheus::Asks;
use crate::report::prometheus::answer::{self, Vector};
use anyhow::{Context as _, anyhow};
use gpu_session_sources::kubernetes::proxy::ServiceProxy;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

const IS_IT: &str = "see that --service names a service of Prometheus and the port of its API";

impl Asks for ServiceProxy {
    fn ask(&self, query: &str, at: i64) -> anyhow::Result<Vector> {
        let query = utf8_percent_encode(query, NON_ALPHANUMERIC);
        // A GET, for which the right `get` is enough.
        let told =
            self.get(&format!("/api/v1/query?query={query}&time={at}")).map_err(|e| anyhow!("{}", e.message));
        told.and_then(|answer| match answer.status {
            200 => answer::read(&answer.body).map_err(|what| anyhow!("{what}; {IS_IT}")),
            status => {
                let words =
                    answer::refusal(&answer.body).map(|words| format!(" ({words})")).unwrap_or_default();
                Err(anyhow!(
                    "it answered {status}{words}; {IS_IT}, and that --prometheus-matcher, if given, is PromQL"
                ))
            }
        })
        .with_context(|| self.name())
    }

    fn name(&self) -> String {
        format!("Prometheus at {self}")
    }
}
