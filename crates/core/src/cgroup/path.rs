//! One path of `/proc/PID/cgroup`, read from the root of the node downwards.

use super::names;

/// A container outside Kubernetes, by what names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shell<'a> {
    /// Id of a runtime's container.
    Id(&'a str),
    /// Name of an LXC container.
    Lxc(&'a str),
    /// Name of a machine, as systemd escapes it.
    Machine(&'a str),
}

/// What one path says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    Host,
    Unit(&'a str),
    Shell(Shell<'a>),
    Slurm { job: Option<&'a str>, step: Option<&'a str>, uid: Option<u32>, container: Option<&'a str> },
    Pod { uid: Option<&'a str>, container: Option<&'a str>, node: Option<&'a str> },
}

/// Reads one path.
pub(super) fn read(path: &str) -> Found<'_> {
    let relative = path == "/.." || path.starts_with("/../");
    let segments: Vec<&str> =
        path.split('/').filter(|s| !s.is_empty() && *s != "..").flat_map(parts).collect();
    Walk { segments: &segments, at: 0, relative, node: None, unit: None, delegated: false }.run()
}

/// runc's `slice:prefix:id`, met where it was told to use plain cgroups for a path meant for systemd, is a slice
/// and what would be a scope in it.
fn parts(segment: &str) -> impl Iterator<Item = &str> {
    let triple = segment.split_once(':').filter(|(slice, _)| names::is_slice(slice));
    let (first, second) = match triple.and_then(|(slice, rest)| Some((slice, rest.split_once(':')?))) {
        Some((slice, (prefix, id))) => (slice, Some(id).filter(|_| !names::is_conmon(prefix))),
        None => (segment, None),
    };
    std::iter::once(first).chain(second)
}

struct Walk<'s, 'a> {
    segments: &'s [&'a str],
    at: usize,
    /// The path came from inside another cgroup namespace.
    relative: bool,
    /// A container that may be a whole Kubernetes node: the outermost of them.
    node: Option<&'a str>,
    unit: Option<&'a str>,
    /// From here on others than root may have made the cgroups.
    delegated: bool,
}

impl<'a> Walk<'_, 'a> {
    fn run(mut self) -> Found<'a> {
        while let Some(segment) = self.segments.get(self.at).copied() {
            if let Some(found) = self.step(segment) {
                return found;
            }
            self.at += 1;
        }
        self.rest()
    }

    /// What was met on the way, where nothing more decisive came.
    fn rest(&self) -> Found<'a> {
        let node = self.node.map(|id| Found::Shell(Shell::Id(id)));
        node.or(self.unit.map(Found::Unit)).unwrap_or(Found::Host)
    }

    fn step(&mut self, segment: &'a str) -> Option<Found<'a>> {
        if !self.delegated
            && let Some(found) = self.pod(segment)
        {
            return Some(found);
        }
        if self.node.is_some() {
            // In a nested node only its pods count; what it runs beside them is that container's.
            return self.leaves_the_node(segment).then(|| self.rest());
        }
        if !self.delegated
            && let Some(found) = self.slurm(segment)
        {
            return Some(found);
        }
        if let Some(shell) = self.shell(segment) {
            match shell {
                Shell::Id(id) if !self.delegated && self.may_be_a_node(segment) => self.node = Some(id),
                shell => return Some(Found::Shell(shell)),
            }
            return None;
        }
        if names::is_lxc_monitor(segment) {
            return Some(self.rest());
        }
        self.note_unit(segment);
        None
    }

    fn before(&self) -> Option<&'a str> {
        self.segments.get(self.at.checked_sub(1)?).copied()
    }

    fn after(&self, steps: usize) -> Option<&'a str> {
        self.segments.get(self.at + steps).copied()
    }

    /// Whether no pod may be taken below this segment of a nested node.
    fn leaves_the_node(&self, segment: &'a str) -> bool {
        match self.shell(segment) {
            Some(Shell::Id(_)) => !self.may_be_a_node(segment),
            Some(_) => true,
            None => names::is_given_away(segment) || names::is_plain_unit(segment),
        }
    }

    fn note_unit(&mut self, segment: &'a str) {
        self.delegated |= names::is_given_away(segment) || names::is_plain_unit(segment);
        if names::is_unit(segment) {
            // Of a user's own manager the unit inside it says more; other units have none below.
            if self.unit.is_none_or(names::is_user_manager) {
                self.unit = Some(names::unit(segment));
            }
        }
    }
}

