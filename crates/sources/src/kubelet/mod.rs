//! The kubelet's PodResources: which container holds which device, whether or not it uses it.

mod proto;

use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::socket::{Calls, Failure, Service, block_on};
use crate::{Source, source_error};
use gpu_session_core::allocation::DeviceId;
use gpu_session_core::sample::{Allocations, ContainerDevices, Request, Sample, SourceError};
use gpu_session_core::text;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const LIST: &str = "/v1.PodResourcesLister/List";
const ALLOCATABLE: &str = "/v1.PodResourcesLister/GetAllocatableResources";

const KUBELET: Service = Service {
    who: "the kubelet",
    missing: "mount the node's /var/lib/kubelet/pod-resources into this container, or name the socket with \
              kubelet.socket (a kubelet before 1.28 needs its feature gate KubeletPodResources)",
    denied: "run as root, and on SELinux nodes in a container that may use the node's sockets",
    unknown: "see that kubelet.socket names the socket of PodResources v1 (Kubernetes 1.20 or newer)",
    limit: Duration::from_secs(2),
};

/// Shortest time between two questions for all devices, which change with the node's set-up only: microseconds.
const ALLOCATABLE_US: i64 = 5 * 60 * 1_000_000;
/// Longest pause after failures.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Most containers with devices that are kept, and most devices of each.
const MAX_CONTAINERS: usize = 10_000;
const MAX_DEVICES: usize = 4_096;

/// Name of NVIDIA's DRA driver for GPUs.
const DRA_DRIVER: &str = "gpu.nvidia.com";

/// The kubelet, asked through its PodResources socket.
pub struct Kubelet {
    socket: PathBuf,
    clock: Clock,
    backoff: Backoff,
    /// What failed last, for the reads within the pause.
    trouble: Option<SourceError>,
    allocatable: Allocatable,
}

/// All devices that the kubelet can give.
#[derive(Default)]
struct Allocatable {
    asked_us: Option<i64>,
    ids: Option<Arc<[Arc<str>]>>,
    trouble: Option<SourceError>,
}

impl Kubelet {
    /// Asks at this socket, `/var/lib/kubelet/pod-resources/kubelet.sock`.
    pub fn new(socket: PathBuf) -> Self {
        let backoff = Backoff::up_to(LONGEST_WAIT);
        Self { socket, clock: Clock::Real, backoff, trouble: None, allocatable: Allocatable::default() }
    }

    fn ask(&mut self, now_us: i64) -> Result<Containers, SourceError> {
        let ask_all = self.allocatable.asked_us.is_none_or(|asked| now_us - asked >= ALLOCATABLE_US);
        let socket = &self.socket;
        let answers = block_on(async {
            let mut calls = Calls::connect(socket, KUBELET.limit).await?;
            let list: proto::ListResponse = calls.call(LIST, proto::Empty {}).await?;
            let all: Option<Result<proto::AllocatableResponse, Failure>> =
                if ask_all { Some(calls.call(ALLOCATABLE, proto::Empty {}).await) } else { None };
            Ok((list, all))
        });
        let (list, all) = answers.map_err(|failure| KUBELET.error(socket, &failure))?;
        if let Some(all) = all {
            self.allocatable = Allocatable::from_answer(all, socket, now_us);
        }
        Ok(Containers::from_answer(list))
    }
}

impl Allocatable {
    fn from_answer(answer: Result<proto::AllocatableResponse, Failure>, socket: &Path, now_us: i64) -> Self {
        let (ids, trouble) = match answer {
            Ok(all) => {
                let ids = all.devices.iter().flat_map(|devices| &devices.device_ids);
                let ids: BTreeSet<Arc<str>> = ids.filter_map(|id| ours(id)).take(MAX_DEVICES).collect();
                (Some(ids.into_iter().collect()), None)
            }
            // Kubelets before 1.23, and those with the feature gate KubeletPodResourcesGetAllocatable off.
            Err(failure) if failure.is_unimplemented() => (None, None),
            Err(failure) => (None, Some(KUBELET.error(socket, &failure))),
        };
        Self { asked_us: Some(now_us), ids, trouble }
    }
}

/// Namespace, pod and container.
type Place = (Arc<str>, Arc<str>, Arc<str>);

