//! A report as a table, CSV or JSON. Names come from whoever runs work on the cluster: nothing in them may reach a
//! terminal, a spreadsheet or a parser as more than text.

use super::period::{Period, shown as time};
use super::{By, Line};
use crate::outputs::table::{UNKNOWN, align_right, shown, table};
use comfy_table::{Attribute, Cell, Table};
use gpu_session_core::json::{SCHEMA_VERSION, seconds};
use gpu_session_core::text::clean;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use std::fmt::Write as _;
use std::path::PathBuf;

/// The columns after the key, in CSV and JSON.
pub const COLUMNS: [&str; 8] = [
    "sessions",
    "session_hours",
    "sm_hours",
    "mean_utilization",
    "memory_gib_hours",
    "energy_kwh",
    "allocated_hours",
    "idle_allocated_hours",
];

/// The same, for people.
const TITLES: [&str; 8] =
    ["SESSIONS", "SESSION h", "SM h", "MEAN %", "MEM GiB h", "ENERGY kWh", "ALLOCATED h", "IDLE h"];

/// A key of which nobody knows whose it is, for people.
const NOBODY: &str = "(unknown)";

/// Where the figures are from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The ledger in this folder.
    Ledger(PathBuf),
    /// The server at this address, which holds no password.
    Prometheus(String),
}

/// What was used in a period.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// When.
    pub period: Period,
    /// What the lines are of.
    pub by: By,
    /// Where the figures are from.
    pub source: Source,
    /// The lines, in order.
    pub lines: Vec<Line>,
}

/// The figures of a line after the count of sessions, in the order of the columns.
fn figures(line: &Line) -> [Option<f64>; 7] {
    [
        line.session_hours,
        line.sm_hours,
        line.mean_utilization,
        line.memory_gib_hours,
        line.energy_kwh,
        line.allocated_hours,
        line.idle_allocated_hours,
    ]
}

impl Report {
    /// For people; fits the terminal, and is plain text elsewhere.
    pub fn table(&self) -> String {
        let source = match &self.source {
            Source::Ledger(folder) => format!("the ledger in {}", folder.display()),
            Source::Prometheus(url) => format!("Prometheus at {url}"),
        };
        let by = self.by.name();
        let mut text = format!(
            "GPU use by {by}, {}, from {}.\nHours are of whole GPUs: a MIG slice counts by its share.\n\n",
            self.period,
            clean_line(&source)
        );
        if self.lines.is_empty() {
            text.push_str("No use in this period.\n");
        } else {
            let _ = writeln!(text, "{}", self.grid());
        }
        text
    }

    fn grid(&self) -> Table {
        let keys = self.by.key_columns();
        let titles: Vec<String> = keys.iter().map(|key| key.to_uppercase()).collect();
        let header: Vec<&str> = titles.iter().map(String::as_str).chain(TITLES).collect();
        let mut grid = table(&header);
        for line in &self.lines {
            let named = |key: &String| if key.is_empty() { NOBODY.to_owned() } else { clean(key) };
            let names = (0..keys.len()).map(|at| line.key.get(at).map_or_else(|| NOBODY.to_owned(), named));
            grid.add_row(names.chain(cells(line)));
        }
        let names =
            std::iter::once("TOTAL".to_owned()).chain(std::iter::repeat_n(String::new(), keys.len() - 1));
        let total = self.total();
        let row = names.chain(cells(&total));
        grid.add_row(row.map(|text| Cell::new(text).add_attribute(Attribute::Bold)));
        let columns: Vec<usize> = (keys.len()..keys.len() + TITLES.len()).collect();
        align_right(&mut grid, &columns);
        grid
    }

