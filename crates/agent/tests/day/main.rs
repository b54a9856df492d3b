//! A day of the agent: the loop, tracker, accounts and ledger that ship, on a simulated driver and clock. Twenty thousand
//! sessions come and go; the agent is killed again and again, the driver is reloaded, a MIG layout changes, the clock is
//! set back. At the end the ledger and the counters are held against the truth, and the memory of the last life must be flat. `make day` runs it whole; without
//! `DAY_HOURS` it is a day of two hours, with all that happens in a long one.
//!
//! This program is the day itself, and, run by it, the agent: in a process of its own, so that it can be killed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is a test")]
#![allow(clippy::print_stdout, reason = "it reports as a test runner does")]

mod agent;
mod counters;
mod memory;
mod truth;
mod verdict;

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// Anchor of the day, Unix seconds.
const EPOCH: i64 = 1_700_000_000;
/// Seconds of it.
static DAY: LazyLock<i64> = LazyLock::new(|| {
    let hours = std::env::var("DAY_HOURS").map_or(2, |hours| hours.parse().expect("DAY_HOURS is a number"));
    assert!((1..=24).contains(&hours), "DAY_HOURS is from 1 to 24");
    hours * 3600
});
/// Seconds between two samples.
const INTERVAL: i64 = 5;
/// For how long the day may stand still, on a machine however busy.
const STILL: Duration = Duration::from_secs(180);
/// How often the agent is killed.
const KILLS: u64 = 20;

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("--agent") => agent::run(&PathBuf::from(std::env::args().nth(2).expect("a folder"))),
        // A runner that asks what there is, or for some other test by name.
        Some("--list") => println!("a_day_of_the_agent: test"),
        Some(filter) if !filter.starts_with('-') && !"a_day_of_the_agent".contains(filter) => report(0, 1),
        _ => {
            println!("\nrunning 1 test");
            let begin = Instant::now();
            day();
            println!("test a_day_of_the_agent ... ok ({} s)", begin.elapsed().as_secs());
            report(1, 0);
        }
    }
}

fn report(passed: usize, filtered: usize) {
    println!(
        "\ntest result: ok. {passed} passed; 0 failed; 0 ignored; 0 measured; {filtered} filtered out\n"
    );
}

fn day() {
    let folder = tempfile::Builder::new().prefix("gpu-session-monitor-day-").tempdir_in(fastest()).unwrap();
    let truth = truth::Truth::new();
    truth.write(folder.path());
    let mut dice = truth::Dice(11);
    let mut kills = 0;
    loop {
        let mut agent = start(folder.path());
        // Kills fall evenly over three quarters of the day, each at whatever the agent is doing then.
        let until = *DAY * 3 * (kills as i64 + 1) / (4 * KILLS as i64);
        let until = if kills < KILLS { until } else { i64::MAX / 1_000_000 - EPOCH };
        if let Some(status) = await_or_end(&mut agent, folder.path(), until) {
            assert!(status.success(), "the agent failed: {status}");
            break;
        }
        std::thread::sleep(Duration::from_micros(dice.below(30_000)));
        agent.kill().unwrap();
        assert_eq!(agent.wait().unwrap().signal(), Some(9), "it was killed");
        kills += 1;
    }
    assert_eq!(kills, KILLS);
    verdict::sessions(&truth, &verdict::ledger(folder.path()));
    verdict::users(&truth, &counters::last(folder.path()));
    verdict::report(&truth, folder.path());
    memory::is_flat(folder.path());
}

/// Where files cost no disk: nothing here is about its speed.
fn fastest() -> PathBuf {
    let shared = Path::new("/dev/shm");
    if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() }
}

fn start(folder: &Path) -> Child {
    let program = std::env::current_exe().unwrap();
    let driver = Path::new(env!("CARGO_BIN_EXE_gpu-session-monitor"))
        .with_file_name("nvml-sim")
        .join("libnvidia-ml.so.1");
    assert!(
        driver.exists(),
        "{} is missing: `make test` builds it (cargo build --workspace)",
        driver.display()
    );
    let mut command = Command::new(program);
    command.arg("--agent").arg(folder);
    command.env_clear();
    command.env("NVML_SIM_SCENARIO", folder.join("scenario.yaml"));
    command.env("NVML_SIM_CLOCK", folder.join("true-time")).env("NVML_SIM_EPOCH", EPOCH.to_string());
    command.env("DAY_DRIVER", driver).env("DAY_HOURS", (*DAY / 3600).to_string());
    command.spawn().unwrap()
}

/// Waits until the agent has come to this second of the day, or has ended. An agent that stands still fails the test.
fn await_or_end(agent: &mut Child, folder: &Path, second: i64) -> Option<std::process::ExitStatus> {
    let mut moved = (0, Instant::now());
    loop {
        if let Some(status) = agent.try_wait().unwrap() {
            return Some(status);
        }
        let now: i64 = std::fs::read_to_string(folder.join("true-time")).unwrap().trim().parse().unwrap_or(0);
        if now >= (EPOCH + second) * 1_000_000 {
            return None;
        }
        if now != moved.0 {
            moved = (now, Instant::now());
        } else if moved.1.elapsed() > STILL {
            agent.kill().unwrap();
            panic!("the agent stands still at second {} of the day", now / 1_000_000 - EPOCH);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
