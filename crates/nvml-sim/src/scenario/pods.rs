//! What Kubernetes says of the node. The driver knows nothing of it: others serve it.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::units::Micros;

/// A pod on the node.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Pod {
    /// UID, as its processes' cgroups have it.
    pub uid: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// When the kubelet takes it and gives it its devices.
    #[serde(default)]
    pub start: Micros,
    /// When it is over; it stays, as `Succeeded`.
    #[serde(default)]
    pub end: Option<Micros>,
    /// When it is deleted; its devices are free from then on.
    #[serde(default)]
    pub deleted: Option<Micros>,
    /// Containers.
    #[serde(default)]
    pub containers: Vec<Container>,
}

/// A container of a pod.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Container {
    /// Name.
    pub name: String,
    /// Id, 64 hexadecimal digits.
    pub id: String,
    /// Name of the resource that its devices are of.
    #[serde(default = "gpu_resource")]
    pub resource: String,
    /// Ids of the devices that it was given, as the device plugin names them.
    #[serde(default)]
    pub devices: Vec<String>,
}

/// A namespace with what rules may read of it.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Namespace {
    /// Name.
    pub name: String,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

impl Pod {
    /// Whether the API has it at a moment.
    pub fn exists_at(&self, at: Micros) -> bool {
        self.start <= at && self.deleted.is_none_or(|deleted| at < deleted)
    }

    /// Whether it is over at a moment.
    pub fn is_over_at(&self, at: Micros) -> bool {
        self.end.is_some_and(|end| end <= at)
    }
}

fn gpu_resource() -> String {
    "nvidia.com/gpu".to_owned()
}
