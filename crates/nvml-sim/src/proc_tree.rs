//! A folder like `/proc` with the processes of a scenario.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::scenario::{Process, Scenario};
use crate::units::Micros;

/// Clock ticks of the kernel: 100 per second, whatever the hardware.
const TICK_US: i64 = 10_000;
/// The kernel's `TASK_COMM_LEN` without its final NUL.
const COMM_LENGTH: usize = 15;
/// Identifies the simulated boot.
pub const BOOT_ID: &str = "5e550000-b007-4000-8000-000000000000";

/// A folder that holds, after each [`sync`](Self::sync), what `/proc` would.
#[derive(Debug)]
pub struct ProcTree {
    root: PathBuf,
    scenario: Scenario,
    epoch_us: i64,
    /// Boot, on a whole second as `btime` is, so that start times come out exact.
    boot_us: i64,
    written: HashMap<u32, Written>,
}

/// What lies in a process's folder.
#[derive(Debug, PartialEq)]
struct Written {
    /// Index in the scenario: a pid used again is another process.
    process: usize,
    name: Vec<u8>,
}

impl ProcTree {
    /// Makes the folder, if need be, and the files that concern no process. `epoch_us` is the scenario's anchor in
    /// unix microseconds.
    pub fn create(root: &Path, scenario: &Scenario, epoch_us: i64) -> io::Result<Self> {
        let boot_us = (epoch_us + scenario.boot_time.0).div_euclid(1_000_000) * 1_000_000;
        let tree = Self {
            root: root.to_path_buf(),
            scenario: scenario.clone(),
            epoch_us,
            boot_us,
            written: HashMap::new(),
        };
        let boot_id = root.join("sys/kernel/random");
        fs::create_dir_all(&boot_id)?;
        fs::write(boot_id.join("boot_id"), format!("{BOOT_ID}\n"))?;
        let seconds = boot_us / 1_000_000;
        let cpu = "0 0 0 0 0 0 0 0 0 0";
        fs::write(root.join("stat"), format!("cpu  {cpu}\ncpu0 {cpu}\nbtime {seconds}\nprocesses 1\n"))?;
        tree.write_uptime(epoch_us)?;
        Ok(tree)
    }

    /// Makes the folder hold just the processes that are alive at a moment (unix microseconds), by their names then.
    pub fn sync(&mut self, now_us: i64) -> io::Result<()> {
        let at = Micros(now_us - self.epoch_us);
        let alive = self.alive(at);
        let gone: Vec<u32> = self.written.keys().filter(|pid| !alive.contains_key(pid)).copied().collect();
        for pid in gone {
            fs::remove_dir_all(self.folder(pid))?;
            self.written.remove(&pid);
        }
        for (pid, wanted) in alive {
            match self.written.get(&pid) {
                Some(there) if *there == wanted => continue,
                Some(there) if there.process == wanted.process => self.rename(pid, &wanted)?,
                _ => self.add(pid, &wanted)?,
            }
            self.written.insert(pid, wanted);
        }
        self.write_uptime(now_us)
    }

    /// Writes the scenario's users, and root, as `/etc/passwd` has them.
    pub fn write_passwd(&self, path: &Path) -> io::Result<()> {
        let mut text = "root:x:0:0:root:/root:/bin/bash\n".to_owned();
        for user in self.scenario.passwd.iter().filter(|user| user.uid != 0) {
            let (name, uid) = (&user.name, user.uid);
            let _ = writeln!(text, "{name}:x:{uid}:{uid}::/home/{name}:/bin/bash");
        }
        replace(path, text.as_bytes())
    }

    fn alive(&self, at: Micros) -> HashMap<u32, Written> {
        let processes = self.scenario.processes.iter().enumerate();
        let here = processes.filter(|(_, process)| process.in_proc && process.alive_at(at));
        here.flat_map(|(index, process)| {
            let mut name = process.name_at(at);
            name.truncate(COMM_LENGTH);
            let pids = process.pid..process.pid + process.count;
            pids.map(move |pid| (pid, Written { process: index, name: name.clone() }))
        })
        .collect()
    }

