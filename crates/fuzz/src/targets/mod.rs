//! The targets.

mod capture;
mod cgroup;
mod client;
mod config;
mod dcgm;
mod http;
mod kubernetes;
mod ledger;
mod proc;
mod prometheus;
mod sockets;
mod state;
mod web_config;

use crate::Target;
use gpu_session_core::text::clean;
use std::collections::BTreeSet;

/// All, by name.
pub const ALL: &[Target] = &[
    capture::TARGET,
    cgroup::TARGET,
    cgroup::NESTED,
    client::TARGET,
    config::TARGET,
    sockets::CRI,
    dcgm::TARGET,
    capture::EXPOSITION,
    http::TARGET,
    sockets::KUBELET,
    kubernetes::TARGET,
    ledger::TARGET,
    proc::TARGET,
    prometheus::TARGET,
    state::TARGET,
    web_config::TARGET,
];

/// The target of this name.
pub fn by_name(name: &str) -> Option<&'static Target> {
    debug_assert_eq!(ALL.len(), ALL.iter().map(|target| target.name).collect::<BTreeSet<_>>().len());
    ALL.iter().find(|target| target.name == name)
}

/// Whether a text is as it may be in outputs.
fn is_clean(text: &str) -> bool {
    clean(text) == text
}

/// Whether words for a person can be: there are some, and not without end. What prints them makes them harmless.
fn is_message(text: &str) -> bool {
    !text.is_empty() && text.len() < 64 << 10
}

/// Parts of an input, by a byte that no UTF-8 text has.
fn parts<const N: usize>(bytes: &[u8]) -> [&[u8]; N] {
    let mut parts = bytes.splitn(N, |byte| *byte == 0xff);
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

/// An input of these parts.
fn of_parts(parts: &[&[u8]]) -> Vec<u8> {
    parts.join(&0xff)
}