/// Containers with devices, out of an answer.
#[derive(Default)]
struct Containers {
    devices: BTreeMap<Place, BTreeSet<Arc<str>>>,
    /// Something was more than is kept.
    cut: bool,
}

impl Containers {
    fn from_answer(list: proto::ListResponse) -> Self {
        let mut containers = Self::default();
        for pod in list.pod_resources {
            for container in &pod.containers {
                containers.add(&pod, container);
            }
        }
        containers
    }

    fn add(&mut self, pod: &proto::PodResources, container: &proto::Container) {
        let mut devices = BTreeSet::new();
        for id in container.devices.iter().flat_map(|devices| &devices.device_ids) {
            self.insert(&mut devices, ours(id));
        }
        for claim in container.dynamic_resources.iter().flat_map(|dynamic| &dynamic.claim_resources) {
            for id in of_claim(claim) {
                self.insert(&mut devices, Some(id));
            }
        }
        if devices.is_empty() {
            return;
        }
        if self.devices.len() >= MAX_CONTAINERS {
            self.cut = true;
            return;
        }
        let clean = |raw: &str| -> Arc<str> { text::clean(raw).into() };
        let key = (clean(&pod.namespace), clean(&pod.name), clean(&container.name));
        self.devices.entry(key).or_default().extend(devices);
    }

    fn insert(&mut self, devices: &mut BTreeSet<Arc<str>>, id: Option<Arc<str>>) {
        let Some(id) = id else { return };
        if devices.len() < MAX_DEVICES {
            devices.insert(id);
        } else {
            self.cut |= !devices.contains(&id);
        }
    }

    fn into_list(self) -> Vec<ContainerDevices> {
        let containers = self.devices.into_iter().map(|((namespace, pod, container), devices)| {
            let devices = devices.into_iter().collect();
            ContainerDevices { namespace, pod, container, devices }
        });
        containers.collect()
    }

    fn errors(&self, socket: &Path) -> Vec<SourceError> {
        let socket = socket.display();
        let cut = self.cut.then(|| {
            source_error(
                "too_large",
                format!(
                    "{socket}: more than {MAX_CONTAINERS} containers with devices, or {MAX_DEVICES} devices of one; \
                     the rest is left out; see that the kubelet is asked"
                ),
            )
        });
        cut.into_iter().collect()
    }
}

/// Ids of the devices of a DRA claim: UUIDs where its CDI devices carry some, else the names by NVIDIA's driver.
fn of_claim(claim: &proto::ClaimResource) -> Vec<Arc<str>> {
    let names = claim.cdi_devices.iter().filter_map(|device| device.name.rsplit_once('='));
    let uuids: Vec<Arc<str>> = names.filter_map(|(_, id)| uuid(id)).collect();
    if uuids.is_empty() && claim.driver_name == DRA_DRIVER {
        return ours(&claim.device_name).into_iter().collect();
    }
    uuids
}

/// The id, if it is of a GPU.
fn ours(id: &str) -> Option<Arc<str>> {
    DeviceId::parse(id).map(|_| text::clean(id).into())
}

/// The id, if it says by itself which device it is.
fn uuid(id: &str) -> Option<Arc<str>> {
    match DeviceId::parse(id)? {
        DeviceId::Uuid(_) | DeviceId::Instance(..) => Some(text::clean(id).into()),
        DeviceId::Minor(..) | DeviceId::SomeInstance(_) => None,
    }
}

impl Source for Kubelet {
    fn name(&self) -> &'static str {
        "kubelet"
    }

    fn read(&mut self, _: &Request, sample: &mut Sample) -> Vec<SourceError> {
        let now_us = self.clock.monotonic_us();
        if let Some(trouble) = &self.trouble
            && !self.backoff.is_over(now_us)
        {
            return vec![trouble.clone()];
        }
        match self.ask(now_us) {
            Ok(containers) => {
                self.backoff.succeeded();
                self.trouble = None;
                let mut errors = containers.errors(&self.socket);
                errors.extend(self.allocatable.trouble.clone());
                let allocatable = self.allocatable.ids.clone();
                sample.allocations = Some(Allocations { containers: containers.into_list(), allocatable });
                errors
            }
            Err(error) => {
                self.backoff.failed(self.clock.monotonic_us());
                self.trouble = Some(error.clone());
                vec![error]
            }
        }
    }
}

#[cfg(test)]
mod tests;
