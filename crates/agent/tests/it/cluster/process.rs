//! A program of the control plane, which ends with the tests, however they end.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Runs the program for as long as standard input is open. Its output goes to the file that is named first.
const GUARD: &str = r#"
log=$1; shift
setpriv --pdeathsig KILL "$@" </dev/null >"$log" 2>&1 &
echo $!
while read -r _; do :; done
kill -9 $! 2>/dev/null
wait"#;

/// A running program; it is killed when this is dropped.
pub(super) struct Process {
    guard: Child,
    /// The program's.
    pub(super) pid: u32,
    log: PathBuf,
}

impl Process {
    /// Starts a program with these arguments; its log lies in the folder, by its name.
    pub(super) fn start(folder: &Path, program: &Path, args: &[String]) -> Self {
        let name = program.file_name().unwrap().to_str().unwrap();
        let log = folder.join(format!("{name}.log"));
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD, "guard"]).arg(&log).arg(program).args(args);
        // In a group of its own, so that what ends the tests from a terminal does not end it before the tests.
        let guard = std::os::unix::process::CommandExt::process_group(&mut guard, 0);
        let mut guard = guard.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(guard.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let pid = said.trim_end().parse().expect("the guard says the pid");
        Self { guard, pid, log }
    }

    /// Who kills the program, once nobody is there to be told by.
    pub(super) fn guard(&self) -> u32 {
        self.guard.id()
    }

    /// Whether it still runs. One that has ended has no program.
    pub(super) fn is_running(&self) -> bool {
        Path::new(&format!("/proc/{}/exe", self.pid)).exists()
    }

    /// The end of what it has said.
    pub(super) fn said(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        format!("{}:\n{}\n", self.log.display(), lines[lines.len().saturating_sub(20)..].join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}
