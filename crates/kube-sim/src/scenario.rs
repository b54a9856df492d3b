//! The pods of a scenario, played in a cluster.

use crate::{Cluster, Container, Holdings, Phase, Pod};
use nvml_sim::scenario::{Pod as Written, Scenario};
use nvml_sim::units::Micros;
use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

/// Brings a cluster to what a scenario says of each moment.
#[derive(Debug)]
pub struct Playback {
    cluster: Cluster,
    scenario: Scenario,
    epoch_us: i64,
    node: String,
    /// Pods in the cluster by their place in the scenario, with their phase.
    shown: BTreeMap<usize, Phase>,
}

impl Playback {
    /// Plays on `node`; `epoch_us` is the scenario's anchor in unix microseconds. Nothing is there before the first
    /// [`sync`](Self::sync).
    pub fn new(cluster: &Cluster, scenario: &Scenario, epoch_us: i64, node: &str) -> Self {
        for namespace in &scenario.namespaces {
            cluster.put_namespace(
                &namespace.name,
                namespace.labels.iter().map(|(key, value)| (&**key, &**value)),
                namespace.annotations.iter().map(|(key, value)| (&**key, &**value)),
            );
        }
        cluster.set_allocatable(node, Holdings::of("nvidia.com/gpu", scenario.allocatable.iter().cloned()));
        let (cluster, scenario, node) = (cluster.clone(), scenario.clone(), node.to_owned());
        Self { cluster, scenario, epoch_us, node, shown: BTreeMap::new() }
    }

    /// Makes the cluster hold just the pods of a moment (unix microseconds).
    pub fn sync(&mut self, now_us: i64) {
        let at = Micros(now_us - self.epoch_us);
        // What goes makes room for one of the same name.
        for (index, pod) in self.scenario.pods.iter().enumerate() {
            if !pod.exists_at(at) && self.shown.remove(&index).is_some() {
                self.cluster.delete_pod(&pod.namespace, &pod.name);
            }
        }
        for (index, pod) in self.scenario.pods.iter().enumerate().filter(|(_, pod)| pod.exists_at(at)) {
            let phase = if pod.is_over_at(at) { Phase::Succeeded } else { Phase::Running };
            match self.shown.insert(index, phase) {
                Some(shown) if shown == phase => {}
                Some(_) => drop(self.cluster.set_phase(&pod.namespace, &pod.name, phase)),
                None => self.cluster.put_pod(&self.pod(pod, phase)),
            }
        }
    }

    fn pod(&self, written: &Written, phase: Phase) -> Pod {
        let start = u64::try_from(self.epoch_us + written.start.0).unwrap_or(0);
        let mut pod = Pod::new(&written.namespace, &written.name)
            .uid(&written.uid)
            .on(&self.node)
            .phase(phase)
            .started(UNIX_EPOCH + Duration::from_micros(start));
        pod.labels.clone_from(&written.labels);
        pod.annotations.clone_from(&written.annotations);
        pod.containers = written.containers.iter().map(container).collect();
        pod
    }
}

fn container(written: &nvml_sim::scenario::Container) -> Container {
    let made = Container::new(&written.name).id(&written.id);
    if written.devices.is_empty() {
        made
    } else {
        made.devices(&written.resource, written.devices.iter().cloned())
    }
}
