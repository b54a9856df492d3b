//! Who a session belongs to and where it runs: cgroup, then pod, then user. Nothing is guessed: two candidates are
//! none.

use crate::cgroup::{Kind, Place};
use crate::rules::{HostUsers, Rules, Subject, Verdict};
use crate::sample::{ContainerDevices, Pod, PodList, Sample};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// `attributed_by` of a process whose cgroup alone says where it runs; else it is the name of the source that knew
/// the pod.
pub const PLACED_BY_CGROUP: &str = "cgroup";
/// `attributed_by` where the kubelet gave the device to just one container.
pub const PLACED_BY_KUBELET: &str = "kubelet";

/// Where a session runs and whose it is; unknown is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribution {
    /// The person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Arc<str>>,
    /// The rule that named the person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_rule: Option<Arc<str>>,
    /// Namespace of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Arc<str>>,
    /// Name of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Arc<str>>,
    /// Name of the container in the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Arc<str>>,
    /// What placed the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributed_by: Option<Arc<str>>,
    /// Why there is no user, where there is none: a label value from a small fixed set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unattributed: Option<Arc<str>>,
    /// A later sample may know more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub open: bool,
}

impl Attribution {
    /// Nothing is known, for a reason from a small fixed set, and never will be.
    pub fn unknown(reason: &str) -> Self {
        Self { unattributed: Some(reason.into()), ..Self::default() }
    }

    /// Nothing is known yet.
    pub fn open() -> Self {
        Self { open: true, ..Self::default() }
    }

    /// Whether it is of this container.
    pub fn is_in(&self, container: &ContainerDevices) -> bool {
        let is = |own: &Option<Arc<str>>, other: &Arc<str>| own.as_ref() == Some(other);
        is(&self.container, &container.container)
            && is(&self.pod, &container.pod)
            && is(&self.namespace, &container.namespace)
    }

    /// Whether it may be of this container, for all that is known of it.
    pub fn may_be_in(&self, container: &ContainerDevices) -> bool {
        let may = |own: &Option<Arc<str>>, other: &Arc<str>| own.as_ref().is_none_or(|own| own == other);
        may(&self.container, &container.container)
            && may(&self.pod, &container.pod)
            && may(&self.namespace, &container.namespace)
    }
}

/// What is known of a process when it is attributed.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Where it runs; `None` where its cgroup could not be read.
    pub place: Option<&'a Place>,
    /// Real uid.
    pub uid: Option<u32>,
    /// It is an MPS server or daemon, through which others work.
    pub mps: bool,
    /// What is attributed to it so far.
    pub so_far: &'a Attribution,
}

/// The container that holds the device of a process, where no better source knows its pod.
#[derive(Clone, Copy, Debug)]
pub enum Holder<'a> {
    /// The kubelet gave the device to no container, or did not say.
    None,
    /// To just one, and processes of just one container are on it.
    One(&'a ContainerDevices),
    /// More than one may be meant.
    Ambiguous,
    /// To just one, and processes of others are on it too.
    Contested,
}

/// Attributes processes by what one sample says.
#[derive(Clone, Copy, Debug)]
pub struct Attributor<'a> {
    rules: &'a Rules,
    sample: &'a Sample,
}

impl<'a> Attributor<'a> {
    /// Attributes by these rules.
    pub fn new(rules: &'a Rules, sample: &'a Sample) -> Self {
        Self { rules, sample }
    }

    /// Says where a process runs and whose it is.
    pub fn attribute(&self, known: Known<'_>, holder: Holder<'_>) -> Attribution {
        let Some(place) = known.place else {
            return Attribution::unknown("process_unreadable");
        };
        if place.kind == Kind::Pod {
            return self.in_pod(known, place, holder);
        }
        let subject = Subject { place: Some(place), uid: known.uid, ..Subject::default() };
        let verdict = if known.mps { Verdict::Nobody } else { self.verdict(&subject) };
        let reason = match (place.is_containerised(), known.uid) {
            _ if known.mps => "mps_server",
            (true, _) => "container_unknown",
            (false, None) => "process_unreadable",
            (false, Some(_)) => "no_rule",
        };
        let placed = Attribution { attributed_by: Some(PLACED_BY_CGROUP.into()), ..Attribution::default() };
        with_user(placed, verdict, reason)
    }

    /// The user of a container that holds a device, whatever runs in it.
    pub fn user_of(&self, container: &ContainerDevices, pod: Option<&Pod>) -> Option<Arc<str>> {
        match self.verdict(&self.subject(&container.namespace, pod)) {
            Verdict::User(user, _) => Some(user),
            Verdict::Nobody | Verdict::Undecided(_) => None,
        }
    }

