//! Users: where each is now, and what each used in a period.

use super::list::{Field, Key, Order, Page, Words, page};
use crate::report::Line;
use crate::view::NodeView;
use gpu_session_api::{ClusterUser, Usage};
use std::collections::{BTreeMap, BTreeSet};

/// Users now, by name; `None` is what nobody is known for.
pub(super) type Users = BTreeMap<Option<String>, ClusterUser>;

/// Where a user's sessions are.
#[derive(Default)]
struct Places<'a> {
    sessions: u64,
    devices: u64,
    nodes: BTreeSet<&'a str>,
    /// Sessions that are listed with their memory, and what they hold.
    told: u64,
    bytes: u64,
}

/// Users of these nodes, which are of now. Devices count all sessions, also those that are not listed.
pub(super) fn now<'a>(nodes: impl Iterator<Item = &'a NodeView>) -> Users {
    let mut users: BTreeMap<Option<&str>, Places<'_>> = BTreeMap::new();
    for node in nodes {
        let name = node.node.as_deref().unwrap_or_default();
        for device in &node.devices {
            let known = device.users.iter().flatten().map(|user| (Some(user.user.as_str()), user.sessions));
            let unknown: u64 = device.unattributed.iter().flatten().map(|reason| reason.sessions).sum();
            for (user, sessions) in known.chain([(None, unknown)]).filter(|(_, sessions)| *sessions > 0) {
                let places = users.entry(user).or_default();
                places.sessions += sessions;
                places.devices += 1;
                places.nodes.insert(name);
            }
        }
        for session in &node.sessions {
            let Some(bytes) = session.memory_used_bytes else { continue };
            let places = users.entry(session.user.as_deref()).or_default();
            places.told += 1;
            places.bytes += bytes;
        }
    }
    let document = |(user, places): (Option<&str>, Places<'_>)| {
        let user = user.map(str::to_owned);
        let document = ClusterUser {
            user: user.clone(),
            sessions: places.sessions,
            devices: places.devices,
            nodes: places.nodes.len() as u64,
            memory_used_bytes: (places.told >= places.sessions).then_some(places.bytes),
            used: None,
        };
        (user, document)
    };
    users.into_iter().map(document).collect()
}

/// Those of now with what they used, and those who used something and are not there now.
fn with_usage(now: &Users, lines: &[Line]) -> Vec<ClusterUser> {
    let mut all = now.clone();
    for line in lines {
        let user = line.key.first().filter(|user| !user.is_empty()).cloned();
        let entry = all.entry(user.clone()).or_insert_with(|| ClusterUser {
            user,
            memory_used_bytes: Some(0),
            ..ClusterUser::default()
        });
        entry.used = Some(Usage::from(line));
    }
    all.into_values().collect()
}

/// What of the users is asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Words in the name.
    pub words: Words,
    /// That one; empty: what nobody is known for.
    pub user: Option<String>,
    /// The order, as written.
    pub sort: Option<String>,
    /// The page.
    pub page: Page,
}

/// A page of the users, and how many there are on all.
pub(super) fn list(now: &Users, lines: &[Line], asked: &Asked) -> Result<(Vec<ClusterUser>, usize), String> {
    let order = order(asked.sort.as_deref())?;
    let rows = with_usage(now, lines);
    let takes = |row: &ClusterUser| {
        let name = row.user.as_deref().unwrap_or_default();
        asked.user.as_ref().is_none_or(|user| user == name) && asked.words.are_in(&name.to_lowercase())
    };
    let (places, total) = page(&rows, takes, &order, asked.page);
    Ok((places.into_iter().map(|place| rows[place as usize].clone()).collect(), total))
}

const ALLOCATED: Field<ClusterUser> = |row| figure(row, |used| used.allocated_hours);
const SESSION: Field<ClusterUser> = |row| figure(row, |used| used.session_hours);
const FIELDS: [(&str, Field<ClusterUser>); 12] = [
    ("user", |row| Key::Text(row.user.as_deref())),
    ("sessions", |row| Key::count(Some(row.sessions))),
    ("devices", |row| Key::count(Some(row.devices))),
    ("nodes", |row| Key::count(Some(row.nodes))),
    ("memory_used_bytes", |row| Key::count(row.memory_used_bytes)),
    ("session_hours", SESSION),
    ("sm_hours", |row| figure(row, |used| used.sm_hours)),
    ("mean_utilization", |row| figure(row, |used| used.mean_utilization)),
    ("memory_gib_hours", |row| figure(row, |used| used.memory_gib_hours)),
    ("energy_kwh", |row| figure(row, |used| used.energy_kwh)),
    ("allocated_hours", ALLOCATED),
    ("idle_allocated_hours", |row| figure(row, |used| used.idle_allocated_hours)),
];

fn figure(row: &ClusterUser, of: fn(&Usage) -> Option<f64>) -> Key<'_> {
    Key::Number(row.used.as_ref().and_then(of))
}

/// The order that is asked for; without one who held and used most comes first.
fn order(written: Option<&str>) -> Result<Order<ClusterUser>, String> {
    written.map_or_else(|| Ok(Order::most([ALLOCATED, SESSION])), |written| Order::parse(written, &FIELDS))
}

/// Whether there is such an order; the error has those that there are.
pub fn check_order(written: Option<&str>) -> Result<(), String> {
    order(written).map(drop)
}
