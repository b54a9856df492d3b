//! The truth that the API server and the kubelet tell.

mod selector;
mod store;

pub(crate) use selector::Selector;
pub(crate) use store::{Change, Key, Store};

use crate::holdings::Holdings;
use crate::lock;
use crate::pod::{self, ContainerKind, Phase, Pod};
use crate::request::Request;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;
use tokio::sync::watch;

/// Requests that are kept; older ones are forgotten.
const REQUESTS: usize = 100_000;

/// A kind of objects that the API server tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Pods.
    Pods,
    /// Namespaces.
    Namespaces,
    /// Nodes.
    Nodes,
}

impl Kind {
    /// Name of one object's kind.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Pods => "Pod",
            Self::Namespaces => "Namespace",
            Self::Nodes => "Node",
        }
    }

    /// Name of the resource.
    pub(crate) fn resource(self) -> &'static str {
        match self {
            Self::Pods => "pods",
            Self::Namespaces => "namespaces",
            Self::Nodes => "nodes",
        }
    }

    /// Fields that a selector may name.
    pub(crate) fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Pods => &[
                "metadata.name",
                "metadata.namespace",
                "spec.nodeName",
                "spec.restartPolicy",
                "spec.schedulerName",
                "spec.serviceAccountName",
                "status.phase",
                "status.podIP",
            ],
            Self::Namespaces => &["metadata.name", "status.phase"],
            Self::Nodes => &["metadata.name", "spec.unschedulable"],
        }
    }
}

/// What watches are woken by.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Signal {
    /// Bookmarks ordered so far.
    pub(crate) bookmarks: u64,
    /// How often all watches were told that they are too old.
    pub(crate) expiries: u64,
    /// How often all watches were cut.
    pub(crate) cuts: u64,
}

/// A pod as its kubelet knows it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    /// Empty: told by every kubelet.
    pub(crate) node: String,
    /// By container, in the order of the pod.
    pub(crate) containers: Vec<(String, Holdings)>,
}

#[derive(Debug)]
struct State {
    store: Store,
    /// By namespace and pod.
    held: BTreeMap<(String, String), Held>,
    /// By node.
    allocatable: BTreeMap<String, Holdings>,
    requests: VecDeque<Request>,
}

/// The truth about an invented cluster; clones share it.
#[derive(Clone, Debug)]
pub struct Cluster {
    state: Arc<Mutex<State>>,
    signal: watch::Sender<Signal>,
}

impl Default for Cluster {
    fn default() -> Self {
        Self::new()
    }
}

