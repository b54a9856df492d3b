//! What can go wrong between this program and the API server, in words that show no secret.

use crate::pods::{brief, cause, chain};
use crate::source_error;
use gpu_session_core::sample::SourceError;
use http_body_util::LengthLimitError;
use kube::client::AuthError;
use kube::config::{InClusterError, KubeconfigError};
use kube::runtime::watcher;
use std::path::Path;
use std::time::Duration;

/// A failure: its kind, what and where, and the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    kind: &'static str,
    what: String,
    remedy: String,
}

/// The server took a request and did not begin to answer.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {} s", .0.as_secs())]
pub(super) struct Slow(pub(super) Duration);

/// The server said more than is read.
#[derive(Debug, thiserror::Error)]
pub(super) enum TooLarge {
    /// Of a list.
    #[error("a list of more than {0} objects")]
    Objects(usize),
    /// Of a watch.
    #[error("an event larger than {} MiB", .0 >> 20)]
    Event(usize),
}

/// Where a pod finds its service account.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const ADDRESS: &str = "see that the API server runs and can be reached from this node";
const IS_IT: &str = "see that this is the address of a Kubernetes API server";
const TOKEN: &str = "see that the service account still exists and its token is mounted and current, or that the \
                     kubeconfig's credentials are";
const KUBECONFIG: &str = "see kubernetes.kubeconfig";

impl Problem {
    pub(super) fn new(kind: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { kind, what: what.into(), remedy: remedy.into() }
    }

    /// The same with another remedy.
    pub(super) fn with_remedy(self, remedy: &str) -> Self {
        Self { remedy: remedy.to_owned(), ..self }
    }

    /// The same with one more remedy.
    pub(super) fn or(self, remedy: &str) -> Self {
        Self { remedy: format!("{}; or {remedy}", self.remedy), ..self }
    }

    /// As an error of the source; `state` says what that means for what is shown.
    pub(super) fn error(&self, state: &str) -> SourceError {
        let parts = [&*self.what, state, &*self.remedy];
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        source_error(self.kind, parts.join("; "))
    }

    /// Whether another try a moment later may do better.
    pub(super) fn mends_itself(&self) -> bool {
        !matches!(self.kind, "config" | "unauthorized" | "forbidden")
    }

    /// Whether the connection must be set up anew: the credentials may have been renewed since.
    pub(super) fn needs_new_client(&self) -> bool {
        matches!(self.kind, "config" | "unauthorized")
    }

    /// Whether the server no longer has what a watch would go on from.
    pub(super) fn is_gone(&self) -> bool {
        self.kind == "gone"
    }

    /// Whether who asks has not the right to.
    pub(super) fn is_forbidden(&self) -> bool {
        self.kind == "forbidden"
    }

    /// Whether the server has said nothing.
    pub(super) fn is_silence(&self) -> bool {
        matches!(self.kind, "io" | "timeout")
    }

    /// Whether something was said that cannot be read.
    pub(super) fn is_malformed(&self) -> bool {
        self.kind == "malformed"
    }

    /// The first list is not there yet.
    pub(super) fn pending(what: &str) -> Self {
        Self::new("timeout", format!("the API server has not listed the {what} so far"), ADDRESS)
    }

    pub(super) fn slow(url: &str, limit: Duration) -> Self {
        Self::new("timeout", format!("{url}: no whole answer within {} s", limit.as_secs()), ADDRESS)
    }

    pub(super) fn too_many(what: &str, limit: usize) -> Self {
        let what =
            format!("the API server has more than {limit} {what}, or a pod more containers than are kept");
        Self::new("too_large", what, "the rest is left out; see that kubernetes.node is one node's name")
    }

    /// Some of a list's objects have not what every object has.
    pub(super) fn nameless(what: &str) -> Self {
        let said = format!("the API server lists {what} without a name or UID, which are left out");
        Self::new("malformed", said, IS_IT)
    }

