//! The node's loop: it registers, keeps its lease, and gives each pod that is bound to it a worker.

use super::logs::Server;
use super::{driver, register, worker};
use crate::containers::{Client, Containerd};
use k8s_openapi::api::core::v1::Pod;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Config};
use prost::Message;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, Once, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio_stream::StreamExt as _;

/// Pause before what failed is tried again.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// What all parts of a node share.
pub(super) struct Agent {
    pub(super) name: String,
    pub(super) ip: String,
    /// The node's file system, as far as it has one.
    root: PathBuf,
    /// Port of the API server on 127.0.0.1.
    pub(super) api_port: u16,
    pub(super) driver: driver::Driver,
    client: OnceLock<kube::Client>,
    runtime: Client,
    /// Ids of the containers that were run last, by namespace, pod and container.
    containers: Mutex<BTreeMap<[String; 3], String>>,
}

/// What a worker hears of its pod.
#[derive(Clone)]
pub(super) enum News {
    /// This is what is wanted.
    Wanted(Box<Pod>),
    /// It is gone from the API, or the node ends: nothing may be left.
    Gone,
}

impl Agent {
    pub(super) fn new(name: &str, ip: &str, root: PathBuf, api_port: u16) -> Self {
        Self {
            name: name.to_owned(),
            ip: ip.to_owned(),
            api_port,
            driver: driver::Driver::new(root.join("run/driver")),
            root,
            client: OnceLock::new(),
            runtime: Client::new(&Containerd::socket()),
            containers: Mutex::default(),
        }
    }

    /// Where a path of the node lies on this machine.
    pub(super) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The API, as the node may use it.
    pub(super) fn client(&self) -> kube::Client {
        self.client.get().expect("it is connected first").clone()
    }

    async fn connect(&self) -> kube::Client {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
        let kubeconfig = Kubeconfig::read_from(self.path("kubeconfig")).unwrap();
        let options = KubeConfigOptions::default();
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
        config.proxy_url = None;
        kube::Client::try_from(config).unwrap()
    }

    /// Calls the container runtime.
    pub(super) async fn runtime<Q, A>(&self, method: &str, request: Q) -> Result<A, String>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        self.runtime.send(&format!("RuntimeService/{method}"), request).await
    }

    /// Asks the container runtime for an image.
    pub(super) async fn images<Q, A>(&self, method: &str, request: Q) -> Result<A, String>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        self.runtime.send(&format!("ImageService/{method}"), request).await
    }

    fn containers(&self) -> MutexGuard<'_, BTreeMap<[String; 3], String>> {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers the container that was run last under this name.
    pub(super) fn ran(&self, pod: &Pod, container: &str, id: &str) {
        self.containers().insert([namespace(pod), name(pod), container.to_owned()], id.to_owned());
    }

    /// Forgets the containers of a pod that is gone.
    pub(super) fn forget(&self, pod: &Pod) {
        let of = [namespace(pod), name(pod)];
        self.containers().retain(|[namespace, name, _], _| [namespace, name] != of.each_ref());
    }

    /// Id of the container that was run last under this name.
    pub(super) fn container_id(&self, namespace: &str, pod: &str, container: &str) -> Option<String> {
        self.containers().get(&[namespace, pod, container].map(str::to_owned)).cloned()
    }
}

/// Name of a pod.
pub(super) fn name(pod: &Pod) -> String {
    pod.metadata.name.clone().expect("every pod has a name")
}

/// Its namespace.
pub(super) fn namespace(pod: &Pod) -> String {
    pod.metadata.namespace.clone().expect("every pod has a namespace")
}

/// Its UID.
pub(super) fn uid(pod: &Pod) -> String {
    pod.metadata.uid.clone().expect("every pod has a UID")
}

/// Runs the node until it is stopped, then removes what its pods have made.
pub(super) async fn run(
    agent: Arc<Agent>,
    labels: BTreeMap<String, String>,
    gpus: usize,
    server: Server,
    stopped: oneshot::Receiver<()>,
) {
    let client = agent.connect().await;
    agent.client.set(client).ok().expect("it is connected once");
    register::register(&agent, labels, gpus, server.port()).await;
    let mut workers = Workers::default();
    tokio::select! {
        () = register::renew(&agent) => {}
        () = server.run(agent.clone()) => {}
        () = follow(&agent, &mut workers) => {}
        // The handle was dropped.
        _ = stopped => {}
    }
    for news in workers.news.values() {
        news.send_replace(News::Gone);
    }
    while workers.tasks.join_next().await.is_some() {}
}

/// A worker for each pod.
#[derive(Default)]
struct Workers {
    news: BTreeMap<String, watch::Sender<News>>,
    tasks: JoinSet<()>,
}

impl Workers {
    fn wanted(&mut self, agent: &Arc<Agent>, pod: Pod) {
        let uid = uid(&pod);
        if let Some(news) = self.news.get(&uid) {
            news.send_replace(News::Wanted(Box::new(pod)));
            return;
        }
        let (news, heard) = watch::channel(News::Wanted(Box::new(pod.clone())));
        self.news.insert(uid, news);
        self.tasks.spawn(worker::run(agent.clone(), pod, heard));
    }

    fn gone(&mut self, uid: &str) {
        if let Some(news) = self.news.remove(uid) {
            news.send_replace(News::Gone);
        }
    }
}

/// Follows the pods that are bound to the node.
async fn follow(agent: &Arc<Agent>, workers: &mut Workers) {
    let fields = format!("spec.nodeName={}", agent.name);
    let config = watcher::Config::default().fields(&fields);
    let mut events = pin!(watcher(Api::<Pod>::all(agent.client()), config));
    let mut listed = Vec::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(pod)) => {
                listed.push(uid(&pod));
                workers.wanted(agent, pod);
            }
            Ok(Event::InitDone) => {
                let all: Vec<String> = workers.news.keys().cloned().collect();
                all.iter().filter(|uid| !listed.contains(uid)).for_each(|uid| workers.gone(uid));
            }
            Ok(Event::Apply(pod)) => workers.wanted(agent, pod),
            Ok(Event::Delete(pod)) => workers.gone(&uid(&pod)),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
        // Workers that have ended.
        while workers.tasks.try_join_next().is_some() {}
    }
}
