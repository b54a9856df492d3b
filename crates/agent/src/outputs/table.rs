//! Tables for people.

use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, Table, presets};
use gpu_session_core::snapshot::{DeviceView, SessionView, Snapshot};
use std::sync::Arc;

/// What is not known.
const UNKNOWN: &str = "-";

/// Devices, then sessions; fits the terminal, and is plain text elsewhere.
pub fn snapshot(snapshot: &Snapshot) -> String {
    let mut devices = table(&["GPU", "MODEL", "MIG", "SESSIONS", "USERS", "BUSY %", "MEMORY", "TOTAL"]);
    for device in &snapshot.devices {
        devices.add_row(device_row(device));
    }
    align_right(&mut devices, &[3, 4, 5, 6, 7]);
    let mut sessions = table(&["GPU", "USER", "PID", "COMMAND", "SM %", "MEMORY", "MEM %", "FOR", "ACTIVE"]);
    for view in snapshot.sessions.iter().filter(|view| view.live) {
        sessions.add_row(session_row(view, snapshot.time_us));
    }
    align_right(&mut sessions, &[2, 4, 5, 6, 7, 8]);
    let total = snapshot.total_sessions.map_or_else(|| UNKNOWN.to_owned(), |n| n.to_string());
    format!("{devices}\n\n{sessions}\n\nsessions: {total}\n")
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.iter().map(|title| Cell::new(title).add_attribute(Attribute::Bold)));
    table
}

fn align_right(table: &mut Table, columns: &[usize]) {
    for index in columns {
        if let Some(column) = table.column_mut(*index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

fn device_row(device: &DeviceView) -> Vec<String> {
    let occupancy = device.occupancy.as_ref();
    vec![
        device.facts.label.to_string(),
        device.facts.model.as_deref().map_or(UNKNOWN, short_model).to_owned(),
        text(&device.facts.mig_profile),
        shown(occupancy.map(|o| o.sessions)),
        shown(occupancy.map(|o| o.users.len())),
        shown(device.utilization_ratio.map(percent)),
        shown(device.memory_used_bytes.map(bytes)),
        shown(device.facts.memory_total_bytes.map(bytes)),
    ]
}

fn session_row(view: &SessionView, now_us: i64) -> Vec<String> {
    let session = &view.session;
    vec![
        view.gpu.to_string(),
        text(&session.attribution.user),
        view.pid.to_string(),
        text(&session.command),
        shown(session.sm_share().map(percent)),
        shown(session.memory_bytes.map(bytes)),
        shown(view.memory_ratio().map(percent)),
        duration(now_us - session.first_seen_us),
        shown(session.last_active_us.map(|at| format!("{} ago", duration(now_us - at)))),
    ]
}

/// A table of GPUs has no room to say on each line who makes them.
fn short_model(model: &str) -> &str {
    model.strip_prefix("NVIDIA ").unwrap_or(model)
}

fn text(slot: &Option<Arc<str>>) -> String {
    slot.as_deref().unwrap_or(UNKNOWN).to_owned()
}

fn shown(value: Option<impl ToString>) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), |value| value.to_string())
}

fn percent(ratio: f64) -> String {
    format!("{:.0}", ratio * 100.0)
}

/// Bytes in the unit that GPUs are sold by.
fn bytes(count: u64) -> String {
    const GIB: f64 = (1_u64 << 30) as f64;
    const MIB: f64 = (1_u64 << 20) as f64;
    let count = count as f64;
    if count >= GIB { format!("{:.1} GiB", count / GIB) } else { format!("{:.0} MiB", count / MIB) }
}

/// A length of time in its largest one or two units.
fn duration(us: i64) -> String {
    let seconds = us.max(0) / 1_000_000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!(
            (bytes(0), bytes(18 << 30), bytes(600 << 20)),
            ("0 MiB".into(), "18.0 GiB".into(), "600 MiB".into())
        );
        let of = |s: i64| duration(s * 1_000_000);
        assert_eq!(
            (of(-5), of(59), of(61), of(3700), of(90_000)),
            ("0s".into(), "59s".into(), "1m01s".into(), "1h01m".into(), "1d01h".into())
        );
    }
}