/// Kubernetes.
impl<'a> Walk<'_, 'a> {
    fn pod(&self, segment: &'a str) -> Option<Found<'a>> {
        let (uid, container) = if segment == "kubepods" {
            self.plain_pod(1)
        } else if self.is_pods_slice(segment) {
            self.sliced_pod()
        } else if self.relative && self.at == 0 {
            self.sibling(segment)?
        } else {
            return None;
        };
        match self.node {
            // The nested node's kubelet itself.
            Some(id) if uid.is_none() => Some(Found::Shell(Shell::Id(id))),
            node => Some(Found::Pod { uid, container, node }),
        }
    }

    /// `kubepods/burstable/pod<uid>/<container>`; guaranteed pods have no class of their own.
    fn plain_pod(&self, steps: usize) -> (Option<&'a str>, Option<&'a str>) {
        let steps = steps + usize::from(self.after(steps).is_some_and(names::is_class));
        let uid = self.after(steps).and_then(names::plain_pod);
        let container = uid.and(self.after(steps + 1)).and_then(names::pod_container);
        (uid, container)
    }

    /// `kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid>.slice/cri-containerd-<id>.scope`
    fn sliced_pod(&self) -> (Option<&'a str>, Option<&'a str>) {
        let slices = self.segments[self.at..].iter().take_while(|s| names::pods_slice(s).is_some());
        for (steps, slice) in slices.enumerate() {
            let uid = names::pods_slice(slice).and_then(names::sliced_pod);
            if uid.is_some() {
                return (uid, self.after(steps + 1).and_then(names::pod_container));
            }
        }
        (None, None)
    }

    /// systemd has slices in slices only, and the pods' may be the first thing inside a nested node.
    fn is_pods_slice(&self, segment: &str) -> bool {
        let fits = |before: &str| {
            names::is_slice(before) || names::container(before).is_some() || names::is_runtime_service(before)
        };
        names::pods_slice(segment).is_some() && self.before().is_none_or(fits)
    }

    /// What a pod's own cgroup namespace shows of its neighbours.
    fn sibling(&self, segment: &'a str) -> Option<(Option<&'a str>, Option<&'a str>)> {
        if let Some(id) = names::cri_container(segment) {
            // Another container of the same pod: the path no longer says which pod.
            return Some((None, Some(id)));
        }
        Some(self.plain_pod(0)).filter(|(uid, _)| uid.is_some())
    }
}

/// Slurm.
impl<'a> Walk<'_, 'a> {
    /// `slurm/uid_1000/job_42/step_0/task_0`, or on cgroup v2 `slurmstepd.scope/job_42/step_0/user/task_0`.
    fn slurm(&self, segment: &str) -> Option<Found<'a>> {
        let uid = self.after(1).filter(|_| names::is_slurm_root(segment)).and_then(names::slurm_uid);
        let steps = if uid.is_some() {
            2
        } else if names::is_slurm_scope(segment) {
            1
        } else {
            return None;
        };
        let job = self.after(steps).and_then(names::slurm_job);
        if job.is_none() && uid.is_none() {
            return None;
        }
        let step = job.and(self.after(steps + 1)).and_then(names::slurm_step);
        let container = self.segments[self.at + steps..].iter().find_map(|s| names::container(s));
        Some(Found::Slurm { job, step, uid, container })
    }
}

/// Containers outside Kubernetes.
impl<'a> Walk<'_, 'a> {
    fn shell(&self, segment: &'a str) -> Option<Shell<'a>> {
        if let Some(id) = names::container(segment) {
            let podman_pod = self.before() == Some("libpod_parent") && id == segment;
            let filled = podman_pod && self.after(1).is_some_and(|s| names::container(s).is_some());
            return (!filled).then_some(Shell::Id(id));
        }
        if let Some(name) = names::lxc_payload(segment) {
            return Some(Shell::Lxc(name));
        }
        if matches!(segment, "lxc" | "lxc.payload") {
            return self.after(1).map(Shell::Lxc);
        }
        if let Some(name) = names::machine(segment, self.before()) {
            // The supervisor is systemd-nspawn itself, a process of the host.
            return (self.after(1) != Some("supervisor")).then_some(Shell::Machine(name));
        }
        // containerd's own clients may name containers as they like, in the namespace `default`.
        let default = self.at == 1 && self.before() == Some("default") && !self.relative;
        (default && names::is_containerd_id(segment)).then_some(Shell::Id(segment))
    }

    /// Docker's and containerd's clients' containers, where root made them.
    fn may_be_a_node(&self, segment: &str) -> bool {
        let sibling = self.relative && self.at == 0;
        !sibling && names::is_docker_container(segment) && self.before() != Some("libpod_parent")
    }
}
