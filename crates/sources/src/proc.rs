//! /proc: name, start, uid and cgroup of the processes that the driver names.
//!
//! Own reading instead of the `procfs` crate: one open per known process and sample, and names as raw bytes.

use crate::clock::Clock;
use crate::{Source, source_error};
use gpu_session_core::sample::{Process, Request, Sample, SourceError};
use gpu_session_core::text;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Longest file that is read: a cgroup file has a few lines of paths of at most 4 KiB.
const MAX_BYTES: usize = 64 << 10;

/// The inode of the initial pid namespace, fixed in the kernel (`PROC_PID_INIT_INO`).
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";

/// Reads a tree of the form of /proc.
pub struct Proc {
    root: PathBuf,
    clock: Clock,
    buffer: Vec<u8>,
    path: String,
    node: Option<Node>,
}

/// What does not change until the next boot.
struct Node {
    directory: OwnedFd,
    boot_id: Option<Arc<str>>,
    boot_us: Option<i64>,
}

/// Why a process could not be read.
enum Failure {
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

impl Proc {
    /// Reads below `root`, `/proc` or where the host's is mounted.
    pub fn new(root: &Path, clock: Clock) -> Self {
        Self {
            root: root.to_owned(),
            clock,
            buffer: Vec::with_capacity(4096),
            path: String::new(),
            node: None,
        }
    }

    fn node(&mut self) -> Result<&Node, SourceError> {
        if self.node.is_none() {
            self.node = Some(self.open()?);
        }
        self.node.as_ref().ok_or_else(|| source_error("io", "no /proc".to_owned()))
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
        let boot_us = match &self.clock {
            // Exact, where /proc is this machine's; btime is in whole seconds.
            Clock::Real if self.root == Path::new("/proc") => self.clock.boot_us(),
            _ => btime.and_then(|seconds| i64::try_from(seconds).ok()).map(|seconds| seconds * 1_000_000),
        };
        let boot_id = read_at(directory.as_fd(), "sys/kernel/random/boot_id", &mut self.buffer)
            .ok()
            .map(|()| text::clean_bytes(self.buffer.trim_ascii()).into());
        if self.is_nested() {
            return Err(source_error(
                "pid_namespace",
                format!(
                    "{root} shows a container's own processes, not the host's: NVML's pids mean nothing in it; set hostPID: true, or mount the host's /proc and name it as proc.root"
                ),
            ));
        }
        Ok(Node { directory, boot_id, boot_us })
    }

    /// Whether this /proc is that of a pid namespace below the initial one. In the host's /proc our own entry
    /// names our pid in every namespace down to ours; in our own namespace's there is one pid only.
    fn is_nested(&self) -> bool {
        let Ok(status) = std::fs::read_to_string(self.root.join("self/status")) else {
            return false;
        };
        let pids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        let own = std::fs::read_link("/proc/self/ns/pid");
        pids.is_some_and(|pids| pids.split_whitespace().count() == 1)
            && own.is_ok_and(|own| own.as_os_str() != INITIAL_PID_NAMESPACE)
    }

    /// Reads a file of a process into the kept buffer.
    fn read_file(&mut self, pid: u32, file: &str) -> Result<(), Errno> {
        let node = self.node.as_ref().ok_or(Errno::BADF)?;
        self.path.clear();
        let _ = write!(self.path, "{pid}/{file}");
        read_at(node.directory.as_fd(), &self.path, &mut self.buffer)
    }

    fn process(&mut self, pid: u32, known: Option<u64>) -> Result<(Process, Option<Errno>), Failure> {
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
}

impl Source for Proc {
    fn name(&self) -> &'static str {
        "proc"
    }

