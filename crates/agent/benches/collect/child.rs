//! What one process used.

#![allow(unsafe_code, reason = "only wait4 tells the peak memory of one process")]

use anyhow::{Context as _, bail, ensure};
use std::process::{Command, Stdio};

/// What a process used.
#[derive(Clone, Copy)]
pub(crate) struct Usage {
    /// User and system time, microseconds.
    pub(crate) cpu_us: f64,
    /// Peak resident memory, KiB.
    pub(crate) peak_kib: f64,
}

/// Runs a command through a launcher. A process's peak counts from the moment before its exec, when it still is
/// its parent; so the parent has to be small, which the bench with its states is not.
pub(crate) fn usage(mut launcher: Command) -> anyhow::Result<Usage> {
    let output = launcher.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    match text.split_whitespace().map(str::parse).collect::<Result<Vec<f64>, _>>()?[..] {
        [cpu_us, peak_kib] => Ok(Usage { cpu_us, peak_kib }),
        _ => bail!("the launcher said {text:?}"),
    }
}

/// The launcher: runs the command, prints what it used.
pub(crate) fn launch(args: &[String]) -> anyhow::Result<()> {
    let (program, args) = args.split_first().context("launch: no program")?;
    let child = Command::new(program).args(args).stdout(Stdio::null()).spawn()?;
    // SAFETY: a C struct of integers; all zeroes is a value of it.
    let mut used: libc::rusage = unsafe { std::mem::zeroed() };
    let mut status = 0;
    let pid = libc::pid_t::try_from(child.id())?;
    // SAFETY: both pointers are to live locals; nobody else waits for this child.
    let waited = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut used) };
    ensure!(waited == pid, "wait4: {}", std::io::Error::last_os_error());
    ensure!(status == 0, "{program} ended with status {status:#x}");
    let micros = |time: libc::timeval| time.tv_sec * 1_000_000 + time.tv_usec;
    println!("{} {}", micros(used.ru_utime) + micros(used.ru_stime), used.ru_maxrss);
    Ok(())
}
