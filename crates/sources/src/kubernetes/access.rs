//! Whose a bearer token is, and what he may read: the API judges both (TokenReview, SubjectAccessReview).

use super::connect::connect_as;
use super::problem::Problem;
use gpu_session_core::sample::SourceError;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;

/// Longest time for both reviews, the connection included.
const LIMIT: Duration = Duration::from_secs(5);

/// What the API says of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is somebody's, and he may read the path.
    Allowed,
    /// It is somebody's, who may not.
    Forbidden,
    /// It is nobody's, or no longer.
    Unknown,
}

/// Asks the API for reviews.
pub struct Reviewer {
    kubeconfig: Option<PathBuf>,
    /// From the first review on, with the address, for messages.
    client: Arc<Mutex<Option<(Client, String)>>>,
    /// Held by the one that connects, for all.
    connecting: Arc<tokio::sync::Mutex<()>>,
}

impl Reviewer {
    /// With this kubeconfig, or as the service account of the pod that this runs in. Asks nothing yet.
    pub fn new(kubeconfig: Option<PathBuf>) -> Self {
        Self { kubeconfig, client: Arc::default(), connecting: Arc::default() }
    }

    /// Whether whoever has this token may use the verb (`get`) on a path that is no resource of the API. Must run on a
    /// runtime of tokio.
    pub async fn review(&self, token: &str, path: &str, verb: &str) -> Result<Verdict, SourceError> {
        let asked = tokio::time::timeout(LIMIT, self.ask(token, path, verb)).await;
        let asked = asked.unwrap_or_else(|_| Err(Problem::slow("the API server", LIMIT)));
        asked.map_err(|problem| {
            if problem.needs_new_client() {
                self.client.lock().unwrap_or_else(PoisonError::into_inner).take();
            }
            problem.error("no token is accepted")
        })
    }

    async fn ask(&self, token: &str, path: &str, verb: &str) -> Result<Verdict, Problem> {
        let (client, url) = self.client().await?;
        let post = PostParams::default();
        let review = TokenReview {
            spec: TokenReviewSpec { token: token.to_owned(), ..TokenReviewSpec::default() },
            ..TokenReview::default()
        };
        let review = Api::<TokenReview>::all(client.clone()).create(&post, &review).await;
        let review = review.map_err(|e| Problem::review(&url, "tokenreviews", &e))?;
        let Some(status) = review.status.filter(|status| status.authenticated == Some(true)) else {
            return Ok(Verdict::Unknown);
        };
        let review = SubjectAccessReview {
            spec: subject(status.user.unwrap_or_default(), path, verb),
            ..SubjectAccessReview::default()
        };
        let review = Api::<SubjectAccessReview>::all(client).create(&post, &review).await;
        let review = review.map_err(|e| Problem::review(&url, "subjectaccessreviews", &e))?;
        let allowed = review.status.is_some_and(|status| status.allowed && status.denied != Some(true));
        Ok(if allowed { Verdict::Allowed } else { Verdict::Forbidden })
    }

    async fn client(&self) -> Result<(Client, String), Problem> {
        if let Some(known) = self.known() {
            return Ok(known);
        }
        let turn = Arc::clone(&self.connecting).lock_owned().await;
        if let Some(known) = self.known() {
            return Ok(known);
        }
        let (kubeconfig, runtime) = (self.kubeconfig.clone(), Handle::current());
        let client = Arc::clone(&self.client);
        // A plugin of a kubeconfig that makes credentials may take its time.
        let connected = tokio::task::spawn_blocking(move || {
            // To the end of a plugin that hangs, though nobody waits for it: another one would hang beside it.
            let _turn = turn;
            let connected = runtime.block_on(connect_as(kubeconfig.as_deref(), Arc::new(|| ())))?;
            *client.lock().unwrap_or_else(PoisonError::into_inner) = Some(connected.clone());
            Ok(connected)
        });
        connected
            .await
            .map_err(|_| Problem::new("io", "the connection could not be set up", "see the log"))?
    }

    fn known(&self) -> Option<(Client, String)> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The user as the API itself named him, with all that roles may be bound to.
fn subject(user: UserInfo, path: &str, verb: &str) -> SubjectAccessReviewSpec {
    SubjectAccessReviewSpec {
        user: user.username,
        groups: user.groups,
        uid: user.uid,
        extra: user.extra,
        non_resource_attributes: Some(NonResourceAttributes {
            path: Some(path.to_owned()),
            verb: Some(verb.to_owned()),
        }),
        ..SubjectAccessReviewSpec::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_that_hangs_is_run_once_for_all() {
        let folder = tempfile::tempdir().unwrap();
        let (runs, hangs) = (folder.path().join("runs"), folder.path().join("hangs"));
        std::fs::write(&hangs, "").unwrap();
        let script = format!(
            "echo >> {}; while [ -e {} ]; do sleep 0.1; done; exit 1",
            runs.display(),
            hangs.display()
        );
        let kubeconfig = folder.path().join("kubeconfig");
        let text = format!(
            "{{apiVersion: v1, kind: Config, current-context: a, \
             clusters: [{{name: a, cluster: {{server: 'http://127.0.0.1:1'}}}}], \
             contexts: [{{name: a, context: {{cluster: a, user: a}}}}], \
             users: [{{name: a, user: {{exec: {{apiVersion: client.authentication.k8s.io/v1, command: sh, \
             interactiveMode: Never, args: [-c, '{script}']}}}}}}]}}"
        );
        std::fs::write(&kubeconfig, text).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let reviewer = Reviewer::new(Some(kubeconfig));
        for _ in 0..2 {
            assert!(runtime.block_on(reviewer.review("a", "/metrics", "get")).is_err());
        }
        assert_eq!(std::fs::read_to_string(&runs).unwrap().lines().count(), 1);
        std::fs::remove_file(&hangs).unwrap();
    }
}
