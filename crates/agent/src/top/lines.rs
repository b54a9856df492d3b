//! Lines of a pane, and what each is of.

use crate::view::View;
use gpu_session_api::{Allocation, Device, Session};

/// What stays the same while it is there, however the lines are sorted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    node: Option<String>,
    id: String,
}

impl Key {
    pub(super) fn device(node: &Option<String>, device: &Device) -> Self {
        Self { node: node.clone(), id: device.uuid.clone() }
    }

    pub(super) fn session(node: &Option<String>, session: &Session) -> Self {
        Self { node: node.clone(), id: session.session.clone() }
    }

    pub(super) fn held(node: &Option<String>, held: &Allocation) -> Self {
        let Allocation { device_uuid, namespace, pod, container, .. } = held;
        Self { node: node.clone(), id: format!("{device_uuid} {namespace}/{pod}/{container}") }
    }
}

/// A line: words above others, or an item that can be selected.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Line<T> {
    /// The node of this index, of which the lines below are.
    Node(usize),
    Heading(String),
    Item(Key, T),
}

impl<T: Copy> Line<T> {
    pub(super) fn item(&self) -> Option<(&Key, T)> {
        match self {
            Self::Node(_) | Self::Heading(_) => None,
            Self::Item(key, item) => Some((key, *item)),
        }
    }
}

impl<T> Line<T> {
    pub(super) fn key(&self) -> Option<&Key> {
        match self {
            Self::Node(_) | Self::Heading(_) => None,
            Self::Item(key, _) => Some(key),
        }
    }
}

/// Where an item stands in the view: its node, and its place there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place<T> {
    pub(super) node: usize,
    pub(super) item: T,
}

/// What the lower pane lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// A session, by its index.
    Session(usize),
    /// An allocation on whose device nothing runs for its holder, by its index.
    Held(usize),
}

/// An item itself.
#[derive(Clone, Copy, Debug)]
pub(super) enum Entry<'a> {
    Session(&'a Session),
    Held(&'a Allocation),
}

impl Place<Item> {
    pub(super) fn entry<'a>(&self, view: &'a View) -> Entry<'a> {
        let node = &view.nodes[self.node];
        match self.item {
            Item::Session(index) => Entry::Session(&node.sessions[index]),
            Item::Held(index) => Entry::Held(&node.allocations[index]),
        }
    }

    pub(super) fn key(&self, view: &View) -> Key {
        let node = &view.nodes[self.node].node;
        match self.entry(view) {
            Entry::Session(session) => Key::session(node, session),
            Entry::Held(held) => Key::held(node, held),
        }
    }
}

impl Place<usize> {
    pub(super) fn device<'a>(&self, view: &'a View) -> &'a Device {
        &view.nodes[self.node].devices[self.item]
    }
}

/// The name of a node on the screen.
pub(super) fn node_name(node: &Option<String>) -> &str {
    node.as_deref().unwrap_or("this node")
}
