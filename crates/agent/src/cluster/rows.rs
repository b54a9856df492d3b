//! Sessions and allocations, each with its node.

use super::list::{Field, Key, Order, Words, searchable};
use crate::view::filter::{is, label, takes};
use crate::view::session::idle_seconds;
use gpu_session_api::{Allocation, ClusterSession, OnNode, Session};
use gpu_session_core::ids::GpuLabel;
use std::time::Duration;

/// A session or an allocation, made ready.
pub(super) struct Row<T> {
    pub(super) document: T,
    pub(super) label: GpuLabel,
    names: String,
    /// For how long it has been idle at its node's last sample, seconds; `None` where that is not known.
    idle: Option<f64>,
}

/// For how long something has to be known to be idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idle(pub Duration);

/// What is taken: what all of its parts take. An empty name takes what is not known.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Words in the names.
    pub words: Words,
    /// This node.
    pub node: Option<String>,
    /// This device; the index of a GPU takes its MIG instances too.
    pub gpu: Option<GpuLabel>,
    /// Of this user.
    pub user: Option<String>,
    /// In this namespace.
    pub namespace: Option<String>,
    /// In pods of this name.
    pub pod: Option<String>,
    /// Idle for so long.
    pub idle_for: Option<Idle>,
    /// Whether it has no session; of allocations.
    pub idle: Option<bool>,
}

impl Filter {
    /// Whether the row is taken, whose node, user, namespace and pod these are.
    fn takes<T>(&self, row: &Row<T>, [node, user, namespace, pod]: [Option<&str>; 4]) -> bool {
        is(self.node.as_ref(), node)
            && self.gpu.is_none_or(|gpu| takes(gpu, row.label))
            && is(self.user.as_ref(), user)
            && is(self.namespace.as_ref(), namespace)
            && is(self.pod.as_ref(), pod)
            && self
                .idle_for
                .is_none_or(|Idle(least)| row.idle.is_some_and(|idle| idle >= least.as_secs_f64()))
            && self.words.are_in(&row.names)
    }
}

impl Row<ClusterSession> {
    /// Of a session on this node, whose last sample was taken `at`, Unix seconds, as far as that is known.
    pub(super) fn of_session(node: &str, at: Option<f64>, session: Session) -> Self {
        let text = |slot: &'_ Option<String>| slot.clone().unwrap_or_default();
        let pid = session.pid.to_string();
        let (user, namespace, pod) = (text(&session.user), text(&session.namespace), text(&session.pod));
        let (container, command, place) =
            (text(&session.container), text(&session.command), text(&session.place));
        let profile = text(&session.mig_profile);
        let names = searchable([
            node,
            &session.gpu,
            &user,
            &namespace,
            &pod,
            &container,
            &command,
            &place,
            &profile,
            &pid,
            &session.session,
            &session.device_uuid,
        ]);
        let (label, idle) = (label(&session.gpu), at.and_then(|at| idle_seconds(&session, at)));
        let document = ClusterSession { node: node.to_owned(), session, idle_seconds: idle };
        Self { document, label, names, idle }
    }

    pub(super) fn is_taken_by(&self, filter: &Filter) -> bool {
        let ClusterSession { node, session: Session { user, namespace, pod, .. }, .. } = &self.document;
        filter.takes(self, [Some(node), user.as_deref(), namespace.as_deref(), pod.as_deref()])
    }
}

impl Row<OnNode<Allocation>> {
    /// Of what a container holds on this node.
    pub(super) fn of_allocation(node: &str, held: Allocation) -> Self {
        let user = held.user.as_deref().unwrap_or_default();
        let names = searchable([
            node,
            &held.gpu,
            user,
            &held.namespace,
            &held.pod,
            &held.container,
            &held.device_uuid,
        ]);
        let (label, idle) = (label(&held.gpu), held.idle_seconds);
        Self { document: OnNode { node: node.to_owned(), it: held }, label, names, idle }
    }

