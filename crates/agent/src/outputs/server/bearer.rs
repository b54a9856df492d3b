//! Bearer tokens that the Kubernetes API judges.

use super::basic::unauthorized;
use super::cache::{Cache, Fingerprints};
use super::problem::Refusal;
use super::turns::Turns;
use crate::say::Conditions;
use axum::http::StatusCode;
use gpu_session_sources::kubernetes::access::{Reviewer, Verdict};
use std::borrow::Cow;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Reviews that run at once, and that run or wait.
const AT_ONCE: usize = 4;
const PENDING: usize = 32;
/// How long an answer holds. Somebody whose right was taken keeps it for as long as the first.
const ALLOWED: Duration = Duration::from_secs(60);
const DENIED: Duration = Duration::from_secs(10);
/// No token is longer: certificates are no tokens.
const LONGEST: usize = 8 << 10;

/// Asks the API whose a token is and whether he may read a path.
pub(super) struct Bearer {
    reviewer: Reviewer,
    fingerprints: Fingerprints,
    allowed: Cache<()>,
    denied: Cache<bool>,
    turns: Arc<Turns>,
    told: Mutex<Conditions>,
    begin: Instant,
}

impl Bearer {
    /// Asks with this kubeconfig, or as the service account of the pod that this runs in.
    pub(super) fn new(kubeconfig: Option<PathBuf>) -> anyhow::Result<Self> {
        Ok(Self {
            reviewer: Reviewer::new(kubeconfig),
            fingerprints: Fingerprints::new()?,
            allowed: Cache::new(1000),
            denied: Cache::new(1000),
            turns: Turns::new(AT_ONCE, PENDING),
            told: Mutex::default(),
            begin: Instant::now(),
        })
    }

    /// Whether whoever has this token may read the path.
    pub(super) async fn check(
        &self,
        token: &str,
        path: &str,
        verb: &str,
        peer: IpAddr,
    ) -> Result<(), Refusal> {
        let path = &*reviewed(path);
        if token.is_empty() || token.len() > LONGEST {
            return Err(unauthorized());
        }
        let fingerprint = self.fingerprints.of(&[token.as_bytes(), path.as_bytes(), verb.as_bytes()]);
        if let Some(known) = self.known(&fingerprint) {
            return known;
        }
        let _turn = self.turns.next(peer).await?;
        if let Some(known) = self.known(&fingerprint) {
            return known;
        }
        let verdict = self.reviewer.review(token, path, verb).await;
        let now = Instant::now();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        match verdict {
            Ok(verdict) => {
                told.ended("web.kubernetes_auth", "tokens are reviewed again");
                match verdict {
                    Verdict::Allowed => self.allowed.put(fingerprint, (), now, ALLOWED),
                    Verdict::Unknown => self.denied.put(fingerprint, false, now, DENIED),
                    Verdict::Forbidden => self.denied.put(fingerprint, true, now, DENIED),
                }
                self.known(&fingerprint).unwrap_or_else(|| Err(unavailable()))
            }
            Err(problem) => {
                let words = format!("web.kubernetes_auth: {}", problem.message);
                let now_us = now.duration_since(self.begin).as_micros() as i64;
                told.holds("web.kubernetes_auth", &[(&*problem.kind, words)], now_us);
                Err(unavailable())
            }
        }
    }

    fn known(&self, fingerprint: &super::cache::Fingerprint) -> Option<Result<(), Refusal>> {
        let now = Instant::now();
        if self.allowed.get(fingerprint, now).is_some() {
            return Some(Ok(()));
        }
        let is_somebody = self.denied.get(fingerprint, now)?;
        Some(Err(if is_somebody { forbidden() } else { unauthorized() }))
    }
}

/// The path that the API is asked about. That of `/metrics` is what every Prometheus has the right to. Of others it gets a
/// name of ours: every account of a cluster may read what is called `/api/*` (`system:discovery`).
fn reviewed(path: &str) -> Cow<'_, str> {
    if path == "/metrics" { path.into() } else { format!("/gpu-session-monitor{path}").into() }
}

fn forbidden() -> Refusal {
    let detail = "the token is good, and may not read this: it needs a ClusterRole with the verb get and the \
                  nonResourceURLs /metrics or /gpu-session-monitor/*";
    Refusal::new(StatusCode::FORBIDDEN, detail)
}

fn unavailable() -> Refusal {
    let detail = "the Kubernetes API does not say whose the token is; the log of this program says why";
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(Duration::from_secs(5))
}