    /// The kubeconfig cannot be used. What the parser says may quote it, so it is not shown.
    pub(super) fn kubeconfig(path: &Path, error: &KubeconfigError) -> Self {
        let why = match error {
            KubeconfigError::ReadConfig(e, _) => e.to_string(),
            KubeconfigError::Parse(_) => "it is no kubeconfig (YAML)".to_owned(),
            KubeconfigError::CurrentContextNotSet
            | KubeconfigError::LoadContext(_)
            | KubeconfigError::LoadClusterOfContext(_)
            | KubeconfigError::MissingClusterUrl => brief(&error.to_string()),
            KubeconfigError::ParseClusterUrl(_) => "the server's address is no URL".to_owned(),
            KubeconfigError::LoadCertificateAuthority(_) | KubeconfigError::ParseCertificates(_) => {
                "the certificate authority cannot be loaded".to_owned()
            }
            KubeconfigError::LoadClientCertificate(_) => "the client certificate cannot be loaded".to_owned(),
            KubeconfigError::LoadClientKey(_) => "the client key cannot be loaded".to_owned(),
            _ => "it cannot be used".to_owned(),
        };
        Self::new("config", format!("{}: {why}", path.display()), KUBECONFIG)
    }

    /// There is no usable service account.
    pub(super) fn in_cluster(error: &InClusterError) -> Self {
        let remedy = "run in a pod that mounts its service account's token (automountServiceAccountToken), or name \
                      a kubeconfig with kubernetes.kubeconfig";
        let what = match error {
            InClusterError::ReadEnvironmentVariable(_) | InClusterError::ParseClusterPort(_) => {
                "no API server is named: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set"
                    .to_owned()
            }
            InClusterError::ReadDefaultNamespace(e) => format!("{ACCOUNT}/namespace: {e}"),
            InClusterError::ReadCertificateBundle(e) => format!("{ACCOUNT}/ca.crt: {e}"),
            InClusterError::ParseCertificates(_) => return Self::authority(),
            InClusterError::ParseClusterUrl(e) => format!("KUBERNETES_SERVICE_HOST: {e}"),
        };
        Self::new("config", what, remedy)
    }

    /// The certificate authority of the pod's service account is none.
    fn authority() -> Self {
        let remedy = "it must be the cluster's certificate authority, as Kubernetes puts it into every namespace's \
                      ConfigMap kube-root-ca.crt: see what is mounted there";
        Self::new("config", format!("{ACCOUNT}/ca.crt: no certificate can be read"), remedy)
    }

    /// The token's file is empty.
    pub(super) fn no_token(path: &Path) -> Self {
        Self::new("config", format!("{}: there is no token in it", path.display()), TOKEN)
    }

    /// No client can be made of the settings; without a kubeconfig they are the service account's.
    pub(super) fn set_up(url: &str, kubeconfig: Option<&Path>, error: &kube::Error) -> Self {
        match (error, kubeconfig) {
            (kube::Error::RustlsTls(_), None) => Self::authority(),
            (kube::Error::RustlsTls(e), Some(path)) => {
                Self::new("config", format!("{}: {}", path.display(), chain(e)), KUBECONFIG)
            }
            _ => Self::client(url, "", error),
        }
    }

    /// A watch failed.
    pub(super) fn watch(url: &str, what: &str, error: &watcher::Error) -> Self {
        match error {
            watcher::Error::InitialListFailed(e)
            | watcher::Error::WatchStartFailed(e)
            | watcher::Error::WatchFailed(e) => Self::client(url, what, e),
            watcher::Error::WatchError(status) => Self::status(url, what, status),
            watcher::Error::NoResourceVersion => {
                Self::new("malformed", format!("{url}: the answer has no resourceVersion"), IS_IT)
            }
        }
    }

