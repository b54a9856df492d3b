//! Messages of `v1.PodResourcesLister`, by the field numbers of k8s.io/kubelet's PodResources v1.

use prost::Message;

/// What `List` asks: nothing.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct ListRequest {}

/// What `GetAllocatableResources` asks: nothing.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct AllocatableRequest {}

/// What `Get` asks.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct GetRequest {
    /// Name of the pod.
    #[prost(string, tag = "1")]
    pub pod_name: String,
    /// Its namespace.
    #[prost(string, tag = "2")]
    pub pod_namespace: String,
}

/// Answer of `List`.
#[derive(Clone, PartialEq, Message)]
pub struct ListResponse {
    /// The node's pods.
    #[prost(message, repeated, tag = "1")]
    pub pod_resources: Vec<PodResources>,
}

/// Answer of `GetAllocatableResources`.
#[derive(Clone, PartialEq, Message)]
pub struct AllocatableResponse {
    /// Of device plugins.
    #[prost(message, repeated, tag = "1")]
    pub devices: Vec<ContainerDevices>,
    /// CPUs that can be given alone.
    #[prost(int64, repeated, tag = "2")]
    pub cpu_ids: Vec<i64>,
    /// Memory that can be pinned.
    #[prost(message, repeated, tag = "3")]
    pub memory: Vec<ContainerMemory>,
}

/// Answer of `Get`.
#[derive(Clone, PartialEq, Message)]
pub struct GetResponse {
    /// The pod.
    #[prost(message, optional, tag = "1")]
    pub pod_resources: Option<PodResources>,
}

/// A pod.
#[derive(Clone, PartialEq, Message)]
pub struct PodResources {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Namespace.
    #[prost(string, tag = "2")]
    pub namespace: String,
    /// Its containers.
    #[prost(message, repeated, tag = "3")]
    pub containers: Vec<ContainerResources>,
    /// CPUs given to the pod as a whole; newest kubelets only.
    #[prost(int64, repeated, tag = "4")]
    pub cpu_ids: Vec<i64>,
    /// Memory given to the pod as a whole; newest kubelets only.
    #[prost(message, repeated, tag = "5")]
    pub memory: Vec<ContainerMemory>,
}

/// A container.
#[derive(Clone, PartialEq, Message)]
pub struct ContainerResources {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Of device plugins; kubelets make one entry per device.
    #[prost(message, repeated, tag = "2")]
    pub devices: Vec<ContainerDevices>,
    /// CPUs given to it alone.
    #[prost(int64, repeated, tag = "3")]
    pub cpu_ids: Vec<i64>,
    /// Memory pinned for it.
    #[prost(message, repeated, tag = "4")]
    pub memory: Vec<ContainerMemory>,
    /// Of DRA drivers.
    #[prost(message, repeated, tag = "5")]
    pub dynamic_resources: Vec<DynamicResource>,
}

/// Memory.
#[derive(Clone, PartialEq, Message)]
pub struct ContainerMemory {
    /// `memory`, `hugepages-2Mi`.
    #[prost(string, tag = "1")]
    pub memory_type: String,
    /// Bytes.
    #[prost(uint64, tag = "2")]
    pub size: u64,
    /// Where.
    #[prost(message, optional, tag = "3")]
    pub topology: Option<TopologyInfo>,
}

/// Devices.
#[derive(Clone, PartialEq, Message)]
pub struct ContainerDevices {
    /// The extended resource.
    #[prost(string, tag = "1")]
    pub resource_name: String,
    /// The plugin's ids.
    #[prost(string, repeated, tag = "2")]
    pub device_ids: Vec<String>,
    /// Where.
    #[prost(message, optional, tag = "3")]
    pub topology: Option<TopologyInfo>,
}

/// NUMA nodes.
#[derive(Clone, PartialEq, Message)]
pub struct TopologyInfo {
    /// The nodes.
    #[prost(message, repeated, tag = "1")]
    pub nodes: Vec<NumaNode>,
}

/// A NUMA node.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct NumaNode {
    /// Its number.
    #[prost(int64, tag = "1")]
    pub id: i64,
}

/// A claim. Field 1 was a class's name up to 1.30.
#[derive(Clone, PartialEq, Message)]
pub struct DynamicResource {
    /// Name of the claim.
    #[prost(string, tag = "2")]
    pub claim_name: String,
    /// Its namespace.
    #[prost(string, tag = "3")]
    pub claim_namespace: String,
    /// What was allocated for it.
    #[prost(message, repeated, tag = "4")]
    pub claim_resources: Vec<ClaimResource>,
}

/// A device of a claim.
#[derive(Clone, PartialEq, Message)]
pub struct ClaimResource {
    /// What CDI calls it.
    #[prost(message, repeated, tag = "1")]
    pub cdi_devices: Vec<CdiDevice>,
    /// The driver.
    #[prost(string, tag = "2")]
    pub driver_name: String,
    /// The driver's pool.
    #[prost(string, tag = "3")]
    pub pool_name: String,
    /// Name within the pool.
    #[prost(string, tag = "4")]
    pub device_name: String,
    /// The share, of a device with consumable capacity.
    #[prost(string, optional, tag = "5")]
    pub share_id: Option<String>,
}

/// A CDI device.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct CdiDevice {
    /// Fully qualified: `vendor.com/class=name`.
    #[prost(string, tag = "1")]
    pub name: String,
}
