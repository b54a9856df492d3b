//! Objects and their history by resource version.

use super::Kind;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Changes that are kept; older ones are forgotten as etcd's compaction forgets them.
const KEPT: usize = 5_000;

/// What names an object. The order is that of lists.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) kind: Kind,
    /// Empty for what has no namespace.
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    pub(crate) fn pod(namespace: &str, name: &str) -> Self {
        Self { kind: Kind::Pods, namespace: namespace.to_owned(), name: name.to_owned() }
    }

    pub(crate) fn node(name: &str) -> Self {
        Self { kind: Kind::Nodes, namespace: String::new(), name: name.to_owned() }
    }

    pub(crate) fn namespace(name: &str) -> Self {
        Self { kind: Kind::Namespaces, namespace: String::new(), name: name.to_owned() }
    }
}

/// One change of one object.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) version: u64,
    pub(crate) key: Key,
    /// `None` where it is new.
    pub(crate) before: Option<Arc<Value>>,
    /// `None` where it is gone.
    pub(crate) after: Option<Arc<Value>>,
}

#[derive(Debug)]
pub(crate) struct Store {
    /// The newest resource version.
    pub(crate) version: u64,
    /// Who asks for a version below this one is told that it is too old.
    pub(crate) compacted: u64,
    /// Changes up to this version are no longer there.
    pub(crate) forgotten: u64,
    objects: BTreeMap<Key, Arc<Value>>,
    history: VecDeque<Change>,
}

impl Store {
    pub(crate) fn new() -> Self {
        // A real cluster's versions are large and shared by all kinds.
        Self {
            version: 48_213,
            compacted: 0,
            forgotten: 0,
            objects: BTreeMap::new(),
            history: VecDeque::new(),
        }
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Arc<Value>> {
        self.objects.get(key)
    }

    /// Adds or replaces an object.
    pub(crate) fn put(&mut self, key: Key, mut object: Value) {
        self.version += 1;
        // A test may put in what is no object at all.
        if let Some(metadata) =
            object.as_object_mut().map(|object| object.entry("metadata").or_insert(json!({})))
            && let Some(metadata) = metadata.as_object_mut()
        {
            metadata.insert("resourceVersion".to_owned(), json!(self.version.to_string()));
        }
        let object = Arc::new(object);
        let before = self.objects.insert(key.clone(), Arc::clone(&object));
        self.remember(Change { version: self.version, key, before, after: Some(object) });
    }

    /// Takes an object away; says whether it was there.
    pub(crate) fn remove(&mut self, key: &Key) -> bool {
        let Some(before) = self.objects.remove(key) else { return false };
        self.version += 1;
        self.remember(Change { version: self.version, key: key.clone(), before: Some(before), after: None });
        true
    }

    fn remember(&mut self, change: Change) {
        self.history.push_back(change);
        if self.history.len() > KEPT
            && let Some(oldest) = self.history.pop_front()
        {
            self.forgotten = oldest.version;
            self.compacted = self.compacted.max(oldest.version);
        }
    }

    /// Forgets the past: a request for a version older than this moment's is answered with 410.
    pub(crate) fn compact(&mut self) {
        self.compacted = self.version;
    }

    /// All objects of a kind, in the order of lists.
    pub(crate) fn list(&self, kind: Kind) -> Vec<Arc<Value>> {
        let mine = self.objects.iter().filter(|(key, _)| key.kind == kind);
        mine.map(|(_, object)| Arc::clone(object)).collect()
    }

    /// All objects of a kind as they were at a version.
    pub(crate) fn list_at(&self, kind: Kind, version: u64) -> Vec<Arc<Value>> {
        let mut objects = self.objects.clone();
        for change in self.history.iter().rev().take_while(|change| change.version > version) {
            match &change.before {
                Some(before) => objects.insert(change.key.clone(), Arc::clone(before)),
                None => objects.remove(&change.key),
            };
        }
        objects.into_iter().filter(|(key, _)| key.kind == kind).map(|(_, object)| object).collect()
    }

    /// Changes of a kind after a version.
    pub(crate) fn since(&self, kind: Kind, version: u64) -> Vec<Change> {
        let first = self.history.partition_point(|change| change.version <= version);
        self.history.range(first..).filter(|change| change.key.kind == kind).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_much_of_the_past_is_kept() {
        let mut store = Store::new();
        let first = store.version + 1;
        for index in 0..=KEPT {
            store.put(Key::pod("n", "p"), json!({ "index": index }));
        }
        assert_eq!((store.forgotten, store.compacted, store.history.len()), (first, first, KEPT));
        assert_eq!(store.since(Kind::Pods, first).len(), KEPT);
        assert_eq!(store.list_at(Kind::Pods, first)[0]["index"], 0);
        assert_eq!(store.list(Kind::Pods)[0]["index"], KEPT);
        assert!(store.since(Kind::Namespaces, 0).is_empty());
    }

    #[test]
    fn the_past_is_as_it_was() {
        let mut store = Store::new();
        store.put(Key::pod("n", "a"), json!({ "is": "old" }));
        store.put(Key::pod("n", "b"), json!({}));
        let then = store.version;
        store.put(Key::pod("n", "a"), json!({ "is": "new" }));
        assert!(store.remove(&Key::pod("n", "b")) && !store.remove(&Key::pod("n", "b")));
        store.put(Key::pod("n", "c"), json!({}));
        let past = store.list_at(Kind::Pods, then);
        assert_eq!((past.len(), &past[0]["is"]), (2, &json!("old")));
        assert_eq!(store.list(Kind::Pods).len(), 2);
    }
}
