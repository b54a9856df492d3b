//! Known processes that are held by a pidfd each: one poll tells which of them run on, and none of those is read.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Resource, getrlimit, pidfd_open};
use std::collections::HashMap;

/// Processes that are held at most; more are read at each reading.
const MOST: u64 = 4096;

/// The processes that are held.
#[derive(Default)]
pub(super) struct Held {
    by_pid: HashMap<u32, (u64, OwnedFd)>,
    most: usize,
}

/// A process that had the pid when this was made, whichever it was.
pub(super) struct Handle(OwnedFd);

impl Held {
    /// Holds processes, but takes no more than a quarter of the files that may be open.
    pub(super) fn new() -> Self {
        let most = getrlimit(Resource::Nofile).current.unwrap_or(MOST) / 4;
        Self { by_pid: HashMap::new(), most: most.min(MOST) as usize }
    }

    /// Lets go of those that have ended and of those that `is_known` by pid and start does not ask for.
    pub(super) fn look(&mut self, is_known: impl Fn(u32, u64) -> bool) {
        self.by_pid.retain(|pid, (start, _)| is_known(*pid, *start));
        let mut polled: Vec<PollFd<'_>> =
            self.by_pid.values().map(|(_, fd)| PollFd::new(fd, PollFlags::IN)).collect();
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        // Where nobody can say, all are read.
        let told = poll(&mut polled, Some(&now)).is_ok();
        let mut run_on =
            polled.iter().map(|fd| told && fd.revents().is_empty()).collect::<Vec<_>>().into_iter();
        self.by_pid.retain(|_, _| run_on.next().unwrap_or(false));
    }

    /// Start of the process that has the pid, if it is held: it did not end before the last look.
    pub(super) fn start(&self, pid: u32) -> Option<u64> {
        self.by_pid.get(&pid).map(|(start, _)| *start)
    }

    /// To be taken before the process is read, for [`Self::hold`]; `None` where it cannot be held.
    pub(super) fn handle(&self, pid: u32) -> Option<Handle> {
        let pid = Pid::from_raw(i32::try_from(pid).ok()?).filter(|_| self.by_pid.len() < self.most)?;
        pidfd_open(pid, PidfdFlags::empty()).ok().map(Handle)
    }

    /// Holds a process of which the start was read after its handle was taken. Were it of another one, whose pid the
    /// reading found used again, the next look would find the end of the one that the handle is of.
    pub(super) fn hold(&mut self, pid: u32, start: u64, handle: Handle) {
        self.by_pid.insert(pid, (start, handle.0));
    }
}
