//! The commands, one file each.

mod collect;
#[cfg(feature = "demo")]
mod demo;
mod doctor;
pub mod kubectl;
mod ps;
mod record;
mod remove;
mod replay;
mod report;
mod serve;
mod top;
mod web;

use crate::cli::{Cli, Command};
use crate::exit::{Exit, Failure};
use crate::say;
use clap::CommandFactory as _;
use gpu_session_core::sample::Sample;
use std::io::Write as _;

/// Runs a command; what goes wrong is told on standard error.
pub fn run(cli: &Cli) -> Exit {
    let result = match &cli.command {
        Command::Collect(args) => collect::run(args),
        Command::Serve(args) => serve::run(args),
        Command::Ps(args) => ps::run(args),
        Command::Top(args) => top::run(args),
        Command::Web(args) => web::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Record(args) => record::run(args),
        Command::Replay(args) => replay::run(args),
        Command::Report(args) => report::run(args),
        #[cfg(feature = "demo")]
        Command::Demo(args) => demo::run(args),
        #[cfg(not(feature = "demo"))]
        Command::Demo(_) => Err(Failure::usage(anyhow::anyhow!(
            "this build has no demo: build it from the source with `make demo`"
        ))),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "gpu-session-monitor", &mut script);
            print(&String::from_utf8_lossy(&script)).map(|()| Exit::Ok)
        }
    };
    result.unwrap_or_else(|Failure { exit, error }| {
        say::error(format_args!("{error:#}"));
        exit
    })
}

/// Writes to standard output. A reader that has read enough (`| head`) is no failure.
fn print(text: &str) -> Result<(), Failure> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(e.into()),
        _ => Ok(()),
    }
}

/// How a measurement went: failed without the driver, partial where anything was not answered.
fn outcome(sample: &Sample) -> Exit {
    if sample.driver.is_none() {
        return Exit::Failed;
    }
    if sample.health.iter().all(|source| source.up) { Exit::Ok } else { Exit::Partial }
}
