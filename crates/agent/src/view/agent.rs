//! A running agent: a `serve` on this or another node, by its API.

use super::{Looks, NodeView, View};
use crate::report::prometheus::client::token;
use crate::url;
use anyhow::{Context as _, anyhow, bail, ensure};
use gpu_session_api::{Allocations, Devices, Sessions};
use gpu_session_client::{Client, Error, Filter, Paged};
use listed::Listed;
use percent_encoding::percent_decode_str;
use std::path::Path;
use std::time::{Duration, Instant};

mod listed;

const ALLOWED: &str = "allowed is http(s)://[<user>:<password>@]<host>[:<port>][/<path>], with what is special in user and \
                       password percent-encoded";
/// As many as an answer holds.
const PAGE: u16 = 1000;
/// Tries to get pages that are all of one sample.
const TRIES: u32 = 5;
/// An answer of more devices, sessions or allocations is not read.
const MOST: usize = 100_000;
/// Longest time for all pages of an answer.
const LONGEST: Duration = Duration::from_secs(120);

/// A client of it.
pub struct Agent {
    client: Client,
    node: String,
}

impl Agent {
    /// Of the agent at this URL, which may hold a user and a password, or with a token, without a request.
    pub fn new(url: &str, token_file: Option<&Path>) -> anyhow::Result<Self> {
        let (base, userinfo) = url::address(url, ALLOWED).map_err(|e| anyhow!("--connect: {e}"))?;
        let client = Client::new(&base).context("--connect")?;
        let client = match (userinfo, token_file) {
            (Some(_), Some(_)) => {
                bail!("--connect-token-file: the URL has a user or password too; give one of them")
            }
            (Some(userinfo), None) => {
                let (user, password) = userinfo.split_once(':').unwrap_or((&userinfo, ""));
                let text = |part| {
                    percent_decode_str(part).decode_utf8().map_err(|_| anyhow!("--connect: {ALLOWED}"))
                };
                client.with_basic(&text(user)?, &text(password)?).context("--connect")?
            }
            (None, Some(path)) => client
                .with_bearer(&token(path).context("--connect-token-file")?)
                .context("--connect-token-file")?,
            (None, None) => client,
        };
        let node = base.split_once("://").map_or(base.as_str(), |(_, place)| place).to_owned();
        Ok(Self { client, node })
    }

    /// All pages of an answer, cleaned; `None` where they are not of one sample.
    fn all<D: Paged + Listed>(
        &self,
        ask: fn(&Client, &Filter) -> Result<D, Error>,
    ) -> anyhow::Result<Option<D>> {
        let begun = Instant::now();
        let mut whole: Option<D> = None;
        for page in self.client.pages(&Filter::new().limit(PAGE), ask) {
            let mut page = page?;
            page.clean();
            let known = match &mut whole {
                None => whole.insert(page),
                // Of two samples at once it could hold a session twice, or not at all.
                #[allow(clippy::float_cmp, reason = "the same figure, written twice")]
                Some(known) if known.time() != page.time() => return Ok(None),
                Some(known) => {
                    known.join(page);
                    known
                }
            };
            ensure!(
                known.len() <= MOST && begun.elapsed() <= LONGEST,
                "{}: its answer goes on beyond {MOST} entries or {} s, not read; see that it is a gpu-session-monitor of \
                 your own",
                self.node,
                LONGEST.as_secs()
            );
        }
        Ok(whole)
    }

    /// A view of one sample, unless the agent took one while it was asked.
    fn try_look(&self) -> anyhow::Result<Option<NodeView>> {
        let devices: Option<Devices> = self.all(Client::devices)?;
        let sessions: Option<Sessions> = self.all(Client::sessions)?;
        let allocations: Option<Allocations> = self.all(Client::allocations)?;
        let (Some(devices), Some(sessions), Some(allocations)) = (devices, sessions, allocations) else {
            return Ok(None);
        };
        let times = [sessions.timestamp, allocations.timestamp];
        let view = NodeView {
            node: Some(self.node.clone()),
            timestamp: Some(devices.timestamp),
            driver_version: devices.driver_version,
            sources: devices.sources,
            devices: devices.devices,
            sessions: sessions.sessions,
            allocations: allocations.allocations,
        };
        #[allow(clippy::float_cmp, reason = "the same figure, written three times")]
        Ok(times.iter().all(|time| *time == devices.timestamp).then_some(view))
    }
}

impl Looks for Agent {
    fn look(&mut self) -> anyhow::Result<View> {
        for _ in 0..TRIES {
            if let Some(view) = self.try_look()? {
                return Ok(View { nodes: vec![view] });
            }
        }
        bail!(
            "{}: it takes samples faster than its answers can be read; ask over a faster connection, or give it a longer \
             --interval",
            self.node
        )
    }
}