    fn in_pod(&self, known: Known<'_>, place: &Place, holder: Holder<'_>) -> Attribution {
        let found = self.sample.pods.iter().find_map(|list| Some((list, pod_of(list, place)?)));
        let (by, namespace, pod, container, known_pod) = match (found, holder) {
            (Some((list, pod)), _) => {
                (Arc::clone(&list.source), &pod.namespace, &pod.name, self.container(place), Some(&**pod))
            }
            // What was placed before stays so while no source says better.
            (None, _) if known.so_far.pod.is_some() && !is_refuted(known.so_far, holder) => {
                return known.so_far.clone();
            }
            (None, Holder::One(held)) if !known.mps && !self.is_of_another(held) => (
                PLACED_BY_KUBELET.into(),
                &held.namespace,
                &held.pod,
                Some(Arc::clone(&held.container)),
                None,
            ),
            (None, holder) => {
                let reason = match holder {
                    _ if known.mps => "mps_server",
                    Holder::Ambiguous | Holder::Contested => "pod_ambiguous",
                    Holder::None | Holder::One(_) => "pod_unknown",
                };
                return Attribution { open: true, ..Attribution::unknown(reason) };
            }
        };
        // An MPS server is nobody's, unless its own pod names someone: a name alone gives no one cover.
        let reason = if known.mps { "mps_server" } else { "no_rule" };
        let placed = Attribution {
            namespace: Some(Arc::clone(namespace)),
            pod: Some(Arc::clone(pod)),
            open: known_pod.is_none() || container.is_none(),
            container,
            attributed_by: Some(by),
            ..Attribution::default()
        };
        with_user(placed, self.verdict(&self.subject(namespace, known_pod)), reason)
    }

    /// Whether a source knows the holder, and so by another UID than that of the process, which it does not know.
    fn is_of_another(&self, container: &ContainerDevices) -> bool {
        let same = |pod: &Arc<Pod>| pod.namespace == container.namespace && pod.name == container.pod;
        self.sample.pods.iter().any(|list| list.pods.values().any(|pod| !pod.deleted && same(pod)))
    }

    /// The name of the container, by the first source that knows its id.
    fn container(&self, place: &Place) -> Option<Arc<str>> {
        let id = place.container_id.as_ref()?;
        self.sample.pods.iter().find_map(|list| pod_of(list, place)?.containers.get(id)).cloned()
    }

    fn subject<'s>(&'s self, namespace: &'s str, pod: Option<&'s Pod>) -> Subject<'s> {
        Subject {
            namespace: Some(namespace),
            pod: pod.map(|pod| &pod.metadata),
            of_namespace: self.sample.namespaces.as_ref().and_then(|all| all.get(namespace)),
            ..Subject::default()
        }
    }

    fn verdict(&self, subject: &Subject<'_>) -> Verdict {
        let users = HostUsers { names: &self.sample.users, pending: &self.sample.users_pending };
        self.rules.verdict(subject, users)
    }
}

/// The pod that a source knows by its UID; where the path has none (a container of the pod that this program runs in,
/// seen from inside), by the id of the container, which no two pods share.
fn pod_of<'a>(list: &'a PodList, place: &Place) -> Option<&'a Arc<Pod>> {
    match (&place.pod_uid, &place.container_id) {
        (Some(uid), _) => list.pods.get(uid),
        (None, Some(id)) => list.pods.values().find(|pod| pod.containers.contains_key(id)),
        (None, None) => None,
    }
}

/// What the kubelet alone said cannot be: others than its one holder work on the device.
fn is_refuted(so_far: &Attribution, holder: Holder<'_>) -> bool {
    matches!(holder, Holder::Contested) && so_far.attributed_by.as_deref() == Some(PLACED_BY_KUBELET)
}

