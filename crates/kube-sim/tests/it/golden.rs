//! Our messages against the bytes of Kubernetes' own.

use kube_sim::kubelet::messages::{
    AllocatableResponse, CdiDevice, ClaimResource, ContainerDevices, ContainerMemory, ContainerResources,
    DynamicResource, ListResponse, NumaNode, PodResources, TopologyInfo,
};
use prost::Message;
use std::fmt::Debug;
use std::path::Path;

const GPU: &str = "GPU-5a3c0b12-0000-4000-8000-000000000001";

/// The file decodes to the message, and the message encodes to the file.
fn is_the_file<M: Message + Default + PartialEq + Debug>(name: &str, message: &M) {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/podresources"));
    let bytes = std::fs::read(folder.join(name)).unwrap();
    assert_eq!(&M::decode(bytes.as_slice()).unwrap(), message, "{name}");
    assert_eq!(message.encode_to_vec(), bytes, "{name}");
}

fn topology(nodes: &[i64]) -> Option<TopologyInfo> {
    let nodes: Vec<_> = nodes.iter().map(|&id| NumaNode { id }).collect();
    (!nodes.is_empty()).then_some(TopologyInfo { nodes })
}

fn devices(resource: &str, nodes: &[i64], ids: &[&str]) -> ContainerDevices {
    let device_ids = ids.iter().map(|id| (*id).to_owned()).collect();
    ContainerDevices { resource_name: resource.to_owned(), device_ids, topology: topology(nodes) }
}

fn memory(kind: &str, size: u64, nodes: &[i64]) -> ContainerMemory {
    ContainerMemory { memory_type: kind.to_owned(), size, topology: topology(nodes) }
}

fn pod(namespace: &str, name: &str, containers: Vec<ContainerResources>) -> PodResources {
    PodResources {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        containers,
        ..PodResources::default()
    }
}

fn container(name: &str) -> ContainerResources {
    ContainerResources { name: name.to_owned(), ..ContainerResources::default() }
}

fn device(name: &str, cdi: &[&str], share: Option<&str>) -> ClaimResource {
    ClaimResource {
        cdi_devices: cdi.iter().map(|name| CdiDevice { name: (*name).to_owned() }).collect(),
        driver_name: "gpu.nvidia.com".to_owned(),
        pool_name: "node-a".to_owned(),
        device_name: name.to_owned(),
        share_id: share.map(str::to_owned),
    }
}

#[test]
fn a_list_of_plugins_devices_is_as_kubernetes_writes_it() {
    let migs = ["MIG-7d1d5a2e-2222-4333-8444-555555555555", "MIG-7d1d5a2e-2222-4333-8444-666666666666"];
    let main = ContainerResources {
        devices: vec![
            devices("nvidia.com/gpu", &[0, 1], &[GPU]),
            devices("nvidia.com/gpu.shared", &[0], &[&format!("{GPU}::2")]),
            devices("nvidia.com/mig-1g.10gb", &[], &migs),
        ],
        cpu_ids: vec![2, 3],
        memory: vec![memory("memory", 64 << 30, &[0, 1]), memory("hugepages-2Mi", 2 << 20, &[])],
        ..container("main")
    };
    let train = PodResources {
        cpu_ids: vec![2, 3, 300, 9_000_000_000],
        memory: vec![memory("memory", 128 << 30, &[1])],
        ..pod("team-a", "train-0", vec![main, container("proxy")])
    };
    let web = ContainerResources {
        devices: vec![devices("nvidia.com/gpu", &[], &["nvidia0/gi1/vgpu1"])],
        ..container("web")
    };
    let pod_resources = vec![train, pod("team-b", "web-0", vec![web]), pod("default", "idle", Vec::new())];
    is_the_file("list-plugins.bin", &ListResponse { pod_resources });
}

#[test]
fn a_list_of_claims_is_as_kubernetes_writes_it() {
    let cdi = ["k8s.gpu.nvidia.com/device=gpu-0", "k8s.gpu.nvidia.com/claim=0f3e7a52-gpu-0"];
    let claims = vec![
        DynamicResource {
            claim_name: "infer-0-gpu-x7k2p".to_owned(),
            claim_namespace: "team-c".to_owned(),
            claim_resources: vec![
                device("gpu-0", &cdi, None),
                device("gpu-1-mig-1g.10gb-0", &[], Some("0f3e7a52-1111-4222-8333-444444444444")),
            ],
        },
        DynamicResource {
            claim_name: "shared".to_owned(),
            claim_namespace: "team-c".to_owned(),
            claim_resources: Vec::new(),
        },
    ];
    let main = ContainerResources { dynamic_resources: claims, ..container("main") };
    is_the_file(
        "list-claims.bin",
        &ListResponse { pod_resources: vec![pod("team-c", "infer-0", vec![main])] },
    );
}

#[test]
fn what_a_node_can_give_is_as_kubernetes_writes_it() {
    let second = "GPU-5a3c0b12-0000-4000-8000-000000000002";
    let message = AllocatableResponse {
        devices: vec![devices("nvidia.com/gpu", &[0], &[GPU]), devices("nvidia.com/gpu", &[1], &[second])],
        cpu_ids: vec![0, 1, 127, 128],
        memory: vec![memory("memory", 540_429_221_888, &[0]), memory("hugepages-1Gi", 8 << 30, &[1])],
    };
    is_the_file("allocatable.bin", &message);
}
