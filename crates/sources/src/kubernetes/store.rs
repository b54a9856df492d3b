//! What is known of pods and namespaces, kept current by a watch and read without waiting for it.

use super::problem::Problem;
use super::slim::{SlimNamespace, SlimPod};
use crate::clock::Clock;
use crate::pods::{MAX_PODS, Wanted};
use gpu_session_core::sample::{Metadata, Pod, SourceError};
use k8s_openapi::jiff::Timestamp;
use kube::runtime::watcher::Event;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a deleted pod is kept for processes that outlive it: microseconds.
const KEEP_DELETED_US: i64 = 10 * 60 * 1_000_000;
/// Most deleted pods that are kept.
const MAX_DELETED: usize = 1_000;
/// A watch that was opened again and has not failed for so long is whole, though nothing changed.
const SETTLED: Duration = Duration::from_secs(2);

/// Objects of one kind, as they are kept.
pub(super) trait Table: Default + Send + 'static {
    /// As the API has them.
    type Object: kube::Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static;
    /// As samples have them.
    type Map: Send + Sync;
    /// What the API calls them.
    const WHAT: &'static str;

    fn apply(&mut self, object: &Self::Object, wanted: &Wanted);
    fn delete(&mut self, object: &Self::Object, wanted: &Wanted, now_us: i64);
    /// Takes the place of what was known before.
    fn replace(&mut self, old: Self, now_us: i64);
    /// Forgets what is over for long enough.
    fn purge(&mut self, now_us: i64);
    fn map(&self) -> &Arc<Self::Map>;
    /// What is missing in it.
    fn gaps(&self) -> &Gaps;
}

/// What is missing in a table.
#[derive(Default)]
pub(super) struct Gaps {
    /// Objects that are left out, or of which something is, for there is more than is kept.
    cut: BTreeSet<Arc<str>>,
    /// More of them than are counted here.
    more: bool,
    /// Something came that names no object.
    nameless: bool,
}

impl Gaps {
    /// The object is not kept as a whole, or now is.
    fn set(&mut self, id: &Arc<str>, is_cut: bool) {
        if !is_cut {
            self.cut.remove(id);
        } else if self.cut.len() < MAX_PODS {
            self.cut.insert(id.clone());
        } else {
            self.more |= !self.cut.contains(id);
        }
    }

    fn problem(&self, what: &str) -> Option<Problem> {
        if self.more || !self.cut.is_empty() {
            return Some(Problem::too_many(what, MAX_PODS));
        }
        self.nameless.then(|| Problem::nameless(what))
    }
}

/// Pods by the UID that their cgroups carry.
#[derive(Default)]
pub(super) struct Pods {
    /// Pods that there are, by the UID of the API's object, with the UID that their cgroups carry.
    live: BTreeMap<Arc<str>, (Arc<str>, Arc<Pod>)>,
    /// When the deleted ones of the map were seen to be gone, `CLOCK_BOOTTIME` in microseconds.
    deleted: BTreeMap<Arc<str>, i64>,
    map: Arc<BTreeMap<Arc<str>, Arc<Pod>>>,
    gaps: Gaps,
}

impl Pods {
    /// Puts into the map what lives under this key.
    fn publish(&mut self, key: &Arc<str>, newest: &Arc<Pod>) {
        let same = |pod: &Pod| pod.namespace == newest.namespace && pod.name == newest.name;
        // Only static pods are known by another UID than the API's, which any pod may claim: two are none.
        let rivals = self.live.values().any(|(other, pod)| other == key && !same(pod));
        if rivals {
            Arc::make_mut(&mut self.map).remove(key);
        } else if self.map.get(key) != Some(newest) {
            Arc::make_mut(&mut self.map).insert(key.clone(), newest.clone());
        }
        self.deleted.remove(key);
    }

    /// Takes a key from a pod that goes on under another one.
    fn withdraw(&mut self, key: &Arc<str>) {
        let heir = self.live.values().find(|(other, _)| other == key).map(|(_, pod)| pod.clone());
        match heir {
            Some(heir) => self.publish(key, &heir),
            None => _ = Arc::make_mut(&mut self.map).remove(key),
        }
    }

    /// Marks what the map has under this key.
    fn mark_deleted(&mut self, key: Arc<str>, now_us: i64) {
        let Some(pod) = self.map.get(&key).map(|pod| deleted(pod)) else { return };
        Arc::make_mut(&mut self.map).insert(key.clone(), pod);
        self.deleted.insert(key, now_us);
        self.bound();
    }

    fn bound(&mut self) {
        while self.deleted.len() > MAX_DELETED {
            let oldest = self.deleted.iter().min_by_key(|(_, when)| **when).map(|(key, _)| key.clone());
            let Some(key) = oldest else { break };
            self.deleted.remove(&key);
            Arc::make_mut(&mut self.map).remove(&key);
        }
    }
}

