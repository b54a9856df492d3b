//! The container runtime (CRI): names of pods where the Kubernetes API is not asked or does not answer.

#[cfg(test)]
mod proto;

use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::pods::{MAX_CONTAINERS, MAX_PODS, Wanted, bare_id, uids};
use crate::socket::wire::{self, Malformed};
use crate::socket::{Calls, Service, block_on};
use crate::{Source, source_error};
use gpu_session_core::sample::{Phase, Pod, PodList, Request, Sample, SourceError};
use gpu_session_core::text;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const SANDBOXES: &str = "/runtime.v1.RuntimeService/ListPodSandbox";
const CONTAINERS: &str = "/runtime.v1.RuntimeService/ListContainers";

const RUNTIME: Service = Service {
    who: "the container runtime",
    missing: "mount its socket into this container and name it with cri.socket (containerd: \
              /run/containerd/containerd.sock, CRI-O: /run/crio/crio.sock)",
    denied: "run as root, and on SELinux nodes in a container that may use the node's sockets",
    unknown: "it must serve CRI v1: containerd 1.6 or newer with its plugin cri enabled, CRI-O 1.23 or newer",
    limit: Duration::from_secs(2),
};

/// Shortest time between two questions for the same pods: microseconds.
const AGAIN_US: i64 = 10 * 1_000_000;
/// Age from which an answer is renewed where no other source names pods: microseconds.
const OLD_US: i64 = 60 * 1_000_000;
/// Longest pause after failures.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Prefix of the kubelet's own labels, which are none of the pod.
const KUBELETS: &str = "io.kubernetes.";
const POD_UID: &str = "io.kubernetes.pod.uid";
const POD_NAME: &str = "io.kubernetes.pod.name";
const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
const CONTAINER_NAME: &str = "io.kubernetes.container.name";
/// `PodSandboxState::SANDBOX_READY`.
const READY: i64 = 0;

// Numbers of the fields that are used of `runtime.v1.RuntimeService`'s messages
// (`k8s.io/cri-api/pkg/apis/runtime/v1/api.proto`); the answers' lists are the first of theirs.
const LIST: u32 = 1;
const SANDBOX_ID: u32 = 1;
const SANDBOX_STATE: u32 = 3;
const SANDBOX_CREATED_AT: u32 = 4;
const SANDBOX_LABELS: u32 = 5;
const SANDBOX_ANNOTATIONS: u32 = 6;
const CONTAINER_ID: u32 = 1;
const CONTAINER_SANDBOX: u32 = 2;
const CONTAINER_LABELS: u32 = 8;

/// The container runtime. It is asked only for what the earlier sources of a sample do not know.
pub struct Cri {
    socket: PathBuf,
    wanted: Wanted,
    clock: Clock,
    backoff: Backoff,
    /// What failed last, for the reads within the pause.
    trouble: Option<SourceError>,
    /// When it was asked last, `CLOCK_BOOTTIME` in microseconds, and for which pods.
    asked: Option<(i64, BTreeSet<Arc<str>>)>,
    last: Option<Answer>,
}

/// What it said last.
struct Answer {
    list: PodList,
    monotonic_us: i64,
    names: BTreeSet<(Arc<str>, Arc<str>)>,
    cut: bool,
}

impl Cri {
    /// Asks at this socket and keeps of the pods what is wanted.
    pub fn new(socket: PathBuf, wanted: Wanted, clock: Clock) -> Self {
        let backoff = Backoff::up_to(LONGEST_WAIT);
        Self { socket, wanted, clock, backoff, trouble: None, asked: None, last: None }
    }

    /// The pods to ask for; `None` where there is no need.
    fn need(&self, request: &Request, sample: &Sample, now_us: i64) -> Option<BTreeSet<Arc<str>>> {
        let known = |uid: &Arc<str>| {
            let last = self.last.iter().map(|answer| &answer.list);
            sample.pods.iter().chain(last).any(|list| list.pods.contains_key(uid))
        };
        let mut unknown = uids(sample);
        unknown.extend(request.unplaced.iter().cloned());
        unknown.retain(|uid| !known(uid));
        (!unknown.is_empty() || self.is_only_source(sample, now_us)).then_some(unknown)
    }

