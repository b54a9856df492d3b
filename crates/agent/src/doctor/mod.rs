//! What `doctor` checks: each prerequisite is one small function over what was asked before.

mod driver;
mod exporters;
mod fetch;
mod kubernetes;
mod process;
mod prometheus;
pub mod report;
mod scene;
mod state;
mod textfile;

pub use scene::{Options, Scene};

use gpu_session_core::sample::SourceError;
use gpu_session_core::text::clean_value;
use serde::Serialize;

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be.
    Ok,
    /// It works, and something is amiss or not known.
    Warning,
    /// Something does not work.
    Failed,
    /// Not asked for, or not there to be checked.
    Skipped,
}

impl Status {
    /// The word of tables and JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// What a check found, harmless whatever it quotes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How it went.
    pub status: Status,
    /// What is so.
    pub detail: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl Finding {
    fn new(status: Status, detail: &str, remedy: Option<&str>) -> Self {
        Self { status, detail: clean_value(detail), remedy: remedy.map(clean_value) }
    }

    fn ok(detail: impl AsRef<str>) -> Self {
        Self::new(Status::Ok, detail.as_ref(), None)
    }

    fn warning(detail: impl AsRef<str>, remedy: impl AsRef<str>) -> Self {
        Self::new(Status::Warning, detail.as_ref(), Some(remedy.as_ref()))
    }

    fn failed(detail: impl AsRef<str>, remedy: impl AsRef<str>) -> Self {
        Self::new(Status::Failed, detail.as_ref(), Some(remedy.as_ref()))
    }

    fn skipped(detail: impl AsRef<str>) -> Self {
        Self::new(Status::Skipped, detail.as_ref(), None)
    }

    /// The words of an error, whose last part is the remedy.
    fn said(message: &str) -> Self {
        match message.rsplit_once("; ") {
            Some((detail, remedy)) => Self::failed(detail, remedy),
            None => Self::new(Status::Failed, message, None),
        }
    }

    fn errors(errors: &[SourceError]) -> Vec<Self> {
        errors.iter().map(|error| Self::said(&error.message)).collect()
    }
}

/// Looks at what was asked; finds at least one thing.
type Look = fn(&Scene<'_>) -> Vec<Finding>;

/// All checks by name, in the order in which they need each other.
const CHECKS: [(&str, Look); 25] = [
    ("driver", driver::driver),
    ("devices", driver::devices),
    ("MIG rights", driver::mig),
    ("GPU processes", driver::processes),
    ("host processes", process::host),
    ("hidepid", process::hidepid),
    ("cgroups", process::cgroups),
    ("process events", process::events),
    ("users", process::users),
    ("kubelet", kubernetes::kubelet),
    ("Kubernetes API", kubernetes::api),
    ("API rights", kubernetes::rights),
    ("collectors", kubernetes::collectors),
    ("CRI", kubernetes::cri),
    ("DCGM exporter", exporters::dcgm),
    ("state folder", state::folder),
    ("clock", state::clock),
    ("last sample", state::last_sample),
    ("textfile folder", textfile::folder),
    ("other textfiles", textfile::others),
    ("node_exporter", exporters::node_exporter),
    ("serve", exporters::serve),
    ("one way of scraping", exporters::one_way),
    ("Prometheus", prometheus::arrives),
    ("honor_labels", prometheus::honoured),
];

/// A line of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its name; one check may have found several things.
    pub check: &'static str,
    /// What it found.
    #[serde(flatten)]
    pub finding: Finding,
}

/// Names of all checks.
pub fn names() -> impl Iterator<Item = &'static str> {
    CHECKS.iter().map(|(name, _)| *name)
}

/// Runs all checks.
pub fn all(scene: &Scene<'_>) -> Vec<Check> {
    let run = |(check, look): &(&'static str, Look)| {
        let check = *check;
        look(scene).into_iter().map(move |finding| Check { check, finding })
    };
    CHECKS.iter().flat_map(run).collect()
}

/// Seconds in the largest two units.
fn age(seconds: f64) -> String {
    humantime::format_duration(std::time::Duration::from_secs(seconds.max(0.0) as u64)).to_string()
}

/// A collector that runs every minute has missed several when its last sample is older: seconds.
const OLD: f64 = 300.0;

/// Two clocks may differ by this: seconds.
const SKEW: f64 = 5.0;
