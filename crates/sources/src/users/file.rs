//! A passwd file.

use super::Found;
use crate::source_error;
use gpu_session_core::sample::SourceError;
use gpu_session_core::text;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;

/// Largest passwd file that is read; larger directories of users are not kept in a file.
const MAX_BYTES: u64 = 16 << 20;

/// Most answers that are kept: whoever runs a container chooses uids as he likes.
const MAX_KNOWN: usize = 16_384;

/// Reads the file only when a uid is met that it does not know yet, or the file has changed.
pub(super) struct File {
    path: PathBuf,
    names: BTreeMap<u32, Option<Arc<str>>>,
    /// Of the file that the names are from.
    version: Option<Version>,
}

/// What changes with a file: device, inode, length, and the time of its last change.
type Version = (u64, u64, u64, i64, i64);

fn version(file: &Metadata) -> Version {
    (file.dev(), file.ino(), file.len(), file.ctime(), file.ctime_nsec())
}

impl File {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, names: BTreeMap::new(), version: None }
    }

    pub(super) fn find(&mut self, uids: &BTreeSet<u32>) -> Found {
        // An account may have been made, or a uid given to somebody else.
        let now = std::fs::metadata(&self.path).ok().map(|file| version(&file));
        if now.is_some_and(|now| self.version != Some(now)) || self.names.len() > MAX_KNOWN {
            self.names.clear();
            self.version = now;
        }
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
        // Not opened before it is known to be a file: a pipe would be waited for.
        if !std::fs::metadata(&self.path).map_err(fail)?.is_file() {
            return Err(fail(std::io::Error::other("it is no file")));
        }
        let mut table = Vec::new();
        let file = std::fs::File::open(&self.path).map_err(fail)?;
        file.take(MAX_BYTES + 1).read_to_end(&mut table).map_err(fail)?;
        if table.len() as u64 > MAX_BYTES {
            return Err(source_error("too_large", format!("{path}: larger than 16 MiB, not read")));
        }
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
