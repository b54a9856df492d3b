//! Columns of the sessions: what each says, how it sorts, and which there is room for.

use super::lines::{Entry, Item, Place, node_name};
use super::text::{Align, seconds};
use crate::outputs::table::{UNKNOWN, bytes, percent, shown};
use crate::view::session::{idle_seconds, memory_ratio, place as place_of};
use crate::view::{NodeView, View, label_order};
use gpu_session_api::Session;
use std::cmp::Ordering;

/// A session that used an engine this many seconds ago or less is called active: drivers stamp use by the second, and
/// some with a lag.
const ACTIVE_SECONDS: f64 = 10.0;
/// Where it has never been seen to use one, it is called idle after this many seconds of watching.
const LEAST_IDLE_SECONDS: f64 = 0.5;

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// Node; there where several are looked at.
    Node,
    /// Label of the device.
    Gpu,
    /// The person.
    User,
    /// The pod, or the unit, job or container.
    Where,
    /// The host's pid.
    Pid,
    /// Name of the process.
    Command,
    /// Share of the time in which its kernels ran.
    Sm,
    /// Memory that it holds.
    Memory,
    /// The same as a share of the device's.
    MemoryShare,
    /// For how long it has been known.
    For,
    /// Active, or idle for how long.
    State,
}

/// In the order in which they stand.
pub(super) const COLUMNS: [Column; 11] = [
    Column::Node,
    Column::Gpu,
    Column::User,
    Column::Where,
    Column::Pid,
    Column::Command,
    Column::Sm,
    Column::Memory,
    Column::MemoryShare,
    Column::For,
    Column::State,
];

/// These go first where the others are not comfortable with them.
const EXTRA: [Column; 2] = [Column::MemoryShare, Column::For];

/// These go where there is no room for all.
const GO: [Column; 4] = [Column::Pid, Column::Where, Column::Memory, Column::Node];