fn deleted(pod: &Pod) -> Arc<Pod> {
    Arc::new(Pod { deleted: true, ..pod.clone() })
}

impl Table for Pods {
    type Object = SlimPod;
    type Map = BTreeMap<Arc<str>, Arc<Pod>>;
    const WHAT: &'static str = "pods";

    fn apply(&mut self, object: &SlimPod, wanted: &Wanted) {
        let Some(named) = object.named(wanted) else {
            self.gaps.nameless = true;
            return;
        };
        let is_left_out = self.live.len() >= MAX_PODS && !self.live.contains_key(&named.uid);
        self.gaps.set(&named.uid, is_left_out || named.cut);
        if is_left_out {
            return;
        }
        let pod = Arc::new(named.pod);
        let before = self.live.insert(named.uid.clone(), (named.key.clone(), pod.clone()));
        if let Some((key, _)) = before.filter(|(key, _)| *key != named.key) {
            // Only a forger changes a static pod's hash; what it claimed goes at once.
            self.withdraw(&key);
        }
        if named.key == named.uid {
            if self.map.get(&named.key) != Some(&pod) {
                Arc::make_mut(&mut self.map).insert(named.key.clone(), pod);
            }
            self.deleted.remove(&named.key);
        } else {
            self.publish(&named.key, &pod);
        }
    }

    fn delete(&mut self, object: &SlimPod, wanted: &Wanted, now_us: i64) {
        let Some(named) = object.named(wanted) else { return };
        self.gaps.set(&named.uid, false);
        let Some((key, _)) = self.live.remove(&named.uid) else { return };
        let heir = self.live.values().find(|(other, _)| *other == key).map(|(_, pod)| pod.clone());
        match heir {
            Some(heir) => self.publish(&key, &heir),
            None => self.mark_deleted(key, now_us),
        }
    }

    fn replace(&mut self, old: Self, now_us: i64) {
        let gone: Vec<_> = old.map.iter().filter(|(key, _)| !self.live_has(key)).collect();
        for (key, pod) in gone {
            let when = old.deleted.get(key).copied().unwrap_or(now_us);
            let pod = if pod.deleted { pod.clone() } else { deleted(pod) };
            Arc::make_mut(&mut self.map).insert(key.clone(), pod);
            self.deleted.insert(key.clone(), when);
        }
        self.bound();
        if self.map == old.map {
            self.map = old.map;
        }
    }

    fn purge(&mut self, now_us: i64) {
        let over = |when: i64| now_us - when >= KEEP_DELETED_US;
        if !self.deleted.values().any(|when| over(*when)) {
            return;
        }
        let map = Arc::make_mut(&mut self.map);
        self.deleted.retain(|key, when| {
            if over(*when) {
                map.remove(key);
            }
            !over(*when)
        });
    }

    fn map(&self) -> &Arc<Self::Map> {
        &self.map
    }

    fn gaps(&self) -> &Gaps {
        &self.gaps
    }
}

impl Pods {
    fn live_has(&self, key: &Arc<str>) -> bool {
        // Nearly all are known by their own UID; what is left are the few static pods.
        self.live.contains_key(key) || self.live.values().any(|(other, _)| other == key)
    }
}

/// Namespaces by name.
#[derive(Default)]
pub(super) struct Namespaces {
    map: Arc<BTreeMap<Arc<str>, Metadata>>,
    gaps: Gaps,
}

impl Table for Namespaces {
    type Object = SlimNamespace;
    type Map = BTreeMap<Arc<str>, Metadata>;
    const WHAT: &'static str = "namespaces";

    fn apply(&mut self, object: &SlimNamespace, wanted: &Wanted) {
        let Some((name, metadata)) = object.named(wanted) else {
            self.gaps.nameless = true;
            return;
        };
        let is_left_out = self.map.len() >= MAX_PODS && !self.map.contains_key(&name);
        self.gaps.set(&name, is_left_out);
        if !is_left_out && self.map.get(&name) != Some(&metadata) {
            Arc::make_mut(&mut self.map).insert(name, metadata);
        }
    }

    fn delete(&mut self, object: &SlimNamespace, wanted: &Wanted, _: i64) {
        if let Some((name, _)) = object.named(wanted) {
            self.gaps.set(&name, false);
            Arc::make_mut(&mut self.map).remove(&name);
        }
    }

    fn replace(&mut self, old: Self, _: i64) {
        if self.map == old.map {
            self.map = old.map;
        }
    }

    fn purge(&mut self, _: i64) {}

    fn map(&self) -> &Arc<Self::Map> {
        &self.map
    }

    fn gaps(&self) -> &Gaps {
        &self.gaps
    }
}

/// A table that a watch fills and samples read.
pub(super) struct Store<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    clock: Clock,
    wanted: Wanted,
}