    fn read(&mut self, request: &Request, sample: &mut Sample) -> Vec<SourceError> {
        match self.node() {
            Ok(node) => {
                sample.boot_id.clone_from(&node.boot_id);
                sample.boot_us = node.boot_us;
            }
            Err(error) => return vec![error],
        }
        let listed =
            sample.driver.iter().flat_map(|driver| &driver.devices).flat_map(|d| &d.processes).flatten();
        let mut pids: Vec<u32> = listed.map(|process| process.pid).collect();
        pids.sort_unstable();
        pids.dedup();
        let mut found = BTreeMap::new();
        let mut problems: BTreeMap<&'static str, (String, usize)> = BTreeMap::new();
        let mut note = |kind, message: String| problems.entry(kind).or_insert((message, 0)).1 += 1;
        // Ticks count from the boot: those of another say nothing.
        let same_boot = *request.boot_id == *sample.boot_id.as_deref().unwrap_or("");
        for pid in pids {
            match self.process(pid, request.known.get(&pid).copied().filter(|_| same_boot)) {
                Ok((process, failed)) => {
                    if let Some(errno) = failed {
                        note(kind(errno), format!("{}/{pid}: {errno}", self.root.display()));
                    }
                    found.insert(pid, process);
                }
                Err(Failure::Vanished) => {}
                Err(Failure::Error(errno)) => {
                    note(kind(errno), format!("{}/{pid}/stat: {errno}", self.root.display()));
                    found.insert(pid, Process::default());
                }
                Err(Failure::Malformed) => {
                    note(
                        "malformed",
                        format!("{}/{pid}/stat: not in the kernel's format", self.root.display()),
                    );
                    found.insert(pid, Process::default());
                }
            }
        }
        sample.processes = Some(found);
        let error = |(kind, (message, count)): (&str, (String, usize))| {
            let more = if count > 1 { format!(" (and {} more processes)", count - 1) } else { String::new() };
            source_error(kind, format!("{message}{more}"))
        };
        problems.into_iter().map(error).collect()
    }
}

fn kind(errno: Errno) -> &'static str {
    match errno {
        Errno::ACCESS | Errno::PERM => "permission_denied",
        _ => "io",
    }
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
fn stat(text: &[u8]) -> Option<(&[u8], u64)> {
    let open = text.iter().position(|b| *b == b'(')?;
    let close = text.iter().rposition(|b| *b == b')')?;
    let command = text.get(open + 1..close)?;
    // Field 3 follows the bracket; the start is field 22.
    let start = text.get(close + 2..)?.split(|b| *b == b' ').nth(19)?;
    Some((command, number(start)?))
}

/// Whether the kernel's flags in `/proc/PID/stat` (field 9) have `PF_EXITING`. It stays set, so that reading it after
/// the cgroup is enough.
fn is_exiting(text: &[u8]) -> bool {
    let after = text.iter().rposition(|b| *b == b')').and_then(|close| text.get(close + 2..));
    let flags = after.and_then(|fields| number(fields.split(|b| *b == b' ').nth(6)?));
    flags.is_some_and(|flags| flags & 0x4 != 0)
}

/// The first of the four uids in `/proc/PID/status`. The kernel escapes line ends in the name before it.
fn real_uid(text: &[u8]) -> Option<u32> {
    let line = text.split(|b| *b == b'\n').find_map(|line| line.strip_prefix(b"Uid:\t"))?;
    number(line.split(|b| *b == b'\t').next()?)?.try_into().ok()
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text.trim_ascii()).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpu_session_core::ids::GpuLabel;
    use gpu_session_core::sample::{Activity, Device, DeviceFacts, DeviceProcess, Driver};

    fn stat_line(pid: u32, comm: &[u8], start: u64) -> Vec<u8> {
        let mut line = format!("{pid} (").into_bytes();
        line.extend_from_slice(comm);
        line.extend_from_slice(format!(") S 1{} {start} 0 0\n", " 0".repeat(17)).as_bytes());
        line
    }

