//! A passwd file.

use super::Found;
use crate::source_error;
use gpu_session_core::sample::SourceError;
use gpu_session_core::text;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

/// Largest passwd file that is read; larger directories of users are not kept in a file.
const MAX_BYTES: u64 = 16 << 20;

/// Reads the file only when a uid is met that it does not know yet.
pub(super) struct File {
    path: PathBuf,
    names: BTreeMap<u32, Option<Arc<str>>>,
}

impl File {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, names: BTreeMap::new() }
    }

    pub(super) fn find(&mut self, uids: &BTreeSet<u32>) -> Found {
        let unknown: BTreeSet<u32> =
            uids.iter().copied().filter(|uid| !self.names.contains_key(uid)).collect();
        let result = if unknown.is_empty() { Ok(()) } else { self.look_up(&unknown) };
        let names = uids.iter().filter_map(|uid| Some((*uid, self.names.get(uid)?.clone()?))).collect();
        Found { names, pending: BTreeSet::new(), errors: result.err().into_iter().collect() }
    }

    fn look_up(&mut self, unknown: &BTreeSet<u32>) -> Result<(), SourceError> {
        let path = self.path.display();
        let fail = |e: std::io::Error| {
            let remedy = "users are shown as uid:<n> (users.passwd names the host's file)";
            source_error("io", format!("{path}: {e}; {remedy}"))
        };
        if std::fs::metadata(&self.path).map_err(fail)?.len() > MAX_BYTES {
            return Err(source_error("too_large", format!("{path}: larger than 16 MiB, not read")));
        }
        let table = std::fs::read(&self.path).map_err(fail)?;
        let mut found: BTreeMap<u32, Arc<str>> = BTreeMap::new();
        for (name, uid) in table.split(|b| *b == b'\n').filter_map(entry) {
            // As in getpwuid the first entry of a uid counts.
            found.entry(uid).or_insert_with(|| text::clean_bytes(name).into());
        }
        self.names.extend(unknown.iter().map(|uid| (*uid, found.remove(uid))));
        Ok(())
    }
}

/// `name:password:uid:…`
fn entry(line: &[u8]) -> Option<(&[u8], u32)> {
    let mut fields = line.split(|b| *b == b':');
    let name = fields.next().filter(|name| !name.is_empty() && !name.starts_with(b"#"))?;
    let uid = std::str::from_utf8(fields.nth(1)?).ok()?.parse().ok()?;
    Some((name, uid))
}