impl Column {
    /// Its title.
    pub fn title(self) -> &'static str {
        match self {
            Self::Node => "NODE",
            Self::Gpu => "GPU",
            Self::User => "USER",
            Self::Where => "WHERE",
            Self::Pid => "PID",
            Self::Command => "COMMAND",
            Self::Sm => "SM%",
            Self::Memory => "MEMORY",
            Self::MemoryShare => "MEM%",
            Self::For => "FOR",
            Self::State => "STATE",
        }
    }

    /// Whether the largest stands first, unless that is turned round.
    pub(super) fn descending(self) -> bool {
        matches!(self, Self::Sm | Self::Memory | Self::MemoryShare | Self::For | Self::State)
    }

    /// The least, the comfortable and the most columns of the terminal that it takes.
    fn widths(self) -> [usize; 3] {
        match self {
            Self::Node | Self::User | Self::Command => [8, 12, 20],
            Self::Where => [10, 28, 48],
            Self::Gpu | Self::Pid | Self::For => [7; 3],
            Self::Sm | Self::MemoryShare => [4; 3],
            Self::Memory => [9; 3],
            Self::State => [16; 3],
        }
    }

    pub(super) fn align(self) -> Align {
        match self {
            Self::Pid | Self::Sm | Self::Memory | Self::MemoryShare | Self::For => Align::Right,
            _ => Align::Left,
        }
    }

    /// What it says of an item.
    pub(super) fn text(self, place: Place<Item>, view: &View) -> String {
        let node = &view.nodes[place.node];
        match (self, place.entry(view)) {
            (Self::Node, _) => node_name(&node.node).to_owned(),
            (Self::Gpu, Entry::Session(session)) => session.gpu.clone(),
            (Self::Gpu, Entry::Held(held)) => held.gpu.clone(),
            (Self::User, Entry::Session(session)) => shown(session.user.as_deref()),
            (Self::User, Entry::Held(held)) => shown(held.user.as_deref()),
            (Self::Where, entry) => shown(whereabouts(entry)),
            (Self::Pid, Entry::Session(session)) => session.pid.to_string(),
            (Self::Command, Entry::Session(session)) => shown(session.command.as_deref()),
            (Self::Sm, Entry::Session(session)) => shown(session.sm_utilization_ratio.map(percent)),
            (Self::Memory, Entry::Session(session)) => shown(session.memory_used_bytes.map(bytes)),
            (Self::MemoryShare, Entry::Session(session)) => shown(memory_ratio(session, node).map(percent)),
            (Self::For, Entry::Session(session)) => shown(age(session, node).map(seconds)),
            (Self::State, entry) => state(entry, node),
            (_, Entry::Held(_)) => UNKNOWN.to_owned(),
        }
    }

    /// What an item is sorted by.
    fn value(self, place: Place<Item>, view: &View) -> Option<Value> {
        let node = &view.nodes[place.node];
        let entry = place.entry(view);
        let text = |text: Option<String>| text.map(Value::Text);
        let number = |number: Option<f64>| number.map(Value::Number);
        match (self, entry) {
            (Self::Node, _) => text(node.node.clone()),
            (Self::Gpu, _) => Some(Value::Label(label_order(&self.text(place, view)))),
            (Self::User, Entry::Session(session)) => text(session.user.clone()),
            (Self::User, Entry::Held(held)) => text(held.user.clone()),
            (Self::Where, entry) => text(whereabouts(entry)),
            (Self::Pid, Entry::Session(session)) => number(Some(f64::from(session.pid))),
            (Self::Command, Entry::Session(session)) => text(session.command.clone()),
            (Self::Sm, Entry::Session(session)) => number(session.sm_utilization_ratio),
            (Self::Memory, Entry::Session(session)) => number(session.memory_used_bytes.map(|n| n as f64)),
            (Self::MemoryShare, Entry::Session(session)) => number(memory_ratio(session, node)),
            (Self::For, Entry::Session(session)) => number(age(session, node)),
            (Self::State, Entry::Session(session)) => number(activity(session, node).unused()),
            (Self::State, Entry::Held(held)) => number(held.idle_seconds),
            (_, Entry::Held(_)) => None,
        }
    }

    /// Which of two items stands first. What is not known is last, whichever way is sorted.
    pub(super) fn compare(self, a: Place<Item>, b: Place<Item>, descending: bool, view: &View) -> Ordering {
        match (self.value(a, view), self.value(b, view)) {
            (Some(a), Some(b)) if descending => b.compare(&a),
            (Some(a), Some(b)) => a.compare(&b),
            (a, b) => b.is_some().cmp(&a.is_some()),
        }
    }
}

/// What sorts.
enum Value {
    Number(f64),
    Text(String),
    Label(Vec<u64>),
}

impl Value {
    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.total_cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Label(a), Self::Label(b)) => a.cmp(b),
            _ => Ordering::Equal,
        }
    }
}

/// The pod, or where else it is.
pub(super) fn whereabouts(entry: Entry<'_>) -> Option<String> {
    match entry {
        Entry::Session(session) => place_of(session),
        Entry::Held(held) => Some(format!("{}/{}", held.namespace, held.pod)),
    }
}

fn age(session: &Session, node: &NodeView) -> Option<f64> {
    Some(node.timestamp? - session.start_time)
}

/// What a session does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Activity {
    /// Used an engine lately, this many seconds ago.
    Active(f64),
    /// Has used none for this many seconds at least.
    Idle(f64),
    /// Nobody can say.
    Unknown,
}

impl Activity {
    fn unused(self) -> Option<f64> {
        match self {
            Self::Active(seconds) | Self::Idle(seconds) => Some(seconds),
            Self::Unknown => None,
        }
    }
}

