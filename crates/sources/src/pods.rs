//! What the sources of pods have in common.

use gpu_session_core::cgroup::{Kind, Place};
use gpu_session_core::sample::{Metadata, Sample};
use gpu_session_core::text;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Most pods of one list that are kept; the kubelet's own limit is some hundreds.
pub(crate) const MAX_PODS: usize = 10_000;
/// Most containers of one pod that are kept.
pub(crate) const MAX_CONTAINERS: usize = 1_000;

/// Keys of the labels and annotations that rules read. All others are forgotten where they enter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Labels of pods.
    pub pod_labels: BTreeSet<Arc<str>>,
    /// Annotations of pods.
    pub pod_annotations: BTreeSet<Arc<str>>,
    /// Labels of namespaces.
    pub namespace_labels: BTreeSet<Arc<str>>,
    /// Annotations of namespaces.
    pub namespace_annotations: BTreeSet<Arc<str>>,
}

impl Wanted {
    /// Whether any rule reads something of namespaces.
    pub fn namespaces(&self) -> bool {
        !self.namespace_labels.is_empty() || !self.namespace_annotations.is_empty()
    }

    /// Whether any rule reads a label or annotation of this key.
    pub(crate) fn has(&self, key: &str) -> bool {
        let sets =
            [&self.pod_labels, &self.pod_annotations, &self.namespace_labels, &self.namespace_annotations];
        sets.iter().any(|keys| keys.contains(key))
    }

    /// What rules read of a pod.
    pub(crate) fn of_pod<'a>(
        &self,
        labels: impl Fn(&str) -> Option<&'a str>,
        annotations: impl Fn(&str) -> Option<&'a str>,
    ) -> Metadata {
        Metadata {
            labels: pick(&self.pod_labels, labels),
            annotations: pick(&self.pod_annotations, annotations),
        }
    }

    /// What rules read of a namespace.
    pub(crate) fn of_namespace<'a>(
        &self,
        labels: impl Fn(&str) -> Option<&'a str>,
        annotations: impl Fn(&str) -> Option<&'a str>,
    ) -> Metadata {
        Metadata {
            labels: pick(&self.namespace_labels, labels),
            annotations: pick(&self.namespace_annotations, annotations),
        }
    }
}

fn pick<'a>(
    keys: &BTreeSet<Arc<str>>,
    value: impl Fn(&str) -> Option<&'a str>,
) -> BTreeMap<Arc<str>, Arc<str>> {
    let found = keys.iter().filter_map(|key| Some((key.clone(), text::clean_value(value(key)?).into())));
    found.collect()
}

/// The id in `containerd://<id>`, `cri-o://<id>`, `docker://<id>`, as cgroups carry it; `None` for no id.
pub(crate) fn bare_id(id: &str) -> Option<Arc<str>> {
    let id = id.rsplit_once("://").map_or(id, |(_, bare)| bare);
    (!id.is_empty()).then(|| text::clean(id).into())
}

/// Text from outside for a message: cleaned, and cut at some 300 bytes.
pub(crate) fn brief(raw: &str) -> String {
    let mut out = String::new();
    let mut buffer = [0; 4];
    for c in raw.trim().chars() {
        if out.len() > 300 {
            out.push('…');
            break;
        }
        out.push_str(&text::clean(c.encode_utf8(&mut buffer)));
    }
    out
}

/// An error with all that caused it, outermost first, for a message.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut out = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Many errors repeat what caused them.
        if !out.contains(&text) {
            out.push_str(": ");
            out.push_str(&text);
        }
        cause = error.source();
    }
    brief(&out)
}

/// The error of type `E` that caused this one, or is it.
pub(crate) fn cause<'a, E: std::error::Error + 'static>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // The source of an I/O error is that of the error within, not the one within.
        let within = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = within.map(|e| e as &(dyn std::error::Error + 'static)).or_else(|| error.source());
    }
    None
}

/// UIDs of the pods that new processes of the sample run or ran in.
pub(crate) fn uids(sample: &Sample) -> BTreeSet<Arc<str>> {
    places(sample).filter_map(|place| place.pod_uid).collect()
}

