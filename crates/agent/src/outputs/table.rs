//! Tables for people.

mod grid;

use super::terminal;
use crate::view::filter::{Filter, Left};
use crate::view::session::{memory_ratio, place};
use crate::view::{NodeView, View};
use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, Table, presets};
use gpu_session_api::{Allocation, Device, Session};
use gpu_session_core::snapshot::Snapshot;
use grid::{Column, Grid};
use std::fmt::Write as _;

/// What is not known.
pub(crate) const UNKNOWN: &str = "-";

/// Of many nodes that are not of now only so many are named.
const MOST_NAMES: usize = 10;

/// How a view is shown.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// Width of the terminal; `None` where there is none, and rows are as long as they are.
    pub width: Option<usize>,
    /// With all columns.
    pub wide: bool,
    /// By which nodes' age is told, Unix seconds; `None` where they are of now, or of a time that does not matter.
    pub now: Option<f64>,
    /// What was left out of the view, in words; empty where that is nothing.
    pub filter: String,
    /// What the view comes to.
    pub left: Left,
}

/// A snapshot, as wide as the terminal; plain text elsewhere.
pub fn snapshot(snapshot: &Snapshot) -> String {
    let width = terminal::size().map(|(columns, _)| columns);
    let mut all = View { nodes: vec![NodeView::of(snapshot, None)] };
    let left = Filter::default().apply(&mut all, None);
    view(&all, &Look { width, left, ..Look::default() })
}

/// Devices, then sessions, then who holds a device and does nothing with it.
pub fn view(view: &View, look: &Look) -> String {
    let page =
        Page { view, look, many: view.nodes.len() > 1, old: view.nodes.iter().any(|node| look.is_old(node)) };
    let idle = page.idle().map_or_else(String::new, |idle| format!("{}\n\n", idle.fit(look.width)));
    let (devices, sessions) = (page.devices().fit(look.width), page.sessions().fit(look.width));
    format!("{devices}\n\n{sessions}\n\n{idle}{}\n", page.summary())
}

impl Look {
    fn is_old(&self, node: &NodeView) -> bool {
        self.now.is_some_and(|now| node.old(now).is_some())
    }
}

/// What is shown, and what of it is worth a column.
struct Page<'a> {
    view: &'a View,
    look: &'a Look,
    many: bool,
    old: bool,
}

/// A column where it is worth one, and its cell.
type Cells<'a, T> = Vec<(Column, Text<'a, T>)>;
type Text<'a, T> = Box<dyn Fn(&NodeView, &T) -> String + 'a>;

macro_rules! cells {
    ($of:ty: $($worth:expr, $column:expr, $cell:expr;)*) => {{
        let mut cells: Cells<'_, $of> = Vec::new();
        $(if $worth {
            let cell: Text<'_, $of> = Box::new($cell);
            cells.push(($column, cell));
        })*
        cells
    }};
}

