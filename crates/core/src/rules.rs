//! Whose a session is: ordered rules, of which the first that says something decides. Nothing is guessed: where a
//! rule cannot be decided yet, no later one speaks in its place.

use crate::accounting::OTHER;
use crate::cgroup::{Kind, Place};
use crate::sample::Metadata;
use crate::text;
use regex_lite::Regex;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// What a rule reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An annotation of the pod.
    Annotation(Arc<str>),
    /// A label of the pod.
    Label(Arc<str>),
    /// The name of the pod's namespace.
    Namespace,
    /// An annotation of the pod's namespace.
    NamespaceAnnotation(Arc<str>),
    /// A label of the pod's namespace.
    NamespaceLabel(Arc<str>),
    /// The host's user that the process runs as, outside containers.
    UnixUser,
    /// The host's user that a Slurm job belongs to.
    SlurmJobOwner,
}

impl fmt::Display for Origin {
    /// The name of a rule that has no other.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Annotation(key) => write!(f, "annotation:{key}"),
            Self::Label(key) => write!(f, "label:{key}"),
            Self::Namespace => f.write_str("namespace"),
            Self::NamespaceAnnotation(key) => write!(f, "namespace_annotation:{key}"),
            Self::NamespaceLabel(key) => write!(f, "namespace_label:{key}"),
            Self::UnixUser => f.write_str("unix_user"),
            Self::SlurmJobOwner => f.write_str("slurm_job_owner"),
        }
    }
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What it is called in `user_rule`.
    pub name: Arc<str>,
    /// What it reads.
    pub origin: Origin,
    /// Which values it takes, and the part of them that it takes.
    pub pattern: Option<Regex>,
    /// The user, with `$1` or `${name}` for the pattern's groups and `$0` for the whole match. Without it: the
    /// first group, or the whole match where the pattern has none.
    pub rename: Option<Arc<str>>,
    /// Namespaces whose pods it believes, a trailing `*` standing for any rest; empty: all.
    pub trusted_namespaces: Vec<Arc<str>>,
}

impl Rule {
    /// A rule that takes the value as it is, from everywhere.
    pub fn plain(origin: Origin) -> Self {
        let name = text::clean(&origin.to_string()).into();
        Self { name, origin, pattern: None, rename: None, trusted_namespaces: Vec::new() }
    }

    fn trusts(&self, namespace: Option<&str>) -> bool {
        let matches = |trusted: &Arc<str>| match (trusted.strip_suffix('*'), namespace) {
            (Some(start), Some(namespace)) => namespace.starts_with(start),
            (None, Some(namespace)) => **trusted == *namespace,
            (_, None) => false,
        };
        self.trusted_namespaces.is_empty() || self.trusted_namespaces.iter().any(matches)
    }

    /// The user that a value names.
    fn user(&self, value: &str) -> Option<Arc<str>> {
        let user = match &self.pattern {
            None => self.rename.as_deref().map_or(value.to_owned(), |to| to.replace("$0", value)),
            Some(pattern) => {
                let groups = pattern.captures(value)?;
                match &self.rename {
                    Some(to) => {
                        let mut out = String::new();
                        groups.expand(to, &mut out);
                        out
                    }
                    None => groups.get(usize::from(pattern.captures_len() > 1))?.as_str().to_owned(),
                }
            }
        };
        let user = text::clean(user.trim());
        // The account of what exceeds the limit is nobody's name.
        (!user.is_empty() && user != OTHER).then(|| user.into())
    }
}

/// All rules, in their order.
#[derive(Clone, Debug)]
pub struct Rules(Vec<Rule>);

impl Default for Rules {
    /// AstraGo's creator, JupyterHub's user, and outside containers the owner of the Slurm job or of the process.
    fn default() -> Self {
        let (annotation, label) =
            (|key: &str| Origin::Annotation(key.into()), |key: &str| Origin::Label(key.into()));
        let origins = [
            annotation("creator-user-name"),
            label("creator-id"),
            annotation("hub.jupyter.org/username"),
            label("hub.jupyter.org/username"),
            Origin::SlurmJobOwner,
            Origin::UnixUser,
        ];
        Self(origins.into_iter().map(Rule::plain).collect())
    }
}

