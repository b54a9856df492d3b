//! The text of `/proc/PID/cgroup`: what a process runs in.
//!
//! A workload can make cgroups below its own, with any name, but none beside or above it. So every path is read
//! from the root of the node downwards and **the outermost thing that is recognised decides**; what lies below it
//! is the workload's own affair. The exceptions and limits:
//!
//! 1. A whole Kubernetes node may be a Docker or containerd container (kind, k3d, minikube). Below such a container
//!    a kubepods hierarchy is the nested node's, and its pod is the place. Only a privileged container can write
//!    there, and that one is as good as root on the host. LXC, systemd-nspawn and Podman hand cgroups to whoever is
//!    root inside, so no pod is taken below theirs.
//! 2. Below `user.slice` and below any service or scope no pod and no Slurm job is taken: systemd gives those
//!    subtrees away. Services of the node's own container runtimes are root's, and count as the node.
//! 3. Docker in a pod is the pod, and the container is the pod's own: the kubelet knows that one, not the nested.
//! 4. A path that begins with `/..` is seen from inside another cgroup namespace and has lost its beginning: what
//!    comes first after the dots is a sibling of that namespace's cgroups, so a pod may begin there without its
//!    `kubepods`.

mod lines;
mod names;
mod path;
#[cfg(test)]
mod tests;

use lines::Lines;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// Digits of a container id that are shown.
const SHORT_ID: usize = 12;

/// What kind of thing a process runs in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Nothing below the host that has a name.
    #[default]
    Host,
    /// A systemd unit: a service, or the scope of a login.
    Unit,
    /// A Slurm job.
    Slurm,
    /// A container of a runtime, outside Kubernetes.
    Container,
    /// A container of LXC, LXD or Incus.
    Lxc,
    /// A container of systemd-nspawn or another that is registered as a machine.
    Machine,
    /// A Kubernetes pod.
    Pod,
}

/// Where a process runs, by its cgroup; what the path does not say is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// What kind of thing.
    pub kind: Kind,
    /// UID of the pod, in the form of the API: lower-case hex digits with dashes, or the 32 digits of a static pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<Arc<str>>,
    /// Id of the container by which the node's runtime knows it, without the runtime's prefix. Only that of a
    /// [`Kind::Pod`] may be looked for among the containers of pods: others can be made up by a user of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_id: Option<Arc<str>>,
    /// Unit, Slurm job (`42`, step and all: `42.0`) or, of an LXC container or machine, its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Arc<str>>,
    /// Uid that the path names: of a Slurm job's owner on cgroup v1, and of the user whose slice a rootless container
    /// runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
}

impl Place {
    /// Reads the whole text: the lines of cgroup v1 hierarchies, the one of v2, or both.
    ///
    /// Hierarchies need not agree: many lines are `/` or stop early, so the line that says most counts. Lines that
    /// name different pods or containers leave nothing but the kind.
    pub fn of(text: &str) -> Self {
        let place =
            text.lines().filter_map(line_path).map(path::read).fold(Lines::default(), Lines::add).place();
        match place.kind {
            Kind::Container | Kind::Lxc | Kind::Machine => Self { uid: slice_owner(text), ..place },
            Kind::Host | Kind::Unit | Kind::Slurm | Kind::Pod => place,
        }
    }

    /// Whether the process runs in a container of any sort, so that its uid means something in its image only.
    pub fn is_containerised(&self) -> bool {
        // A container inside a Slurm job leaves the kind at the job.
        !matches!(self.kind, Kind::Host | Kind::Unit | Kind::Slurm) || self.container_id.is_some()
    }
}

/// The user of the host whose slice holds the process: systemd makes it, and what is in it cannot leave it.
fn slice_owner(text: &str) -> Option<u32> {
    let owner = |path: &str| {
        let slice = path.strip_prefix("/user.slice/user-")?.split('/').next()?;
        slice.strip_suffix(".slice")?.parse().ok()
    };
    let mut owners = text.lines().filter_map(line_path).filter_map(owner);
    let first = owners.next()?;
    owners.all(|other: u32| other == first).then_some(first)
}

/// The place in one short word, `slurm:42.0`; empty for the host, for a pod (which has better names) and where
/// the name is not known.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, name) = match self.kind {
            Kind::Host | Kind::Pod => return Ok(()),
            Kind::Unit => ("unit", self.name.as_deref()),
            Kind::Slurm => ("slurm", self.name.as_deref()),
            Kind::Container => ("container", self.container_id.as_deref().map(short)),
            Kind::Lxc => ("lxc", self.name.as_deref()),
            Kind::Machine => ("machine", self.name.as_deref()),
        };
        name.map_or(Ok(()), |name| f.write_str(&crate::text::clean(&format!("{word}:{name}"))))
    }
}

fn short(id: &str) -> &str {
    id.char_indices().nth(SHORT_ID).map_or(id, |(end, _)| &id[..end])
}

/// Whether the cgroup text says that the process runs in a container (Kubernetes, Docker, Podman, CRI-O,
/// containerd, LXC, systemd-nspawn), on cgroup v1, v2 or hybrid.
///
/// Used to keep a container's uid from being taken for a user of the host.
pub fn is_containerised(text: &str) -> bool {
    Place::of(text).is_containerised()
}

/// `hierarchy:controllers:path`; the path may itself hold colons.
fn line_path(line: &str) -> Option<&str> {
    let mut fields = line.splitn(3, ':');
    let hierarchy = fields.next()?;
    let numbered = !hierarchy.is_empty() && hierarchy.bytes().all(|b| b.is_ascii_digit());
    let path = fields.nth(1).filter(|path| numbered && path.starts_with('/'))?;
    // Whose cgroup was removed while it still ran, or ran on as a zombie.
    Some(path.strip_suffix(" (deleted)").unwrap_or(path))
}
