//! One view, made ready once to be asked many times.

use super::list::{Page, Words, page};
use super::nodes::{self, State};
use super::rows::{self, Filter, Row};
use super::users::{self, Asked, Users};
use crate::report::Line;
use crate::view::{NodeView, View};
use gpu_session_api::{
    Allocation, Cluster, ClusterNode, ClusterSession, ClusterUser, OnNode, SCHEMA_VERSION,
};
use std::collections::BTreeSet;

/// What is known of the cluster at one time, by node, device and pid. Sessions, allocations and users are of nodes of now
/// only: what a node had when it was last heard of stands with that node.
pub struct Index {
    cluster: Cluster,
    nodes: Vec<nodes::Row>,
    sessions: Vec<Row<ClusterSession>>,
    allocations: Vec<Row<OnNode<Allocation>>>,
    users: Users,
}

/// A page of a list, and how many rows there are on all.
type Found<T> = (Vec<T>, usize);

impl Index {
    /// Of a view that was asked for `at`, Unix seconds, and what was said to it.
    pub fn of(view: View, at: f64, warnings: Vec<String>) -> Self {
        let nodes: Vec<nodes::Row> = view.nodes.iter().map(|node| nodes::Row::of(node, at)).collect();
        let fresh =
            || view.nodes.iter().zip(&nodes).filter(|(_, row)| !row.document.old).map(|(node, _)| node);
        let users = users::now(fresh());
        let cluster = Cluster {
            schema_version: SCHEMA_VERSION,
            timestamp: at,
            warnings,
            namespaces: namespaces(fresh()),
            ..totals(&nodes)
        };
        let old: Vec<bool> = nodes.iter().map(|row| row.document.old).collect();
        let (mut sessions, mut allocations) = (Vec::new(), Vec::new());
        for (node, _) in view.nodes.into_iter().zip(old).filter(|(_, old)| !old) {
            let NodeView { node, timestamp, sessions: on_it, allocations: held, .. } = node;
            let name = node.unwrap_or_default();
            sessions.extend(on_it.into_iter().map(|session| Row::of_session(&name, timestamp, session)));
            allocations.extend(held.into_iter().map(|held| Row::of_allocation(&name, held)));
        }
        Self { cluster, nodes, sessions, allocations, users }
    }

    /// When the view was asked for, Unix seconds.
    pub fn timestamp(&self) -> f64 {
        self.cluster.timestamp
    }

    /// What there is in all; `now`, `refresh_seconds` and `failure` are the caller's.
    pub fn cluster(&self) -> Cluster {
        self.cluster.clone()
    }

    /// A page of the nodes. The error says what is wrong with `sort`.
    pub fn nodes(
        &self,
        words: &Words,
        node: Option<&str>,
        state: Option<State>,
        sort: Option<&str>,
        part: Page,
    ) -> Result<Found<ClusterNode>, String> {
        let order = nodes::order(sort)?;
        let (places, total) = page(&self.nodes, |row| row.is_taken_by(words, node, state), &order, part);
        Ok((places.into_iter().map(|place| self.nodes[place as usize].document.clone()).collect(), total))
    }

    /// A page of the sessions. The error says what is wrong with `sort`.
    pub fn sessions(
        &self,
        filter: &Filter,
        sort: Option<&str>,
        part: Page,
    ) -> Result<Found<ClusterSession>, String> {
        let order = rows::order_of_sessions(sort)?;
        let (places, total) = page(&self.sessions, |row| row.is_taken_by(filter), &order, part);
        Ok((places.into_iter().map(|place| self.sessions[place as usize].document.clone()).collect(), total))
    }

    /// A page of the allocations. The error says what is wrong with `sort`.
    pub fn allocations(
        &self,
        filter: &Filter,
        sort: Option<&str>,
        part: Page,
    ) -> Result<Found<OnNode<Allocation>>, String> {
        let order = rows::order_of_allocations(sort)?;
        let (places, total) = page(&self.allocations, |row| row.is_taken_by(filter), &order, part);
        Ok((
            places.into_iter().map(|place| self.allocations[place as usize].document.clone()).collect(),
            total,
        ))
    }

    /// A page of the users, with what they used by these lines. The error says what is wrong with the order.
    pub fn users(&self, lines: &[Line], asked: &Asked) -> Result<Found<ClusterUser>, String> {
        users::list(&self.users, lines, asked)
    }
}

fn totals(nodes: &[nodes::Row]) -> Cluster {
    let fresh = || nodes.iter().filter(|row| !row.document.old);
    let devices = || fresh().flat_map(|row| &row.document.devices);
    let users: BTreeSet<&String> = fresh().flat_map(|row| &row.figures.users).collect();
    Cluster {
        nodes: nodes.len() as u64,
        nodes_old: nodes.iter().filter(|row| row.is_in(State::Old)).count() as u64,
        nodes_incomplete: nodes.iter().filter(|row| row.is_in(State::Incomplete)).count() as u64,
        nodes_unknown: fresh().filter(|row| !row.is_told).count() as u64,
        devices: devices().count() as u64,
        devices_unknown: devices().filter(|d| d.device.sessions.is_none()).count() as u64,
        devices_in_use: devices().filter(|d| d.device.sessions.is_some_and(|n| n > 0)).count() as u64,
        devices_held_idle: devices().filter(|d| d.held_idle.is_some_and(|n| n > 0)).count() as u64,
        sessions: fresh().filter_map(|row| row.figures.sessions).sum(),
        users: users.len() as u64,
        ..Cluster::default()
    }
}

fn namespaces<'a>(nodes: impl Iterator<Item = &'a NodeView>) -> Vec<String> {
    let mut names: BTreeSet<&str> = BTreeSet::new();
    for node in nodes {
        names.extend(node.sessions.iter().filter_map(|session| session.namespace.as_deref()));
        names.extend(node.allocations.iter().map(|held| held.namespace.as_str()));
    }
    names.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
