//! The program: parse, run, exit.

use clap::Parser;
use gpu_session_monitor::cli::{self, KubectlArgs, is_plugin};
use gpu_session_monitor::commands;

fn main() -> std::process::ExitCode {
    let plugin = is_plugin(std::env::args_os().next().as_deref());
    let code =
        if plugin { commands::kubectl::run(&KubectlArgs::parse()) } else { commands::run(&cli::read()) };
    // A call that hangs in the driver keeps its thread: leave without waiting for it.
    std::process::exit(code.into())
}
