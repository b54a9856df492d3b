//! Words for the operator, on standard error, harmless whatever they quote.

use gpu_session_core::sample::Sample;
use std::fmt::Display;
use std::io::Write as _;

/// Writes a warning.
pub fn warn(message: impl Display) {
    line("warning", &message.to_string());
}

/// Writes an error.
pub fn error(message: impl Display) {
    line("error", &message.to_string());
}

/// Warns of everything that the sources of a sample could not read.
pub fn health(sample: &Sample) {
    for source in &sample.health {
        for problem in &source.errors {
            warn(format_args!("{}: {}", source.source, problem.message));
        }
    }
}

fn line(level: &str, message: &str) {
    let message: String =
        message.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect();
    // Nobody is left to tell if standard error is gone.
    let _ = writeln!(std::io::stderr().lock(), "gpu-session-monitor: {level}: {message}");
}
