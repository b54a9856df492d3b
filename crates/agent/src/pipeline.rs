//! The one path that every sample takes, live or from a capture.

use crate::settings::{KubernetesApi, Settings};
use gpu_session_core::monitor::Monitor;
use gpu_session_core::rules::{Origin, Rules};
use gpu_session_core::sample::{Request, Sample};
use gpu_session_core::snapshot::Snapshot;
use gpu_session_core::state::State;
use gpu_session_sources::clock::Clock;
use gpu_session_sources::cri::Cri;
use gpu_session_sources::dcgm::{Dcgm, ExporterUrl};
use gpu_session_sources::kubelet::Kubelet;
use gpu_session_sources::kubernetes::{Kubernetes, Mode, Options as KubernetesOptions};
use gpu_session_sources::nvml::{GuardedNvml, Nvml, Options};
use gpu_session_sources::pods::Wanted;
use gpu_session_sources::proc::{Proc, Recent};
use gpu_session_sources::process_events::ProcessEvents;
use gpu_session_sources::users::Users;
use gpu_session_sources::{Progress, Source, read_all};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The sources, in the order in which they are read.
pub struct Sources {
    all: Vec<Box<dyn Source + Send>>,
    clock: Clock,
    progress: Progress,
}

impl Sources {
    /// The live sources; `pods` is how the Kubernetes API is asked.
    pub fn live(settings: &Settings, pods: Mode) -> std::io::Result<Self> {
        let (clock, progress) = (settings.clock.clone(), Progress::default());
        Ok(Self { all: sources(settings, pods)?, clock, progress })
    }

    /// Shows in `progress` which source is being read.
    #[must_use]
    pub fn showing(self, progress: Progress) -> Self {
        Self { progress, ..self }
    }

    /// Reads all of them once.
    pub fn read(&mut self, request: &Request) -> Sample {
        read_all(&mut self.all, &self.clock, request, &self.progress)
    }

    /// Lets every source take its first reading, whatever the others say.
    pub fn prime(&mut self) -> bool {
        self.all.iter_mut().map(|source| source.prime()).filter(|primed| *primed).count() > 0
    }
}

/// Sources, tracker and state, for a command that takes a few samples and counts at each.
pub struct Pipeline {
    sources: Sources,
    clock: Clock,
    monitor: Monitor,
    /// Sessions and counters.
    pub state: State,
}

/// The part of the settings that the core needs. Nothing is held back, and no ledger is kept.
pub fn monitor(settings: &Settings) -> Monitor {
    Monitor {
        selection: settings.selection.clone(),
        session_limit: settings.sessions_limit,
        user_limit: settings.users_limit,
        rules: settings.rules.clone(),
        hold_us: 0,
        ledger: false,
    }
}

/// Labels and annotations that the rules read; no others are kept.
fn wanted(rules: &Rules) -> Wanted {
    let mut wanted = Wanted::default();
    for origin in rules.origins() {
        let (keys, key) = match origin {
            Origin::Annotation(key) => (&mut wanted.pod_annotations, key),
            Origin::Label(key) => (&mut wanted.pod_labels, key),
            Origin::NamespaceAnnotation(key) => (&mut wanted.namespace_annotations, key),
            Origin::NamespaceLabel(key) => (&mut wanted.namespace_labels, key),
            Origin::Namespace | Origin::UnixUser | Origin::SlurmJobOwner => continue,
        };
        keys.insert(key.clone());
    }
    wanted
}

/// All sources, in the order in which they need each other. A new source is one line here.
fn sources(settings: &Settings, pods: Mode) -> std::io::Result<Vec<Box<dyn Source + Send>>> {
    let clock = || settings.clock.clone();
    let wanted = wanted(&settings.rules);
    let kubernetes = |api: &KubernetesApi| {
        let (kubeconfig, node, wanted) = (api.kubeconfig.clone(), api.node.clone(), wanted.clone());
        Kubernetes::new(KubernetesOptions { kubeconfig, node, mode: pods, wanted, clock: clock() })
    };
    let cri = |socket: &PathBuf| Cri::new(socket.clone(), wanted.clone(), clock());
    let dcgm = |url: &ExporterUrl| Dcgm::new(url.clone(), settings.selection.clone());
    let recent = Recent::default();
    let proc = Proc::new(&settings.proc_root, recent.clone(), clock());
    let all: [Option<Box<dyn Source + Send>>; 8] = [
        boxed(Some(nvml(settings)?)),
        // Between the driver and /proc: a process that both have was there when the kubelet named the holder.
        boxed(settings.kubelet_socket.clone().map(Kubelet::new)),
        boxed(
            settings.process_events.then(|| ProcessEvents::new(&settings.proc_root, recent.clone(), clock())),
        ),
        boxed(Some(match pods {
            Mode::Once => proc,
            Mode::Watch => proc.holding(),
        })),
        boxed(Some(Users::new(settings.users.clone()))),
        // After /proc: what is slow must not come between the driver's lists and /proc.
        boxed(settings.kubernetes.as_ref().map(kubernetes)),
        boxed(settings.cri_socket.as_ref().map(cri)),
        boxed(settings.dcgm_url.as_ref().map(dcgm)),
    ];
    Ok(all.into_iter().flatten().collect())
}

fn boxed(source: Option<impl Source + Send + 'static>) -> Option<Box<dyn Source + Send>> {
    source.map(|source| Box::new(source) as Box<dyn Source + Send>)
}

fn nvml(settings: &Settings) -> std::io::Result<GuardedNvml> {
    let options = Options {
        library: settings.nvml_library.clone(),
        selection: settings.selection.clone(),
        enable_accounting: settings.enable_accounting,
        minor_numbers: settings.kubelet_socket.is_some(),
    };
    let clock = settings.clock.clone();
    let make = move || Nvml::new(options.clone(), clock.clone());
    GuardedNvml::start(make, settings.timeout, settings.clock.clone())
}

impl Pipeline {
    /// A pipeline over the live sources; `pods` is how the Kubernetes API is asked.
    pub fn live(settings: &Settings, state: State, pods: Mode) -> std::io::Result<Self> {
        let clock = settings.clock.clone();
        Ok(Self { sources: Sources::live(settings, pods)?, clock, monitor: monitor(settings), state })
    }

    /// Reads all sources once and brings the state up to it.
    pub fn sample(&mut self) -> Sample {
        let sample = self.sources.read(&Monitor::request(&self.state));
        self.monitor.step(&mut self.state, &sample);
        self.monitor.settle(&mut self.state);
        sample
    }

    /// As [`Self::sample`], with a first reading `window` before where one reading cannot tell: when there is
    /// none of before, when the operator asks for it, or when a source needs two.
    pub fn sample_over(&mut self, window: Duration, always: bool) -> Sample {
        if always || !Monitor::has_baseline(&self.state) {
            let first = self.sample();
            if first.driver.is_none() {
                return first;
            }
            self.clock.sleep(window);
        } else if self.sources.prime() {
            self.clock.sleep(window);
        }
        self.sample()
    }

    /// The snapshot of the sample just taken.
    pub fn snapshot(&self, sample: &Sample, hold_since_us: i64) -> Snapshot {
        self.monitor.snapshot(&self.state, sample, hold_since_us, &Arc::new(self.state.counters()))
    }
}
