//! The web configuration as it is now: read anew when it, or a file that it names, is another one.

use super::basic::Users;
use super::tls::{ClientAuth, Policy, Tls, exposed_key};
use super::web_config::WebConfig;
use crate::files::{self, Stamp};
use anyhow::{Context as _, bail};
use axum::http::HeaderMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::sync::watch;

/// One reading of it.
#[derive(Default)]
pub(super) struct Loaded {
    pub(super) tls: Option<Tls>,
    pub(super) users: Users,
    pub(super) headers: HeaderMap,
    /// A file with a key in it that others may read.
    pub(super) exposed_key: Option<PathBuf>,
    /// Whether there is a limit of requests, which is not followed.
    pub(super) rate_limit: bool,
}

impl Loaded {
    /// Whether nobody gets in without a certificate.
    pub(super) fn requires_certificate(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.policy.clients == ClientAuth::Required)
    }

    /// What a connection must meet now; `None` where there is no TLS.
    pub(super) fn policy(&self) -> Option<&Arc<Policy>> {
        self.tls.as_ref().map(|tls| &tls.policy)
    }

    /// Whether somebody who got in by the other reading may not get in by this one.
    fn admits_as(&self, other: &Self) -> bool {
        self.policy() == other.policy() && self.users == other.users
    }

    /// A file that is empty or half written must open nothing: what kept people out stays until a new start.
    fn keeps_out_as(&self, before: &Self) -> anyhow::Result<()> {
        let lost = if before.tls.is_some() && self.tls.is_none() {
            "tls_server_config"
        } else if before.users.len() > 0 && self.users.len() == 0 {
            "basic_auth_users"
        } else if before.requires_certificate() && !self.requires_certificate() {
            "client_auth_type: RequireAndVerifyClientCert"
        } else {
            return Ok(());
        };
        bail!("{lost} is no longer there: a new start is needed to serve without")
    }
}

/// Bytes of a file that is read: a bundle of all public authorities has a quarter of it.
pub(super) const LARGEST: u64 = 1 << 20;

/// Files, and what tells their contents from others.
type Stamps = Vec<(PathBuf, Option<Stamp>)>;

/// The last good reading.
pub(super) struct Live {
    path: Option<PathBuf>,
    now: RwLock<Arc<Loaded>>,
    /// Tells that others may get in than before.
    admission: watch::Sender<()>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// When it was last read, good or not.
    read: Stamps,
    /// When it was last looked at.
    looked: Stamps,
}

impl Live {
    /// Reads it for the first time; without a path there is nothing in it.
    pub(super) fn open(path: Option<PathBuf>) -> anyhow::Result<Self> {
        let live =
            Self { path, now: RwLock::default(), admission: watch::Sender::new(()), seen: Mutex::default() };
        live.reread()?;
        Ok(live)
    }

    /// Whether there is a file.
    pub(super) fn has_file(&self) -> bool {
        self.path.is_some()
    }

    /// The last good reading.
    pub(super) fn now(&self) -> Arc<Loaded> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tells whenever others may get in than before.
    pub(super) fn admission(&self) -> watch::Receiver<()> {
        self.admission.subscribe()
    }

    /// Whether some file is another than when it was read, and has come to rest: a certificate and its key are two files.
    pub(super) fn is_due(&self) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now: Stamps = seen.read.iter().map(|(path, _)| (path.clone(), Stamp::of(path))).collect();
        let due = now != seen.read && now == seen.looked;
        seen.looked = now;
        due
    }

    /// Reads it; where it is not good the one of before stays.
    pub(super) fn reread(&self) -> anyhow::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let mut read = vec![(path.clone(), Stamp::of(path))];
        let loaded = load(path, &mut read).with_context(|| format!("web configuration {}", path.display()));
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).read = read;
        let (loaded, before) = (loaded?, self.now());
        loaded.keeps_out_as(&before).with_context(|| format!("web configuration {}", path.display()))?;
        let same = loaded.admits_as(&before);
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(loaded);
        if !same {
            self.admission.send_replace(());
        }
        Ok(())
    }
}

/// The stamps are of before the files are read: what changes meanwhile is seen next time.
fn load(path: &Path, stamps: &mut Stamps) -> anyhow::Result<Loaded> {
    let config = WebConfig::parse(&text(path)?)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let headers = config.headers()?;
    let mut loaded = Loaded { headers, rate_limit: config.rate_limit.is_some(), ..Loaded::default() };
    if let Some(written) = &config.tls_server_config {
        stamps.extend(written.files(folder).into_iter().map(|path| (path.clone(), Stamp::of(&path))));
        loaded.tls = Some(Tls::load(written, folder).context("tls_server_config")?);
        loaded.exposed_key = exposed_key(written, path);
    }
    loaded.users = Users::new(config.users()?)?;
    Ok(loaded)
}

fn text(path: &Path) -> anyhow::Result<String> {
    // What is wrong with the bytes is not quoted: they may be a secret.
    String::from_utf8(files::read_regular(path, LARGEST)?)
        .map_err(|_| anyhow::anyhow!("it is no text (UTF-8)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_read_when_it_has_come_to_rest_and_a_bad_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.yaml");
        let users = |name: &str| {
            let hash = bcrypt::hash("x", 4).unwrap();
            std::fs::write(&path, format!("basic_auth_users: {{{name}: {hash}}}\n")).unwrap();
        };
        users("alice");
        let live = Live::open(Some(path.clone())).unwrap();
        assert_eq!((live.is_due(), live.now().users.len()), (false, 1));
        users("alice-and-bob");
        assert_eq!([live.is_due(), live.is_due()], [false, true]);
        live.reread().unwrap();
        assert!(!live.is_due());
        std::fs::write(&path, "basic_auth_users: [").unwrap();
        assert_eq!([live.is_due(), live.is_due()], [false, true]);
        let error = format!("{:#}", live.reread().unwrap_err());
        assert!(error.contains("web.yaml"), "{error}");
        assert_eq!((live.is_due(), live.now().users.len()), (false, 1), "told once, and the old ones stay");
    }

    #[test]
    fn what_kept_people_out_is_lost_by_a_new_start_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.yaml");
        let hash = bcrypt::hash("x", 4).unwrap();
        std::fs::write(&path, format!("basic_auth_users: {{alice: {hash}}}\n")).unwrap();
        let live = Live::open(Some(path.clone())).unwrap();
        let mut admission = live.admission();
        for less in ["", "# nothing\n", "http_server_config: {http2: true}\n"] {
            std::fs::write(&path, less).unwrap();
            let error = format!("{:#}", live.reread().unwrap_err());
            assert!(error.contains("basic_auth_users is no longer there: a new start"), "{error}");
            assert_eq!(live.now().users.len(), 1);
        }
        std::fs::write(
            &path,
            format!("basic_auth_users: {{alice: {hash}}}\nhttp_server_config: {{http2: true}}\n"),
        )
        .unwrap();
        live.reread().unwrap();
        assert!(!admission.has_changed().unwrap(), "the same people get in");
        std::fs::write(&path, format!("basic_auth_users: {{bob: {hash}}}\n")).unwrap();
        live.reread().unwrap();
        assert!(admission.has_changed().unwrap());
        admission.mark_unchanged();
    }
}