    /// Whether containers hold devices, no other source names their pods, and the last answer does not do.
    fn is_only_source(&self, sample: &Sample, now_us: i64) -> bool {
        let Some(allocations) = sample.allocations.as_ref().filter(|_| sample.pods.is_empty()) else {
            return false;
        };
        let Some(last) = &self.last else { return !allocations.containers.is_empty() };
        let named = |(namespace, pod)| last.names.contains(&(namespace, pod));
        let mut pods = allocations.containers.iter().map(|c| (c.namespace.clone(), c.pod.clone()));
        let old = now_us - last.monotonic_us >= OLD_US && !allocations.containers.is_empty();
        old || pods.any(|pod| !named(pod))
    }

    fn ask(&self) -> Result<Pods, SourceError> {
        let pods = block_on(async {
            let mut calls = Calls::connect(&self.socket, RUNTIME.limit).await?;
            let mut pods = Pods::default();
            // Of each answer only what is kept is left when the next one comes.
            pods.take_sandboxes(&calls.call(SANDBOXES).await?, &self.wanted)?;
            pods.take_containers(&calls.call(CONTAINERS).await?)?;
            Ok(pods)
        });
        pods.map_err(|failure| RUNTIME.error(&self.socket, &failure))
    }

    fn update(&mut self, unknown: BTreeSet<Arc<str>>, as_of_us: i64, now_us: i64) -> Result<(), SourceError> {
        if !self.backoff.is_over(now_us) {
            return self.trouble.clone().map_or(Ok(()), Err);
        }
        let asked = self.asked.as_ref();
        if asked.is_some_and(|(when, pods)| now_us - when < AGAIN_US && unknown.is_subset(pods)) {
            return self.trouble.clone().map_or(Ok(()), Err);
        }
        self.asked = Some((now_us, unknown));
        match self.ask() {
            Ok(pods) => {
                self.backoff.succeeded();
                self.trouble = None;
                self.last = Some(pods.into_answer(as_of_us, now_us));
                Ok(())
            }
            Err(error) => {
                self.backoff.failed(self.clock.monotonic_us());
                self.trouble = Some(error.clone());
                Err(error)
            }
        }
    }
}

/// Pods out of answers.
#[derive(Default)]
struct Pods {
    /// By UID.
    by_uid: BTreeMap<Arc<str>, Found>,
    /// UIDs by the ids of the pods' sandboxes.
    sandboxes: BTreeMap<String, Arc<str>>,
    /// Something was more than is kept.
    cut: bool,
}

/// A pod, and which of its sandboxes speaks for it.
struct Found {
    pod: Pod,
    spoke: (bool, i64),
}

/// A `PodSandbox`, as it lies in the answer.
struct Sandbox<'a> {
    message: &'a [u8],
    is_ready: bool,
    /// Nanoseconds since 1970.
    created_at: i64,
}

impl<'a> Sandbox<'a> {
    fn of(message: &'a [u8]) -> Result<Self, Malformed> {
        let (mut state, mut created_at) = (READY, 0);
        for field in wire::fields(message) {
            match field? {
                (SANDBOX_STATE, value) => state = value.int()?,
                (SANDBOX_CREATED_AT, value) => created_at = value.int()?,
                _ => {}
            }
        }
        Ok(Self { message, is_ready: state == READY, created_at })
    }

    /// When it was made, Unix microseconds.
    fn created_us(&self) -> Option<i64> {
        (self.created_at > 0).then_some(self.created_at / 1000)
    }
}

impl Pods {
    /// Takes a `ListPodSandboxResponse`.
    fn take_sandboxes(&mut self, answer: &[u8], wanted: &Wanted) -> Result<(), Malformed> {
        // What has ended may be more than is kept: it comes after all that runs.
        for ready in [true, false] {
            for message in wire::messages(answer, LIST) {
                let sandbox = Sandbox::of(message?)?;
                if sandbox.is_ready == ready {
                    self.add(&sandbox, wanted)?;
                }
            }
        }
        Ok(())
    }