    fn sample(pids: &[u32]) -> Sample {
        let facts = DeviceFacts {
            label: GpuLabel { gpu: 0, instance: None },
            uuid: "GPU-a".into(),
            parent_uuid: None,
            model: None,
            mig_profile: None,
            pci_bus_id: None,
            minor_number: None,
            memory_total_bytes: None,
            compute_fraction: None,
        };
        let device = Device {
            facts: facts.into(),
            memory_used_bytes: None,
            utilization: None,
            energy_millijoules: None,
            accounting: None,
            processes: Some(pids.iter().map(|pid| DeviceProcess { pid: *pid, memory_bytes: None }).collect()),
            mps: false,
            activity: Activity::Unsupported,
        };
        Sample { driver: Some(Driver { devices: vec![device], ..Driver::default() }), ..Sample::default() }
    }

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("stat"), "cpu 1 2\nbtime 1700000000\n").unwrap();
        dir
    }

    fn add(root: &Path, pid: u32, comm: &[u8], start: u64) {
        let dir = root.join(pid.to_string());
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("stat"), stat_line(pid, comm, start)).unwrap();
        std::fs::write(dir.join("status"), "Name:\tx\nUid:\t1000\t0\t0\t0\n").unwrap();
        std::fs::write(dir.join("cgroup"), "0::/user.slice\n").unwrap();
    }

    #[test]
    fn the_name_may_hold_anything() {
        for comm in [&b"python3"[..], b"a) b (c", b"new\nline", b"\xff\xfe", &[b'x'; 10_000]] {
            assert_eq!(stat(&stat_line(1, comm, 77)), Some((comm, 77)));
        }
        for bad in [&b""[..], b"1 (x", b"1 x) S", b"1 (x) S 1 2"] {
            assert_eq!(stat(bad), None);
        }
    }

    #[test]
    fn an_exiting_process_has_no_cgroup_any_more() {
        let dir = tree();
        add(dir.path(), 7, b"python3", 100);
        let stat = |flags: &str| {
            let fields = format!("7 (python3) S 1 7 7 0 -1 {flags}{} 100 0 0\n", " 0".repeat(12));
            std::fs::write(dir.path().join("7/stat"), fields).unwrap();
        };
        for (flags, cgroup) in [("4194304", Some("0::/user.slice\n")), ("4194308", None)] {
            stat(flags);
            let mut read = sample(&[7]);
            assert!(Proc::new(dir.path(), Clock::Real).read(&Request::default(), &mut read).is_empty());
            let process = &read.processes.unwrap()[&7];
            assert_eq!((process.start_ticks, process.cgroup.as_deref()), (Some(100), cgroup), "{flags}");
        }
    }

    #[test]
    fn a_known_process_costs_one_read_and_a_reused_pid_is_new() {
        let dir = tree();
        add(dir.path(), 7, b"python3", 100);
        let mut source = Proc::new(dir.path(), Clock::Real);
        let mut first = sample(&[7, 8]);
        assert!(source.read(&Request::default(), &mut first).is_empty());
        let processes = first.processes.unwrap();
        assert_eq!((processes.len(), processes[&7].uid), (1, Some(1000)), "8 has gone: no process, no error");
        assert_eq!(first.boot_us, Some(1_700_000_000_000_000));

        // Were it read again, the missing files would be errors.
        std::fs::remove_file(dir.path().join("7/cgroup")).unwrap();
        let known = Request { known: BTreeMap::from([(7, 100)]), ..Request::default() };
        let mut second = sample(&[7]);
        assert!(source.read(&known, &mut second).is_empty());
        assert_eq!(second.processes.unwrap()[&7].command, None);

        add(dir.path(), 7, b"other", 200);
        let mut third = sample(&[7]);
        source.read(&known, &mut third);
        assert_eq!(third.processes.unwrap()[&7].command.as_deref(), Some("other"));
    }

    #[test]
    fn an_unreadable_proc_is_not_an_empty_one() {
        let empty = tempfile::tempdir().unwrap();
        for root in [empty.path(), Path::new("/nonexistent")] {
            let mut taken = sample(&[7]);
            let errors = Proc::new(root, Clock::Real).read(&Request::default(), &mut taken);
            assert_eq!((errors.len(), taken.processes), (1, None));
            assert!(errors[0].message.contains("proc.root"), "{}", errors[0].message);
        }
    }

    #[test]
    fn a_malformed_process_is_an_error_and_still_a_process() {
        let dir = tree();
        add(dir.path(), 7, b"x", 1);
        std::fs::write(dir.path().join("7/stat"), "garbage").unwrap();
        let mut taken = sample(&[7]);
        let errors = Proc::new(dir.path(), Clock::Real).read(&Request::default(), &mut taken);
        assert_eq!(&*errors[0].kind, "malformed");
        assert_eq!(taken.processes.unwrap()[&7], Process::default());
    }

    #[test]
    fn this_machine_has_us() {
        let own = std::process::id();
        let mut taken = sample(&[own]);
        let errors = Proc::new(Path::new("/proc"), Clock::Real).read(&Request::default(), &mut taken);
        // In a container of its own pid namespace the source must refuse instead.
        match errors.first() {
            None => assert!(taken.processes.unwrap()[&own].start_ticks.is_some()),
            Some(error) => assert_eq!(&*error.kind, "pid_namespace"),
        }
    }
}
