//! Devices that containers hold, whether or not anything runs on them.

use crate::attribution::Attributor;
use crate::cgroup::Kind;
use crate::ids::GpuLabel;
use crate::monitor::readable;
use crate::sample::{Activity, ContainerDevices, Device, DeviceFacts, Pod, Sample};
use crate::state::{DeviceState, Session, State};
use crate::utilization::MAX_GAP_US;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A device as a device plugin or driver names it to the kubelet, without the mark of a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceId {
    /// UUID of a GPU or MIG instance, in lower case: NVIDIA's device plugin (`GPU-…`, `MIG-…`, and with `::<n>` a
    /// time-sliced or MPS replica).
    Uuid(String),
    /// `MIG-GPU-<uuid>/<gpu instance>/<compute instance>`: drivers before R470.
    Instance(String, u32, u32),
    /// Number of the device file and GPU instance: GKE's plugin (`nvidia0`, `nvidia0/gi1`, and with `/vgpu<n>` a
    /// shared one), NVIDIA's DRA driver for whole GPUs (`gpu-0`).
    Minor(u32, Option<u32>),
    /// A MIG instance of the GPU with this device file; which one, the name does not say. NVIDIA's DRA driver names
    /// instances by profile and place on the GPU (`gpu-0-mig-1g5gb-19-0`).
    SomeInstance(u32),
}

impl DeviceId {
    /// Reads an id; `None` for what is no GPU.
    pub fn parse(id: &str) -> Option<Self> {
        let id = id.split_once("::").map_or(id, |(device, _)| device);
        if let Some(rest) = id.strip_prefix("MIG-GPU-") {
            let mut parts = rest.split('/');
            let uuid = parts.next()?.to_ascii_lowercase();
            let (gi, ci) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            return parts.next().is_none().then(|| Self::Instance(format!("gpu-{uuid}"), gi, ci));
        }
        if let Some(rest) = id.strip_prefix("nvidia") {
            return minor(rest);
        }
        if let Some(rest) = id.strip_prefix("gpu-") {
            return match rest.split_once("-mig-") {
                Some((minor, _)) => number(minor).map(Self::SomeInstance),
                None => number(rest).map(|minor| Self::Minor(minor, None)),
            };
        }
        let is_uuid = (id.starts_with("GPU-") || id.starts_with("MIG-")) && !id.contains('/');
        is_uuid.then(|| Self::Uuid(id.to_ascii_lowercase()))
    }

    /// Whether it names this device.
    pub fn is(&self, device: &DeviceFacts) -> bool {
        match self {
            Self::Uuid(uuid) => device.uuid.eq_ignore_ascii_case(uuid),
            Self::Instance(parent, gi, ci) => {
                let own = device.parent_uuid.as_ref().is_some_and(|own| own.eq_ignore_ascii_case(parent));
                own && device.label.instance == Some((*gi, *ci))
            }
            Self::SomeInstance(_) => false,
            Self::Minor(minor, gi) => {
                device.label.instance.map(|(gi, _)| gi) == *gi && device.minor_number == Some(*minor)
            }
        }
    }
}

/// Whether some container holds a device of which it cannot be told whether it is this one.
pub fn is_unsure(sample: &Sample, device: &DeviceFacts) -> bool {
    let containers = sample.allocations.iter().flat_map(|allocations| &allocations.containers);
    let may_be = |id: &Arc<str>| match DeviceId::parse(id) {
        Some(DeviceId::SomeInstance(minor)) => device.minor_number == Some(minor),
        _ => false,
    };
    device.label.instance.is_some() && containers.flat_map(|container| &container.devices).any(may_be)
}

/// `0`, `0/gi1`, `0/vgpu3`, `0/gi1/vgpu3`.
fn minor(text: &str) -> Option<DeviceId> {
    let mut parts = text.split('/');
    let minor = number(parts.next()?)?;
    let mut gi = None;
    for part in parts {
        match (part.strip_prefix("gi").and_then(number), part.strip_prefix("vgpu").and_then(number)) {
            (Some(id), _) if gi.is_none() => gi = Some(id),
            (_, Some(_)) => {}
            _ => return None,
        }
    }
    Some(DeviceId::Minor(minor, gi))
}

fn number(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

/// What a source of pods said longer before the sample than this says nothing of the pod's phase now.
const FRESH_US: i64 = 30_000_000;

/// A device that the kubelet lists as a container's.
#[derive(Clone, Copy, Debug)]
pub struct Held<'a> {
    /// The device.
    pub device: &'a DeviceFacts,
    /// The container.
    pub container: &'a ContainerDevices,
    /// Its pod, where a source of pods knows that it runs; one of that name which is over may be an earlier one.
    pub pod: Option<&'a Pod>,
    /// UID of that pod, as its cgroups carry it.
    pub uid: Option<&'a Arc<str>>,
    /// Whether the pod still runs; `None` where no source says.
    pub runs: Option<bool>,
}