impl Cluster {
    /// An empty cluster: no pods, and the namespaces that every cluster has.
    pub fn new() -> Self {
        let state = State {
            store: Store::new(),
            held: BTreeMap::new(),
            allocatable: BTreeMap::new(),
            requests: VecDeque::new(),
        };
        let cluster = Self { state: Arc::new(Mutex::new(state)), signal: watch::Sender::default() };
        let none: [(&str, &str); 0] = [];
        for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
            cluster.put_namespace(name, none, none);
        }
        cluster
    }

    /// Adds a pod, or replaces the one of that name; its namespace is made if there is none. Its kubelet tells what
    /// its containers hold.
    pub fn put_pod(&self, pod: &Pod) {
        let mut state = lock(&self.state);
        let namespace = Key::namespace(&pod.namespace);
        if state.store.get(&namespace).is_none() {
            let none: [(&str, &str); 0] = [];
            state.store.put(namespace, render_namespace(&pod.namespace, none, none));
        }
        state.store.put(Key::pod(&pod.namespace, &pod.name), pod::render(pod));
        let id = (pod.namespace.clone(), pod.name.clone());
        if pod.node.is_empty() {
            state.held.remove(&id);
        } else {
            state.held.insert(id, held(pod));
        }
        drop(state);
        self.wake();
    }

    /// Adds or replaces a pod's object as it is, whatever is in it; kubelets do not hear of it.
    pub fn put_pod_object(&self, namespace: &str, name: &str, object: Value) {
        lock(&self.state).store.put(Key::pod(namespace, name), object);
        self.wake();
    }

    /// Changes a pod's object in place; says whether there is one.
    pub fn edit_pod(&self, namespace: &str, name: &str, edit: impl FnOnce(&mut Value)) -> bool {
        let key = Key::pod(namespace, name);
        let mut state = lock(&self.state);
        let Some(object) = state.store.get(&key) else { return false };
        let mut object = Value::clone(object);
        edit(&mut object);
        state.store.put(key, object);
        drop(state);
        self.wake();
        true
    }

    /// A pod's object as the API server tells it.
    pub fn pod(&self, namespace: &str, name: &str) -> Option<Value> {
        lock(&self.state).store.get(&Key::pod(namespace, name)).map(|object| Value::clone(object))
    }

    /// Moves a pod to another phase; says whether there is one. What its containers hold stays listed by the kubelet,
    /// as kubelets up to 1.33 list what has ended; those from 1.34 on do not: [`crate::Kubelet::list_only_active`].
    pub fn set_phase(&self, namespace: &str, name: &str, phase: Phase) -> bool {
        self.edit_pod(namespace, name, |object| pod::set_phase(object, phase, SystemTime::now()))
    }

    /// Begins a pod's end: it has a deletion time, and runs on. Says whether there is one.
    pub fn terminate_pod(&self, namespace: &str, name: &str) -> bool {
        self.edit_pod(namespace, name, |object| {
            let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
            let now = pod::timestamp(SystemTime::now());
            metadata.insert("deletionTimestamp".to_owned(), json!(now));
            metadata.insert("deletionGracePeriodSeconds".to_owned(), json!(30));
        })
    }

    /// Deletes a pod, and the kubelet forgets what its containers held; says whether there was one.
    pub fn delete_pod(&self, namespace: &str, name: &str) -> bool {
        lock(&self.state).held.remove(&(namespace.to_owned(), name.to_owned()));
        self.delete_pod_object(namespace, name)
    }

    /// Deletes a pod of which the kubelet has not heard yet: it still lists it. Says whether there was one.
    pub fn delete_pod_object(&self, namespace: &str, name: &str) -> bool {
        let removed = lock(&self.state).store.remove(&Key::pod(namespace, name));
        self.wake();
        removed
    }

    /// Adds or replaces a namespace.
    pub fn put_namespace<'a>(
        &self,
        name: &str,
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
        annotations: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) {
        let object = render_namespace(name, labels, annotations);
        lock(&self.state).store.put(Key::namespace(name), object);
        self.wake();
    }

    /// Deletes a namespace, but not what is in it; says whether there was one.
    pub fn delete_namespace(&self, name: &str) -> bool {
        let removed = lock(&self.state).store.remove(&Key::namespace(name));
        self.wake();
        removed
    }

    /// Adds or replaces a node, as the API server tells of it; the kubelets know nothing of this.
    pub fn put_node<'a>(&self, name: &str, labels: impl IntoIterator<Item = (&'a str, &'a str)>) {
        let object = render_node(name, labels);
        lock(&self.state).store.put(Key::node(name), object);
        self.wake();
    }

    /// The newest resource version.
    pub fn version(&self) -> u64 {
        lock(&self.state).store.version
    }

    /// Forgets the past, as etcd does every few minutes: who asks for an older resource version than this moment's is
    /// told 410, in a watch by an event. Watches that run go on.
    pub fn compact(&self) {
        let mut state = lock(&self.state);
        // As in a cluster where other things happen: this moment's version is newer than the last that anyone saw.
        state.store.version += 1;
        state.store.compact();
    }

    /// Tells all running watches by an `ERROR` event that they are too old (410), and ends them.
    pub fn expire_watches(&self) {
        self.signal.send_modify(|signal| signal.expiries += 1);
    }

    /// Cuts all running watches, without a word.
    pub fn cut_watches(&self) {
        self.signal.send_modify(|signal| signal.cuts += 1);
    }

    /// Sends a bookmark to the watches that asked for bookmarks.
    pub fn send_bookmarks(&self) {
        self.signal.send_modify(|signal| signal.bookmarks += 1);
    }

    /// Sets what a container holds by its kubelet; a pod that the API server does not know is told by every kubelet.
    pub fn set_allocations(&self, namespace: &str, pod: &str, container: &str, holdings: Holdings) {
        let mut state = lock(&self.state);
        let node =
            state.store.get(&Key::pod(namespace, pod)).map(|object| object["spec"]["nodeName"].clone());
        let node = node.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned();
        let held = state.held.entry((namespace.to_owned(), pod.to_owned())).or_default();
        held.node = node;
        match held.containers.iter_mut().find(|(name, _)| name == container) {
            Some((_, present)) => *present = holdings,
            None => held.containers.push((container.to_owned(), holdings)),
        }
    }

    /// The kubelet forgets a pod; says whether it knew it.
    pub fn forget_allocations(&self, namespace: &str, pod: &str) -> bool {
        lock(&self.state).held.remove(&(namespace.to_owned(), pod.to_owned())).is_some()
    }

    /// Sets what a node's kubelet can give; claims are not among it.
    pub fn set_allocatable(&self, node: &str, holdings: Holdings) {
        lock(&self.state).allocatable.insert(node.to_owned(), holdings);
    }

    /// The requests that API servers of this cluster received, oldest first.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.state).requests.iter().cloned().collect()
    }

    /// Forgets the requests.
    pub fn clear_requests(&self) {
        lock(&self.state).requests.clear();
    }

    pub(crate) fn record(&self, request: Request) {
        let mut state = lock(&self.state);
        if state.requests.len() == REQUESTS {
            state.requests.pop_front();
        }
        state.requests.push_back(request);
    }

    pub(crate) fn with_store<T>(&self, read: impl FnOnce(&Store) -> T) -> T {
        read(&lock(&self.state).store)
    }

    pub(crate) fn signal(&self) -> watch::Receiver<Signal> {
        self.signal.subscribe()
    }

    /// Whether the API server knows a pod as one that has ended.
    pub(crate) fn has_ended(&self, namespace: &str, pod: &str) -> bool {
        let state = lock(&self.state);
        let object = state.store.get(&Key::pod(namespace, pod));
        object
            .is_some_and(|object| matches!(object["status"]["phase"].as_str(), Some("Succeeded" | "Failed")))
    }

    /// The pods of a node as its kubelet lists them.
    pub(crate) fn held_on(&self, node: &str) -> Vec<((String, String), Held)> {
        let state = lock(&self.state);
        let mine = state.held.iter().filter(|(_, held)| held.node.is_empty() || held.node == node);
        mine.map(|(id, held)| (id.clone(), held.clone())).collect()
    }

    pub(crate) fn allocatable_on(&self, node: &str) -> Holdings {
        lock(&self.state).allocatable.get(node).cloned().unwrap_or_default()
    }

    fn wake(&self) {
        self.signal.send_modify(|_| {});
    }
}