    pub(super) fn is_taken_by(&self, filter: &Filter) -> bool {
        let OnNode { node, it: held } = &self.document;
        filter.idle.is_none_or(|idle| held.sessions.is_some_and(|sessions| (sessions == 0) == idle))
            && filter.takes(self, [Some(node), held.user.as_deref(), Some(&held.namespace), Some(&held.pod)])
    }
}

fn text(slot: &Option<String>) -> Key<'_> {
    Key::Text(slot.as_deref())
}

/// Every scalar field of a session, its node, and for how long it has been there.
const SESSION_FIELDS: [(&str, Field<Row<ClusterSession>>); 30] = [
    ("node", |row| Key::Text(Some(&row.document.node))),
    ("session", |row| Key::Text(Some(&row.document.session.session))),
    ("gpu", |row| Key::Device(row.label)),
    ("device_uuid", |row| Key::Text(Some(&row.document.session.device_uuid))),
    ("mig_profile", |row| text(&row.document.session.mig_profile)),
    ("pid", |row| Key::Number(Some(f64::from(row.document.session.pid)))),
    ("command", |row| text(&row.document.session.command)),
    ("start_time", |row| Key::Number(Some(row.document.session.start_time))),
    ("uid", |row| Key::Number(row.document.session.uid.map(f64::from))),
    ("user", |row| text(&row.document.session.user)),
    ("user_rule", |row| text(&row.document.session.user_rule)),
    ("namespace", |row| text(&row.document.session.namespace)),
    ("pod", |row| text(&row.document.session.pod)),
    ("container", |row| text(&row.document.session.container)),
    ("pod_uid", |row| text(&row.document.session.pod_uid)),
    ("container_id", |row| text(&row.document.session.container_id)),
    ("place", |row| text(&row.document.session.place)),
    ("attributed_by", |row| text(&row.document.session.attributed_by)),
    ("memory_used_bytes", |row| Key::count(row.document.session.memory_used_bytes)),
    ("sm_utilization_ratio", |row| Key::Number(row.document.session.sm_utilization_ratio)),
    ("memory_busy_ratio", |row| Key::Number(row.document.session.memory_busy_ratio)),
    ("encoder_utilization_ratio", |row| Key::Number(row.document.session.encoder_utilization_ratio)),
    ("decoder_utilization_ratio", |row| Key::Number(row.document.session.decoder_utilization_ratio)),
    ("sm_seconds", |row| Key::Number(row.document.session.sm_seconds)),
    ("memory_byte_seconds", |row| Key::Number(row.document.session.memory_byte_seconds)),
    ("last_active_time", |row| Key::Number(row.document.session.last_active_time)),
    ("measured_since_time", |row| Key::Number(row.document.session.measured_since_time)),
    ("idle_seconds", |row| Key::Number(row.idle)),
    // At whichever time: who began later has been there for less.
    ("running_seconds", |row| Key::Number(Some(-row.document.session.start_time))),
    ("allocated", |row| Key::flag(row.document.session.allocated)),
];

const ALLOCATION_FIELDS: [(&str, Field<Row<OnNode<Allocation>>>); 7] = [
    ("idle_seconds", |row| Key::Number(row.document.it.idle_seconds)),
    ("node", |row| Key::Text(Some(&row.document.node))),
    ("gpu", |row| Key::Device(row.label)),
    ("namespace", |row| Key::Text(Some(&row.document.it.namespace))),
    ("pod", |row| Key::Text(Some(&row.document.it.pod))),
    ("container", |row| Key::Text(Some(&row.document.it.container))),
    ("user", |row| text(&row.document.it.user)),
];

/// The order of sessions that is asked for.
pub(super) fn order_of_sessions(written: Option<&str>) -> Result<Order<Row<ClusterSession>>, String> {
    written.map_or_else(|| Ok(Order::natural()), |written| Order::parse(written, &SESSION_FIELDS))
}

/// The order of allocations that is asked for.
pub(super) fn order_of_allocations(written: Option<&str>) -> Result<Order<Row<OnNode<Allocation>>>, String> {
    written.map_or_else(|| Ok(Order::natural()), |written| Order::parse(written, &ALLOCATION_FIELDS))
}