impl Held<'_> {
    /// Whether it counts as an allocation: kubelets go on listing devices of pods that are over. One on whose device
    /// its process still works is not.
    pub fn counts(&self, state: &State) -> bool {
        let works = |device: &DeviceState| {
            device
                .sessions
                .values()
                .any(|session| session.is_live() && session.attribution.is_in(self.container))
        };
        self.runs != Some(false) || state.devices.get(&self.device.uuid).is_some_and(works)
    }

    /// Whether the session is of a pod that only has the same name.
    pub fn is_namesakes(&self, session: &Session) -> bool {
        let own = session.place.as_ref().and_then(|place| place.pod_uid.as_ref());
        own.zip(self.uid).is_some_and(|(own, uid)| own != uid)
    }
}

/// All that the kubelet lists, of pods that are over too; empty where it did not say.
pub fn held(sample: &Sample) -> Vec<Held<'_>> {
    let (Some(allocations), Some(driver)) = (&sample.allocations, &sample.driver) else {
        return Vec::new();
    };
    let pods = by_name(sample);
    let (mut all, mut seen) = (Vec::new(), BTreeSet::new());
    for container in &allocations.containers {
        let found = pods.get(&(&*container.namespace, &*container.pod)).copied();
        let runs = found.and_then(|(_, pod, fresh)| runs(pod).filter(|_| fresh));
        let found = found.filter(|_| runs == Some(true));
        let (pod, uid) = (found.map(|(_, pod, _)| pod), found.map(|(uid, ..)| uid));
        let ids: Vec<DeviceId> = container.devices.iter().filter_map(|id| DeviceId::parse(id)).collect();
        // Several replicas of one device are one allocation of it, and so are containers told twice.
        let devices = driver.devices.iter().map(|device| &*device.facts);
        let own = devices.filter(|device| ids.iter().any(|id| id.is(device)));
        let own = own.map(|device| Held { device, container, pod, uid, runs });
        all.extend(own.filter(|held| seen.insert(key(held))));
    }
    all
}

/// Pods by namespace and name, and whether that is known of now. Of two of one name the one that is not deleted
/// counts, then the one that is known of now.
fn by_name(sample: &Sample) -> BTreeMap<(&str, &str), (&Arc<str>, &Pod, bool)> {
    let mut found: BTreeMap<(&str, &str), (&Arc<str>, &Pod, bool)> = BTreeMap::new();
    let rank = |(_, pod, fresh): (&Arc<str>, &Pod, bool)| (!pod.deleted, fresh, pod.phase.is_some());
    for list in &sample.pods {
        let fresh = sample.time_us - list.as_of_us <= FRESH_US;
        for (uid, pod) in &*list.pods {
            let pod = (uid, &**pod, fresh);
            let known = found.entry((&pod.1.namespace, &pod.1.name)).or_insert(pod);
            if rank(pod) > rank(*known) {
                *known = pod;
            }
        }
    }
    found
}

fn runs(pod: &Pod) -> Option<bool> {
    if pod.deleted { Some(false) } else { pod.phase.map(|phase| !phase.is_terminal()) }
}

/// Whether the kubelet can give the device away; `None` where it did not say.
pub fn is_allocatable(sample: &Sample, device: &DeviceFacts) -> Option<bool> {
    let ids = sample.allocations.as_ref()?.allocatable.as_ref()?;
    Some(ids.iter().filter_map(|id| DeviceId::parse(id)).any(|id| id.is(device)))
}

/// An allocation, between two samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AllocationState {
    /// UID of the pod, where it was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<Arc<str>>,
    /// Since when what the container does with the device is known without a gap, Unix microseconds: since it was
    /// given the device, where that was seen.
    pub since_us: i64,
    /// When the device last worked for the container, of that time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_active_us: Option<i64>,
    /// When the allocation was last read.
    pub seen_us: i64,
    /// What the clock said when it was first seen, Unix microseconds: never changed, see [`Session::opened_us`].
    #[serde(default)]
    pub opened_us: i64,
    /// Label of the device.
    #[serde(default)]
    pub gpu: GpuLabel,
    /// The device's share of a GPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute_fraction: Option<f64>,
    /// Whose the pod is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Arc<str>>,
    /// Seconds that it lasted, as far as they are counted.
    #[serde(default)]
    pub allocated_seconds: f64,
    /// That part of them in which the device is known not to have worked for the container.
    #[serde(default)]
    pub idle_seconds: f64,
    /// Seconds of both that are not counted yet.
    #[serde(default)]
    pub(crate) pending: (f64, f64),
    /// When it was found to be over; `None` while it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_us: Option<i64>,
}

