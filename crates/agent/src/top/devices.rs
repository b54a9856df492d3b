//! The upper pane: devices, MIG instances under their GPU, all under their node.

use super::columns::is_idle;
use super::lines::{Entry, Item, Key, Line, Place};
use super::sessions::{found, words};
use super::text::{Align, bar, cut, fit};
use crate::outputs::table::{UNKNOWN, percent, short_model, shown};
use crate::view::{NodeView, View, label_order};
use gpu_session_api::Device;
use std::collections::BTreeSet;

/// What all but the model and the bars takes.
const FIXED: usize = 48;
/// Columns of the last one, where there is room for it.
const LEAST_WHO: usize = 12;

/// The lines: with a filter those that it finds, and those that what the other pane lists is on.
pub(super) fn list(view: &View, filter: &str, items: &[Line<Place<Item>>]) -> Vec<Line<Place<usize>>> {
    let words = words(filter);
    let on = used(view, items);
    let mut lines = Vec::new();
    for (index, node) in view.nodes.iter().enumerate() {
        let mut own = Vec::new();
        let wanted = |device: &Device| {
            words.is_empty() || on.contains(&(index, &*device.uuid)) || matches(device, node, &words)
        };
        let mut devices: Vec<_> =
            node.devices.iter().enumerate().filter(|(_, device)| wanted(device)).collect();
        devices.sort_by_cached_key(|(_, device)| label_order(&device.gpu));
        let mut gpu = None;
        for (item, device) in devices {
            let parent = parent(device);
            if parent.is_some() && parent != gpu {
                own.push(Line::Heading(parent_heading(device)));
            }
            gpu = parent;
            own.push(Line::Item(Key::device(&node.node, device), Place { node: index, item }));
        }
        // A node without devices is named too: its driver may be down.
        if view.nodes.len() > 1 && (words.is_empty() || !own.is_empty()) {
            lines.push(Line::Node(index));
        }
        lines.append(&mut own);
    }
    lines
}

/// Node and UUID of the devices of items.
fn used<'a>(view: &'a View, items: &[Line<Place<Item>>]) -> BTreeSet<(usize, &'a str)> {
    let places = items.iter().filter_map(|line| line.item().map(|(_, place)| place));
    let uuid = |place: Place<Item>| match place.entry(view) {
        Entry::Session(session) => (place.node, &*session.device_uuid),
        Entry::Held(held) => (place.node, &*held.device_uuid),
    };
    places.map(uuid).collect()
}

fn matches(device: &Device, node: &NodeView, words: &[String]) -> bool {
    let state = state(device, node);
    found(
        words,
        &[
            node.node.as_deref(),
            Some(&*device.gpu),
            Some(&*device.uuid),
            device.model.as_deref(),
            device.mig_profile.as_deref(),
            Some(state),
        ],
    )
}

/// Index of the GPU that a MIG instance is of.
fn parent(device: &Device) -> Option<&str> {
    device.gpu.split_once('_').map(|(gpu, _)| gpu)
}

fn parent_heading(device: &Device) -> String {
    let gpu = parent(device).unwrap_or(UNKNOWN);
    let model = device.model.as_deref().map_or(UNKNOWN, short_model);
    format!("{gpu:<7} {model}, MIG")
}

/// What stands out about a device, in words; empty where nothing does.
pub(super) fn state(device: &Device, node: &NodeView) -> &'static str {
    let Some(sessions) = device.sessions else { return "NOT READ" };
    let held = || node.allocations.iter().filter(|held| held.device_uuid == device.uuid);
    if held().any(|held| held.sessions == Some(0)) {
        return "HELD IDLE";
    }
    if sessions == 0 {
        return if device.allocations == Some(0) { "free" } else { "" };
    }
    let own = || node.sessions.iter().filter(|session| session.device_uuid == device.uuid);
    // Of those beyond the limit of sessions nothing is known.
    if own().count() as u64 == sessions && own().all(|session| is_idle(session, node)) { "IDLE" } else { "" }
}

/// Widths of what is as wide as the terminal allows.
pub(super) struct Plan {
    model: usize,
    /// 0 where there is no room for bars.
    bar: usize,
    /// 0 where there is no room for names.
    who: usize,
}

/// What there is room for.
pub(super) fn plan(room: usize) -> Plan {
    let spare = room.saturating_sub(80);
    if room < 75 {
        // Without the bars, the spaces before them are free too.
        return Plan { model: (room + 2).saturating_sub(FIXED).min(24), bar: 0, who: 0 };
    }
    let bar = (8 + spare / 6).min(30);
    let model = room.saturating_sub(FIXED + 2 * bar).min(15 + spare / 4).min(24);
    let who = room.saturating_sub(FIXED + 2 * bar + model + 1);
    Plan { model, bar, who: if who < LEAST_WHO { 0 } else { who } }
}

