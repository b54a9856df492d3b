//! `replay`: a capture through the path of live samples.

use crate::cli::{ReplayArgs, ReplayFormat};
use crate::exit::{Exit, Failure};
use crate::outputs::table;
use crate::pipeline;
use crate::say;
use crate::settings::Settings;
use gpu_session_core::json;
use gpu_session_core::metrics::{Context, Format, render};
use gpu_session_core::state::State;
use gpu_session_sources::capture::Capture;
use std::sync::Arc;

pub(super) fn run(args: &ReplayArgs) -> Result<Exit, Failure> {
    let settings = Settings::resolve(&args.common)?;
    let capture = Capture::load(&args.capture)?;
    let monitor = pipeline::monitor(&settings);
    let mut state = State::default();
    for sample in &capture.samples {
        monitor.step(&mut state, sample);
        monitor.settle(&mut state);
    }
    let Some(last) = capture.samples.last() else {
        return Err(anyhow::anyhow!("{}: it holds no sample", args.capture.display()).into());
    };
    say::health(last);
    // As after the run that took the last sample: what came to be before it has its value.
    let snapshot = monitor.snapshot(&state, last, last.time_us, &Arc::new(state.counters()));
    // A capture has no version of its own: what it becomes does not depend on who replays it.
    let metrics = |format| render(&snapshot, Context::default(), &settings.labels, format);
    super::print(&match args.format {
        ReplayFormat::Text => metrics(Format::Text),
        ReplayFormat::Openmetrics => metrics(Format::OpenMetrics),
        ReplayFormat::Json => format!("{}\n", serde_json::to_string_pretty(&json::sessions(&snapshot))?),
        ReplayFormat::Table => table::snapshot(&snapshot),
    })?;
    Ok(super::outcome(last))
}
