//! Names of the host's users: by its name service (files, LDAP, SSSD, whatever it is set to), or from a passwd file.

mod file;
mod system;
#[cfg(test)]
mod tests;

use crate::Source;
use file::File;
use gpu_session_core::cgroup::Place;
use gpu_session_core::sample::{Process, Request, Sample, SourceError};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use system::System;

/// Where names come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Names {
    /// The host's passwd file, as the operator gave it.
    File(PathBuf),
    /// This machine's name service (`getpwuid`).
    System,
    /// Nowhere: this is a container and nobody named the host's file; our image's own is never used.
    None,
}

/// Looks up the users of processes that it does not know yet.
pub struct Users(Book);

enum Book {
    File(File),
    System(System),
    None,
}

/// What is known of some uids.
#[derive(Debug, Default)]
struct Found {
    names: BTreeMap<u32, Arc<str>>,
    /// Not answered yet.
    pending: BTreeSet<u32>,
    errors: Vec<SourceError>,
}

impl Users {
    /// Users by these names; without any every user is `uid:<n>`.
    pub fn new(names: Names) -> Self {
        Self(match names {
            Names::File(path) => Book::File(File::new(path)),
            Names::System => Book::System(System::new(system::by_getpwuid, system::PATIENCE)),
            Names::None => Book::None,
        })
    }
}

/// The uids of a process: its own, and the one that its cgroup names, of a Slurm job's owner or a user's slice.
fn uids(process: &Process, with_images: bool) -> impl Iterator<Item = u32> {
    let place = process.cgroup.as_deref().map(Place::of).unwrap_or_default();
    let own = process.uid.filter(|_| with_images || !place.is_containerised());
    own.into_iter().chain(place.uid)
}

impl Source for Users {
    fn name(&self) -> &'static str {
        "users"
    }

    fn read(&mut self, request: &Request, sample: &mut Sample) -> Vec<SourceError> {
        // A directory is not asked for the uids of images: who runs a pod chooses them, and they name nobody.
        let with_images = !matches!(self.0, Book::System(_));
        let past = sample.past.values().flatten().map(|past| &past.process);
        let processes = sample.processes.iter().flat_map(BTreeMap::values).chain(past);
        let mut wanted = request.uids.clone();
        wanted.extend(processes.flat_map(|process| uids(process, with_images)));
        let found = match &mut self.0 {
            Book::File(file) => file.find(&wanted),
            Book::System(system) => system.find(&wanted, Instant::now()),
            Book::None => Found::default(),
        };
        sample.users.extend(found.names);
        sample.users_pending.extend(found.pending);
        found.errors
    }
}
