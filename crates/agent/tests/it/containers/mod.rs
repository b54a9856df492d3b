//! Real pods: containerd and runc, driven through the CRI as a kubelet drives them, with a kubelet's cgroups.

mod client;
pub(crate) mod cri;
pub(crate) mod image;
mod tests;

pub(crate) use client::Client;
use cri::{Id, Labels, Nothing};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// All that containerd writes; `/run` would forbid to execute what lies there.
pub(crate) const FOLDER: &str = "/var/lib/gpu-session-monitor-tests";
/// Held by the run of the tests that the folder belongs to.
const LOCK: &str = "/run/gpu-session-monitor-tests.lock";
/// UIDs of the pods begin so, which is how what a killed run has left is found.
const PREFIX: &str = "6e5e5510-";
/// The cgroup that pods lie in whose UIDs are not ours to choose.
pub(crate) const ROOT: &str = "/gpu-session-monitor-tests";

/// A containerd of the tests' own. It ends, and leaves nothing, with the last of those who hold it.
pub(crate) struct Containerd {
    supervisor: Child,
    client: Client,
}

static SHARED: Mutex<Weak<Containerd>> = Mutex::new(Weak::new());

/// A pod's class of service, which says where the kubelet puts its cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Qos {
    Guaranteed,
    Burstable,
    BestEffort,
}

/// What a kubelet knows of a pod before it runs.
#[derive(Clone, Debug)]
pub(crate) struct PodSpec {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// Another one for every pod.
    pub(crate) uid: String,
    pub(crate) qos: Qos,
    /// Whether its containers see and may change the host's devices and cgroups.
    pub(crate) privileged: bool,
    pub(crate) labels: Labels,
    pub(crate) annotations: Labels,
}

/// A pod that runs until it is removed or dropped.
pub(crate) struct Pod {
    runtime: Arc<Containerd>,
    pub(crate) spec: PodSpec,
    /// Id of its sandbox.
    pub(crate) id: String,
    config: cri::SandboxConfig,
}

/// A container of a pod, which goes with it.
pub(crate) struct Container {
    runtime: Arc<Containerd>,
    pub(crate) id: String,
    /// The host's pid of its first process.
    pub(crate) pid: u32,
}

