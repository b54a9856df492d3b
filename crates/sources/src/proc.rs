//! /proc: name, start, uid and cgroup of the processes that the driver names.
//!
//! Own reading instead of the `procfs` crate: names as raw bytes, and at most one open per known process and sample, none
//! at all in a program that goes on where its processes can be held.

pub(crate) mod files;
mod held;
pub(crate) mod recent;
#[cfg(test)]
mod tests;

use crate::clock::Clock;
use crate::{Source, source_error};
use files::{Failure, Files};
use gpu_session_core::sample::{
    Activity, ActivityEntry, Device, PastProcess, Process, Request, Sample, SourceError,
};
use held::Held;
use recent::By;
pub use recent::Recent;
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Reads a tree of the form of /proc.
pub struct Proc {
    files: Files,
    recent: Recent,
    /// Of a program that goes on.
    held: Option<Held>,
    clock: Clock,
    /// The clock that is never set, at this reading.
    now_us: i64,
}

/// Why processes could not be read: the first of each kind and their number.
#[derive(Default)]
struct Problems(BTreeMap<&'static str, (String, usize)>);

impl Problems {
    fn note(&mut self, kind: &'static str, message: String) {
        self.0.entry(kind).or_insert((message, 0)).1 += 1;
    }

    fn into_errors(self) -> Vec<SourceError> {
        let error = |(kind, (message, count)): (&str, (String, usize))| {
            let more = if count > 1 { format!(" (and {} more processes)", count - 1) } else { String::new() };
            source_error(kind, format!("{message}{more}"))
        };
        self.0.into_iter().map(error).collect()
    }
}

impl Proc {
    /// Reads below `root`, `/proc` or where the host's is mounted; what it reads it remembers in `recent`.
    pub fn new(root: &Path, recent: Recent, clock: Clock) -> Self {
        Self { files: Files::new(root), recent, held: None, clock, now_us: 0 }
    }

    /// Holds the processes that are known, so that a later reading need not read those that run on. It takes a file
    /// descriptor for each, and is for a program that goes on.
    #[must_use]
    pub fn holding(self) -> Self {
        Self { held: Some(Held::new()), ..self }
    }

    /// Start of a process that runs for certain, without reading it.
    fn held(&self, pid: u32, known: Option<u64>) -> Option<u64> {
        let start = self.held.as_ref()?.start(pid)?;
        known.filter(|known| *known == start)
    }

    /// Reads a process and remembers it; `None` for one that is gone.
    fn process(
        &mut self,
        pid: u32,
        known: Option<u64>,
        problems: &mut Problems,
    ) -> Result<Option<Process>, ()> {
        if let Some(start) = self.held(pid, known) {
            self.recent.lock().touch(pid, start, self.now_us);
            return Ok(Some(Process { start_ticks: Some(start), ..Process::default() }));
        }
        let handle = self.held.as_ref().filter(|_| known.is_some()).and_then(|held| held.handle(pid));
        match self.files.process(pid, known) {
            Ok((process, failed)) => {
                if let Some(errno) = failed {
                    problems.note(kind(errno), format!("{}/{pid}: {errno}", self.files.root()));
                }
                match known.filter(|known| process.start_ticks == Some(*known)) {
                    Some(start) => {
                        self.recent.lock().touch(pid, start, self.now_us);
                        if let (Some(held), Some(handle)) = (&mut self.held, handle) {
                            held.hold(pid, start, handle);
                        }
                    }
                    None => self.recent.lock().insert(pid, &process, By::Driver, self.now_us),
                }
                Ok(Some(process))
            }
            Err(failure) => self.failed(pid, &failure, problems),
        }
    }

    /// `Ok` if the process is merely gone.
    fn failed<T>(&self, pid: u32, failure: &Failure, problems: &mut Problems) -> Result<Option<T>, ()> {
        let path = format_args!("{}/{pid}/stat", self.files.root());
        match failure {
            Failure::Vanished => return Ok(None),
            Failure::Error(errno) => problems.note(kind(*errno), format!("{path}: {errno}")),
            Failure::Malformed => problems.note("malformed", format!("{path}: not in the kernel's format")),
        }
        Err(())
    }

    /// A process that the driver does not list: itself where it is wanted, and else what was known of those before it.
    fn unlisted(
        &mut self,
        pid: u32,
        known: Option<u64>,
        named: bool,
        problems: &mut Problems,
    ) -> Result<(Option<Process>, Vec<PastProcess>), ()> {
        let running = match self.held(pid, known) {
            Some(start) => Some(start),
            None => match self.files.running(pid) {
                Ok(start) => Some(start),
                Err(failure) => self.failed(pid, &failure, problems)?,
            },
        };
        let process = match running {
            Some(start) if known == Some(start) => {
                self.recent.lock().touch(pid, start, self.now_us);
                Some(Process { start_ticks: running, ..Process::default() })
            }
            Some(_) if named => self.process(pid, None, problems)?,
            _ => None,
        };
        let past =
            if named || process.is_none() { self.recent.lock().past(pid, running) } else { Vec::new() };
        Ok((process, past))
    }
}

impl Source for Proc {
    fn name(&self) -> &'static str {
        "proc"
    }

    fn read(&mut self, request: &Request, sample: &mut Sample) -> Vec<SourceError> {
        self.now_us = self.clock.monotonic_us();
        match self.files.node() {
            Ok(node) => {
                sample.boot_id.clone_from(&node.boot_id);
                sample.boot_us = node.boot_us(&self.clock);
                // A pidfd is asked for by a pid of our own namespace.
                self.held.take_if(|_| !node.has_our_pids);
            }
            Err(error) => return vec![error],
        }
        // Ticks count from the boot: those of another say nothing.
        let same_boot = *request.boot_id == *sample.boot_id.as_deref().unwrap_or("");
        let known = |pid| request.known.get(&pid).copied().filter(|_| same_boot);
        if let Some(held) = &mut self.held {
            held.look(|pid, start| known(pid) == Some(start));
        }
        let devices = || sample.driver.iter().flat_map(|driver| &driver.devices);
        let mut listed: Vec<u32> =
            devices().flat_map(|device| &device.processes).flatten().map(|process| process.pid).collect();
        listed.sort_unstable();
        listed.dedup();
        let named: BTreeSet<u32> = devices()
            .flat_map(|device| named(device, request))
            .filter(|pid| listed.binary_search(pid).is_err())
            .collect();
        let mut found = BTreeMap::new();
        let mut problems = Problems::default();
        for &pid in &listed {
            // One that cannot be read is on the device all the same.
            let process = self.process(pid, known(pid), &mut problems);
            let process = process.unwrap_or_else(|()| Some(Process::default()));
            let running = process.as_ref().and_then(|process| process.start_ticks);
            // The pid of a session is another process's by now.
            if running.is_some() && known(pid).is_some_and(|known| running != Some(known)) {
                remember(&mut sample.past, pid, self.recent.lock().past(pid, running));
            }
            found.extend(process.map(|process| (pid, process)));
        }
        let left = request.known.keys().filter(|pid| same_boot && listed.binary_search(pid).is_err());
        for pid in left.chain(named.iter().filter(|pid| known(**pid).is_none())).copied() {
            let read = self.unlisted(pid, known(pid), named.contains(&pid), &mut problems);
            // One that cannot be read may be there, which is all that is known.
            let (process, past) = read.unwrap_or_else(|()| (Some(Process::default()), Vec::new()));
            remember(&mut sample.past, pid, past);
            found.extend(process.map(|process| (pid, process)));
        }
        self.recent.lock().sweep(self.now_us);
        sample.processes = Some(found);
        problems.into_errors()
    }
}