    /// A request failed, or could not be made.
    pub(super) fn client(url: &str, what: &str, error: &kube::Error) -> Self {
        if let kube::Error::Api(status) = error {
            return Self::status(url, what, status);
        }
        if let Some(auth) = cause::<AuthError>(error) {
            return Self::auth(url, auth);
        }
        if cause::<Slow>(error).is_some() {
            return Self::new("timeout", format!("{url}: {}", chain(error)), ADDRESS);
        }
        if let Some(large) = cause::<TooLarge>(error) {
            return Self::new("too_large", format!("{url}: {large} is not read"), IS_IT);
        }
        if cause::<LengthLimitError>(error).is_some() {
            return Self::new("too_large", format!("{url}: the answer is larger than is read"), IS_IT);
        }
        let io = cause::<std::io::Error>(error);
        if io.is_some_and(|e| e.kind() == std::io::ErrorKind::TimedOut) {
            return Self::new("timeout", format!("{url}: {}", chain(error)), ADDRESS);
        }
        match error {
            kube::Error::SerdeError(e) => {
                let what = format!("{url}: the answer is no list of {what} ({})", brief(&e.to_string()));
                Self::new("malformed", what, IS_IT)
            }
            kube::Error::FromUtf8(_) => {
                Self::new("malformed", format!("{url}: the answer is no UTF-8"), IS_IT)
            }
            _ => {
                let said = chain(error);
                let remedy = if said.contains("certificate") {
                    "see that the certificate authority of the service account or kubeconfig is this server's"
                } else {
                    ADDRESS
                };
                Self::new("io", format!("{url}: {said}"), remedy)
            }
        }
    }

