//! `record`: what the sources said, in a file.

use crate::cli::RecordArgs;
use crate::exit::{Exit, Failure};
use crate::pipeline::Pipeline;
use crate::settings::Settings;
use crate::{files, say};
use anyhow::Context as _;
use gpu_session_core::state::State;
use gpu_session_sources::capture::Capture;
use gpu_session_sources::kubernetes::Mode;
use std::path::Path;

pub(super) fn run(args: &RecordArgs) -> Result<Exit, Failure> {
    let settings = Settings::resolve(&args.common)?;
    // From nothing, as a replay begins: else the capture would lack what this node knew already.
    let mut pipeline = Pipeline::live(&settings, State::default(), Mode::Watch)?;
    let mut samples = Vec::new();
    let mut worst = Exit::Ok;
    for taken in 0..args.samples {
        if taken > 0 {
            settings.clock.sleep(args.interval);
        }
        let sample = pipeline.sample();
        say::health(&sample);
        worst = worst.max(match super::outcome(&sample) {
            // A capture of a driver that is down is a good capture.
            Exit::Failed => Exit::Partial,
            other => other,
        });
        samples.push(sample);
    }
    let text = Capture::new(samples).to_json()?;
    if args.output == Path::new("-") {
        super::print(&text)?;
    } else {
        let shown = args.output.display();
        files::write_atomically(&args.output, text.as_bytes(), 0o644)
            .with_context(|| format!("{shown}: not written"))?;
    }
    Ok(worst)
}
