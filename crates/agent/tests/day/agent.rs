//! The agent: the loop that ships, whose every snapshot moves the day on by one interval.

use crate::{DAY, EPOCH, INTERVAL, counters, memory, truth};
use clap::Parser as _;
use gpu_session_monitor::cli::{Cli, Command};
use gpu_session_monitor::exit::Exit;
use gpu_session_monitor::serve::settings::ServeSettings;
use gpu_session_monitor::serve::{Loop, Setup};
use nvml_sim::proc_tree::ProcTree;
use nvml_sim::scenario::Scenario;
use std::path::Path;

pub(crate) fn run(folder: &Path) {
    let path = |name: &str| folder.join(name).display().to_string();
    let flags = [
        ("--listen", "off".to_owned()),
        ("--interval", format!("{INTERVAL}s")),
        ("--clock", path("clock")),
        ("--nvml-library", std::env::var("DAY_DRIVER").unwrap()),
        ("--proc-root", path("proc")),
        ("--users-passwd", path("passwd")),
        ("--state-dir", path("state")),
        ("--kubelet-socket", "off".to_owned()),
    ];
    let arguments = flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]);
    let program = ["gpu-session-monitor".to_owned(), "serve".to_owned()];
    let Command::Serve(args) = Cli::parse_from(program.into_iter().chain(arguments)).command else {
        panic!("serve was asked for")
    };
    let settings = ServeSettings::resolve(&args).unwrap_or_else(|failure| panic!("{:?}", failure.error));
    let scenario = Scenario::load(&folder.join("scenario.yaml")).unwrap();
    let mut tree = ProcTree::create(&folder.join("proc"), &scenario, EPOCH * 1_000_000).unwrap();
    let mut second = second_of(folder);
    // A life that was killed within a step of the clock left it half done.
    truth::set_clock(folder, second);
    tree.sync((EPOCH + second) * 1_000_000).unwrap();
    let mut seen = counters::last(folder);
    let mut watched = memory::Watched::default();
    let observe = Box::new(move |snapshot: &gpu_session_core::snapshot::Snapshot| {
        watched.look(folder);
        let now = counters::of(snapshot);
        counters::check(&seen, &now);
        if now != seen {
            counters::keep(folder, &seen, &now);
            seen = now;
        }
        if second >= *DAY {
            return Some(Exit::Ok);
        }
        second += INTERVAL;
        tree.sync((EPOCH + second) * 1_000_000).unwrap();
        truth::set_clock(folder, second);
        None
    });
    let setup = Setup { settings, serving: None, reload: None, end_after: None, observe };
    let exit = Loop::open(setup).unwrap_or_else(|failure| panic!("{:?}", failure.error)).run();
    std::process::exit(exit.into());
}

/// The second that the clock was last set to; of its two files this one is written first.
fn second_of(folder: &Path) -> i64 {
    let clock = std::fs::read_to_string(folder.join("clock")).unwrap();
    let monotonic: i64 = clock.split_whitespace().nth(1).unwrap().parse().unwrap();
    monotonic / 1_000_000 - truth::BOOT
}
