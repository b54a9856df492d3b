//! The report: a table for people, and JSON.

use super::{Check, Status};
use crate::outputs::table;
use comfy_table::{Cell, Color};
use gpu_session_core::json::SCHEMA_VERSION;
use serde::Serialize;

/// Aligned, as wide as the terminal, and in colour only there. The last line sums up, for those who see the end only.
pub fn text(checks: &[Check]) -> String {
    let colours = std::env::var_os("NO_COLOR").is_none();
    let mut lines = table::table(&["STATUS", "CHECK", "FOUND"]);
    for Check { check, finding } in checks {
        let status = Cell::new(finding.status.word());
        let status = if colours { status.fg(colour(finding.status)) } else { status };
        let remedy = finding.remedy.as_deref().map(|remedy| format!("; {remedy}")).unwrap_or_default();
        lines.add_row([status, Cell::new(check), Cell::new(format!("{}{remedy}", finding.detail))]);
    }
    lines.lines().fold(String::new(), |all, line| all + line.trim_end() + "\n") + &sum(checks) + "\n"
}

/// How many there are of each status, and the names of those that are amiss.
fn sum(checks: &[Check]) -> String {
    let of = |status: Status| {
        let lines = checks.iter().filter(|check| check.finding.status == status);
        let mut names: Vec<&str> = lines.map(|check| check.check).collect();
        let count = names.len();
        names.dedup();
        let names = match status {
            Status::Failed | Status::Warning if count > 0 => format!(" ({})", names.join(", ")),
            _ => String::new(),
        };
        format!("{}: {count}{names}", status.word())
    };
    [Status::Failed, Status::Warning, Status::Ok, Status::Skipped].map(of).join("; ")
}

fn colour(status: Status) -> Color {
    match status {
        Status::Ok => Color::Green,
        Status::Warning => Color::Yellow,
        Status::Failed => Color::Red,
        Status::Skipped => Color::DarkGrey,
    }
}

#[derive(Serialize)]
struct Document<'a> {
    schema_version: u32,
    checks: &'a [Check],
}

/// `{schema_version, checks: [{check, status, detail, remedy}]}`.
pub fn json(checks: &[Check]) -> serde_json::Result<String> {
    Ok(serde_json::to_string_pretty(&Document { schema_version: SCHEMA_VERSION, checks })? + "\n")
}