impl Containerd {
    /// The one that runs, or one that is started.
    pub(crate) fn shared() -> Arc<Self> {
        // Whoever panicked while starting it has left nothing here.
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let runtime = Arc::new(Self::start());
            *shared = Arc::downgrade(&runtime);
            runtime
        })
    }

    fn start() -> Self {
        let owner = std::fs::metadata("/proc/self").unwrap().uid();
        assert_eq!(
            owner, 0,
            "these tests run containers, which only root may: run them as root (sudo make test)"
        );
        for program in ["containerd", "containerd-shim-runc-v2", "ctr", "runc", "flock", "setpriv"] {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let there = std::env::split_paths(&path).any(|folder| folder.join(program).exists());
            assert!(there, "{program} is not in PATH; `make test` fetches it (scripts/setup.sh)");
        }
        let script = ["-c", include_str!("supervisor.sh"), "supervisor", FOLDER, LOCK, PREFIX, ROOT];
        let mut command = Command::new("sh");
        // In a group of its own, so that what ends the tests from a terminal does not end it.
        command.args(script).stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut supervisor = command.spawn().unwrap();
        let mut said = String::new();
        BufReader::new(supervisor.stdout.take().unwrap()).read_line(&mut said).unwrap();
        // From here on dropping it cleans up.
        let runtime = Self { supervisor, client: Client::new(&Self::socket()) };
        assert_eq!(said, "started\n", "containerd's supervisor has ended; what it said is above");
        wait_for("containerd to answer", || runtime.is_ready());
        runtime.import();
        runtime
    }

    /// Where it listens.
    pub(crate) fn socket() -> PathBuf {
        Path::new(FOLDER).join("containerd.sock")
    }

    fn is_ready(&self) -> bool {
        let answer = self.client.call::<_, cri::StatusResponse>("RuntimeService/Status", Nothing {});
        let conditions = answer.ok().and_then(|answer| answer.status).unwrap_or_default().conditions;
        conditions.iter().any(|condition| condition.kind == "RuntimeReady" && condition.status)
    }

    fn import(&self) {
        let archive = Path::new(FOLDER).join("image.tar");
        image::write(&archive);
        self.import_archive(&archive, &[image::PAUSE, image::TOOLS]);
    }

    /// Imports the images of a docker archive, which have these tags.
    pub(crate) fn import_archive(&self, archive: &Path, tags: &[&str]) {
        // The CRI unpacks it for its own snapshotter when it is first run.
        let mut command = Command::new("ctr");
        command.arg("--address").arg(Self::socket()).args(["--namespace", "k8s.io", "images", "import"]);
        let run = command.arg("--no-unpack").arg(archive).output().unwrap();
        assert!(run.status.success(), "ctr images import: {}", String::from_utf8_lossy(&run.stderr));
        // The CRI hears of images by events.
        wait_for("the images to be known", || {
            let answer: cri::ListImagesResponse = self.call("ImageService/ListImages", Nothing {});
            let known: Vec<_> = answer.images.iter().flat_map(|image| &image.repo_tags).collect();
            tags.iter().all(|tag| known.iter().any(|known| *known == tag))
        });
    }

    fn call<Q, A>(&self, method: &str, request: Q) -> A
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        self.client.call(method, request).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Runs a pod, as yet without a container.
    pub(crate) fn run_pod(self: &Arc<Self>, spec: &PodSpec) -> Pod {
        let config = spec.config();
        let request = cri::RunSandboxRequest { config: Some(config.clone()), ..Default::default() };
        let Id { id } = self.call("RuntimeService/RunPodSandbox", request);
        Pod { runtime: self.clone(), spec: spec.clone(), id, config }
    }

    /// The host's pid of a container's first process, while it runs.
    pub(crate) fn pid(&self, id: &str) -> Option<u32> {
        let request = cri::ContainerStatusRequest { id: id.to_owned(), verbose: true };
        let status: cri::ContainerStatusResponse = self.call("RuntimeService/ContainerStatus", request);
        let info: serde_json::Value = serde_json::from_str(&status.info["info"]).unwrap();
        info["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0)
    }

    /// All containers that it knows, those that have ended too.
    pub(crate) fn containers(&self) -> Vec<cri::Container> {
        self.call::<_, cri::ListContainersResponse>("RuntimeService/ListContainers", Nothing {}).containers
    }

    /// All sandboxes that it knows.
    pub(crate) fn sandboxes(&self) -> Vec<cri::Sandbox> {
        self.call::<_, cri::ListSandboxesResponse>("RuntimeService/ListPodSandbox", Nothing {}).items
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        let _ = self.supervisor.wait();
    }
}

impl PodSpec {
    /// A pod of the namespace `team-a` with a new UID.
    pub(crate) fn new(name: &str, qos: Qos) -> Self {
        let random = std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap();
        let uid = format!("{PREFIX}{}", &random.trim()[PREFIX.len()..]);
        let (namespace, name) = ("team-a".to_owned(), name.to_owned());
        let (labels, annotations) = (Labels::new(), Labels::new());
        Self { namespace, name, uid, qos, privileged: false, labels, annotations }
    }

