//! `ps`: who is where, now. It reads the state of `collect`, so that it knows since when, and changes nothing.

use crate::cli::PsArgs;
use crate::exit::{Exit, Failure};
use crate::outputs::table;
use crate::pipeline::Pipeline;
use crate::settings::Settings;
use crate::{say, state_file};
use gpu_session_core::json;
use gpu_session_sources::kubernetes::Mode;

pub(super) fn run(args: &PsArgs) -> Result<Exit, Failure> {
    let settings = Settings::resolve(&args.common)?;
    let state = state_file::peek(&settings.state_dir).unwrap_or_default();
    let mut pipeline = Pipeline::live(&settings, state, Mode::Once)?;
    let sample = pipeline.sample_over(settings.window, true);
    say::health(&sample);
    let snapshot = pipeline.snapshot(&sample, i64::MAX);
    if args.json {
        super::print(&format!("{}\n", serde_json::to_string_pretty(&json::sessions(&snapshot))?))?;
    } else if sample.driver.is_some() {
        super::print(&table::snapshot(&snapshot))?;
    }
    Ok(super::outcome(&sample))
}
