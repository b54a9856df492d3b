//! The lines at the top: of what and of when the screen is, what there is in all, and what is wrong.

use super::columns::{Activity, activity};
use super::lines::node_name;
use super::state::State;
use super::text::{cut, seconds, time};
use crate::outputs::table::{UNKNOWN, shown};
use crate::say::counted;
use crate::view::View;
use std::collections::BTreeSet;

/// What is older than this many seconds is called old.
const OLD_SECONDS: f64 = 120.0;
/// An answer that takes longer than this many seconds is spoken of.
const SLOW_SECONDS: f64 = 5.0;

/// Columns that the name of a node may take at the top, so that the age beside it is never cut off.
const MOST_NAME: usize = 20;

/// Of what and of when the screen is.
pub(super) fn title(state: &State, now: f64) -> String {
    let view = state.view();
    let mut parts = vec!["gpu-session-monitor top".to_owned()];
    match &view.nodes[..] {
        [] if state.has_looked() => parts.push("no node".to_owned()),
        [] => parts.push("looking for the first time".to_owned()),
        // A recording may be of any node.
        [node] if node.node.is_none() && state.position().is_some() => {}
        [node] => parts.push(cut(node_name(&node.node), MOST_NAME)),
        nodes => parts.push(format!("{} nodes", nodes.len())),
    }
    if let Some((at, of)) = state.position() {
        parts.push(format!("recording {at}/{of}"));
    }
    if state.is_paused() {
        parts.push("PAUSED".to_owned());
    }
    if !view.nodes.is_empty() {
        let times = || view.nodes.iter().map(|node| node.timestamp);
        // Where one is not known, nobody can say which is the oldest.
        let oldest = times().try_fold(f64::INFINITY, |oldest, at| at.map(|at| oldest.min(at)));
        parts.push(when(oldest, state.position().is_some(), now));
    }
    if let [node] = &view.nodes[..] {
        parts.push(format!("driver {}", shown(node.driver_version.as_deref())));
    }
    parts.join("  ")
}

/// A node, with when it was seen.
pub(super) fn node(state: &State, index: usize, now: f64) -> String {
    let node = &state.view().nodes[index];
    let driver = shown(node.driver_version.as_deref());
    let when = when(node.timestamp, state.position().is_some(), now);
    format!("{}  driver {driver}  {when}", node_name(&node.node))
}

/// When something was, and how long ago.
fn when(at: Option<f64>, recorded: bool, now: f64) -> String {
    let Some(at) = at else { return "taken at a time that is not known".to_owned() };
    let text = time(at).unwrap_or_else(|| UNKNOWN.to_owned());
    let age = (now - at).max(0.0);
    match (recorded, age > OLD_SECONDS) {
        (true, _) => text,
        (false, false) => format!("{} ago  {text}", seconds(age)),
        (false, true) => format!("OLD: {} ago  {text}", seconds(age)),
    }
}

/// What there is in all; where something could not be read, that is the least.
pub(super) fn totals(state: &State) -> String {
    let view = state.view();
    let devices = || view.nodes.iter().flat_map(|node| &node.devices);
    if devices().next().is_none() {
        return "no device is known".to_owned();
    }
    let sessions = devices().filter_map(|device| device.sessions).fold(0, u64::saturating_add);
    let users: BTreeSet<&str> =
        devices().flat_map(|device| device.users.iter().flatten()).map(|user| &*user.user).collect();
    format!(
        "{}, {}{}{} of {}{}",
        counted(devices().count() as u64, "device"),
        if is_complete(state) { "" } else { "at least " },
        counted(sessions, "session"),
        idle(view, sessions),
        counted(users.len() as u64, "user"),
        held(view)
    )
}

/// How many sessions are known to be idle; nothing where of none it is known what it does.
fn idle(view: &View, sessions: u64) -> String {
    let all = view.nodes.iter().flat_map(|node| node.sessions.iter().map(|session| activity(session, node)));
    let known: Vec<Activity> = all.filter(|activity| *activity != Activity::Unknown).collect();
    if known.is_empty() && sessions > 0 {
        return String::new();
    }
    format!(" ({} idle)", known.iter().filter(|activity| matches!(activity, Activity::Idle(_))).count())
}

/// Whether every node has told of all its sessions, and whoever told of the nodes warned of nothing.
pub(super) fn is_complete(state: &State) -> bool {
    state.warnings().is_empty() && state.view().nodes.iter().all(crate::view::NodeView::has_told)
}

/// How much is held idle; nothing where no kubelet says what is held.
fn held(view: &View) -> String {
    if view.nodes.iter().flat_map(|node| &node.devices).all(|device| device.allocations.is_none()) {
        return String::new();
    }
    let held = view.nodes.iter().flat_map(|node| &node.allocations);
    format!(", {} held idle", held.filter(|held| held.sessions == Some(0)).count())
}

/// What is wrong, the worst first.
pub(super) fn problems(state: &State, now: f64) -> Vec<String> {
    let mut all = Vec::new();
    if let Some(problem) = state.problem() {
        all.push(format!("NOT READ: {problem}"));
    }
    if let Some(waited) = state.asked_at().map(|at| now - at).filter(|waited| *waited > SLOW_SECONDS) {
        all.push(format!("NO ANSWER for {}: what is shown is what was seen before", seconds(waited)));
    }
    all.extend(state.warnings().iter().map(|warning| format!("WARNING: {warning}")));
    let view = state.view();
    for node in &view.nodes {
        for source in node.sources.iter().filter(|source| !source.up) {
            let name = match view.nodes.len() {
                0 | 1 => String::new(),
                _ => format!("{} ", node_name(&node.node)),
            };
            let more = match source.errors.len() {
                0 | 1 => String::new(),
                n => format!(" (and {} more)", n - 1),
            };
            let error = source.errors.first().map_or("no reason given", String::as_str);
            all.push(format!("DOWN: {name}{}: {error}{more}", source.source));
        }
    }
    all
}