fn held(pod: &Pod) -> Held {
    // Sidecars first. Init containers have ended by the time that anyone looks; ephemeral ones can hold nothing.
    let told = [ContainerKind::Sidecar, ContainerKind::Main].into_iter();
    let told = told.flat_map(|kind| pod.containers.iter().filter(move |one| one.kind == kind));
    let containers = told.map(|one| (one.name.clone(), one.holdings.clone())).collect();
    Held { node: pod.node.clone(), containers }
}

fn render_namespace<'a>(
    name: &str,
    labels: impl IntoIterator<Item = (&'a str, &'a str)>,
    annotations: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Value {
    let mut labels: BTreeMap<&str, &str> = labels.into_iter().collect();
    labels.insert("kubernetes.io/metadata.name", name);
    let annotations: BTreeMap<&str, &str> = annotations.into_iter().collect();
    let mut object = json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": name,
            "uid": crate::uuid_of(name),
            "creationTimestamp": "2026-01-05T08:00:00Z",
            "labels": labels,
        },
        "spec": { "finalizers": ["kubernetes"] },
        "status": { "phase": "Active" },
    });
    if !annotations.is_empty() {
        object["metadata"]["annotations"] = json!(annotations);
    }
    object
}

fn render_node<'a>(name: &str, labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Value {
    let mut labels: BTreeMap<&str, &str> = labels.into_iter().collect();
    labels.insert("kubernetes.io/hostname", name);
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "uid": crate::uuid_of(name),
            "creationTimestamp": "2026-01-05T08:00:00Z",
            "labels": labels,
        },
        "spec": {},
        "status": { "conditions": [{ "type": "Ready", "status": "True" }] },
    })
}
