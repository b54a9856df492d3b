//! The program: parse, run, exit.

use clap::Parser;
use gpu_session_monitor::cli::Cli;
use gpu_session_monitor::commands;

fn main() -> std::process::ExitCode {
    let code = commands::run(&Cli::parse());
    // A call that hangs in the driver keeps its thread: leave without waiting for it.
    std::process::exit(code.into())
}
