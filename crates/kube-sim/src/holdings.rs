//! What the kubelet gave to a container, in its own words.

/// Devices of one resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Devices {
    /// Name of the extended resource: `nvidia.com/gpu`, `nvidia.com/mig-1g.10gb`.
    pub resource: String,
    /// Ids as the device plugin made them: `GPU-…`, `GPU-…::2` (a replica), `MIG-…`, `nvidia0/vgpu1` (GKE).
    pub ids: Vec<String>,
    /// NUMA nodes; empty where the plugin said none.
    pub numa: Vec<i64>,
}

/// Memory or huge pages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// `memory`, `hugepages-2Mi`.
    pub kind: String,
    /// Bytes.
    pub size: u64,
    /// NUMA nodes.
    pub numa: Vec<i64>,
}

/// A device that a DRA driver allocated for a claim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimDevice {
    /// The driver: `gpu.nvidia.com`.
    pub driver: String,
    /// Its pool, by custom the node's name.
    pub pool: String,
    /// Name within the pool: `gpu-0`.
    pub device: String,
    /// Fully qualified CDI names: `k8s.gpu.nvidia.com/claim=…-gpu-0`.
    pub cdi: Vec<String>,
    /// Id of the share, for a device with consumable capacity.
    pub share: Option<String>,
}

/// A DRA claim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// Name of the ResourceClaim.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The devices allocated for it.
    pub devices: Vec<ClaimDevice>,
}

/// All that a container holds; of a node: all that its kubelet can give.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Of device plugins.
    pub devices: Vec<Devices>,
    /// CPUs that nobody else may use.
    pub cpu_ids: Vec<i64>,
    /// Memory pinned to NUMA nodes.
    pub memory: Vec<Memory>,
    /// Of DRA drivers.
    pub claims: Vec<Claim>,
}

impl Holdings {
    /// Devices of one resource, nothing else.
    pub fn of<I: Into<String>>(resource: impl Into<String>, ids: impl IntoIterator<Item = I>) -> Self {
        Self::default().and(resource, ids)
    }

    /// With devices of one more resource.
    #[must_use]
    pub fn and<I: Into<String>>(
        mut self,
        resource: impl Into<String>,
        ids: impl IntoIterator<Item = I>,
    ) -> Self {
        let ids = ids.into_iter().map(Into::into).collect();
        self.devices.push(Devices { resource: resource.into(), ids, numa: Vec::new() });
        self
    }
}