/// What rules read of a session. What is not known, as opposed to not being there, is `None`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Subject<'a> {
    /// Where it runs.
    pub place: Option<&'a Place>,
    /// Real uid of the process.
    pub uid: Option<u32>,
    /// Namespace of the pod.
    pub namespace: Option<&'a str>,
    /// Labels and annotations of the pod.
    pub pod: Option<&'a Metadata>,
    /// Labels and annotations of its namespace.
    pub of_namespace: Option<&'a Metadata>,
}

/// Names of the host's users.
#[derive(Clone, Copy, Debug)]
pub struct HostUsers<'a> {
    /// Names by uid; a uid that is in neither has no name.
    pub names: &'a BTreeMap<u32, Arc<str>>,
    /// Uids whose names are not known yet.
    pub pending: &'a BTreeSet<u32>,
}

/// What the rules say of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is this user's, by this rule.
    User(Arc<str>, Arc<str>),
    /// No rule says whose it is.
    Nobody,
    /// A rule that comes first cannot be decided, for this reason, and may be at another time.
    Undecided(&'static str),
}

/// What a rule reads of one session.
enum Value<'a> {
    Is(&'a str),
    Owned(String),
    /// There is none, or the rule does not apply.
    None,
    Unknown(&'static str),
}

impl Rules {
    /// Rules in their order.
    pub fn new(rules: Vec<Rule>) -> Self {
        Self(rules)
    }

    /// What they read.
    pub fn origins(&self) -> impl Iterator<Item = &Origin> {
        self.0.iter().map(|rule| &rule.origin)
    }

    /// Asks the rules in their order.
    pub fn verdict(&self, subject: &Subject<'_>, users: HostUsers<'_>) -> Verdict {
        for rule in self.0.iter().filter(|rule| rule.trusts(subject.namespace)) {
            let value = match value(&rule.origin, subject, users) {
                Value::None => continue,
                Value::Unknown(reason) => return Verdict::Undecided(reason),
                Value::Is(value) => rule.user(value),
                Value::Owned(value) => rule.user(&value),
            };
            if let Some(user) = value {
                return Verdict::User(user, Arc::clone(&rule.name));
            }
        }
        Verdict::Nobody
    }
}

fn value<'a>(origin: &Origin, subject: &Subject<'a>, users: HostUsers<'a>) -> Value<'a> {
    let is = |found: Option<&'a Arc<str>>| found.map_or(Value::None, |value| Value::Is(value));
    let on_host = subject.place.is_some_and(|place| !place.is_containerised());
    match origin {
        Origin::Annotation(_)
        | Origin::Label(_)
        | Origin::NamespaceAnnotation(_)
        | Origin::NamespaceLabel(_)
            if subject.namespace.is_none() =>
        {
            Value::None
        }
        Origin::Annotation(key) => {
            subject.pod.map_or(Value::Unknown("metadata_unknown"), |pod| is(pod.annotations.get(key)))
        }
        Origin::Label(key) => {
            subject.pod.map_or(Value::Unknown("metadata_unknown"), |pod| is(pod.labels.get(key)))
        }
        Origin::NamespaceAnnotation(key) => subject
            .of_namespace
            .map_or(Value::Unknown("namespace_unknown"), |own| is(own.annotations.get(key))),
        Origin::NamespaceLabel(key) => {
            subject.of_namespace.map_or(Value::Unknown("namespace_unknown"), |own| is(own.labels.get(key)))
        }
        Origin::Namespace => subject.namespace.map_or(Value::None, Value::Is),
        Origin::SlurmJobOwner => match subject.place.filter(|place| place.kind == Kind::Slurm) {
            // Where the path does not name the owner the job's processes run as him; slurmstepd's own are root's.
            Some(place) => host_user(place.uid.or(subject.uid.filter(|uid| on_host && *uid != 0)), users),
            None => Value::None,
        },
        // A container's uid is its image's; whose slice it runs in is the host's.
        Origin::UnixUser => {
            match subject.place.filter(|place| !matches!(place.kind, Kind::Pod | Kind::Slurm)) {
                Some(place) if !on_host => host_user(place.uid, users),
                _ => host_user(subject.uid.filter(|_| on_host), users),
            }
        }
    }
}

fn host_user(uid: Option<u32>, users: HostUsers<'_>) -> Value<'_> {
    let Some(uid) = uid else { return Value::None };
    match users.names.get(&uid) {
        Some(name) => Value::Is(name),
        None if users.pending.contains(&uid) => Value::Unknown("user_pending"),
        None => Value::Owned(format!("uid:{uid}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(labels: &[(&str, &str)], annotations: &[(&str, &str)]) -> Metadata {
        let map = |list: &[(&str, &str)]| list.iter().map(|(k, v)| (Arc::from(*k), Arc::from(*v))).collect();
        Metadata { labels: map(labels), annotations: map(annotations) }
    }

    fn verdict(rules: &Rules, subject: &Subject<'_>) -> Verdict {
        let names = BTreeMap::from([(1000, Arc::from("alice"))]);
        let pending = BTreeSet::from([5000]);
        rules.verdict(subject, HostUsers { names: &names, pending: &pending })
    }

    fn user(name: &str, rule: &str) -> Verdict {
        Verdict::User(name.into(), rule.into())
    }

    fn in_pod<'a>(namespace: &'a str, pod: &'a Metadata) -> Subject<'a> {
        Subject { namespace: Some(namespace), pod: Some(pod), ..Subject::default() }
    }

    #[test]
    fn the_first_rule_that_says_something_decides() {
        let rules = Rules::default();
        let both = metadata(&[("creator-id", "42")], &[("creator-user-name", "alice")]);
        assert_eq!(verdict(&rules, &in_pod("team", &both)), user("alice", "annotation:creator-user-name"));
        let label = metadata(&[("creator-id", "42")], &[("creator-user-name", "  ")]);
        assert_eq!(verdict(&rules, &in_pod("team", &label)), user("42", "label:creator-id"));
        let hub = metadata(&[], &[("hub.jupyter.org/username", "carol")]);
        let rule = "annotation:hub.jupyter.org/username";
        assert_eq!(verdict(&rules, &in_pod("team", &hub)), user("carol", rule));
        assert_eq!(verdict(&rules, &in_pod("team", &Metadata::default())), Verdict::Nobody);
    }

    #[test]
    fn a_rule_that_cannot_be_decided_lets_no_later_one_speak() {
        let of_namespace = Rule::plain(Origin::NamespaceLabel("owner".into()));
        let rules = Rules::new(vec![of_namespace, Rule::plain(Origin::Namespace)]);
        let pod = Metadata::default();
        assert_eq!(verdict(&rules, &in_pod("team", &pod)), Verdict::Undecided("namespace_unknown"));
        let owned = metadata(&[("owner", "dave")], &[]);
        let known = Subject { of_namespace: Some(&owned), ..in_pod("team", &pod) };
        assert_eq!(verdict(&rules, &known), user("dave", "namespace_label:owner"));
        let bare = Metadata::default();
        let known = Subject { of_namespace: Some(&bare), ..in_pod("team", &pod) };
        assert_eq!(verdict(&rules, &known), user("team", "namespace"));
        let nameless = Subject { namespace: Some("team"), ..Subject::default() };
        assert_eq!(verdict(&Rules::default(), &nameless), Verdict::Undecided("metadata_unknown"));
    }

    #[test]
    fn patterns_extract_and_rename_and_what_does_not_match_goes_on() {
        let rule = |pattern: &str, rename: Option<&str>| Rule {
            pattern: Some(Regex::new(pattern).expect("a pattern")),
            rename: rename.map(Into::into),
            ..Rule::plain(Origin::Namespace)
        };
        let pod = Metadata::default();
        for (pattern, rename, wanted) in [
            ("^user-(.+)$", None, Some("kim")),
            ("^user-.+$", None, Some("user-kim")),
            ("^user-(?P<who>.+)$", Some("corp/${who}"), Some("corp/kim")),
            ("^(user)-(.+)$", Some("$2@$1"), Some("kim@user")),
            ("^team-", None, None),
        ] {
            let rules = Rules::new(vec![rule(pattern, rename)]);
            let wanted = wanted.map_or(Verdict::Nobody, |wanted| user(wanted, "namespace"));
            assert_eq!(verdict(&rules, &in_pod("user-kim", &pod)), wanted, "{pattern}");
        }
        let renamed = Rule { rename: Some("ns:$0".into()), ..Rule::plain(Origin::Namespace) };
        assert_eq!(verdict(&Rules::new(vec![renamed]), &in_pod("a", &pod)), user("ns:a", "namespace"));
    }

    #[test]
    fn a_rule_can_be_limited_to_trusted_namespaces() {
        let trusted = Rule {
            trusted_namespaces: vec!["astrago".into(), "user-*".into()],
            ..Rule::plain(Origin::Annotation("creator-user-name".into()))
        };
        let rules = Rules::new(vec![trusted, Rule::plain(Origin::Namespace)]);
        let forged = metadata(&[], &[("creator-user-name", "alice")]);
        assert_eq!(verdict(&rules, &in_pod("evil", &forged)), user("evil", "namespace"));
        for namespace in ["astrago", "user-7"] {
            let wanted = user("alice", "annotation:creator-user-name");
            assert_eq!(verdict(&rules, &in_pod(namespace, &forged)), wanted);
        }
        assert_eq!(verdict(&rules, &in_pod("astrago-2", &forged)), user("astrago-2", "namespace"));
    }

    #[test]
    fn hostile_values_are_cleaned_and_the_common_account_is_nobody() {
        let rules = Rules::default();
        let hostile = metadata(&[], &[("creator-user-name", "a\nb\u{1b}[2J")]);
        let wanted = user("a\u{fffd}b\u{fffd}[2J", "annotation:creator-user-name");
        assert_eq!(verdict(&rules, &in_pod("x", &hostile)), wanted);
        let other = metadata(&[], &[("creator-user-name", "_other")]);
        assert_eq!(verdict(&rules, &in_pod("x", &other)), Verdict::Nobody);
    }

    #[test]
    fn unix_users_are_those_of_the_host_only() {
        let rules = Rules::default();
        let (host, slurm, container) = (
            Place::default(),
            Place { kind: Kind::Slurm, uid: Some(1000), ..Place::default() },
            Place { kind: Kind::Container, ..Place::default() },
        );
        let of = |place, uid| Subject { place: Some(place), uid, ..Subject::default() };
        assert_eq!(verdict(&rules, &of(&host, Some(1000))), user("alice", "unix_user"));
        assert_eq!(verdict(&rules, &of(&host, Some(77))), user("uid:77", "unix_user"));
        assert_eq!(verdict(&rules, &of(&host, Some(5000))), Verdict::Undecided("user_pending"));
        assert_eq!(verdict(&rules, &of(&slurm, Some(0))), user("alice", "slurm_job_owner"));
        assert_eq!(verdict(&rules, &of(&container, Some(1000))), Verdict::Nobody);
        let rootless = Place { uid: Some(1000), ..container.clone() };
        assert_eq!(verdict(&rules, &of(&rootless, Some(100_000))), user("alice", "unix_user"));
        assert_eq!(verdict(&rules, &of(&host, None)), Verdict::Nobody);
    }
}
