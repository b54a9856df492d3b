//! What a kubelet says of what it gave.

use super::messages::{
    AllocatableResponse, CdiDevice, ClaimResource, ContainerDevices, ContainerMemory, ContainerResources,
    DynamicResource, ListResponse, NumaNode, PodResources, TopologyInfo,
};
use crate::cluster::{Cluster, Held};
use crate::holdings::{Claim, Devices, Holdings, Memory};

/// All pods of a node.
pub(super) fn list(cluster: &Cluster, node: &str) -> ListResponse {
    let pods = cluster.held_on(node).into_iter().map(|((namespace, name), held)| pod(namespace, name, held));
    ListResponse { pod_resources: pods.collect() }
}

/// One pod of a node.
pub(super) fn get(cluster: &Cluster, node: &str, namespace: &str, name: &str) -> Option<PodResources> {
    let mut pods = cluster.held_on(node).into_iter();
    let ((namespace, name), held) = pods.find(|((ns, pod), _)| ns == namespace && pod == name)?;
    Some(pod(namespace, name, held))
}

/// All that a node can give.
pub(super) fn allocatable(cluster: &Cluster, node: &str) -> AllocatableResponse {
    let Holdings { devices, cpu_ids, memory, claims: _ } = cluster.allocatable_on(node);
    AllocatableResponse {
        devices: devices.into_iter().flat_map(one_by_one).collect(),
        cpu_ids,
        memory: memory.into_iter().map(of_memory).collect(),
    }
}

fn pod(namespace: String, name: String, held: Held) -> PodResources {
    let containers = held.containers.into_iter().map(|(name, holdings)| container(name, holdings)).collect();
    PodResources { name, namespace, containers, cpu_ids: Vec::new(), memory: Vec::new() }
}

fn container(name: String, holdings: Holdings) -> ContainerResources {
    ContainerResources {
        name,
        devices: holdings.devices.into_iter().flat_map(one_by_one).collect(),
        cpu_ids: holdings.cpu_ids,
        memory: holdings.memory.into_iter().map(of_memory).collect(),
        dynamic_resources: holdings.claims.into_iter().map(claim).collect(),
    }
}

/// Kubelets make an entry of each device, though the message could hold several.
fn one_by_one(devices: Devices) -> impl Iterator<Item = ContainerDevices> {
    let Devices { resource, ids, numa } = devices;
    ids.into_iter().map(move |id| ContainerDevices {
        resource_name: resource.clone(),
        device_ids: vec![id],
        topology: topology(&numa),
    })
}

fn of_memory(memory: Memory) -> ContainerMemory {
    ContainerMemory { memory_type: memory.kind, size: memory.size, topology: topology(&memory.numa) }
}

fn topology(numa: &[i64]) -> Option<TopologyInfo> {
    let nodes = numa.iter().map(|&id| NumaNode { id }).collect();
    (!numa.is_empty()).then_some(TopologyInfo { nodes })
}

fn claim(claim: Claim) -> DynamicResource {
    let devices = claim.devices.into_iter().map(|device| ClaimResource {
        cdi_devices: device.cdi.into_iter().map(|name| CdiDevice { name }).collect(),
        driver_name: device.driver,
        pool_name: device.pool,
        device_name: device.device,
        share_id: device.share,
    });
    DynamicResource {
        claim_name: claim.name,
        claim_namespace: claim.namespace,
        claim_resources: devices.collect(),
    }
}
