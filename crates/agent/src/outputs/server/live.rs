//! The web configuration as it is now: read anew when it, or a file that it names, is another one.

use super::basic::Users;
use super::tls::{ClientAuth, Tls, exposed_key};
use super::web_config::WebConfig;
use crate::files::Stamp;
use anyhow::Context as _;
use axum::http::HeaderMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// One reading of it.
#[derive(Default)]
pub(super) struct Loaded {
    pub(super) tls: Option<Tls>,
    pub(super) users: Users,
    pub(super) headers: HeaderMap,
    /// A key file that others may read.
    pub(super) exposed_key: Option<PathBuf>,
}

impl Loaded {
    /// Whether nobody gets in without a certificate.
    pub(super) fn requires_certificate(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.clients == ClientAuth::Required)
    }
}

/// Files, and what tells their contents from others.
type Stamps = Vec<(PathBuf, Option<Stamp>)>;

/// The last good reading.
pub(super) struct Live {
    path: Option<PathBuf>,
    now: RwLock<Arc<Loaded>>,
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
        let live = Self { path, now: RwLock::default(), seen: Mutex::default() };
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
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(loaded?);
        Ok(())
    }
}

/// The stamps are of before the files are read: what changes meanwhile is seen next time.
fn load(path: &Path, stamps: &mut Stamps) -> anyhow::Result<Loaded> {
    let text = std::fs::read_to_string(path)?;
    let config = WebConfig::parse(&text)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let headers = config.headers()?;
    let mut loaded = Loaded { headers, ..Loaded::default() };
    if let Some(written) = &config.tls_server_config {
        stamps.extend(written.files(folder).into_iter().map(|path| (path.clone(), Stamp::of(&path))));
        loaded.tls = Some(Tls::load(written, folder).context("tls_server_config")?);
        loaded.exposed_key = exposed_key(written, folder);
    }
    loaded.users = Users::new(config.basic_auth_users)?;
    Ok(loaded)
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
}
