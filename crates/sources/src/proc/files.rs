//! The files of one process, below one folder of the form of /proc.

use crate::clock::Clock;
use crate::source_error;
use gpu_session_core::sample::{Process, SourceError};
use gpu_session_core::text;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags, PROC_SUPER_MAGIC, openat};
use rustix::io::Errno;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Longest file that is read: a cgroup file has a few lines of paths of at most 4 KiB.
const MAX_BYTES: usize = 64 << 10;

/// The inode of the initial pid namespace, fixed in the kernel (`PROC_PID_INIT_INO`).
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";

/// Reads processes, with buffers that are kept.
pub(crate) struct Files {
    root: PathBuf,
    buffer: Vec<u8>,
    path: String,
    node: Option<Node>,
}

/// What does not change until the next boot.
pub(super) struct Node {
    directory: OwnedFd,
    pub(super) boot_id: Option<Arc<str>>,
    /// `btime`, in whole seconds and as it was when the folder was opened.
    btime_us: Option<i64>,
    /// It is of the kernel that we run on.
    is_ours: bool,
    /// Its pids are those of our own namespace.
    pub(super) has_our_pids: bool,
}

impl Node {
    /// Wall clock at boot by what the clock says now: it moves when the clock is set.
    pub(super) fn boot_us(&self, clock: &Clock) -> Option<i64> {
        let told = if *clock == Clock::Real && !self.is_ours { None } else { clock.boot_us() };
        told.or(self.btime_us)
    }
}

/// Why a process could not be read.
pub(crate) enum Failure {
    Vanished,
    Error(Errno),
    Malformed,
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        match errno {
            // The process ended before the open, or between open and read.
            Errno::NOENT | Errno::SRCH => Self::Vanished,
            other => Self::Error(other),
        }
    }
}

impl Files {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), buffer: Vec::with_capacity(4096), path: String::new(), node: None }
    }

    pub(crate) fn root(&self) -> std::path::Display<'_> {
        self.root.display()
    }

    /// Opens the folder, if it is not open yet, and says what it is of.
    pub(super) fn node(&mut self) -> Result<&Node, SourceError> {
        if self.node.is_none() {
            self.node = Some(self.open()?);
        }
        self.node.as_ref().ok_or_else(|| source_error("io", "no /proc".to_owned()))
    }

    /// Opens the folder, for [`Self::process`].
    pub(crate) fn prepare(&mut self) -> Result<(), SourceError> {
        self.node().map(|_| ())
    }

    fn open(&mut self) -> Result<Node, SourceError> {
        let root = self.root.display().to_string();
        let fail = |what: &str, errno: Errno| {
            let message = format!("{root}{what}: {errno}; proc.root must name the /proc of the host");
            source_error("io", message)
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(rustix::fs::CWD, &self.root, flags, Mode::empty()).map_err(|e| fail("", e))?;
        // An empty folder must not look like a node on which every process ended.
        read_at(directory.as_fd(), "stat", &mut self.buffer).map_err(|e| fail("/stat", e))?;
        let btime = self.buffer.split(|b| *b == b'\n').find_map(|line| number(line.strip_prefix(b"btime ")?));
        let btime_us = btime.and_then(|seconds| i64::try_from(seconds).ok()?.checked_mul(1_000_000));
        let boot_id = read_at(directory.as_fd(), "sys/kernel/random/boot_id", &mut self.buffer)
            .ok()
            .map(|()| text::clean_bytes(self.buffer.trim_ascii()).into());
        let has_our_pids = self.has_our_pids(&directory);
        if has_our_pids && in_initial_pid_namespace() == Some(false) {
            return Err(source_error(
                "pid_namespace",
                format!(
                    "{root} shows a container's own processes, not the host's: NVML's pids mean nothing in it; set hostPID: true, or mount the host's /proc and name it as proc.root"
                ),
            ));
        }
        let own = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        let is_ours = own.is_some_and(|own| boot_id.as_deref() == Some(own.trim()));
        Ok(Node { directory, boot_id, btime_us, is_ours, has_our_pids })
    }

    /// Whether this is the kernel's /proc of our own pid namespace. In that of one above, our own entry names our pid
    /// in every namespace down to ours; in our own namespace's there is one pid only.
    fn has_our_pids(&self, directory: &OwnedFd) -> bool {
        let Ok(status) = std::fs::read_to_string(self.root.join("self/status")) else {
            return false;
        };
        let pids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        pids.is_some_and(|pids| pids.split_whitespace().count() == 1)
            && rustix::fs::fstatfs(directory).is_ok_and(|fs| fs.f_type == PROC_SUPER_MAGIC)
    }

    /// Reads a file of a process into the kept buffer.
    fn read_file(&mut self, pid: u32, file: &str) -> Result<(), Errno> {
        let node = self.node.as_ref().ok_or(Errno::BADF)?;
        self.path.clear();
        let _ = write!(self.path, "{pid}/{file}");
        read_at(node.directory.as_fd(), &self.path, &mut self.buffer)
    }

    /// All of a process, or only its start if that is the known one; and what could not be read of it.
    pub(crate) fn process(
        &mut self,
        pid: u32,
        known: Option<u64>,
    ) -> Result<(Process, Option<Errno>), Failure> {
        self.read_file(pid, "stat")?;
        let (command, start) = stat(&self.buffer).ok_or(Failure::Malformed)?;
        let mut process = Process { start_ticks: Some(start), ..Process::default() };
        if known == Some(start) {
            return Ok((process, None));
        }
        process.command = Some(text::clean_bytes(command).into());
        let mut failed = None;
        match self.read_file(pid, "status") {
            Ok(()) => process.uid = real_uid(&self.buffer),
            Err(errno) => failed = Some(errno),
        }
        match self.read_file(pid, "cgroup") {
            Ok(()) => process.cgroup = Some(String::from_utf8_lossy(&self.buffer).into()),
            Err(errno) => failed = Some(errno),
        }
        // What was read between two equal starts is of one process.
        self.read_file(pid, "stat")?;
        if is_exiting(&self.buffer) {
            // cgroup v1 shows `/`, the host's, for every task that is exiting, wherever it ran.
            process.cgroup = None;
        }
        match stat(&self.buffer) {
            Some((_, again)) if again == start => Ok((process, failed)),
            _ => Err(Failure::Vanished),
        }
    }

    /// Start of the process that has the pid and runs, by one read. One that is over and waits for its parent is gone.
    pub(super) fn running(&mut self, pid: u32) -> Result<u64, Failure> {
        self.read_file(pid, "stat")?;
        let (_, start) = stat(&self.buffer).ok_or(Failure::Malformed)?;
        if is_over(&self.buffer) { Err(Failure::Vanished) } else { Ok(start) }
    }
}