    /// Takes a sandbox; one that is not the kubelet's is left out.
    fn add(&mut self, sandbox: &Sandbox<'_>, wanted: &Wanted) -> Result<(), Malformed> {
        let names = [POD_UID, POD_NAMESPACE, POD_NAME];
        let labels = wire::entries(sandbox.message, SANDBOX_LABELS, |key| {
            names.contains(&key) || wanted.pod_labels.contains(key)
        })?;
        let [Some(uid), Some(namespace), Some(name)] = names
            .map(|key| labels.get(key).filter(|value| !value.is_empty()).map(|value| text::clean(value)))
        else {
            return Ok(());
        };
        let uid: Arc<str> = uid.into();
        if self.by_uid.len() >= MAX_PODS && !self.by_uid.contains_key(&uid) {
            self.cut = true;
            return Ok(());
        }
        let id = text::clean(wire::text(sandbox.message, SANDBOX_ID)?);
        self.sandboxes.insert(id, uid.clone());
        let annotations =
            wire::entries(sandbox.message, SANDBOX_ANNOTATIONS, |key| wanted.pod_annotations.contains(key))?;
        let pods_own = |key: &str| !key.starts_with(KUBELETS);
        let metadata = wanted.of_pod(
            |key| labels.get(key).filter(|_| pods_own(key)).copied(),
            |key| annotations.get(key).copied(),
        );
        let pod = Pod {
            namespace: namespace.into(),
            name: name.into(),
            phase: sandbox.is_ready.then_some(Phase::Running),
            start_us: sandbox.created_us(),
            metadata,
            ..Pod::default()
        };
        self.put(uid, Found { pod, spoke: (sandbox.is_ready, sandbox.created_at) });
        Ok(())
    }

    /// A pod whose sandbox was renewed has several: the newest speaks, one that is ready before all, and the oldest
    /// says since when the pod is there.
    fn put(&mut self, uid: Arc<str>, mut found: Found) {
        let Some(known) = self.by_uid.get_mut(&uid) else {
            self.by_uid.insert(uid, found);
            return;
        };
        let starts = [known.pod.start_us, found.pod.start_us];
        let start_us = starts.into_iter().flatten().min();
        if found.spoke > known.spoke {
            std::mem::swap(known, &mut found);
        }
        known.pod.start_us = start_us;
    }

    /// Takes a `ListContainersResponse`, after the sandboxes.
    fn take_containers(&mut self, answer: &[u8]) -> Result<(), Malformed> {
        for container in wire::messages(answer, LIST) {
            let container = container?;
            let sandbox = text::clean(wire::text(container, CONTAINER_SANDBOX)?);
            let id = bare_id(wire::text(container, CONTAINER_ID)?);
            let labels = wire::entries(container, CONTAINER_LABELS, |key| key == CONTAINER_NAME)?;
            let pod = self.sandboxes.get(&sandbox).and_then(|uid| self.by_uid.get_mut(uid));
            let (Some(id), Some(name), Some(found)) = (id, labels.get(CONTAINER_NAME), pod) else { continue };
            if found.pod.containers.len() >= MAX_CONTAINERS {
                self.cut = true;
                continue;
            }
            found.pod.containers.insert(id, text::clean(name).into());
        }
        Ok(())
    }

    fn into_answer(self, as_of_us: i64, monotonic_us: i64) -> Answer {
        let pods: BTreeMap<_, _> =
            self.by_uid.into_iter().map(|(uid, found)| (uid, Arc::new(found.pod))).collect();
        let names = pods.values().map(|pod| (pod.namespace.clone(), pod.name.clone())).collect();
        let list = PodList { source: "cri".into(), as_of_us, pods: Arc::new(pods) };
        Answer { list, monotonic_us, names, cut: self.cut }
    }
}

impl Source for Cri {
    fn name(&self) -> &'static str {
        "cri"
    }

    fn read(&mut self, request: &Request, sample: &mut Sample) -> Vec<SourceError> {
        let now_us = self.clock.monotonic_us();
        let as_of_us = if sample.time_us == 0 { self.clock.now_us() } else { sample.time_us };
        let result = match self.need(request, sample, now_us) {
            Some(unknown) => self.update(unknown, as_of_us, now_us),
            None => Ok(()),
        };
        let cut = self.last.as_ref().is_some_and(|answer| answer.cut).then(|| {
            source_error(
                "too_large",
                format!(
                    "{}: more than {MAX_PODS} pods, or {MAX_CONTAINERS} containers of one; the rest is left out; \
                     remove what has ended (crictl rmp)",
                    self.socket.display()
                ),
            )
        });
        sample.pods.extend(self.last.as_ref().map(|answer| answer.list.clone()));
        result.err().into_iter().chain(cut).collect()
    }
}

#[cfg(test)]
mod tests;
