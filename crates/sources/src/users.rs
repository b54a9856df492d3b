//! Names of the host's users, from its passwd file.

use crate::{Source, source_error};
use gpu_session_core::sample::{Request, Sample, SourceError};
use gpu_session_core::text;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

/// Largest passwd file that is read; larger directories of users are not kept in a file.
const MAX_BYTES: u64 = 16 << 20;

/// Reads a passwd file, only when a uid is met that it does not know yet.
pub struct Users {
    /// `None`: this is a container and nobody named the host's file; our image's own is never used.
    passwd: Option<PathBuf>,
    names: BTreeMap<u32, Option<Arc<str>>>,
}

impl Users {
    /// Users by this passwd file; without one every user is `uid:<n>`.
    pub fn new(passwd: Option<PathBuf>) -> Self {
        Self { passwd, names: BTreeMap::new() }
    }

    fn look_up(&mut self, unknown: &BTreeSet<u32>) -> Result<(), SourceError> {
        let Some(path) = &self.passwd else { return Ok(()) };
        let fail = |e: std::io::Error| {
            let path = path.display();
            source_error(
                "io",
                format!("{path}: {e}; users are shown as uid:<n> (users.passwd names the host's file)"),
            )
        };
        if std::fs::metadata(path).map_err(fail)?.len() > MAX_BYTES {
            return Err(source_error(
                "too_large",
                format!("{}: larger than 16 MiB, not read", path.display()),
            ));
        }
        let table = std::fs::read(path).map_err(fail)?;
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

impl Source for Users {
    fn name(&self) -> &'static str {
        "users"
    }

    fn read(&mut self, _: &Request, sample: &mut Sample) -> Vec<SourceError> {
        let uids: BTreeSet<u32> =
            sample.processes.iter().flat_map(BTreeMap::values).filter_map(|p| p.uid).collect();
        let unknown: BTreeSet<u32> =
            uids.iter().copied().filter(|uid| !self.names.contains_key(uid)).collect();
        let result = if unknown.is_empty() { Ok(()) } else { self.look_up(&unknown) };
        let named = uids.iter().filter_map(|uid| Some((*uid, self.names.get(uid)?.clone()?)));
        sample.users.extend(named);
        result.err().into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpu_session_core::sample::Process;

    fn read(users: &mut Users, uids: &[u32]) -> (BTreeMap<u32, Arc<str>>, Vec<SourceError>) {
        let process = |uid: &u32| (*uid, Process { uid: Some(*uid), ..Process::default() });
        let mut sample = Sample { processes: Some(uids.iter().map(process).collect()), ..Sample::default() };
        let errors = users.read(&Request::default(), &mut sample);
        (sample.users, errors)
    }

    #[test]
    fn names_come_from_the_file_given() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passwd");
        let table = "root:x:0:0::/root:/bin/sh\n# c:x:5:\nbroken\nalice:x:1000:1::\nshadow:x:1000:1::\n\x1b[2J:x:7:7::\n";
        std::fs::write(&path, table).unwrap();
        let (names, errors) = read(&mut Users::new(Some(path)), &[1000, 7, 9]);
        assert!(errors.is_empty());
        assert_eq!(names.get(&1000).map(AsRef::as_ref), Some("alice"));
        assert_eq!(names.get(&7).map(AsRef::as_ref), Some("\u{fffd}[2J"));
        assert_eq!(names.get(&9), None);
    }

    #[test]
    fn a_missing_file_is_said_and_no_file_is_no_error() {
        let (names, errors) = read(&mut Users::new(Some("/nonexistent/passwd".into())), &[1000]);
        assert!(names.is_empty());
        assert!(errors[0].message.contains("/nonexistent/passwd"));
        assert!(read(&mut Users::new(None), &[1000]).1.is_empty());
    }
}