fn remember(all: &mut BTreeMap<u32, Vec<PastProcess>>, pid: u32, past: Vec<PastProcess>) {
    if !past.is_empty() {
        all.insert(pid, past);
    }
}

/// Pids that the driver gives as users of a device since the last reading. What is of before a first reading is
/// nobody's.
fn named<'a>(device: &'a Device, request: &'a Request) -> impl Iterator<Item = u32> + 'a {
    let entries = match &device.activity {
        Activity::Entries { entries, .. } => entries.as_slice(),
        Activity::Unsupported | Activity::Failed => &[],
    };
    let since = request.since_us.get(&device.facts.uuid);
    let used = |entry: &ActivityEntry| (entry.sm | entry.mem | entry.enc | entry.dec) != 0;
    let new = move |entry: &&ActivityEntry| since.is_some_and(|since| entry.time_us > *since) && used(entry);
    let accounting = device.accounting.as_ref().filter(|_| request.seen.contains(&device.facts.uuid));
    let ended = accounting.into_iter().flat_map(|accounting| &accounting.ended).map(|record| record.pid);
    entries.iter().filter(new).map(|entry| entry.pid).chain(ended)
}

fn kind(errno: Errno) -> &'static str {
    match errno {
        Errno::ACCESS | Errno::PERM => "permission_denied",
        _ => "io",
    }
}
