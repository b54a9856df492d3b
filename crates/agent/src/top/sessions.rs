//! The lower pane: sessions and allocations that are held idle, filtered, sorted and grouped.

use super::columns::{COLUMNS, Column, is_idle, plan, state, whereabouts};
use super::lines::{Entry, Item, Line, Place, node_name};
use super::state::Group;
use super::text::fit;
use crate::outputs::table::{UNKNOWN, bytes, shown};
use crate::view::session::sum;
use crate::view::{View, label_order};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// How the items are arranged.
#[derive(Clone, Debug)]
pub(super) struct Arrangement {
    pub(super) sort: Column,
    pub(super) descending: bool,
    pub(super) group: Group,
    /// Words that all must be in an item.
    pub(super) filter: String,
}

/// The lines, in their order.
pub(super) fn list(view: &View, arranged: &Arrangement) -> Vec<Line<Place<Item>>> {
    let words = words(&arranged.filter);
    let mut items: Vec<_> = all(view).filter(|place| matches(*place, view, &words)).collect();
    items.sort_by(|a, b| {
        let by = arranged.sort.compare(*a, *b, arranged.descending, view);
        by.then_with(|| settled(*a, *b, view))
    });
    let line = |place: Place<Item>| Line::Item(place.key(view), place);
    if arranged.group == Group::None && view.nodes.len() < 2 {
        return items.into_iter().map(line).collect();
    }
    // A group stands where its first item would stand.
    let mut order = Vec::new();
    let mut groups: BTreeMap<String, Vec<Place<Item>>> = BTreeMap::new();
    for place in items {
        let name = group_name(place, view, arranged.group);
        let group = groups.entry(name).or_insert_with_key(|name| {
            order.push(name.clone());
            Vec::new()
        });
        group.push(place);
    }
    let mut lines = Vec::new();
    for name in order {
        let group = groups.remove(&name).unwrap_or_default();
        lines.push(Line::Heading(heading(&name, &group, view)));
        lines.extend(group.into_iter().map(line));
    }
    lines
}

/// How many items there are without a filter.
pub(super) fn count(view: &View) -> usize {
    all(view).count()
}

/// All items of all nodes.
fn all(view: &View) -> impl Iterator<Item = Place<Item>> {
    view.nodes.iter().enumerate().flat_map(|(node, own)| {
        let sessions = (0..own.sessions.len()).map(Item::Session);
        let held = own.allocations.iter().enumerate().filter(|(_, held)| held.sessions == Some(0));
        sessions.chain(held.map(|(index, _)| Item::Held(index))).map(move |item| Place { node, item })
    })
}

/// The order of those that sort alike.
fn settled(a: Place<Item>, b: Place<Item>, view: &View) -> Ordering {
    let rank = |place: Place<Item>| match place.entry(view) {
        Entry::Session(session) => (label_order(&session.gpu), false, session.pid),
        Entry::Held(held) => (label_order(&held.gpu), true, 0),
    };
    a.node.cmp(&b.node).then_with(|| rank(a).cmp(&rank(b)))
}

/// The words of a filter.
pub(super) fn words(filter: &str) -> Vec<String> {
    filter.split_whitespace().map(str::to_lowercase).collect()
}

/// Whether each word is in one of these texts.
pub(super) fn found(words: &[String], texts: &[Option<&str>]) -> bool {
    let texts: Vec<String> = texts.iter().flatten().map(|text| text.to_lowercase()).collect();
    words.iter().all(|word| texts.iter().any(|text| text.contains(word.as_str())))
}

fn matches(place: Place<Item>, view: &View, words: &[String]) -> bool {
    if words.is_empty() {
        return true;
    }
    let node = &view.nodes[place.node];
    let entry = place.entry(view);
    let (state, at) = (state(entry, node), whereabouts(entry));
    let common = [node.node.as_deref(), Some(&*state), at.as_deref()];
    let pid;
    let own = match entry {
        Entry::Session(session) => {
            pid = session.pid.to_string();
            [
                Some(&*session.gpu),
                session.user.as_deref(),
                session.container.as_deref(),
                session.mig_profile.as_deref(),
                session.command.as_deref(),
                Some(&*pid),
            ]
        }
        Entry::Held(held) => {
            [Some(&*held.gpu), held.user.as_deref(), Some(&*held.container), None, None, None]
        }
    };
    found(words, &[&common[..], &own[..]].concat())
}

fn group_name(place: Place<Item>, view: &View, group: Group) -> String {
    let node = node_name(&view.nodes[place.node].node);
    match group {
        Group::None => node.to_owned(),
        Group::User => Column::User.text(place, view),
        Group::Pod => shown(whereabouts(place.entry(view))),
        Group::Device if view.nodes.len() > 1 => format!("{node} GPU {}", Column::Gpu.text(place, view)),
        Group::Device => format!("GPU {}", Column::Gpu.text(place, view)),
    }
}

/// What a group is and comes to.
fn heading(name: &str, group: &[Place<Item>], view: &View) -> String {
    let sessions = || {
        group.iter().filter_map(|place| match place.entry(view) {
            Entry::Session(session) => Some((session, &view.nodes[place.node])),
            Entry::Held(_) => None,
        })
    };
    let count = sessions().count();
    let idle = sessions().filter(|(session, node)| is_idle(session, node)).count();
    let held = group.len() - count;
    let memory = sum(sessions().map(|(session, _)| session.memory_used_bytes));
    let memory = if count == 0 { String::new() } else { format!(", {}", shown(memory.map(bytes))) };
    let idle = if idle == 0 { String::new() } else { format!(" ({idle} idle)") };
    let held = if held == 0 { String::new() } else { format!(", {held} held idle") };
    let name = if name == UNKNOWN { "not known" } else { name };
    format!("{name}: {count} session{}{idle}{memory}{held}", if count == 1 { "" } else { "s" })
}

/// Columns of the pane in this much room.
pub(super) fn columns(view: &View, group: Group, room: usize) -> Vec<(Column, usize)> {
    // Other groups have the node in their heading.
    let nodes = view.nodes.len() > 1 && matches!(group, Group::User | Group::Pod);
    let wanted: Vec<_> = COLUMNS.into_iter().filter(|column| nodes || *column != Column::Node).collect();
    plan(&wanted, room)
}

/// Titles over the columns.
pub(super) fn titles(columns: &[(Column, usize)]) -> String {
    joined(columns, |column| column.title().to_owned())
}

/// An item in the columns: all but the last, and that.
pub(super) fn row(place: Place<Item>, view: &View, columns: &[(Column, usize)]) -> (String, String) {
    let text = |column: Column| column.text(place, view);
    let (last, others) = columns
        .split_last()
        .map_or((&[][..], columns), |(last, others)| (std::slice::from_ref(last), others));
    (joined(others, text) + " ", joined(last, text))
}

fn joined(columns: &[(Column, usize)], text: impl Fn(Column) -> String) -> String {
    let cells = columns.iter().map(|(column, width)| fit(&text(*column), *width, column.align()));
    cells.collect::<Vec<_>>().join(" ")
}