    /// The sum of what is known. The mean of all is not worked out: a line does not say of how long it is the mean.
    fn total(&self) -> Line {
        let sum = |figure: fn(&Line) -> Option<f64>| {
            self.lines
                .iter()
                .filter_map(figure)
                .fold(None, |sum: Option<f64>, part| Some(sum.unwrap_or(0.0) + part))
        };
        Line {
            key: Vec::new(),
            sessions: self.lines.iter().map(|line| line.sessions).fold(0, u64::saturating_add),
            session_hours: sum(|line| line.session_hours),
            sm_hours: sum(|line| line.sm_hours),
            mean_utilization: None,
            memory_gib_hours: sum(|line| line.memory_gib_hours),
            energy_kwh: sum(|line| line.energy_kwh),
            allocated_hours: sum(|line| line.allocated_hours),
            idle_allocated_hours: sum(|line| line.idle_allocated_hours),
        }
    }

    /// RFC 4180, in full precision; unknown is empty.
    pub fn csv(&self) -> anyhow::Result<String> {
        let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
        let keys = self.by.key_columns();
        writer.write_record(keys.iter().copied().chain(COLUMNS))?;
        for line in &self.lines {
            let names = (0..keys.len()).map(|at| line.key.get(at).map(|key| inert(key)).unwrap_or_default());
            let figures = figures(line).map(|figure| figure.map(|f| f.to_string()).unwrap_or_default());
            writer.write_record(names.chain([line.sessions.to_string()]).chain(figures))?;
        }
        Ok(String::from_utf8(writer.into_inner()?)?)
    }

    /// JSON; unknown is `null`.
    pub fn json(&self) -> anyhow::Result<String> {
        let document = Document {
            schema_version: SCHEMA_VERSION,
            since: time(self.period.since_us),
            since_timestamp: seconds(self.period.since_us),
            until: time(self.period.until_us),
            until_timestamp: seconds(self.period.until_us),
            by: self.by.name(),
            source: match self.source {
                Source::Ledger(_) => "ledger",
                Source::Prometheus(_) => "prometheus",
            },
            lines: self.lines.iter().map(|line| Named { by: self.by, line }).collect(),
        };
        Ok(ascii_controls(&serde_json::to_string_pretty(&document)?) + "\n")
    }
}

/// The figures of a line for people.
fn cells(line: &Line) -> impl Iterator<Item = String> {
    let [hours, sm, mean, rest @ ..] = figures(line);
    let mean = shown(mean.map(|ratio| format!("{:.1}", ratio * 100.0)));
    let figure = |value: Option<f64>| value.map_or_else(|| UNKNOWN.to_owned(), hundredths);
    [line.sessions.to_string(), figure(hours), figure(sm), mean].into_iter().chain(rest.map(figure))
}

/// Two digits after the point; what is more than nothing does not look like it.
fn hundredths(value: f64) -> String {
    if value > 0.0 && value < 0.005 { "<0.01".to_owned() } else { format!("{value:.2}") }
}

/// Text on one line of a terminal, uncut.
fn clean_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A name that no terminal obeys and that no spreadsheet takes for a formula.
fn inert(name: &str) -> String {
    let name = clean(name);
    // The wide forms are what some locales' spreadsheets read as the others; tab and CR are gone by now.
    let formula = name.starts_with(['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}']);
    if formula { format!("'{name}") } else { name }
}

/// Escapes in JSON what its grammar lets stand and a terminal may obey: C1 control characters, DEL, and the marks of
/// Unicode that turn the reading direction.
fn ascii_controls(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if turns || (c.is_control() && c != '\n') {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

#[derive(Serialize)]
struct Document<'a> {
    schema_version: u32,
    since: String,
    since_timestamp: f64,
    until: String,
    until_timestamp: f64,
    by: &'static str,
    source: &'static str,
    lines: Vec<Named<'a>>,
}

/// A line with the names of its columns.
struct Named<'a> {
    by: By,
    line: &'a Line,
}

impl Serialize for Named<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (at, column) in self.by.key_columns().iter().enumerate() {
            map.serialize_entry(column, &self.line.key.get(at).filter(|key| !key.is_empty()))?;
        }
        map.serialize_entry(COLUMNS[0], &self.line.sessions)?;
        for (column, figure) in COLUMNS[1..].iter().zip(figures(self.line)) {
            map.serialize_entry(column, &figure)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests;
