//! `doctor`: every prerequisite, checked, with the remedy.

use crate::cli::DoctorArgs;
use crate::config::Config;
use crate::doctor::{self, Options, Scene, Status, report};
use crate::exit::{Exit, Failure};
use crate::serve::settings::listen;
use crate::settings::Settings;

pub(super) fn run(args: &DoctorArgs) -> Result<Exit, Failure> {
    let file = Config::load(args.common.config.as_deref()).map_err(Failure::usage)?;
    let options = Options::new(
        listen(args.listen.as_deref().or(file.listen.as_deref()))?,
        args.node_exporter.as_deref(),
        args.prometheus.as_deref(),
        args.prometheus_token_file.as_deref(),
    )?;
    let settings = Settings::over(&args.common, file)?;
    let checks = doctor::all(&Scene::ask(&settings, options)?);
    super::print(&if args.json { report::json(&checks)? } else { report::text(&checks) })?;
    let failed = checks.iter().any(|check| check.finding.status == Status::Failed);
    Ok(if failed { Exit::Failed } else { Exit::Ok })
}
