//! What the lines of one process say together.

use super::path::{Found, Shell};
use super::{Kind, Place, names};
use crate::text::clean;
use std::sync::Arc;

/// One fact that several lines may state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Fact<T> {
    /// None of them did.
    #[default]
    Unknown,
    /// All that did agree.
    Known(T),
    /// Two disagree.
    Disputed,
}

impl<T: PartialEq> Fact<T> {
    fn add(&mut self, stated: Option<T>) {
        let Some(stated) = stated else { return };
        match self {
            Self::Unknown => *self = Self::Known(stated),
            Self::Known(known) if *known != stated => *self = Self::Disputed,
            _ => {}
        }
    }

    fn known(self) -> Option<T> {
        match self {
            Self::Known(known) => Some(known),
            _ => None,
        }
    }
}

/// The facts of all lines, whatever their order.
#[derive(Default)]
pub(super) struct Lines<'a> {
    pod: bool,
    pod_uid: Fact<&'a str>,
    pod_container: Fact<&'a str>,
    /// The container that is the pod's whole node.
    pod_node: Fact<&'a str>,
    slurm: bool,
    job: Fact<&'a str>,
    step: Fact<&'a str>,
    owner: Fact<u32>,
    shell: Fact<Shell<'a>>,
    unit: Fact<&'a str>,
    /// `user@1000.service`: hierarchies that systemd does not delegate to users stop there.
    user_manager: Fact<&'a str>,
}

impl<'a> Lines<'a> {
    pub(super) fn add(mut self, line: Found<'a>) -> Self {
        match line {
            Found::Host => {}
            Found::Unit(name) if names::is_user_manager(name) => self.user_manager.add(Some(name)),
            Found::Unit(name) => self.unit.add(Some(name)),
            Found::Shell(shell) => self.shell.add(Some(shell)),
            Found::Slurm { job, step, uid, container } => {
                self.slurm = true;
                self.job.add(job);
                self.step.add(step);
                self.owner.add(uid);
                self.shell.add(container.map(Shell::Id));
            }
            Found::Pod { uid, container, node } => {
                self.pod = true;
                self.pod_uid.add(uid);
                self.pod_container.add(container);
                self.pod_node.add(node);
            }
        }
        self
    }

    /// The kind that says most.
    pub(super) fn place(self) -> Place {
        if self.pod { self.in_pod() } else { self.outside_kubernetes() }
    }

    fn in_pod(self) -> Place {
        let elsewhere = match self.shell {
            Fact::Unknown => false,
            Fact::Known(Shell::Id(id)) => {
                let id = Fact::Known(id);
                id != self.pod_container && id != self.pod_node
            }
            _ => true,
        };
        let sure = !elsewhere && self.pod_uid != Fact::Disputed;
        Place {
            kind: Kind::Pod,
            // Slices have `_` for the dashes, which nest slices.
            pod_uid: self.pod_uid.known().filter(|_| sure).map(|uid| uid.replace('_', "-").into()),
            container_id: self.pod_container.known().filter(|_| sure).map(cleaned),
            ..Place::default()
        }
    }

    fn outside_kubernetes(self) -> Place {
        match self.shell {
            Fact::Disputed => Place { kind: Kind::Container, ..Place::default() },
            Fact::Unknown if self.slurm => self.in_job(None),
            // Podman and its like inside a job: still the job's, but its uid may be one of the image.
            Fact::Known(Shell::Id(id)) if self.slurm => self.in_job(Some(id)),
            Fact::Known(Shell::Id(id)) => {
                Place { kind: Kind::Container, container_id: Some(cleaned(id)), ..Place::default() }
            }
            Fact::Known(Shell::Lxc(name)) => {
                Place { kind: Kind::Lxc, name: Some(cleaned(name)), ..Place::default() }
            }
            Fact::Known(Shell::Machine(name)) => {
                let name = Some(names::unescape(name).into());
                Place { kind: Kind::Machine, name, ..Place::default() }
            }
            Fact::Unknown => self.in_unit(),
        }
    }

    fn in_job(self, container: Option<&str>) -> Place {
        let name = match (self.job.known(), self.step.known()) {
            (Some(job), Some(step)) => Some(clean(&format!("{job}.{step}")).into()),
            (job, _) => job.map(cleaned),
        };
        let container_id = container.map(cleaned);
        Place { kind: Kind::Slurm, container_id, name, uid: self.owner.known(), ..Place::default() }
    }

    fn in_unit(self) -> Place {
        let unit = if self.unit == Fact::Unknown { self.user_manager } else { self.unit };
        let kind = if unit == Fact::Unknown { Kind::Host } else { Kind::Unit };
        Place { kind, name: unit.known().map(cleaned), ..Place::default() }
    }
}

fn cleaned(name: &str) -> Arc<str> {
    clean(name).into()
}