impl AllocationState {
    fn new(held: &Held<'_>, since_us: i64, now_us: i64) -> Self {
        Self {
            pod_uid: held.uid.cloned(),
            since_us,
            last_active_us: None,
            // Counted from its first moment on, where that is known.
            seen_us: since_us,
            opened_us: now_us,
            gpu: held.device.label,
            compute_fraction: held.device.compute_fraction,
            user: None,
            allocated_seconds: 0.0,
            idle_seconds: 0.0,
            pending: (0.0, 0.0),
            ended_us: None,
        }
    }

    /// Whether a user may still be found.
    pub(crate) fn waits(&self, hold_us: i64) -> bool {
        let begun = self.allocated_seconds > 0.0 || self.pending.0 >= hold_us as f64 / 1e6;
        self.user.is_none() && self.ended_us.is_none() && !begun
    }
}

/// Device UUID, namespace, pod and container of an allocation.
pub type AllocationKey = (Arc<str>, Arc<str>, Arc<str>, Arc<str>);

/// What the sessions of a device say of one of its allocations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occupied {
    /// Sessions of the container; `None` where some session may or may not be one of them.
    pub sessions: Option<u64>,
    /// Whether it is known of each of them when it last worked.
    pub measured: bool,
    /// When one of them last worked, those that ended a short while ago included.
    pub last_active_us: Option<i64>,
}

/// Looks at the sessions of the device.
pub fn occupied(held: &Held<'_>, device: &DeviceState) -> Occupied {
    let mut found = Occupied { sessions: Some(0), measured: true, last_active_us: None };
    // Clients that are not listed work through the server: nobody can say for whom.
    let mut unsure = device.hidden_clients;
    for session in device.sessions.values() {
        if session.attribution.is_in(held.container) {
            if held.is_namesakes(session) {
                continue;
            }
            found.last_active_us = found.last_active_us.max(session.last_active_us);
            if session.is_live() {
                found.sessions = found.sessions.map(|count| count + 1);
                found.measured &= session.sm_share().is_some();
            }
        } else if session.is_live() && !held.is_namesakes(session) && may_be_of(session, held) {
            unsure = true;
        }
    }
    if unsure {
        found.sessions = None;
    }
    found
}

/// Whether a session of which not all is known may be of the allocation's container.
fn may_be_of(session: &Session, held: &Held<'_>) -> bool {
    let in_pod = session.place.as_ref().is_none_or(|place| place.kind == Kind::Pod);
    in_pod && !session.is_mps() && session.attribution.may_be_in(held.container)
}

