//! `report`: what was used in a period.

use crate::cli::{ApiMode, CommonArgs, ReportArgs, ReportFormat};
use crate::exit::{Exit, Failure};
use crate::ledger::Ledger;
use crate::report::By;
use crate::report::output::{Report, Source};
use crate::report::period::Period;
use crate::report::prometheus::{Options, Prometheus};
use crate::say;
use crate::settings::Settings;

pub(super) fn run(args: &ReportArgs) -> Result<Exit, Failure> {
    // Nothing is measured: in a pod that nobody told its node a report is as good as anywhere.
    let common = CommonArgs { kubernetes_api: Some(ApiMode::Off), ..args.common.clone() };
    let settings = Settings::resolve(&common)?;
    let period = Period::resolve(args.since, args.until, settings.clock.now_us())
        .map_err(|e| Failure::usage(anyhow::anyhow!(e)))?;
    let mut exit = Exit::Ok;
    let (lines, source) = if let Some(prometheus) = prometheus(args)? {
        let answer = prometheus.usage(&period, args.by)?;
        answer.warnings.iter().chain(&answer.notes).for_each(say::warn);
        if !answer.warnings.is_empty() {
            exit = Exit::Partial;
        }
        (answer.lines, Source::Prometheus(prometheus.to_string()))
    } else {
        let ledger = Ledger::read(&settings.state_dir)?;
        (ledger.usage(period.since_us, period.until_us, args.by)?, Source::Ledger(settings.state_dir))
    };
    let report = Report { period, by: args.by, source, lines };
    super::print(&match args.format {
        ReportFormat::Table => report.table(),
        ReportFormat::Csv => report.csv()?,
        ReportFormat::Json => report.json()?,
    })?;
    Ok(exit)
}

/// The server to ask, where one is named.
fn prometheus(args: &ReportArgs) -> Result<Option<Prometheus>, Failure> {
    let Some(url) = &args.prometheus else { return Ok(None) };
    if args.by == By::Command {
        return Err(Failure::usage(anyhow::anyhow!(
            "--by command: no counter in Prometheus has the command; leave out --prometheus (and \
             GPU_SESSION_MONITOR_PROMETHEUS), on the node whose ledger is to be read"
        )));
    }
    let options = Options {
        url,
        token_file: args.prometheus_token_file.as_deref(),
        matcher: args.prometheus_matcher.as_deref(),
        timeout: args.prometheus_timeout,
    };
    Prometheus::new(&options).map(Some).map_err(Failure::usage)
}
