//! The kubelet's PodResources: which container holds which device, whether or not it uses it.

#[cfg(test)]
mod proto;

use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::socket::wire::{self, Malformed};
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
/// Most containers with devices that are kept, most devices of each, and of all.
const MAX_CONTAINERS: usize = 10_000;
const MAX_DEVICES: usize = 4_096;
const MAX_HELD: usize = 100_000;

// Numbers of the fields that are used of `v1.PodResourcesLister`'s messages
// (`k8s.io/kubelet/pkg/apis/podresources/v1/api.proto`).
const POD_RESOURCES: u32 = 1;
const POD_NAME: u32 = 1;
const POD_NAMESPACE: u32 = 2;
const POD_CONTAINERS: u32 = 3;
const CONTAINER_NAME: u32 = 1;
const CONTAINER_DEVICES: u32 = 2;
const CONTAINER_DYNAMIC: u32 = 5;
const DEVICE_IDS: u32 = 2;
const DYNAMIC_CLAIMS: u32 = 4;
const CLAIM_CDI_DEVICES: u32 = 1;
const CLAIM_DRIVER: u32 = 2;
const CLAIM_DEVICE: u32 = 4;
const CDI_NAME: u32 = 1;
const ALLOCATABLE_DEVICES: u32 = 1;

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
            let list = Containers::from_answer(&calls.call(LIST).await?)?;
            let all = if ask_all { Some(all_devices(&mut calls).await) } else { None };
            Ok((list, all))
        });
        let (list, all) = answers.map_err(|failure| KUBELET.error(socket, &failure))?;
        if let Some(all) = all {
            self.allocatable = Allocatable::new(all, socket, now_us);
        }
        Ok(list)
    }
}

async fn all_devices(calls: &mut Calls) -> Result<BTreeSet<Arc<str>>, Failure> {
    Ok(allocatable(&calls.call(ALLOCATABLE).await?)?)
}

/// The GPUs of an `AllocatableResourcesResponse`.
fn allocatable(answer: &[u8]) -> Result<BTreeSet<Arc<str>>, Malformed> {
    let mut found = BTreeSet::new();
    for devices in wire::messages(answer, ALLOCATABLE_DEVICES) {
        for id in ids(devices?) {
            found.extend(ours(id?).filter(|_| found.len() < MAX_DEVICES));
        }
    }
    Ok(found)
}

/// The ids in a `ContainerDevices`.
fn ids(devices: &[u8]) -> impl Iterator<Item = Result<&str, Malformed>> {
    wire::messages(devices, DEVICE_IDS).map(|id| std::str::from_utf8(id?).map_err(|_| Malformed))
}

impl Allocatable {
    fn new(answer: Result<BTreeSet<Arc<str>>, Failure>, socket: &Path, now_us: i64) -> Self {
        let (ids, trouble) = match answer {
            Ok(ids) => (Some(ids.into_iter().collect()), None),
            // Kubelets too old to have the call.
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
    /// Devices of them all.
    held: usize,
    /// Something was more than is kept.
    cut: bool,
}

impl Containers {
    /// Out of a `ListPodResourcesResponse`.
    fn from_answer(answer: &[u8]) -> Result<Self, Malformed> {
        let mut containers = Self::default();
        for pod in wire::messages(answer, POD_RESOURCES) {
            let pod = pod?;
            let namespace: Arc<str> = text::clean(wire::text(pod, POD_NAMESPACE)?).into();
            let name: Arc<str> = text::clean(wire::text(pod, POD_NAME)?).into();
            for container in wire::messages(pod, POD_CONTAINERS) {
                containers.add((&namespace, &name), container?)?;
            }
        }
        Ok(containers)
    }

    fn add(&mut self, pod: (&Arc<str>, &Arc<str>), container: &[u8]) -> Result<(), Malformed> {
        let devices = self.devices_of(container)?;
        if devices.is_empty() {
            return Ok(());
        }
        let name = text::clean(wire::text(container, CONTAINER_NAME)?).into();
        if self.devices.len() >= MAX_CONTAINERS || self.held + devices.len() > MAX_HELD {
            self.cut = true;
            return Ok(());
        }
        self.held += devices.len();
        self.devices.entry((pod.0.clone(), pod.1.clone(), name)).or_default().extend(devices);
        Ok(())
    }

    fn devices_of(&mut self, container: &[u8]) -> Result<BTreeSet<Arc<str>>, Malformed> {
        let mut devices = BTreeSet::new();
        for given in wire::messages(container, CONTAINER_DEVICES) {
            for id in ids(given?) {
                self.insert(&mut devices, ours(id?));
            }
        }
        for dynamic in wire::messages(container, CONTAINER_DYNAMIC) {
            for claim in wire::messages(dynamic?, DYNAMIC_CLAIMS) {
                for id in of_claim(claim?)? {
                    self.insert(&mut devices, Some(id));
                }
            }
        }
        Ok(devices)
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
                    "{socket}: more than {MAX_CONTAINERS} containers with devices, {MAX_DEVICES} devices of one or \
                     {MAX_HELD} of all; the rest is left out; see that the kubelet is asked"
                ),
            )
        });
        cut.into_iter().collect()
    }
}

/// Ids of the devices of a DRA claim: UUIDs where its CDI devices carry some, else the names by NVIDIA's driver.
fn of_claim(claim: &[u8]) -> Result<BTreeSet<Arc<str>>, Malformed> {
    let mut uuids = BTreeSet::new();
    for device in wire::messages(claim, CLAIM_CDI_DEVICES) {
        let name = wire::text(device?, CDI_NAME)?;
        // One more than is kept, so that it is seen to be too many.
        uuids.extend(
            name.rsplit_once('=').and_then(|(_, id)| uuid(id)).filter(|_| uuids.len() <= MAX_DEVICES),
        );
    }
    if uuids.is_empty() && wire::text(claim, CLAIM_DRIVER)? == DRA_DRIVER {
        uuids.extend(ours(wire::text(claim, CLAIM_DEVICE)?));
    }
    Ok(uuids)
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