/// Titles over the columns.
pub(super) fn titles(plan: &Plan) -> String {
    let cells = Cells {
        gpu: "GPU",
        model: "MODEL",
        bars: ["COMPUTE", "MEMORY"].map(str::to_owned),
        compute: if plan.bar == 0 { "BUSY" } else { "" },
        memory: if plan.bar == 0 { "MEMORY GiB" } else { "GiB" },
        sessions: "SESS",
        users: "USERS",
        state: "STATE",
        who: "WHO",
    };
    cells.line(plan).into_iter().map(|(text, _)| text).collect()
}

/// A device in the columns: pieces of the line, with which bar each is.
pub(super) fn row(device: &Device, node: &NodeView, plan: &Plan) -> Vec<(String, Option<Bar>)> {
    let used = device.memory_used_bytes.zip(device.memory_total_bytes).filter(|(_, total)| *total > 0);
    let memory = used.map(|(used, total)| used as f64 / total as f64);
    let users = device.users.as_ref();
    let instance = device.gpu.contains('_');
    let model = device.mig_profile.as_deref().or(device.model.as_deref().map(short_model));
    let cells = Cells {
        gpu: &format!("{}{}", if instance { " " } else { "" }, device.gpu),
        model: model.unwrap_or(UNKNOWN),
        bars: [device.utilization_ratio, memory].map(|ratio| bar(ratio, plan.bar)),
        compute: &device.utilization_ratio.map_or_else(|| UNKNOWN.into(), |r| format!("{}%", percent(r))),
        memory: &memory_text(device),
        sessions: &shown(device.sessions),
        users: &shown(users.map(Vec::len)),
        state: state(device, node),
        who: &users.map_or_else(|| UNKNOWN.to_owned(), |users| who(users)),
    };
    cells.line(plan)
}

/// Used and all, in GiB.
fn memory_text(device: &Device) -> String {
    let gib =
        |bytes: Option<u64>| shown(bytes.map(|bytes| format!("{:.1}", bytes as f64 / (1_u64 << 30) as f64)));
    match (device.memory_used_bytes, device.memory_total_bytes) {
        (None, None) => UNKNOWN.to_owned(),
        (used, total) => format!("{}/{}", gib(used), gib(total)),
    }
}

/// The users by name, with how many sessions each has where that is more than one.
pub(super) fn who(users: &[gpu_session_api::UserSessions]) -> String {
    let one = |user: &gpu_session_api::UserSessions| match user.sessions {
        1 => user.user.clone(),
        n => format!("{} x{n}", user.user),
    };
    users.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Which bar a piece of a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bar {
    Compute,
    Memory,
}

struct Cells<'a> {
    gpu: &'a str,
    model: &'a str,
    bars: [String; 2],
    compute: &'a str,
    memory: &'a str,
    sessions: &'a str,
    users: &'a str,
    state: &'a str,
    who: &'a str,
}

impl Cells<'_> {
    fn line(self, plan: &Plan) -> Vec<(String, Option<Bar>)> {
        let Plan { model, bar, who } = *plan;
        let [compute, memory] = self.bars;
        let mut pieces = vec![(
            format!("{} {} ", fit(self.gpu, 7, Align::Left), fit(self.model, model, Align::Left)),
            None,
        )];
        let mut measured = |which, bars: &str, text: &str, width: usize| {
            if bar > 0 {
                pieces.push((fit(bars, bar, Align::Left), Some(which)));
                pieces.push((" ".to_owned(), None));
            }
            pieces.push((fit(text, width, Align::Right) + " ", None));
        };
        measured(Bar::Compute, &compute, self.compute, 4);
        measured(Bar::Memory, &memory, self.memory, 11);
        let mut rest = [fit(self.sessions, 4, Align::Right), fit(self.users, 5, Align::Right)].join(" ");
        rest = format!("{rest} {}", fit(self.state, 9, Align::Left));
        if who > 0 {
            rest = format!("{rest} {}", cut(self.who, who));
        }
        pieces.push((rest, None));
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_no_wider_than_its_room() {
        for room in 55..260 {
            let title = titles(&plan(room));
            assert!(super::super::text::width(&title) <= room, "{room}: {title}");
        }
        assert!(titles(&plan(200)).contains("WHO") && !titles(&plan(80)).contains("WHO"));
    }
}
