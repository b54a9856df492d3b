//! Who shows metrics on this node: the DCGM exporter, node_exporter, and our own `serve`.

use super::fetch::Answer;
use super::{Finding, OLD, SKEW, Scene, age};
use gpu_session_core::metrics::TABLE;
use gpu_session_core::metrics::table::Kind;
use gpu_session_sources::exposition;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

const LAST_SAMPLE: &str = "gpu_session_collector_last_sample_timestamp_seconds";
/// Ours is looked at up to here only.
const MAX_TEXTFILE: u64 = 64 << 20;

pub(super) fn dcgm(scene: &Scene<'_>) -> Vec<Finding> {
    const REMEDY: &str = "see that the DCGM exporter runs on this node, and name its metrics with dcgm.url";
    let Some((url, answer)) = &scene.dcgm else {
        return vec![Finding::skipped(
            "not asked (dcgm.url); it has what NVML lacks for A100 and A30 in MIG mode",
        )];
    };
    vec![match answer {
        Answer::Body(body) => match count(body, |name| name.starts_with("DCGM_")) {
            Ok(0) => Finding::failed(format!("{url}: no series begins with DCGM_"), REMEDY),
            Ok(count) => Finding::ok(format!("{url}: its series: {count}")),
            Err(e) => Finding::failed(format!("{url}: {e}"), REMEDY),
        },
        Answer::Refused(status) => Finding::failed(format!("{url}: it answered {status}"), REMEDY),
        Answer::Silent(e) | Answer::Odd(e) => Finding::failed(format!("{url}: {e}"), REMEDY),
    }]
}

fn count(body: &[u8], is_ours: impl Fn(&str) -> bool) -> Result<usize, exposition::Malformed> {
    exposition::series(body)?.map(|series| series.map(|series| usize::from(is_ours(series.name)))).sum()
}

pub(super) fn node_exporter(scene: &Scene<'_>) -> Vec<Finding> {
    const RUNS: &str = "see that node_exporter runs there, or name where it does with --node-exporter";
    let Some((url, given, answer)) = &scene.exporter else { return vec![Finding::skipped("not asked")] };
    let absent = |what: String| match given {
        true => Finding::failed(format!("{url}: {what}"), RUNS),
        false => Finding::skipped(format!("{url}: {what}; --node-exporter names another address")),
    };
    vec![match answer {
        // It may be there for Prometheus and not for us.
        Answer::Silent(e) if *given => Finding::warning(format!("{url}: {e}"), RUNS),
        Answer::Silent(e) | Answer::Odd(e) => absent(e.clone()),
        Answer::Refused(status) => absent(format!("it answered {status}")),
        Answer::Body(body) => match Textfiles::read(body, scene.settings.textfile.file_name()) {
            Ok(found) if found.is_exporter => scraped(&found, &scene.settings.textfile, url),
            Ok(_) => absent("this is no node_exporter".to_owned()),
            Err(e) => absent(e.to_string()),
        },
    }]
}

/// What node_exporter says of textfiles.
#[derive(Debug, Default, PartialEq)]
struct Textfiles {
    is_exporter: bool,
    /// `node_textfile_scrape_error`; `None` where it reads no textfiles.
    errors: Option<bool>,
    /// Times of the files that have our file's name, Unix seconds.
    ours: Vec<f64>,
}

impl Textfiles {
    fn read(body: &[u8], name: Option<&OsStr>) -> Result<Self, exposition::Malformed> {
        let mut found = Self::default();
        for series in exposition::series(body)? {
            let series = series?;
            found.is_exporter |= series.name.starts_with("node_");
            match series.name {
                "node_textfile_scrape_error" => found.errors = Some(series.value > 0.0),
                "node_textfile_mtime_seconds" => {
                    let file = series.label("file").ok().flatten();
                    // Its folder may have another path in its container.
                    if file.is_some_and(|file| Path::new(&*file).file_name() == name) {
                        found.ours.push(series.value);
                    }
                }
                _ => {}
            }
        }
        Ok(found)
    }
}

fn scraped(found: &Textfiles, textfile: &Path, url: &str) -> Finding {
    let folder = crate::outputs::textfile::folder(textfile).display();
    let named = format!("start node_exporter with --collector.textfile.directory={folder}");
    let Some(errors) = found.errors else {
        return Finding::failed(format!("{url}: its textfile collector is off"), named);
    };
    if errors {
        return Finding::failed(
            format!("{url}: it cannot read a file of its textfile folder (node_textfile_scrape_error is 1)"),
            "see node_exporter's log, and promtool check metrics < each .prom file there",
        );
    }
    let Some(written) = modified(textfile) else {
        return Finding::skipped(format!("{url} reads textfiles; {} is not written yet", textfile.display()));
    };
    match found.ours.iter().map(|time| time - written).min_by(|a, b| a.abs().total_cmp(&b.abs())) {
        None => Finding::failed(format!("{url}: it does not show {}", textfile.display()), named),
        // It may have been written anew between its question and ours.
        Some(apart) if apart.abs() <= OLD => Finding::ok(format!("{url} shows {}", textfile.display())),
        Some(apart) => Finding::failed(
            format!("{url}: its file of that name is {} apart from {}", age(apart.abs()), textfile.display()),
            named,
        ),
    }
}

