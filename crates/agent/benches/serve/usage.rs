//! What a process that runs has used.

#![allow(unsafe_code, reason = "only the process's CPU clock is finer than the ticks of /proc")]

use crate::cases::Stage;
use crate::child;
use anyhow::{Context as _, ensure};
use std::time::Duration;

/// User and system time of all threads of a process so far, ended ones too. /proc/PID/stat has the same in ticks of
/// 10 ms, which is several samples.
pub(crate) fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let (mut clock, mut time) = (0, libc::timespec { tv_sec: 0, tv_nsec: 0 });
    // SAFETY: the pointer is to a live local.
    let code = unsafe { libc::clock_getcpuclockid(libc::pid_t::try_from(pid)?, &raw mut clock) };
    ensure!(code == 0, "process {pid}: no CPU clock: {}", std::io::Error::from_raw_os_error(code));
    // SAFETY: the pointer is to a live local.
    let code = unsafe { libc::clock_gettime(clock, &raw mut time) };
    ensure!(code == 0, "process {pid}: {}", std::io::Error::last_os_error());
    Ok(Duration::new(time.tv_sec.try_into()?, time.tv_nsec.try_into()?))
}

/// Resident memory, MiB.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    pub(crate) now: f64,
    pub(crate) peak: f64,
    /// Of it, pages of the simulated driver's file.
    pub(crate) driver: f64,
}

/// What the simulated driver's file ends with.
const DRIVER: &str = "/libnvml_sim.so";

/// Resident memory of a process.
pub(crate) fn memory(pid: u32) -> anyhow::Result<Memory> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| -> anyhow::Result<f64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib =
            line.and_then(|line| line.trim().strip_suffix(" kB")).with_context(|| format!("no {name}"))?;
        Ok(kib.parse::<f64>()? / 1024.0)
    };
    Ok(Memory { now: field("VmRSS:")?, peak: field("VmHWM:")?, driver: driver(pid)? })
}

fn driver(pid: u32) -> anyhow::Result<f64> {
    let (mut kib, mut is_driver) = (0, false);
    for line in std::fs::read_to_string(format!("/proc/{pid}/smaps"))?.lines() {
        match line.strip_prefix("Rss:").and_then(|rss| rss.trim().strip_suffix(" kB")) {
            Some(rss) if is_driver => kib += rss.parse::<u32>()?,
            // A mapping begins with its addresses, a figure with its name and a colon.
            None if line.split(' ').next().is_some_and(|first| !first.ends_with(':')) => {
                is_driver = line.ends_with(DRIVER);
            }
            _ => {}
        }
    }
    Ok(f64::from(kib) / 1024.0)
}

/// What the simulated driver takes, its file and what it allocates, MiB: a bare loop of driver calls beside an empty
/// program.
pub(crate) fn driver_alone(stage: &Stage) -> anyhow::Result<f64> {
    let own = std::env::current_exe()?.display().to_string();
    let peak_kib = |words: &[&str]| {
        let args: Vec<String> =
            [&own, "launch", &own].iter().chain(words).map(|word| (*word).to_owned()).collect();
        child::usage(stage.command(&args)).map(|usage| usage.peak_kib)
    };
    let driver = peak_kib(&["driver", "1", &stage.library(), "1000000"])?;
    Ok((driver - peak_kib(&["empty"])?) / 1024.0)
}
