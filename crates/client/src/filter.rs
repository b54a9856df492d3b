//! What is asked for.

use crate::Error;
use std::time::Duration;

/// What is asked for; which of it a question takes, the API's description says. Without anything: all, a page of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    parameters: Vec<(&'static str, String)>,
}

impl Filter {
    /// All.
    pub fn new() -> Self {
        Self::default()
    }

    fn set(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.parameters.retain(|(known, _)| *known != name);
        self.parameters.push((name, value.into()));
        self
    }

    /// On this device; an index takes the MIG instances of the GPU too.
    #[must_use]
    pub fn gpu(self, label: impl Into<String>) -> Self {
        self.set("gpu", label)
    }

    /// The device, or the instances of the GPU, of this UUID.
    #[must_use]
    pub fn uuid(self, uuid: impl Into<String>) -> Self {
        self.set("uuid", uuid)
    }

    /// The session of this public name.
    #[must_use]
    pub fn session(self, session: impl Into<String>) -> Self {
        self.set("session", session)
    }

    /// Of this user; empty: of nobody known.
    #[must_use]
    pub fn user(self, user: impl Into<String>) -> Self {
        self.set("user", user)
    }

    /// In this namespace; empty: in none known.
    #[must_use]
    pub fn namespace(self, namespace: impl Into<String>) -> Self {
        self.set("namespace", namespace)
    }

    /// In pods of this name; empty: in none known.
    #[must_use]
    pub fn pod(self, pod: impl Into<String>) -> Self {
        self.set("pod", pod)
    }

    /// In containers of this name; empty: in none known.
    #[must_use]
    pub fn container(self, container: impl Into<String>) -> Self {
        self.set("container", container)
    }

    /// Of this process name; empty: of none known.
    #[must_use]
    pub fn command(self, command: impl Into<String>) -> Self {
        self.set("command", command)
    }

    /// Of this host pid.
    #[must_use]
    pub fn pid(self, pid: u32) -> Self {
        self.set("pid", pid.to_string())
    }

    /// Whether the container holds the device.
    #[must_use]
    pub fn allocated(self, allocated: bool) -> Self {
        self.set("allocated", allocated.to_string())
    }

    /// Whether no container holds the device.
    #[must_use]
    pub fn free(self, free: bool) -> Self {
        self.set("free", free.to_string())
    }

    /// Known not to have been active for this long, in whole seconds.
    #[must_use]
    pub fn idle_for(self, idle: Duration) -> Self {
        self.set("idle_for", format!("{}s", idle.as_secs()))
    }

    /// Of the past, from then on: `7d`, `2026-11-01`, `2026-11-01T12:00+09:00`.
    #[must_use]
    pub fn since(self, since: impl Into<String>) -> Self {
        self.set("since", since)
    }

    /// Of the past, before then; written as `since`.
    #[must_use]
    pub fn until(self, until: impl Into<String>) -> Self {
        self.set("until", until)
    }

    /// At most so many on a page: 1 to 1000.
    #[must_use]
    pub fn limit(self, limit: u16) -> Self {
        self.set("limit", limit.to_string())
    }

    /// After the ones before: `next_cursor` of their page.
    #[must_use]
    pub fn cursor(self, cursor: impl Into<String>) -> Self {
        self.set("cursor", cursor)
    }

    fn has_period(&self) -> bool {
        self.parameters.iter().any(|(name, _)| ["since", "until"].contains(name))
    }

    /// The parameters of a question of the present.
    pub(crate) fn now(&self) -> Result<Vec<(&'static str, String)>, Error> {
        if self.has_period() {
            return Err(Error::usage("since, until: the question is of the present; ask for the history"));
        }
        Ok(self.parameters.clone())
    }

    /// The parameters of a question of the past.
    pub(crate) fn then(&self) -> Result<Vec<(&'static str, String)>, Error> {
        if !self.has_period() {
            return Err(Error::usage("since, until: the question is of the past; name a period"));
        }
        Ok(self.parameters.clone())
    }
}