    pub(crate) fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn annotation(mut self, name: &str, value: &str) -> Self {
        self.annotations.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn privileged(self) -> Self {
        Self { privileged: true, ..self }
    }

    /// Path of its cgroup, below each hierarchy's root.
    pub(crate) fn cgroup(&self) -> String {
        let class = match self.qos {
            Qos::Guaranteed => "",
            Qos::Burstable => "/burstable",
            Qos::BestEffort => "/besteffort",
        };
        format!("/kubepods{class}/pod{}", self.uid)
    }

    /// The labels that a kubelet adds.
    fn names(&self) -> Labels {
        let names = [("name", &self.name), ("namespace", &self.namespace), ("uid", &self.uid)];
        names.map(|(key, value)| (format!("io.kubernetes.pod.{key}"), value.clone())).into()
    }

    /// Nothing sets up a network here, so it is the host's.
    fn namespaces() -> cri::NamespaceOption {
        cri::NamespaceOption { network: cri::NODE, pid: cri::OWN }
    }

    fn config(&self) -> cri::SandboxConfig {
        let (name, uid, namespace) = (self.name.clone(), self.uid.clone(), self.namespace.clone());
        let security = cri::SandboxSecurity {
            namespaces: Some(Self::namespaces()),
            privileged: self.privileged,
            ..Default::default()
        };
        cri::SandboxConfig {
            metadata: Some(cri::SandboxMetadata { name, uid, namespace }),
            labels: self.labels.clone().into_iter().chain(self.names()).collect(),
            annotations: self.annotations.clone(),
            linux: Some(cri::LinuxSandbox { cgroup_parent: self.cgroup(), security: Some(security) }),
            ..Default::default()
        }
    }

    fn container(&self, name: &str, command: &[&str]) -> cri::ContainerConfig {
        let security = cri::ContainerSecurity {
            namespaces: Some(Self::namespaces()),
            privileged: self.privileged,
            ..Default::default()
        };
        let mut labels = self.names();
        labels.insert("io.kubernetes.container.name".to_owned(), name.to_owned());
        let restarts = ("io.kubernetes.container.restartCount".to_owned(), "0".to_owned());
        cri::ContainerConfig {
            metadata: Some(cri::ContainerMetadata { name: name.to_owned(), attempt: 0 }),
            image: Some(cri::ImageSpec { image: image::TOOLS.to_owned() }),
            command: command.iter().map(|&word| word.to_owned()).collect(),
            labels,
            annotations: Labels::from([restarts]),
            linux: Some(cri::LinuxContainer { security: Some(security), ..Default::default() }),
            ..Default::default()
        }
    }
}

impl Pod {
    /// Runs a container of this name, by now in its own program.
    pub(crate) fn run(&self, name: &str, command: &[&str]) -> Container {
        let (runtime, config) = (self.runtime.clone(), self.spec.container(name, command));
        let request = cri::CreateContainerRequest {
            sandbox: self.id.clone(),
            config: Some(config),
            sandbox_config: Some(self.config.clone()),
        };
        let Id { id } = runtime.call("RuntimeService/CreateContainer", request);
        let Nothing {} = runtime.call("RuntimeService/StartContainer", Id { id: id.clone() });
        let pid = runtime.pid(&id).expect("containerd says the pid");
        let container = Container { runtime, id, pid };
        // Until it executes its program it is a copy of runc.
        wait_for("the container's program to run", || !container.comm().starts_with("runc"));
        container
    }

    /// Stops the pod with all its containers, and forgets them.
    pub(crate) fn remove(self) {
        self.end().unwrap_or_else(|error| panic!("{error}"));
        // What is left for `drop` does no harm: the calls may be repeated.
    }

    fn end(&self) -> Result<(), String> {
        let id = || Id { id: self.id.clone() };
        let Nothing {} = self.runtime.client.call("RuntimeService/StopPodSandbox", id())?;
        let Nothing {} = self.runtime.client.call("RuntimeService/RemovePodSandbox", id())?;
        // The pod's own cgroup is the kubelet's to remove.
        for folder in cgroups(&self.spec.cgroup()) {
            let removed = std::fs::remove_dir(&folder);
            removed.map_err(|error| format!("{}: {error}", folder.display()))?;
        }
        Ok(())
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        // Should this fail, the supervisor does it in the end.
        let _ = self.end();
    }
}

impl Container {
    /// The real name of its first process.
    pub(crate) fn comm(&self) -> String {
        let file = format!("/proc/{}/comm", self.pid);
        std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{file}: {e}")).trim_end().to_owned()
    }

    /// The real `/proc/PID/cgroup` of its first process.
    pub(crate) fn cgroup(&self) -> String {
        let file = format!("/proc/{}/cgroup", self.pid);
        std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{file}: {e}"))
    }

    /// Kills it; the runtime still knows it.
    pub(crate) fn stop(&self) {
        let request = cri::StopContainerRequest { id: self.id.clone(), timeout: 0 };
        let Nothing {} = self.runtime.call("RuntimeService/StopContainer", request);
    }

    /// Makes the runtime forget it, once it is stopped.
    pub(crate) fn remove(self) {
        let Nothing {} = self.runtime.call("RuntimeService/RemoveContainer", Id { id: self.id });
    }
}

/// The folders of a cgroup that exist: one on cgroup v2, else one for every hierarchy.
pub(crate) fn cgroups(path: &str) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let below = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    let roots = std::iter::once(root.to_owned()).chain(below);
    roots.map(|root| root.join(path.trim_start_matches('/'))).filter(|folder| folder.is_dir()).collect()
}

/// Waits for a condition, for a minute at most.
pub(crate) fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !condition() {
        let log = || std::fs::read_to_string(Path::new(FOLDER).join("log")).unwrap_or_default();
        assert!(Instant::now() < end, "waited in vain for {what}; containerd says:\n{}", log());
        std::thread::sleep(Duration::from_millis(20));
    }
}