impl Page<'_> {
    fn devices(&self) -> Grid {
        let all =
            || self.view.nodes.iter().flat_map(|node| node.devices.iter().map(move |device| (node, device)));
        let told = all().any(|(_, device)| device.allocations.is_some());
        let mig = self.look.width.is_none() || all().any(|(_, device)| device.mig_profile.is_some());
        let wide = self.look.wide;
        let cells = cells! { Device:
            self.many, Column::name("NODE", 98, 8), |node, _| shown(node.node.as_ref());
            true, Column::word("GPU", 99), |_, device| device.gpu.clone();
            true, Column::name("MODEL", 70, 9), |_, device| device.model.as_deref().map_or(UNKNOWN, short_model).to_owned();
            mig, Column::word("MIG", 75), |_, device| shown(device.mig_profile.as_ref());
            true, Column::figure("SESSIONS", 95), |_, device| shown(device.sessions);
            true, Column::figure("USERS", 85), |_, device| shown(device.users.as_ref().map(Vec::len));
            true, Column::figure("BUSY %", 90), |_, device| shown(device.utilization_ratio.map(percent));
            true, Column::figure("MEMORY", 80), |_, device| shown(device.memory_used_bytes.map(bytes));
            true, Column::figure("TOTAL", 60), |_, device| shown(device.memory_total_bytes.map(bytes));
            told, Column::figure("HELD BY", 65), |_, device| shown(device.allocations);
            wide, Column::word("PCI BUS", 0), |_, device| shown(device.pci_bus_id.as_ref());
            wide, Column::word("UUID", 0), |_, device| device.uuid.clone();
            self.old, Column::word("AS OF", 97), |node, _| self.age(node);
        };
        fill(&cells, all())
    }

    fn sessions(&self) -> Grid {
        let all = || {
            self.view.nodes.iter().flat_map(|node| node.sessions.iter().map(move |session| (node, session)))
        };
        let placed = all().any(|(_, session)| place(session).is_some());
        let wide = self.look.wide;
        let since = |node: &NodeView, at: f64| node.timestamp.map(|now| duration(now - at));
        let cells = cells! { Session:
            self.many, Column::name("NODE", 97, 8), |node, _| shown(node.node.as_ref());
            true, Column::word("GPU", 99), |_, session| session.gpu.clone();
            true, Column::name("USER", 98, 8), |_, session| shown(session.user.as_ref());
            placed, Column::name("WHERE", 85, 14), |_, session| shown(place(session));
            wide, Column::word("CONTAINER", 0), |_, session| shown(session.container.as_ref());
            true, Column::figure("PID", 75), |_, session| session.pid.to_string();
            true, Column::name("COMMAND", 80, 8), |_, session| shown(session.command.as_ref());
            true, Column::figure("SM %", 95), |_, session| shown(session.sm_utilization_ratio.map(percent));
            wide, Column::figure("MEM BUSY %", 0), |_, session| shown(session.memory_busy_ratio.map(percent));
            wide, Column::figure("ENC %", 0), |_, session| shown(session.encoder_utilization_ratio.map(percent));
            wide, Column::figure("DEC %", 0), |_, session| shown(session.decoder_utilization_ratio.map(percent));
            true, Column::figure("MEMORY", 90), |_, session| shown(session.memory_used_bytes.map(bytes));
            true, Column::figure("MEM %", 60), |node, session| shown(memory_ratio(session, node).map(percent));
            true, Column::figure("FOR", 70), |node, session| shown(since(node, session.start_time));
            true, Column::figure("ACTIVE", 65), |node, session| {
                shown(session.last_active_time.and_then(|at| since(node, at)).map(|ago| format!("{ago} ago")))
            };
            wide, Column::word("PLACED BY", 0), |_, session| shown(session.attributed_by.as_ref());
            wide, Column::word("USER BY", 0), |_, session| shown(session.user_rule.as_ref());
            wide, Column::word("SESSION", 0), |_, session| session.session.clone();
            self.old, Column::word("AS OF", 96), |node, _| self.age(node);
        };
        fill(&cells, all())
    }

    /// Containers that hold a device on which they have no session.
    fn idle(&self) -> Option<Grid> {
        let all = self.view.nodes.iter().flat_map(|node| {
            let idle = node.allocations.iter().filter(|held| held.sessions == Some(0));
            idle.map(move |held| (node, held))
        });
        let cells = cells! { Allocation:
            self.many, Column::name("NODE", 96, 8), |node, _| shown(node.node.as_ref());
            true, Column::word("HELD BUT IDLE", 99), |_, held| held.gpu.clone();
            true, Column::name("USER", 98, 8), |_, held| shown(held.user.as_ref());
            true, Column::name("BY", 90, 14), |_, held| format!("{}/{} {}", held.namespace, held.pod, held.container);
            true, Column::figure("FOR", 95), |_, held| shown(held.idle_seconds.map(duration));
            self.old, Column::word("AS OF", 97), |node, _| self.age(node);
        };
        Some(fill(&cells, all)).filter(|grid| !grid.is_empty())
    }

    fn age(&self, node: &NodeView) -> String {
        let (Some(now), Some(_)) = (self.look.now, node.timestamp) else { return UNKNOWN.to_owned() };
        node.old(now).map_or_else(|| "now".to_owned(), |age| format!("{} ago", duration(age)))
    }

    fn summary(&self) -> String {
        let nodes = &self.view.nodes;
        let Look { filter, left, .. } = self.look;
        let mut text = match (left.unsure, left.sessions) {
            (false, known) => format!("sessions: {known}"),
            (true, 0) => format!("sessions: {UNKNOWN}"),
            (true, known) => format!("sessions: at least {known}"),
        };
        if !filter.is_empty() {
            let _ = write!(text, " (of {filter})");
        }
        if self.many {
            let _ = write!(text, " on {} nodes", nodes.len());
        }
        if left.unlisted > 0 {
            let of = if filter.is_empty() { "them" } else { "all there" };
            let _ = write!(text, "; {} of {of} are not listed (sessions.limit)", left.unlisted);
        }
        let old: Vec<&NodeView> = nodes.iter().filter(|node| self.look.is_old(node)).collect();
        if !old.is_empty() {
            let names = old
                .iter()
                .take(MOST_NAMES)
                .map(|node| format!("{} {}", shown(node.node.as_ref()), self.age(node)));
            let more = old.len().saturating_sub(MOST_NAMES);
            let more = (more > 0).then(|| format!("and {more} more"));
            let _ = write!(text, "; not of now: {}", names.chain(more).collect::<Vec<_>>().join(", "));
        }
        gpu_session_core::text::clean_value(&text)
    }
}

fn fill<'a, T: 'a>(cells: &Cells<'_, T>, rows: impl Iterator<Item = (&'a NodeView, &'a T)>) -> Grid {
    let mut grid = Grid::new(cells.iter().map(|(column, _)| *column).collect());
    for (node, row) in rows {
        let cells: Vec<String> = cells.iter().map(|(_, cell)| cell(node, row)).collect();
        grid.row(&cells);
    }
    grid
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

/// A table of GPUs has no room to say on each line who makes them.
pub(crate) fn short_model(model: &str) -> &str {
    model.strip_prefix("NVIDIA ").unwrap_or(model)
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
pub(crate) fn duration(seconds: f64) -> String {
    // To the microsecond, as it was measured: half of one less is not a second less.
    let seconds = (seconds.max(0.0) * 1e6).round() as u64 / 1_000_000;
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
        let of = |s: f64| duration(s);
        assert_eq!(
            (of(-5.0), of(59.0), of(60.999_999_9), of(3700.0), of(90_000.0)),
            ("0s".into(), "59s".into(), "1m01s".into(), "1h01m".into(), "1d01h".into())
        );
    }
}
