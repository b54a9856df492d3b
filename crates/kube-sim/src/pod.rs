//! Pods as a test describes them.

mod json;

pub(crate) use json::{render, set_phase, timestamp};

use crate::holdings::Holdings;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// Where in its life a pod is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Not all containers have been started.
    Pending,
    /// At least one container runs.
    #[default]
    Running,
    /// All containers ended well.
    Succeeded,
    /// All containers ended, one of them badly.
    Failed,
    /// The node does not answer.
    Unknown,
}

impl Phase {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Unknown => "Unknown",
        }
    }
}

/// In which list of the pod a container is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ContainerKind {
    /// `containers`.
    #[default]
    Main,
    /// `initContainers`; ended when the main ones run, and then no longer told by the kubelet.
    Init,
    /// `initContainers` with `restartPolicy: Always`: runs beside the main ones.
    Sidecar,
    /// `ephemeralContainers`: `kubectl debug`.
    Ephemeral,
}

/// A container of a pod.
#[derive(Clone, Debug, Default)]
pub struct Container {
    /// Name within the pod.
    pub name: String,
    /// Its id as a runtime makes it, 64 hex digits; empty while it does not exist.
    pub id: String,
    /// In which list it is.
    pub kind: ContainerKind,
    /// The image.
    pub image: String,
    /// What the kubelet gave to it.
    pub holdings: Holdings,
}

impl Container {
    /// A container that does not exist yet (it has no id), without devices.
    pub fn new(name: impl Into<String>) -> Self {
        let image = "registry.example.com/team/training:2.4.1".to_owned();
        Self { name: name.into(), image, ..Self::default() }
    }

    /// Its id, without the runtime's name.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = id.into();
        self
    }

    /// In which list it is.
    #[must_use]
    pub fn kind(mut self, kind: ContainerKind) -> Self {
        self.kind = kind;
        self
    }

    /// Devices of one more resource.
    #[must_use]
    pub fn devices<I: Into<String>>(
        mut self,
        resource: impl Into<String>,
        ids: impl IntoIterator<Item = I>,
    ) -> Self {
        self.holdings = self.holdings.and(resource, ids);
        self
    }

    /// All that it holds.
    #[must_use]
    pub fn holdings(mut self, holdings: Holdings) -> Self {
        self.holdings = holdings;
        self
    }
}

/// A pod, in the few words that matter; the object that the API server tells has all the others too.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
    /// Node; empty while it is not scheduled.
    pub node: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Kind and name of the object that made it.
    pub owner: Option<(String, String)>,
    /// Where in its life it is.
    pub phase: Phase,
    /// Its containers.
    pub containers: Vec<Container>,
    /// When it was made and started.
    pub start: SystemTime,
    /// For a static pod the kubelet's hash of its file: the object is a mirror, and the hash, not the uid, is in the
    /// names of its cgroups.
    pub static_hash: Option<String>,
}

impl Pod {
    /// A running pod without a node and without containers.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        let (namespace, name) = (namespace.into(), name.into());
        Self {
            uid: crate::uuid_of(&format!("{namespace}/{name}")),
            namespace,
            name,
            node: String::new(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            owner: None,
            phase: Phase::Running,
            containers: Vec::new(),
            start: SystemTime::UNIX_EPOCH + Duration::from_secs(1_780_000_000),
            static_hash: None,
        }
    }

    /// Scheduled to a node.
    #[must_use]
    pub fn on(mut self, node: impl Into<String>) -> Self {
        self.node = node.into();
        self
    }

    /// With another uid than the one made from its name.
    #[must_use]
    pub fn uid(mut self, uid: impl Into<String>) -> Self {
        self.uid = uid.into();
        self
    }

    /// With a label.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// With an annotation.
    #[must_use]
    pub fn annotation(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.annotations.insert(key.into(), value.into());
        self
    }

    /// Made by another object: `StatefulSet`, `train`.
    #[must_use]
    pub fn owned_by(mut self, kind: impl Into<String>, name: impl Into<String>) -> Self {
        self.owner = Some((kind.into(), name.into()));
        self
    }

    /// In a phase.
    #[must_use]
    pub fn phase(mut self, phase: Phase) -> Self {
        self.phase = phase;
        self
    }

    /// With one more container.
    #[must_use]
    pub fn container(mut self, container: Container) -> Self {
        self.containers.push(container);
        self
    }

    /// Started at a moment.
    #[must_use]
    pub fn started(mut self, start: SystemTime) -> Self {
        self.start = start;
        self
    }

    /// The mirror of a static pod with this hash.
    #[must_use]
    pub fn static_pod(mut self, hash: impl Into<String>) -> Self {
        self.static_hash = Some(hash.into());
        self
    }
}