    /// A review could not be made.
    pub(super) fn review(url: &str, what: &str, error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status)
                if status.code == 403 && !status.message.contains("system:anonymous") =>
            {
                let what = format!("{url}: {what} may not be created ({})", brief(&status.message));
                Self::new(
                    "forbidden",
                    what,
                    "bind the service account to the ClusterRole system:auth-delegator",
                )
            }
            _ => Self::client(url, what, error),
        }
    }

    /// Credentials could not be made. What a plugin printed may be them, so it is not shown.
    fn auth(url: &str, error: &AuthError) -> Self {
        let why = match error {
            AuthError::ReadTokenFile(e, path) => format!("{}: {e}", path.display()),
            AuthError::InvalidBearerToken(_) => "the token is no line of text".to_owned(),
            AuthError::AuthExecStart(e) => format!("the kubeconfig's exec plugin cannot be run: {e}"),
            AuthError::AuthExecRun { .. } => "the kubeconfig's exec plugin failed".to_owned(),
            _ => "the kubeconfig's credentials cannot be used".to_owned(),
        };
        Self::new("config", format!("{url}: {why}"), TOKEN)
    }

    fn status(url: &str, what: &str, status: &kube::core::Status) -> Self {
        let said = brief(&status.message);
        let code = status.code;
        match code {
            // Any JSON that is not what was asked for is taken for an error that says nothing.
            0 => Self::new(
                "malformed",
                format!("{url}: an answer about {what} cannot be read ({said})"),
                IS_IT,
            ),
            401 => {
                Self::new("unauthorized", format!("{url}: the credentials are not accepted ({said})"), TOKEN)
            }
            // Rights for everybody would be the wrong remedy.
            403 if said.contains("system:anonymous") => {
                Self::new("unauthorized", format!("{url}: no credentials reached it ({said})"), TOKEN)
            }
            403 => {
                let remedy = format!(
                    "give the service account a ClusterRole with the rule {{apiGroups: [\"\"], resources: \
                     [\"{what}\"], verbs: [\"list\", \"watch\"]}}"
                );
                Self::new("forbidden", format!("{url}: {what} may not be read ({said})"), remedy)
            }
            410 => {
                Self::new("gone", format!("{url}: the watch fell behind ({said})"), "they are listed anew")
            }
            408 | 504 => Self::new("timeout", format!("{url}: it answered {code}: {said}"), ADDRESS),
            429 => Self::new("http_status", format!("{url}: it answered {code}: {said}"), "it is overloaded"),
            _ => Self::new("http_status", format!("{url}: it answered {code}: {said}"), IS_IT),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    fn client(error: &kube::Error) -> SourceError {
        Problem::client("https://api", "pods", error).error("")
    }

    #[test]
    fn what_a_plugin_for_credentials_printed_is_not_shown() {
        let out = std::process::Output {
            status: std::process::ExitStatus::from_raw(256),
            stdout: b"secret".to_vec(),
            stderr: b"secret".to_vec(),
        };
        let run = AuthError::AuthExecRun { cmd: "PASSWORD=secret plugin".to_owned(), out: Box::new(out) };
        let said = AuthError::AuthExec("secret".to_owned());
        for auth in [run, said] {
            // As the connection has it: once of its own, once out of a request.
            let error = client(&kube::Error::Auth(auth));
            assert!(&*error.kind == "config" && !error.message.contains("secret"), "{error:?}");
        }
        let request = kube::Error::Service(Box::new(AuthError::AuthExec("secret".to_owned())));
        assert!(!client(&request).message.contains("secret"));
    }

    #[test]
    fn a_pod_without_a_service_account_is_told_what_to_do() {
        let absent = || std::io::Error::from(std::io::ErrorKind::NotFound);
        for (error, said) in [
            (
                InClusterError::ReadEnvironmentVariable(std::env::VarError::NotPresent),
                "KUBERNETES_SERVICE_HOST",
            ),
            (
                InClusterError::ReadCertificateBundle(absent()),
                "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt",
            ),
            (InClusterError::ReadDefaultNamespace(absent()), "serviceaccount/namespace"),
        ] {
            let error = Problem::in_cluster(&error).error("");
            assert!(&*error.kind == "config" && error.message.contains(said), "{error:?}");
            assert!(error.message.contains("kubernetes.kubeconfig"), "{error:?}");
        }
    }

    #[test]
    fn an_authority_that_is_none_is_that_of_the_kubeconfig_or_of_the_service_account() {
        let tls = || {
            let error = rustls::Error::General("bad".to_owned());
            kube::Error::RustlsTls(kube::client::RustlsTlsError::AddRootCertificate(error.into()))
        };
        let of = |kubeconfig| Problem::set_up("https://api", kubeconfig, &tls()).error("").message;
        let account = of(None);
        assert!(
            account.contains("serviceaccount/ca.crt") && account.contains("kube-root-ca.crt"),
            "{account}"
        );
        assert!(!account.contains("kubeconfig"), "{account}");
        let file = of(Some(Path::new("/etc/kubeconfig")));
        assert!(file.contains("/etc/kubeconfig") && file.contains("kubernetes.kubeconfig"), "{file}");
    }

    #[test]
    fn what_may_not_be_read_by_nobody_needs_a_token_and_not_a_right() {
        let said = "pods is forbidden: User \"system:anonymous\" cannot list resource";
        let status = kube::core::Status::failure(said, "Forbidden").with_code(403);
        let error = client(&kube::Error::Api(status.boxed()));
        assert!(&*error.kind == "unauthorized" && error.message.contains("token"), "{error:?}");
        assert!(!error.message.contains("ClusterRole"), "{error:?}");
    }

    #[test]
    fn what_is_too_large_is_found_within_an_io_error() {
        let event = std::io::Error::other(std::io::Error::other(TooLarge::Event(4 << 20)));
        let error = client(&kube::Error::ReadEvents(event));
        assert!(&*error.kind == "too_large" && error.message.contains("4 MiB"), "{error:?}");
    }

    #[test]
    fn each_answer_has_its_kind() {
        for (code, kind) in [
            (0, "malformed"),
            (401, "unauthorized"),
            (403, "forbidden"),
            (410, "gone"),
            (408, "timeout"),
            (504, "timeout"),
            (429, "http_status"),
            (404, "http_status"),
            (500, "http_status"),
        ] {
            let status = kube::core::Status::failure("a\nb", "reason").with_code(code);
            let error = client(&kube::Error::Api(status.boxed()));
            assert!(&*error.kind == kind && error.message.contains("a\u{fffd}b"), "{code}: {error:?}");
        }
        let slow = kube::Error::Service(Box::new(Slow(Duration::from_secs(10))));
        assert_eq!(&*client(&slow).kind, "timeout");
    }

    #[test]
    fn only_renewed_credentials_need_a_new_connection_and_only_rights_and_files_need_a_person() {
        let of = |kind| Problem::new(kind, "", "");
        for (kind, anew, mends) in [
            ("config", true, false),
            ("unauthorized", true, false),
            ("forbidden", false, false),
            ("io", false, true),
            ("timeout", false, true),
        ] {
            assert_eq!((of(kind).needs_new_client(), of(kind).mends_itself()), (anew, mends), "{kind}");
        }
    }
}
