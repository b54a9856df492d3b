//! Pods and namespaces as the API has them, without what is not used: no managed fields, no environments.

use crate::pods::{MAX_CONTAINERS, Wanted, bare_id};
use gpu_session_core::sample::{Metadata, Phase, Pod};
use gpu_session_core::text;
use k8s_openapi::jiff::Timestamp;
use kube::core::{ClusterResourceScope, NamespaceResourceScope, ObjectMeta, Resource};
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::{Formatter, Result as Written};
use std::sync::Arc;

/// Set on the API's copy of a static pod.
const MIRROR: &str = "kubernetes.io/config.mirror";
/// Hash of a static pod's configuration: the UID that the kubelet gives it, and that its cgroups carry.
const CONFIG_HASH: &str = "kubernetes.io/config.hash";

thread_local! {
    /// Whose labels and annotations are kept: an object is read without being told.
    static WANTED: RefCell<Wanted> = RefCell::default();
}

/// Of all objects that this thread reads from now on, only these labels and annotations are kept.
pub(super) fn keep(wanted: &Wanted) {
    WANTED.set(wanted.clone());
}

/// A pod.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct SlimPod {
    #[serde(deserialize_with = "slim_meta")]
    metadata: ObjectMeta,
    #[serde(default)]
    status: Option<Status>,
}

/// A namespace.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct SlimNamespace {
    #[serde(deserialize_with = "slim_meta")]
    metadata: ObjectMeta,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    phase: Option<String>,
    start_time: Option<String>,
    container_statuses: Option<Containers>,
    init_container_statuses: Option<Containers>,
    ephemeral_container_statuses: Option<Containers>,
}

/// Containers that have begun; one more than is kept at most, so that it is seen to be too many.
#[derive(Clone, Debug)]
struct Containers(Vec<Container>);

#[derive(Clone, Debug)]
struct Container {
    name: Box<str>,
    id: Box<str>,
}

/// A container's status as the API has it.
#[derive(Deserialize)]
struct ContainerStatus {
    name: Box<str>,
    #[serde(rename = "containerID")]
    id: Option<Box<str>>,
}

impl<'de> Deserialize<'de> for Containers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Containers;

            fn expecting(&self, to: &mut Formatter<'_>) -> Written {
                to.write_str("a list of containers")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Containers, A::Error> {
                let mut containers = Vec::new();
                while let Some(ContainerStatus { name, id }) = list.next_element()? {
                    if let Some(id) = id.filter(|_| containers.len() <= MAX_CONTAINERS) {
                        containers.push(Container { name, id });
                    }
                }
                Ok(Containers(containers))
            }
        }
        deserializer.deserialize_seq(List)
    }
}

/// Labels or annotations, of which only those are kept that rules read or that mark a static pod.
struct Kept(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Kept {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Kept;

            fn expecting(&self, to: &mut Formatter<'_>) -> Written {
                to.write_str("a map of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Kept, A::Error> {
                let mut kept = BTreeMap::new();
                while let Some(key) = map.next_key::<String>()? {
                    if is_kept(&key) {
                        // Cut here, where it enters.
                        kept.insert(key, text::clean_value(&map.next_value::<String>()?));
                    } else {
                        map.next_value::<Passed>()?;
                    }
                }
                Ok(Kept(kept))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

fn is_kept(key: &str) -> bool {
    key == MIRROR || key == CONFIG_HASH || WANTED.with_borrow(|wanted| wanted.has(key))
}

/// A text that is not kept.
struct Passed;

impl<'de> Deserialize<'de> for Passed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Passed;

            fn expecting(&self, to: &mut Formatter<'_>) -> Written {
                to.write_str("a text")
            }

            fn visit_str<E: Error>(self, _: &str) -> Result<Passed, E> {
                Ok(Passed)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// The fields of `metadata` that are used.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    labels: Option<Kept>,
    annotations: Option<Kept>,
}

fn slim_meta<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    let meta = Meta::deserialize(deserializer)?;
    Ok(ObjectMeta {
        name: meta.name,
        namespace: meta.namespace,
        uid: meta.uid,
        resource_version: meta.resource_version,
        labels: meta.labels.map(|Kept(labels)| labels),
        annotations: meta.annotations.map(|Kept(annotations)| annotations),
        ..ObjectMeta::default()
    })
}

impl Resource for SlimPod {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "Pod".into()
    }
    fn group((): &()) -> Cow<'_, str> {
        "".into()
    }
    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }
    fn plural((): &()) -> Cow<'_, str> {
        "pods".into()
    }
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl Resource for SlimNamespace {
    type DynamicType = ();
    type Scope = ClusterResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "Namespace".into()
    }
    fn group((): &()) -> Cow<'_, str> {
        "".into()
    }
    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }
    fn plural((): &()) -> Cow<'_, str> {
        "namespaces".into()
    }
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// A pod as it is kept.
pub(super) struct Named {
    /// UID of the API's object.
    pub(super) uid: Arc<str>,
    /// UID that the pod's cgroups carry.
    pub(super) key: Arc<str>,
    pub(super) pod: Pod,
    /// It has more containers than are kept.
    pub(super) cut: bool,
}