/// Whether a new process of the sample runs or ran in a pod.
pub(crate) fn any(sample: &Sample) -> bool {
    places(sample).any(|place| place.kind == Kind::Pod)
}

fn places(sample: &Sample) -> impl Iterator<Item = Place> {
    let past = sample.past.values().flatten().map(|past| &past.process);
    let processes = sample.processes.iter().flat_map(BTreeMap::values).chain(past);
    processes.filter_map(|process| process.cgroup.as_deref().map(Place::of))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpu_session_core::sample::Process;

    #[test]
    fn only_wanted_keys_are_kept_and_their_values_cleaned() {
        let wanted = Wanted {
            pod_labels: ["owner".into(), "absent".into()].into(),
            namespace_annotations: ["team".into()].into(),
            ..Wanted::default()
        };
        let value = |key: &str| (key != "absent").then_some("a\nb");
        let pod = wanted.of_pod(value, value);
        assert_eq!(pod.labels, [("owner".into(), "a\u{fffd}b".into())].into());
        assert!(pod.annotations.is_empty());
        assert_eq!(wanted.of_namespace(value, value).annotations.len(), 1);
        assert!(wanted.namespaces() && !Wanted::default().namespaces());
    }

    #[test]
    fn what_a_pattern_reads_was_not_cut_before() {
        use gpu_session_core::rules::{HostUsers, Origin, Rule, Rules, Subject, Verdict};
        let wanted = Wanted { pod_annotations: ["dn".into()].into(), ..Wanted::default() };
        let dn = format!("ou={},uid=alexandra", "x".repeat(112));
        let pod = wanted.of_pod(|_| None, |_| Some(&dn));
        let pattern = regex_lite::Regex::new("uid=([a-z]+)").ok();
        let rules = Rules::new(vec![Rule { pattern, ..Rule::plain(Origin::Annotation("dn".into())) }]);
        let subject = Subject { namespace: Some("team"), pod: Some(&pod), ..Subject::default() };
        let none = (BTreeMap::new(), BTreeSet::new());
        let verdict = rules.verdict(&subject, HostUsers { names: &none.0, pending: &none.1 });
        let Verdict::User(user, _) = verdict else { panic!("{verdict:?}") };
        assert_eq!(&*user, "alexandra", "the first letters of a name are another's name");
    }

    #[test]
    fn container_ids_lose_the_runtimes_prefix() {
        for (id, bare) in [("containerd://ab", Some("ab")), ("cri-o://cd", Some("cd")), ("ef", Some("ef"))] {
            assert_eq!(bare_id(id).as_deref(), bare);
        }
        assert_eq!((bare_id(""), bare_id("containerd://")), (None, None));
    }

    #[test]
    fn text_for_a_message_is_cleaned_and_cut() {
        assert_eq!(brief(" a\x1b[31mb\n"), "a\u{fffd}[31mb");
        let long = brief(&"é".repeat(10_000));
        assert!(long.len() < 320 && long.ends_with('…'), "{}", long.len());
    }

    #[test]
    fn pods_of_new_processes_are_found() {
        let process = |cgroup: Option<&str>| Process { cgroup: cgroup.map(Into::into), ..Process::default() };
        let sample = |processes: &[Option<&str>]| Sample {
            processes: Some((1..).zip(processes.iter().map(|cgroup| process(*cgroup))).collect()),
            ..Sample::default()
        };
        let uid = "3b1c5a0e-91f6-4b7e-8d1a-0c2f4e6a8b9d";
        let cgroup = format!("0::/kubepods/burstable/pod{uid}/{}\n", "c".repeat(64));
        let mixed = sample(&[None, Some("0::/user.slice\n"), Some(&cgroup), Some(&cgroup)]);
        assert!(any(&mixed) && uids(&mixed) == [uid.into()].into());
        let none = sample(&[None, Some("0::/user.slice\n")]);
        assert!(!any(&none) && uids(&none).is_empty() && !any(&Sample::default()));
    }
}