struct State<T> {
    /// `None` until the first whole list.
    table: Option<T>,
    /// A list that is not whole yet: it grows aside.
    filling: T,
    trouble: Option<Trouble>,
    /// When the server last said something of the table, Unix microseconds.
    heard_us: i64,
}

/// The watch is broken.
struct Trouble {
    /// Wall clock when it broke, Unix microseconds.
    since_us: i64,
    problem: Problem,
    /// When it was opened again, which proves nothing yet.
    resumed: Option<Instant>,
}

impl Trouble {
    fn is_over(&self) -> bool {
        self.resumed.is_some_and(|resumed| resumed.elapsed() >= SETTLED)
    }
}

/// What a store knows now.
pub(super) struct View<M> {
    /// `None` before the first whole list.
    pub(super) map: Option<Arc<M>>,
    /// When that was so, Unix microseconds; `None` for now.
    pub(super) as_of_us: Option<i64>,
    pub(super) error: Option<SourceError>,
}

impl<T: Table> Store<T> {
    pub(super) fn new(clock: Clock, wanted: Wanted) -> Self {
        let state = State { table: None, filling: T::default(), trouble: None, heard_us: 0 };
        Self { state: Mutex::new(state), changed: Condvar::new(), clock, wanted }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an event of the watch.
    pub(super) fn event(&self, event: Event<T::Object>) {
        let now_us = self.clock.monotonic_us();
        let mut guard = self.state();
        let state = &mut *guard;
        match event {
            Event::Init => {
                state.filling = T::default();
                return;
            }
            Event::InitApply(object) => {
                state.filling.apply(&object, &self.wanted);
                return;
            }
            Event::InitDone => {
                let mut table = std::mem::take(&mut state.filling);
                if let Some(old) = state.table.take() {
                    table.replace(old, now_us);
                }
                state.table = Some(table);
            }
            Event::Apply(object) => {
                if let Some(table) = &mut state.table {
                    table.apply(&object, &self.wanted);
                }
            }
            Event::Delete(object) => {
                if let Some(table) = &mut state.table {
                    table.delete(&object, &self.wanted, now_us);
                }
            }
        }
        state.trouble = None;
        state.heard_us = self.clock.now_us();
        self.changed.notify_all();
    }

    /// The watch broke.
    pub(super) fn broke(&self, problem: Problem) {
        self.broke_at(problem, self.clock.now_us());
    }

    /// The server could not be reached for a further watch: the last one may have been dead since it last said
    /// something.
    pub(super) fn lost(&self, problem: Problem) {
        let heard_us = self.state().heard_us;
        self.broke_at(problem, if heard_us == 0 { self.clock.now_us() } else { heard_us });
    }

    fn broke_at(&self, problem: Problem, now_us: i64) {
        let mut state = self.state();
        let since_us = match &state.trouble {
            Some(trouble) if !trouble.is_over() => trouble.since_us,
            _ => now_us,
        };
        state.trouble = Some(Trouble { since_us, problem, resumed: None });
        self.changed.notify_all();
    }

    /// The watch was opened again.
    pub(super) fn resumed(&self) {
        let now_us = self.clock.now_us();
        let mut state = self.state();
        state.heard_us = now_us;
        if let Some(trouble) = &mut state.trouble {
            trouble.resumed.get_or_insert_with(Instant::now);
        }
    }

    /// Waits for the first whole list, or for a problem that waiting will not mend.
    pub(super) fn wait(&self, until: Instant) {
        let mut state = self.state();
        let mends_itself = |trouble: &Trouble| trouble.problem.mends_itself();
        while state.table.is_none() && state.trouble.as_ref().is_none_or(mends_itself) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// What is known now.
    pub(super) fn view(&self) -> View<T::Map> {
        let now_us = self.clock.monotonic_us();
        let mut guard = self.state();
        let state = &mut *guard;
        if state.trouble.as_ref().is_some_and(Trouble::is_over) {
            state.trouble = None;
        }
        if let Some(table) = &mut state.table {
            table.purge(now_us);
        }
        let error = match (&state.trouble, &state.table) {
            (Some(trouble), table) => Some(said::<T>(trouble, table.is_some())),
            (None, None) => Some(Problem::pending(T::WHAT).error("none are known yet")),
            (None, Some(table)) => table.gaps().problem(T::WHAT).map(|problem| problem.error("")),
        };
        View {
            map: state.table.as_ref().map(|table| table.map().clone()),
            as_of_us: state.trouble.as_ref().map(|trouble| trouble.since_us),
            error,
        }
    }
}

fn said<T: Table>(trouble: &Trouble, known: bool) -> SourceError {
    let since =
        Timestamp::from_microsecond(trouble.since_us).map_or_else(|_| String::new(), |t| t.to_string());
    let what = T::WHAT;
    let kept =
        if known { format!("the last known {what} are used") } else { "none are known yet".to_owned() };
    trouble.problem.error(&format!("so since {since}, {kept}"))
}

#[cfg(test)]
mod tests;