fn with_user(placed: Attribution, verdict: Verdict, reason: &str) -> Attribution {
    match verdict {
        Verdict::User(user, rule) => Attribution { user: Some(user), user_rule: Some(rule), ..placed },
        Verdict::Nobody => Attribution { unattributed: Some(reason.into()), ..placed },
        Verdict::Undecided(reason) => Attribution { unattributed: Some(reason.into()), open: true, ..placed },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Metadata;
    use std::collections::BTreeMap;

    fn pods(source: &str, containers: &[(&str, &str)]) -> PodList {
        let pod = Pod {
            namespace: "team".into(),
            name: "train".into(),
            metadata: Metadata {
                annotations: BTreeMap::from([("creator-user-name".into(), "alice".into())]),
                ..Metadata::default()
            },
            containers: containers.iter().map(|(id, name)| (Arc::from(*id), Arc::from(*name))).collect(),
            ..Pod::default()
        };
        let pods = BTreeMap::from([("uid-1".into(), pod.into())]);
        PodList { source: source.into(), as_of_us: 0, pods: pods.into() }
    }

    fn in_pod(uid: &str, container: &str) -> Place {
        let (pod_uid, container_id) = (Some(uid.into()), Some(container.into()));
        Place { kind: Kind::Pod, pod_uid, container_id, ..Place::default() }
    }

    fn attribute(
        sample: &Sample,
        place: Option<&Place>,
        uid: Option<u32>,
        holder: Holder<'_>,
    ) -> Attribution {
        let so_far = Attribution::open();
        let known = Known { place, uid, mps: false, so_far: &so_far };
        Attributor::new(&Rules::default(), sample).attribute(known, holder)
    }

    fn holder() -> ContainerDevices {
        ContainerDevices {
            namespace: "team".into(),
            pod: "train".into(),
            container: "main".into(),
            devices: Vec::new(),
        }
    }

    #[test]
    fn host_processes_have_their_unix_user_and_containers_none() {
        let users = BTreeMap::from([(1000, Arc::from("alice"))]);
        let sample = Sample { users, ..Sample::default() };
        let host = attribute(&sample, Some(&Place::default()), Some(1000), Holder::None);
        assert_eq!((host.user.as_deref(), host.user_rule.as_deref()), (Some("alice"), Some("unix_user")));
        assert_eq!(host.attributed_by.as_deref(), Some("cgroup"));
        let container = Place { kind: Kind::Container, ..Place::default() };
        let container = attribute(&sample, Some(&container), Some(1000), Holder::None);
        assert_eq!((container.user, container.unattributed.as_deref()), (None, Some("container_unknown")));
        let unreadable = attribute(&sample, None, Some(1000), Holder::None);
        assert_eq!(unreadable, Attribution::unknown("process_unreadable"));
        assert_eq!(attribute(&sample, Some(&Place::default()), None, Holder::None).user, None);
    }

    #[test]
    fn the_first_source_that_knows_the_pod_names_it() {
        let place = in_pod("uid-1", "c1");
        let sample = Sample {
            pods: vec![pods("kubernetes", &[]), pods("cri", &[("c1", "main")])],
            ..Sample::default()
        };
        let found = attribute(&sample, Some(&place), Some(0), Holder::None);
        assert_eq!(found.attributed_by.as_deref(), Some("kubernetes"));
        assert_eq!((found.pod.as_deref(), found.container.as_deref()), (Some("train"), Some("main")));
        assert_eq!((found.user.as_deref(), found.open), (Some("alice"), false));
        let early = Sample { pods: vec![pods("kubernetes", &[])], ..Sample::default() };
        let found = attribute(&early, Some(&place), Some(0), Holder::None);
        assert_eq!((found.container, found.open), (None, true), "the container's name comes later");
    }

    #[test]
    fn a_path_without_a_pod_is_placed_by_the_container_that_it_names() {
        let place = Place { pod_uid: None, ..in_pod("", "c1") };
        let sample = Sample { pods: vec![pods("kubernetes", &[("c1", "main")])], ..Sample::default() };
        let found = attribute(&sample, Some(&place), Some(0), Holder::None);
        assert_eq!((found.pod.as_deref(), found.container.as_deref()), (Some("train"), Some("main")));
        let other = Place { pod_uid: None, ..in_pod("", "c2") };
        assert_eq!(attribute(&sample, Some(&other), Some(0), Holder::None).pod, None);
    }

    #[test]
    fn without_a_source_of_pods_the_only_holder_is_the_pod_but_its_user_is_not_known() {
        let (place, holder) = (in_pod("uid-1", "c1"), holder());
        let found = attribute(&Sample::default(), Some(&place), Some(0), Holder::One(&holder));
        assert_eq!(found.attributed_by.as_deref(), Some("kubelet"));
        assert_eq!(found.container.as_deref(), Some("main"));
        assert_eq!((found.user, found.unattributed.as_deref()), (None, Some("metadata_unknown")));
        assert!(found.open);
        for (holder, reason) in [(Holder::None, "pod_unknown"), (Holder::Ambiguous, "pod_ambiguous")] {
            let none = attribute(&Sample::default(), Some(&place), Some(0), holder);
            assert_eq!((none.pod, none.unattributed.as_deref()), (None, Some(reason)));
        }
    }

    #[test]
    fn a_pod_that_its_source_forgot_keeps_its_name() {
        let so_far = Attribution { pod: Some("train".into()), open: true, ..Attribution::default() };
        let place = in_pod("uid-1", "c1");
        let known = Known { place: Some(&place), uid: None, mps: false, so_far: &so_far };
        let rules = Rules::default();
        let found = Attributor::new(&rules, &Sample::default()).attribute(known, Holder::Ambiguous);
        assert_eq!(found, so_far);
    }

    #[test]
    fn an_mps_server_is_nobodys_and_no_holder_takes_it() {
        let so_far = Attribution::open();
        let (sample, rules, holder) = (Sample::default(), Rules::default(), holder());
        for place in [Place::default(), in_pod("uid-9", "c9")] {
            let known = Known { place: Some(&place), uid: Some(1000), mps: true, so_far: &so_far };
            let found = Attributor::new(&rules, &sample).attribute(known, Holder::One(&holder));
            assert_eq!(
                (found.user, found.pod, found.unattributed.as_deref()),
                (None, None, Some("mps_server"))
            );
        }
    }
}
