//! The container runtime (CRI): names of pods where the Kubernetes API is not asked or does not answer.

mod proto;

use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::pods::{MAX_CONTAINERS, MAX_PODS, Wanted, bare_id, uids};
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
const READY: i32 = 0;

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
        let answers = block_on(async {
            let mut calls = Calls::connect(&self.socket, RUNTIME.limit).await?;
            let sandboxes: proto::SandboxList = calls.call(SANDBOXES, proto::Empty {}).await?;
            let containers: proto::ContainerList = calls.call(CONTAINERS, proto::Empty {}).await?;
            Ok((sandboxes, containers))
        });
        let (sandboxes, containers) = answers.map_err(|failure| RUNTIME.error(&self.socket, &failure))?;
        Ok(Pods::from_answers(sandboxes, &containers, &self.wanted))
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

/// Pods out of an answer, by UID.
#[derive(Default)]
struct Pods {
    pods: BTreeMap<Arc<str>, Pod>,
    /// Something was more than is kept.
    cut: bool,
}

impl Pods {
    fn from_answers(
        mut sandboxes: proto::SandboxList,
        containers: &proto::ContainerList,
        wanted: &Wanted,
    ) -> Self {
        let mut out = Self::default();
        // A pod whose sandbox was renewed has several: the newest speaks, one that is ready before all.
        sandboxes
            .items
            .sort_by_key(|sandbox| (sandbox.state != READY, std::cmp::Reverse(sandbox.created_at)));
        let mut uids: BTreeMap<&str, Arc<str>> = BTreeMap::new();
        for sandbox in &sandboxes.items {
            if let Some(uid) = out.add(sandbox, wanted) {
                uids.insert(&sandbox.id, uid);
            }
        }
        for container in &containers.containers {
            let uid = uids.get(container.pod_sandbox_id.as_str());
            let name = container.labels.get(CONTAINER_NAME);
            let (Some(uid), Some(name), Some(id)) = (uid, name, bare_id(&container.id)) else { continue };
            let Some(pod) = out.pods.get_mut(uid) else { continue };
            if pod.containers.len() >= MAX_CONTAINERS {
                out.cut = true;
                continue;
            }
            pod.containers.insert(id, text::clean(name).into());
        }
        out
    }

    /// Takes a sandbox and returns its pod's UID; one that is not the kubelet's is left out.
    fn add(&mut self, sandbox: &proto::Sandbox, wanted: &Wanted) -> Option<Arc<str>> {
        let label = |key: &str| sandbox.labels.get(key).filter(|value| !value.is_empty());
        let uid: Arc<str> = text::clean(label(POD_UID)?).into();
        let (namespace, name) = (label(POD_NAMESPACE)?, label(POD_NAME)?);
        if self.pods.contains_key(&uid) {
            return Some(uid);
        }
        if self.pods.len() >= MAX_PODS {
            self.cut = true;
            return None;
        }
        let pods_own = |key: &str| !key.starts_with(KUBELETS);
        let metadata = wanted.of_pod(
            |key| sandbox.labels.get(key).filter(|_| pods_own(key)).map(String::as_str),
            |key| sandbox.annotations.get(key).map(String::as_str),
        );
        let pod = Pod {
            namespace: text::clean(namespace).into(),
            name: text::clean(name).into(),
            phase: (sandbox.state == READY).then_some(Phase::Running),
            metadata,
            ..Pod::default()
        };
        self.pods.insert(uid.clone(), pod);
        Some(uid)
    }

    fn into_answer(self, as_of_us: i64, monotonic_us: i64) -> Answer {
        let names = self.pods.values().map(|pod| (pod.namespace.clone(), pod.name.clone())).collect();
        let pods = self.pods.into_iter().map(|(uid, pod)| (uid, Arc::new(pod))).collect();
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