impl SlimPod {
    /// What is kept of it; `None` where it has no name or UID.
    pub(super) fn named(&self, wanted: &Wanted) -> Option<Named> {
        let meta = &self.metadata;
        let uid: Arc<str> = text::clean(meta.uid.as_deref()?).into();
        let statuses = self.status.iter().flat_map(Status::containers);
        let mut containers: BTreeMap<Arc<str>, Arc<str>> = BTreeMap::new();
        let mut cut = false;
        for container in statuses {
            let Some(id) = bare_id(&container.id) else { continue };
            cut = containers.len() >= MAX_CONTAINERS;
            if cut {
                break;
            }
            containers.insert(id, text::clean(&container.name).into());
        }
        let status = self.status.as_ref();
        let pod = Pod {
            namespace: text::clean(meta.namespace.as_deref()?).into(),
            name: text::clean(meta.name.as_deref()?).into(),
            phase: status.and_then(|status| phase(status.phase.as_deref()?)),
            deleted: false,
            start_us: status.and_then(|status| micros(status.start_time.as_deref()?)),
            metadata: metadata(meta, |labels, annotations| wanted.of_pod(labels, annotations)),
            containers,
        };
        Some(Named { key: self.static_hash().unwrap_or_else(|| uid.clone()), uid, pod, cut })
    }

    /// The hash, of a static pod. One that could be another pod's UID is none: anyone who makes a pod writes
    /// its annotations.
    fn static_hash(&self) -> Option<Arc<str>> {
        let annotations = self.metadata.annotations.as_ref()?;
        let hash = annotations.get(CONFIG_HASH).filter(|_| annotations.contains_key(MIRROR))?;
        let is_hash = hash.len() == 32 && hash.bytes().all(|b| b.is_ascii_hexdigit());
        is_hash.then(|| hash.to_ascii_lowercase().into())
    }
}

impl SlimNamespace {
    /// Its name, and what is kept of it.
    pub(super) fn named(&self, wanted: &Wanted) -> Option<(Arc<str>, Metadata)> {
        let kept = metadata(&self.metadata, |labels, annotations| wanted.of_namespace(labels, annotations));
        Some((text::clean(self.metadata.name.as_deref()?).into(), kept))
    }
}

impl Status {
    fn containers(&self) -> impl Iterator<Item = &Container> {
        let lists =
            [&self.container_statuses, &self.init_container_statuses, &self.ephemeral_container_statuses];
        lists.into_iter().flatten().flat_map(|Containers(list)| list)
    }
}

fn metadata<'a>(
    meta: &'a ObjectMeta,
    pick: impl Fn(&dyn Fn(&str) -> Option<&'a str>, &dyn Fn(&str) -> Option<&'a str>) -> Metadata,
) -> Metadata {
    let labels = |key: &str| meta.labels.as_ref()?.get(key).map(String::as_str);
    let annotations = |key: &str| meta.annotations.as_ref()?.get(key).map(String::as_str);
    pick(&labels, &annotations)
}

fn phase(text: &str) -> Option<Phase> {
    match text {
        "Pending" => Some(Phase::Pending),
        "Running" => Some(Phase::Running),
        "Succeeded" => Some(Phase::Succeeded),
        "Failed" => Some(Phase::Failed),
        // `Unknown`: the node does not report, so the API does not know.
        _ => None,
    }
}

/// Unix microseconds of an RFC 3339 time.
fn micros(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_microsecond)
}
