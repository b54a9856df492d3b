//! `collect`: one sample, for a CronJob or a cron line.

use crate::cli::{CollectArgs, MetricFormat};
use crate::exit::{Exit, Failure};
use crate::outputs::textfile;
use crate::pipeline::Pipeline;
use crate::settings::Settings;
use crate::state_file::StateFolder;
use crate::{REVISION, VERSION, say};
use gpu_session_core::metrics::{Context, Format, render};
use gpu_session_sources::kubernetes::Mode;
use std::path::Path;

pub(super) fn run(args: &CollectArgs) -> Result<Exit, Failure> {
    let settings = Settings::resolve(&args.common)?;
    if args.remove || args.purge {
        return super::remove::run(args, &settings);
    }
    let target = args.output.as_deref().unwrap_or(&settings.textfile);
    let to_stdout = target == Path::new("-");
    if !to_stdout {
        textfile::check_folder(target)?;
        if args.format == MetricFormat::Openmetrics {
            let error =
                anyhow::anyhow!("--format openmetrics goes with --output -: node_exporter reads text only");
            return Err(Failure::usage(error));
        }
    }
    let folder = StateFolder::open(&settings.state_dir)?;
    let begin_us = settings.clock.now_us();
    let mut pipeline = Pipeline::live(&settings, folder.load()?, Mode::Once)?;
    let sample = pipeline.sample_over(settings.window, settings.window_given);
    say::health(&sample);
    // The state first: counters in the file must never be ahead of it.
    folder.save(&pipeline.state)?;
    let foreign = if to_stdout { Vec::new() } else { textfile::foreign(target) };
    for other in &foreign {
        say::warn(textfile::foreign_warning(other));
    }
    let foreign_textfiles = (!to_stdout).then_some(foreign.len() as u64);
    let context = Context { version: VERSION, revision: REVISION, foreign_textfiles, ..Context::default() };
    let format = match args.format {
        MetricFormat::Text => Format::Text,
        MetricFormat::Openmetrics => Format::OpenMetrics,
    };
    let snapshot = pipeline.snapshot(&sample, begin_us);
    let text = render(&snapshot, context, &settings.labels, format);
    if to_stdout {
        super::print(&text)?;
    } else {
        textfile::write(target, &text)?;
    }
    say::info(say::seen(&snapshot));
    let exit = match super::outcome(&sample) {
        Exit::Ok if !foreign.is_empty() => Exit::Partial,
        exit => exit,
    };
    Ok(if exit == Exit::Partial && args.partial_ok { Exit::Ok } else { exit })
}