/// What a session does, as far as it is known when the node was seen.
pub(super) fn activity(session: &Session, node: &NodeView) -> Activity {
    let Some(now) = node.timestamp else { return Activity::Unknown };
    let used = session.last_active_time.map(|at| (now - at).max(0.0));
    match (used, idle_seconds(session, now)) {
        (Some(used), _) if used <= ACTIVE_SECONDS => Activity::Active(used),
        (_, Some(idle)) if idle > LEAST_IDLE_SECONDS => Activity::Idle(idle),
        _ => Activity::Unknown,
    }
}

/// Whether a session is known to be idle.
pub(super) fn is_idle(session: &Session, node: &NodeView) -> bool {
    matches!(activity(session, node), Activity::Idle(_))
}

pub(super) fn state(entry: Entry<'_>, node: &NodeView) -> String {
    match entry {
        Entry::Held(held) => match held.idle_seconds {
            Some(idle) => format!("HELD IDLE {}", seconds(idle)),
            None => "HELD IDLE".to_owned(),
        },
        Entry::Session(session) => match activity(session, node) {
            Activity::Active(_) => "active".to_owned(),
            Activity::Idle(idle) => format!("IDLE {}", seconds(idle)),
            Activity::Unknown => UNKNOWN.to_owned(),
        },
    }
}

/// The columns that there is room for, with what each takes.
pub(super) fn plan(wanted: &[Column], room: usize) -> Vec<(Column, usize)> {
    let mut columns = wanted.to_vec();
    let needs = |columns: &[Column], which: usize| {
        columns.iter().map(|column| column.widths()[which] + 1).sum::<usize>().saturating_sub(1)
    };
    for (go, which) in EXTRA.map(|go| (go, 1)).into_iter().chain(GO.map(|go| (go, 0))) {
        if needs(&columns, which) > room {
            columns.retain(|column| *column != go);
        }
    }
    let mut spare = room.saturating_sub(needs(&columns, 0));
    let mut planned: Vec<_> = columns.into_iter().map(|column| (column, column.widths()[0])).collect();
    // All become comfortable before one becomes wide.
    for which in [1, 2] {
        let mut before = usize::MAX;
        while spare < before {
            before = spare;
            for (column, width) in &mut planned {
                if spare > 0 && *width < column.widths()[which] {
                    *width += 1;
                    spare -= 1;
                }
            }
        }
    }
    planned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_take_no_more_room_than_there_is() {
        let total = |plan: &[(Column, usize)]| plan.iter().map(|(_, width)| width + 1).sum::<usize>() - 1;
        for room in 56..220 {
            let planned = plan(&COLUMNS, room);
            assert!(total(&planned) <= room, "{room}: {planned:?}");
            assert!(planned.iter().any(|(column, _)| *column == Column::State), "{room}");
        }
        assert_eq!(plan(&COLUMNS, 200).len(), COLUMNS.len());
    }

    #[test]
    fn a_state_is_told_where_something_says_it() {
        let node = NodeView { timestamp: Some(1000.0), ..NodeView::default() };
        for (measured, active, sm, wanted) in [
            (Some(400.0), Some(995.0), Some(0.5), Activity::Active(5.0)),
            (Some(400.0), Some(700.0), Some(0.0), Activity::Idle(300.0)),
            (Some(999.9), None, None, Activity::Unknown),
            // From metrics, which do not say since when it was measured.
            (None, Some(995.0), Some(0.5), Activity::Active(5.0)),
            (None, Some(700.0), Some(0.0), Activity::Idle(300.0)),
            (None, Some(700.0), None, Activity::Unknown),
            (None, None, None, Activity::Unknown),
        ] {
            let text = serde_json::json!({
                "session": "a", "gpu": "0", "device_uuid": "GPU-a", "pid": 1, "start_time": 100.0,
                "measured_since_time": measured, "last_active_time": active, "sm_utilization_ratio": sm,
            });
            let session: Session = serde_json::from_value(text).unwrap();
            assert_eq!(activity(&session, &node), wanted, "{session:?}");
        }
    }
}