fn modified(path: &Path) -> Option<f64> {
    let modified = fs::metadata(path).ok()?.modified().ok()?;
    Some(modified.duration_since(UNIX_EPOCH).ok()?.as_secs_f64())
}

/// What answers where `serve` would.
#[derive(Debug)]
pub(super) enum Served {
    /// Not ours, or nothing.
    Other(String),
    /// Ours: the time of its last sample, Unix seconds, and whether it shows counters.
    Ours { last: Option<f64>, counters: bool },
}

impl Served {
    pub(super) fn of(answer: Answer) -> Self {
        match answer {
            Answer::Silent(_) => Self::Other("no serve answers".to_owned()),
            Answer::Odd(e) => Self::Other(format!("what answers cannot be read so ({e})")),
            Answer::Refused(status) => Self::Other(format!("it answers {status}: it asks who we are")),
            Answer::Body(body) => {
                ours(&body).unwrap_or_else(|| Self::Other("another program answers".to_owned()))
            }
        }
    }
}

/// What the metrics say if they are ours.
fn ours(body: &[u8]) -> Option<Served> {
    let counters: BTreeSet<&str> = counters().collect();
    let (mut is_ours, mut last, mut counts) = (false, None, false);
    for series in exposition::series(body).ok()? {
        let series = series.ok()?;
        is_ours |= series.name.starts_with("gpu_session_collector_");
        if series.name == LAST_SAMPLE {
            last = Some(series.value);
        }
        counts |= counters.contains(series.name);
    }
    is_ours.then_some(Served::Ours { last, counters: counts })
}

/// Counters of what was used: those of the collector itself are told everywhere.
fn counters() -> impl Iterator<Item = &'static str> {
    let used = TABLE
        .iter()
        .filter(|metric| metric.kind == Kind::Counter && !metric.name.starts_with("gpu_session_collector_"));
    used.map(|metric| metric.name)
}

pub(super) fn serve(scene: &Scene<'_>) -> Vec<Finding> {
    let Some((url, served)) = &scene.serve else {
        return vec![Finding::skipped("not asked (listen is off)")];
    };
    vec![match served {
        Served::Other(what) => Finding::skipped(format!("{url}: {what}")),
        Served::Ours { last, .. } => served_age(url, last.map(|last| scene.now_us as f64 / 1e6 - last)),
    }]
}

fn served_age(url: &str, seconds: Option<f64>) -> Finding {
    const LOG: &str = "see its log, and the lines of the driver above";
    match seconds {
        None => Finding::warning(format!("{url} answers, and has measured nothing so far"), LOG),
        Some(seconds) if seconds < -SKEW => Finding::warning(
            format!("{url} answers, and its last sample lies {} in the future", age(-seconds)),
            "set the clock (timedatectl set-ntp true, chronyd or ntpd)",
        ),
        Some(seconds) if seconds > OLD => {
            Finding::failed(format!("{url} answers, and measured {} ago", age(seconds)), LOG)
        }
        Some(seconds) => Finding::ok(format!("{url} answers, measured {} ago", age(seconds))),
    }
}

pub(super) fn one_way(scene: &Scene<'_>) -> Vec<Finding> {
    let serves = matches!(scene.serve, Some((_, Served::Ours { counters: true, .. })));
    let textfile = &scene.settings.textfile;
    let written = textfile_counts(textfile);
    vec![match (serves, written) {
        (true, true) => Finding::warning(
            format!(
                "serve shows counters, and {} has them too: sums over both count twice",
                textfile.display()
            ),
            "scrape one of the two: remove the textfile and its CronJob, or set textfile.counters: false in serve",
        ),
        (true, false) => Finding::ok("counters come from serve alone"),
        (false, true) => Finding::ok("counters come from the textfile alone"),
        (false, false) => Finding::skipped("no counters are shown yet"),
    }]
}

/// Whether the textfile has counters.
fn textfile_counts(path: &Path) -> bool {
    use std::io::Read as _;
    let mut text = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(MAX_TEXTFILE).read_to_end(&mut text));
    read.is_ok() && matches!(ours(&text), Some(Served::Ours { counters: true, .. }))
}
