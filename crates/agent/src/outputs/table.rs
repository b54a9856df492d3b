//! Tables for people.

use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, Table, presets};
use gpu_session_core::snapshot::{DeviceView, SessionView, Snapshot};
use std::sync::Arc;

/// What is not known.
pub(crate) const UNKNOWN: &str = "-";

/// Devices, then sessions; fits the terminal, and is plain text elsewhere.
pub fn snapshot(snapshot: &Snapshot) -> String {
    let total = snapshot.total_sessions.map_or_else(|| UNKNOWN.to_owned(), |n| n.to_string());
    let idle = idle(snapshot).map_or_else(String::new, |idle| format!("{idle}\n\n"));
    format!("{}\n\n{}\n\n{idle}sessions: {total}\n", devices(snapshot), sessions(snapshot))
}

fn devices(snapshot: &Snapshot) -> Table {
    let told = snapshot.devices.iter().any(|device| device.allocations.is_some());
    let mut header = vec!["GPU", "MODEL", "MIG", "SESSIONS", "USERS", "BUSY %", "MEMORY", "TOTAL"];
    header.extend(told.then_some("HELD BY"));
    let mut devices = table(&header);
    for device in &snapshot.devices {
        let mut row = device_row(device);
        row.extend(told.then(|| shown(device.allocations)));
        devices.add_row(row);
    }
    align_right(&mut devices, &[3, 4, 5, 6, 7, 8]);
    devices
}

fn sessions(snapshot: &Snapshot) -> Table {
    let live = || snapshot.sessions.iter().filter(|view| view.live);
    let placed = live().any(|view| !place(view).is_empty());
    let mut header = vec!["GPU", "USER"];
    header.extend(placed.then_some("WHERE"));
    header.extend(["PID", "COMMAND", "SM %", "MEMORY", "MEM %", "FOR", "ACTIVE"]);
    let mut sessions = table(&header);
    for view in live() {
        let mut row = session_row(view, snapshot.time_us);
        if placed {
            row.insert(
                2,
                Some(place(view)).filter(|place| !place.is_empty()).unwrap_or_else(|| UNKNOWN.into()),
            );
        }
        sessions.add_row(row);
    }
    let pid = 2 + usize::from(placed);
    align_right(&mut sessions, &[pid, pid + 2, pid + 3, pid + 4, pid + 5, pid + 6]);
    sessions
}

/// Containers that hold a device on which they have no session.
fn idle(snapshot: &Snapshot) -> Option<Table> {
    let mut table = table(&["HELD BUT IDLE", "USER", "BY", "FOR"]);
    for held in snapshot.allocations.iter().filter(|held| held.sessions == Some(0)) {
        let by = format!("{}/{} {}", held.namespace, held.pod, held.container);
        table.add_row([held.gpu.to_string(), text(&held.user), by, shown(held.idle_us.map(duration))]);
    }
    align_right(&mut table, &[3]);
    (!table.is_empty()).then_some(table)
}

/// The pod, or where else it runs.
fn place(view: &SessionView) -> String {
    let session = &view.session;
    match (&session.attribution.namespace, &session.attribution.pod) {
        (Some(namespace), Some(pod)) => format!("{namespace}/{pod}"),
        _ => session.place.as_ref().map(ToString::to_string).unwrap_or_default(),
    }
}

/// An empty table with this header.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.iter().map(|title| Cell::new(title).add_attribute(Attribute::Bold)));
    table
}

/// Columns that are not there are left alone.
pub(crate) fn align_right(table: &mut Table, columns: &[usize]) {
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
pub(crate) fn short_model(model: &str) -> &str {
    model.strip_prefix("NVIDIA ").unwrap_or(model)
}

fn text(slot: &Option<Arc<str>>) -> String {
    slot.as_deref().unwrap_or(UNKNOWN).to_owned()
}

/// The value, or that it is not known.
pub(crate) fn shown(value: Option<impl ToString>) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), |value| value.to_string())
}

pub(crate) fn percent(ratio: f64) -> String {
    format!("{:.0}", ratio * 100.0)
}

/// Bytes in the unit that GPUs are sold by.
pub(crate) fn bytes(count: u64) -> String {
    const GIB: f64 = (1_u64 << 30) as f64;
    const MIB: f64 = (1_u64 << 20) as f64;
    let count = count as f64;
    if count >= GIB { format!("{:.1} GiB", count / GIB) } else { format!("{:.0} MiB", count / MIB) }
}

/// A length of time in its largest one or two units.
pub(crate) fn duration(us: i64) -> String {
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