/// Brings the allocations up to the sample, after its sessions are; `before_us` is when the last one was taken. Returns
/// whether one ended.
pub fn step(
    state: &mut State,
    sample: &Sample,
    held: &[Held<'_>],
    who: Attributor<'_>,
    before_us: i64,
) -> bool {
    let now = sample.time_us;
    for held in held {
        let key = key(held);
        let device = state.devices.get(&key.0).filter(|d| d.listed_us == Some(sample.monotonic_us));
        let Some(device) = device.filter(|_| held.counts(state)) else { continue };
        let start = held.pod.and_then(|pod| pod.start_us).filter(|start| *start <= now);
        // Given since the last sample: known from its first moment on.
        let since_us = start.filter(|start| before_us > 0 && *start > before_us).unwrap_or(now);
        let fresh = AllocationState::new(held, since_us, now);
        let same = |known: &AllocationState| {
            let another = known.pod_uid.as_ref().zip(held.uid).is_some_and(|(known, uid)| known != uid);
            now - known.seen_us <= MAX_GAP_US && !another
        };
        let mut known = match state.allocations.remove(&key) {
            Some(known) if same(&known) => known,
            Some(other) => {
                end(&mut state.past_allocations, key.clone(), other);
                fresh
            }
            None => fresh,
        };
        known.pod_uid = held.uid.cloned().or(known.pod_uid);
        // A pod of the same name may have held it before; and work that nobody can be named for may be this
        // container's.
        known.since_us =
            known.since_us.max(start.unwrap_or(i64::MIN)).max(device.stray_us.unwrap_or(i64::MIN));
        let occupied = occupied(held, device);
        known.last_active_us = known.last_active_us.max(occupied.last_active_us);
        // Work that nobody could measure, or tell whose it was, may have gone on until now.
        if occupied.sessions.is_none() || !occupied.measured || ended_unmeasured(held, device, sample) {
            known.since_us = now;
        }
        let worked = known.last_active_us.unwrap_or(i64::MIN).max(known.since_us);
        let idle = if held.runs == Some(true) { now - worked.max(known.seen_us) } else { 0 };
        known.pending.0 += (now - known.seen_us) as f64 / 1e6;
        known.pending.1 += idle.max(0) as f64 / 1e6;
        known.seen_us = now;
        known.gpu = held.device.label;
        known.compute_fraction = held.device.compute_fraction;
        known.user = who.user_of(held.container, held.pod).or(known.user);
        state.allocations.insert(key, known);
    }
    end_gone(state, sample)
}

/// Ends what the kubelet no longer lists, and what nobody has seen for long.
fn end_gone(state: &mut State, sample: &Sample) -> bool {
    let now = sample.time_us;
    let devices = sample.driver.iter().flat_map(|driver| &driver.devices);
    let told = |uuid: &Arc<str>| {
        sample.allocations.is_some()
            && devices.clone().any(|device| device.facts.uuid == *uuid && readable(sample, device).is_some())
    };
    let over = |(uuid, ..): &AllocationKey, known: &AllocationState| {
        now - known.seen_us > MAX_GAP_US || (known.seen_us != now && told(uuid))
    };
    let gone: Vec<_> = state
        .allocations
        .iter()
        .filter(|(key, known)| over(key, known))
        .map(|(key, _)| key.clone())
        .collect();
    let any = !gone.is_empty();
    for key in gone {
        if let Some(known) = state.allocations.remove(&key) {
            end(&mut state.past_allocations, key, known);
        }
    }
    any
}

fn end(past: &mut Vec<(AllocationKey, AllocationState)>, key: AllocationKey, known: AllocationState) {
    past.push((key, AllocationState { ended_us: Some(known.seen_us), ..known }));
}

/// Whether a session that may be the container's ended since the last sample, and nobody measured its last moments.
fn ended_unmeasured(held: &Held<'_>, device: &DeviceState, sample: &Sample) -> bool {
    let told = |device: &Device| matches!(device.activity, Activity::Entries { .. });
    let devices = sample.driver.iter().flat_map(|driver| &driver.devices);
    let own = devices.filter(|device| device.facts.uuid == held.device.uuid).any(told);
    let mut ended = device.sessions.values().filter(|session| session.ended_us == Some(sample.time_us));
    !own && ended.any(|session| may_be_of(session, held))
}

/// The key of an allocation in the state.
pub fn key(held: &Held<'_>) -> AllocationKey {
    let ContainerDevices { namespace, pod, container, .. } = held.container;
    (Arc::clone(&held.device.uuid), Arc::clone(namespace), Arc::clone(pod), Arc::clone(container))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(uuid: &str, parent: Option<&str>, instance: Option<(u32, u32)>) -> DeviceFacts {
        DeviceFacts {
            label: GpuLabel { gpu: 3, instance },
            uuid: uuid.into(),
            parent_uuid: parent.map(Into::into),
            model: None,
            mig_profile: None,
            pci_bus_id: None,
            minor_number: Some(7),
            memory_total_bytes: None,
            compute_fraction: None,
        }
    }

    #[test]
    fn ids_of_every_plugin_name_their_device() {
        let gpu = facts("GPU-0a1b", None, None);
        let mig = facts("MIG-77ee", Some("GPU-0a1b"), Some((1, 0)));
        for id in ["GPU-0a1b", "GPU-0A1B", "GPU-0a1b::0", "GPU-0a1b::12", "nvidia7", "nvidia7/vgpu3", "gpu-7"]
        {
            let parsed = DeviceId::parse(id).unwrap_or_else(|| panic!("{id}"));
            assert_eq!((parsed.is(&gpu), parsed.is(&mig)), (true, false), "{id}");
        }
        for id in ["MIG-77ee", "MIG-77ee::1", "MIG-GPU-0a1b/1/0", "nvidia7/gi1", "nvidia7/gi1/vgpu0"] {
            let parsed = DeviceId::parse(id).unwrap_or_else(|| panic!("{id}"));
            assert_eq!((parsed.is(&gpu), parsed.is(&mig)), (false, true), "{id}");
        }
        let others =
            ["", "0", "nvidia", "nvidiactl", "nvidia7/x", "nvidia7/gi", "mlx5_0", "gpu-x-mig-9", "GPU-a/b"];
        let some = DeviceId::parse("gpu-7-mig-1g5gb-19-0");
        assert_eq!(some, Some(DeviceId::SomeInstance(7)));
        assert!(some.is_some_and(|id| !id.is(&mig) && !id.is(&gpu)));
        for id in others {
            assert_eq!(DeviceId::parse(id), None, "{id}");
        }
    }
}