    fn folder(&self, pid: u32) -> PathBuf {
        self.root.join(pid.to_string())
    }

    /// Appears at once with all its files, as a process does.
    fn add(&self, pid: u32, wanted: &Written) -> io::Result<()> {
        let folder = self.folder(pid);
        let making = self.root.join(format!(".{pid}.making"));
        let process = &self.scenario.processes[wanted.process];
        if making.exists() {
            fs::remove_dir_all(&making)?;
        }
        fs::create_dir(&making)?;
        for (file, text) in self.named_files(pid, process, &wanted.name) {
            fs::write(making.join(file), text)?;
        }
        fs::write(making.join("cgroup"), &process.cgroup)?;
        // A pid used again, or left by an earlier run.
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::rename(making, folder)
    }

    fn rename(&self, pid: u32, wanted: &Written) -> io::Result<()> {
        let folder = self.folder(pid);
        let process = &self.scenario.processes[wanted.process];
        for (file, text) in self.named_files(pid, process, &wanted.name) {
            replace(&folder.join(file), &text)?;
        }
        Ok(())
    }

    /// The files in which the name occurs.
    fn named_files(&self, pid: u32, process: &Process, name: &[u8]) -> [(&'static str, Vec<u8>); 3] {
        let ticks = (self.epoch_us + process.start.0 - self.boot_us) / TICK_US;
        let line = [name, b"\n"].concat();
        [("stat", stat(pid, name, ticks)), ("status", status(pid, name, process.uid)), ("comm", line)]
    }

    fn write_uptime(&self, now_us: i64) -> io::Result<()> {
        let up = (now_us - self.boot_us).max(0) as f64 / 1e6;
        replace(&self.root.join("uptime"), format!("{up:.2} {up:.2}\n").as_bytes())
    }
}

/// Replaces a file so that no reader sees half of it.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".making");
    let making = path.with_file_name(name);
    let mut file = fs::File::create(&making)?;
    file.write_all(text)?;
    fs::rename(making, path)
}

/// The 52 fields of `/proc/PID/stat`; the 22nd is when it started.
fn stat(pid: u32, name: &[u8], start_ticks: i64) -> Vec<u8> {
    // ppid to itrealvalue: fields 4 to 21.
    let before = format!("1 {pid} {pid} 0 -1 4194304 1200 0 0 0 150 30 0 0 20 0 4 0");
    // vsize to exit_code: fields 23 to 52.
    let after = "8589934592 262144 18446744073709551615 1 1 0 0 0 0 0 16781312 16386 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0";
    let head = [format!("{pid} (").as_bytes(), name].concat();
    [head, format!(") S {before} {start_ticks} {after}\n").into_bytes()].concat()
}

/// `/proc/PID/status`, where the kernel escapes line ends and backslashes in the name.
fn status(pid: u32, name: &[u8], uid: u32) -> Vec<u8> {
    let mut text = b"Name:\t".to_vec();
    for byte in name {
        match byte {
            b'\n' => text.extend(b"\\n"),
            b'\\' => text.extend(b"\\\\"),
            other => text.push(*other),
        }
    }
    let ids = format!("{uid}\t{uid}\t{uid}\t{uid}");
    let rest = format!(
        "\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t{pid}\nNgid:\t0\nPid:\t{pid}\nPPid:\t1\nTracerPid:\t0\n\
         Uid:\t{ids}\nGid:\t{ids}\nFDSize:\t64\nGroups:\t{uid} \nNStgid:\t{pid}\nNSpid:\t{pid}\nNSpgid:\t{pid}\n\
         NSsid:\t{pid}\nThreads:\t4\n"
    );
    text.extend(rest.into_bytes());
    text
}

#[cfg(test)]
mod tests;