/// Whether we are in the initial pid namespace; `None` where nobody says.
pub(crate) fn in_initial_pid_namespace() -> Option<bool> {
    let own = std::fs::read_link("/proc/self/ns/pid").ok()?;
    Some(own.as_os_str() == INITIAL_PID_NAMESPACE)
}

/// Reads a whole small file below a folder.
fn read_at(directory: rustix::fd::BorrowedFd<'_>, path: &str, buffer: &mut Vec<u8>) -> Result<(), Errno> {
    buffer.clear();
    let file = openat(directory, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    while buffer.len() < MAX_BYTES {
        buffer.reserve(1024);
        if rustix::io::read(&file, rustix::buffer::spare_capacity(buffer))? == 0 {
            break;
        }
        // The kernel gives these files whole: a read that leaves room was the last.
        if buffer.len() < buffer.capacity() {
            break;
        }
    }
    Ok(())
}

/// Name and start of `/proc/PID/stat`: the name may hold anything, so it ends at the last bracket.
pub(super) fn stat(text: &[u8]) -> Option<(&[u8], u64)> {
    let open = text.iter().position(|b| *b == b'(')?;
    let close = text.iter().rposition(|b| *b == b')')?;
    let command = text.get(open + 1..close)?;
    Some((command, field(text, 22)?))
}

/// A number of `/proc/PID/stat`, by proc(5)'s count; field 3 follows the name's bracket.
fn field(text: &[u8], nth: usize) -> Option<u64> {
    number(after_name(text)?.split(|b| *b == b' ').nth(nth - 3)?)
}

fn after_name(text: &[u8]) -> Option<&[u8]> {
    let close = text.iter().rposition(|b| *b == b')')?;
    text.get(close + 1..)?.strip_prefix(b" ")
}

/// Whether the kernel's flags in `/proc/PID/stat` (field 9) have `PF_EXITING`. It stays set, so that reading it after
/// the cgroup is enough.
fn is_exiting(text: &[u8]) -> bool {
    field(text, 9).is_some_and(|flags| flags & 0x4 != 0)
}

/// Whether it has ended and only waits for its parent: a zombie whose first thread (field 20) is its last. Where
/// others are left, it runs.
fn is_over(text: &[u8]) -> bool {
    let state = after_name(text).and_then(|fields| fields.first());
    matches!(state, Some(b'Z' | b'X')) && field(text, 20).is_none_or(|threads| threads <= 1)
}

/// The first of the four uids in `/proc/PID/status`. The kernel escapes line ends in the name before it.
fn real_uid(text: &[u8]) -> Option<u32> {
    let line = text.split(|b| *b == b'\n').find_map(|line| line.strip_prefix(b"Uid:\t"))?;
    number(line.split(|b| *b == b'\t').next()?)?.try_into().ok()
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text.trim_ascii()).ok()?.parse().ok()
}
