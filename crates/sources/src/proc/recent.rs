//! Processes seen a while ago: who had a pid that is named only after its process is gone.

use gpu_session_core::sample::{PastProcess, Process};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Processes that are kept at most.
const MOST: usize = 4096;
/// Bytes of their names and cgroups: who makes cgroups chooses the length of their paths.
const MOST_BYTES: usize = 4 << 20;
/// How long one is kept after it was last seen, microseconds.
const LONGEST_US: i64 = 15 * 60 * 1_000_000;
/// How often the old ones are looked for, microseconds.
const SWEEP_US: i64 = 60 * 1_000_000;

/// What the readers of processes know together; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Recent(Arc<Mutex<Cache>>);

impl Recent {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Cache> {
        // Each change is whole before anything can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Several processes per pid, the oldest first.
#[derive(Debug)]
pub(crate) struct Cache {
    by_pid: HashMap<u32, Vec<Entry>>,
    count: usize,
    bytes: usize,
    /// Counts what was seen, for the order.
    turn: u64,
    swept_us: i64,
    most: usize,
}

/// Who saw a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// The driver named it: it is forgotten last when room is needed.
    Driver,
    /// It began another program. What looked like its end before was that of its first thread only, whose place the
    /// thread that called exec took.
    Exec,
}

#[derive(Debug)]
struct Entry {
    start: u64,
    seen_us: i64,
    turn: u64,
    named: bool,
    known: PastProcess,
}

impl Entry {
    fn bytes(&self) -> usize {
        let process = &self.known.process;
        let length = |text: &Option<Arc<str>>| text.as_deref().map_or(0, str::len);
        length(&process.command) + length(&process.cgroup)
    }

    /// Whether it says anything of its process but its start.
    fn says_something(&self) -> bool {
        let process = &self.known.process;
        process.command.is_some() || process.cgroup.is_some() || self.known.ended_us.is_some()
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self { by_pid: HashMap::new(), count: 0, bytes: 0, turn: 0, swept_us: 0, most: MOST }
    }
}

impl Cache {
    /// One that was read in full, at a moment of the clock that is never set.
    pub(crate) fn insert(&mut self, pid: u32, process: &Process, by: By, now_us: i64) {
        let Some(start) = process.start_ticks else { return };
        let entry = self.entry(pid, start, now_us);
        entry.named |= by == By::Driver;
        if by == By::Exec {
            (entry.known.ended_us, entry.known.wait_status) = (None, None);
        }
        let before = entry.bytes();
        let known = &mut entry.known.process;
        // What was readable once stays: an exiting process has no cgroup any more.
        known.command = process.command.clone().or(known.command.take());
        known.uid = process.uid.or(known.uid);
        known.cgroup = process.cgroup.clone().or(known.cgroup.take());
        let after = entry.bytes();
        self.bytes = self.bytes - before + after;
        self.make_room(now_us);
    }

    /// One of the driver's that runs still; it costs no allocation where it is known.
    pub(crate) fn touch(&mut self, pid: u32, start: u64, now_us: i64) {
        // One of which others know the rest is worth an entry for its end, but not the room of one that is whole.
        let known =
            || self.by_pid.get(&pid).is_some_and(|of_pid| of_pid.iter().any(|entry| entry.start == start));
        if self.count < self.most || known() {
            self.entry(pid, start, now_us).named = true;
        }
    }

    /// A thread of the process that has the pid ended. The process ends with its first one, or where others outlive
    /// that with the last.
    pub(crate) fn exited(&mut self, pid: u32, first_thread: bool, ended_us: i64, wait_status: u32) {
        if let Some(entry) = self.by_pid.get_mut(&pid).and_then(|entries| entries.last_mut())
            && entry.known.ended_us.is_some() != first_thread
        {
            (entry.known.ended_us, entry.known.wait_status) = (Some(ended_us), Some(wait_status));
        }
    }

    /// What is known of processes that had the pid and are not the one that runs now, the oldest first.
    pub(crate) fn past(&self, pid: u32, running: Option<u64>) -> Vec<PastProcess> {
        let entries = self.by_pid.get(&pid).into_iter().flatten();
        let past = entries.filter(|entry| Some(entry.start) != running && entry.says_something());
        past.map(|entry| entry.known.clone()).collect()
    }

    /// Forgets those that nobody has seen for long.
    pub(crate) fn sweep(&mut self, now_us: i64) {
        if (0..SWEEP_US).contains(&(now_us - self.swept_us)) {
            return;
        }
        self.swept_us = now_us;
        self.retain(|entry| now_us - entry.seen_us <= LONGEST_US);
    }

    /// The entry of a process that is seen now, a new one where there is none.
    fn entry(&mut self, pid: u32, start: u64, now_us: i64) -> &mut Entry {
        self.turn += 1;
        let of_pid = self.by_pid.entry(pid).or_default();
        let at = of_pid.binary_search_by_key(&start, |entry| entry.start).unwrap_or_else(|at| {
            let process = Process { start_ticks: Some(start), ..Process::default() };
            let known = PastProcess { process, ..PastProcess::default() };
            of_pid.insert(at, Entry { start, seen_us: now_us, turn: 0, named: false, known });
            self.count += 1;
            at
        });
        let entry = &mut of_pid[at];
        (entry.seen_us, entry.turn) = (now_us, self.turn);
        entry
    }

    /// Where the bounds are exceeded, forgets a quarter, so that the search for the oldest is seldom: first those that
    /// the driver never named, of them those unseen for longest.
    fn make_room(&mut self, now_us: i64) {
        self.sweep(now_us);
        while self.count > self.most || self.bytes > MOST_BYTES {
            let all = self.by_pid.values().flatten();
            let mut order: Vec<_> = all.map(|entry| (entry.named, entry.turn)).collect();
            let quarter = order.len() / 4;
            let last = *order.select_nth_unstable(quarter).1;
            self.retain(|entry| (entry.named, entry.turn) > last);
        }
    }

    fn retain(&mut self, keep: impl Fn(&Entry) -> bool) {
        for entries in self.by_pid.values_mut() {
            entries.retain(&keep);
        }
        self.by_pid.retain(|_, entries| !entries.is_empty());
        let all = self.by_pid.values().flatten();
        (self.count, self.bytes) = all.fold((0, 0), |(n, bytes), entry| (n + 1, bytes + entry.bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn process(start: u64, cgroup: &str) -> Process {
        Process {
            start_ticks: Some(start),
            cgroup: Some(cgroup.into()),
            command: Some("x".into()),
            uid: Some(1),
        }
    }

    fn cache(most: usize) -> Cache {
        Cache { most, ..Cache::default() }
    }

    fn starts(cache: &Cache, pid: u32, running: Option<u64>) -> Vec<u64> {
        cache.past(pid, running).iter().filter_map(|past| past.process.start_ticks).collect()
    }

    #[test]
    fn of_one_pid_the_oldest_comes_first_and_the_running_one_not() {
        let mut cache = cache(10);
        for start in [200, 100, 300] {
            cache.insert(7, &process(start, "a"), By::Driver, 0);
        }
        assert_eq!(starts(&cache, 7, Some(300)), [100, 200]);
        assert_eq!(starts(&cache, 7, None), [100, 200, 300]);
        assert_eq!(starts(&cache, 8, None), [0; 0]);
    }

    #[test]
    fn what_was_readable_once_stays() {
        let mut cache = cache(10);
        cache.insert(7, &process(1, "a"), By::Exec, 0);
        let exiting = Process { cgroup: None, command: Some("y".into()), ..process(1, "") };
        cache.insert(7, &exiting, By::Driver, 0);
        let past = &cache.past(7, None)[0].process;
        assert_eq!((past.cgroup.as_deref(), past.command.as_deref()), (Some("a"), Some("y")));
    }

    #[test]
    fn one_is_forgotten_a_quarter_of_an_hour_after_it_was_last_seen() {
        let mut cache = cache(10);
        cache.insert(7, &process(1, "a"), By::Driver, 0);
        cache.insert(8, &process(1, "a"), By::Driver, 0);
        for minute in 1..=15 {
            cache.touch(7, 1, minute * 60 * SECOND);
            cache.sweep(minute * 60 * SECOND);
        }
        assert_eq!((starts(&cache, 8, None).len(), cache.count), (1, 2));
        cache.sweep(16 * 60 * SECOND);
        assert_eq!((starts(&cache, 7, None).len(), starts(&cache, 8, None).len()), (1, 0));
        assert_eq!((cache.count, cache.bytes), (1, 2));
    }

    #[test]
    fn a_storm_of_programs_pushes_out_none_that_the_driver_named() {
        let mut cache = cache(100);
        for pid in 0..50 {
            cache.insert(pid, &process(1, "a"), By::Driver, 0);
        }
        for pid in 1000..100_000 {
            cache.insert(pid, &process(1, "a"), By::Exec, 1);
            assert!(cache.count <= 100);
        }
        assert!((0..50).all(|pid| starts(&cache, pid, None) == [1]));
        assert_eq!(starts(&cache, 99_999, None), [1], "the last one is there");
        for pid in 200_000..201_000 {
            cache.insert(pid, &process(1, "a"), By::Driver, 2);
            assert!(cache.count <= 100);
        }
        assert_eq!((starts(&cache, 0, None).len(), starts(&cache, 200_999, None).len()), (0, 1));
    }

    #[test]
    fn long_paths_do_not_take_more_room() {
        let mut cache = cache(MOST);
        let long = "x".repeat(64 << 10);
        for pid in 0..1000 {
            cache.insert(pid, &process(1, &long), By::Driver, 0);
            assert!(cache.bytes <= MOST_BYTES);
        }
        let held: usize = cache.by_pid.values().flatten().map(Entry::bytes).sum();
        assert_eq!((held, starts(&cache, 999, None).len()), (cache.bytes, 1));
    }

    #[test]
    fn one_of_which_others_know_the_rest_is_told_for_its_end_only() {
        let mut cache = cache(2);
        cache.touch(7, 1, 0);
        assert_eq!(cache.past(7, None), []);
        cache.exited(7, true, 5, 9);
        assert_eq!((cache.past(7, None)[0].ended_us, cache.past(7, None)[0].wait_status), (Some(5), Some(9)));
        cache.insert(8, &process(1, "a"), By::Exec, 0);
        cache.touch(9, 1, 0);
        assert_eq!((cache.count, starts(&cache, 8, None).len()), (2, 1), "it takes nobody's room");
    }

    #[test]
    fn a_process_ends_with_its_first_thread_or_the_last_that_outlives_it() {
        let mut cache = cache(10);
        cache.insert(7, &process(1, "a"), By::Exec, 0);
        let end = |cache: &Cache| (cache.past(7, None)[0].ended_us, cache.past(7, None)[0].wait_status);
        cache.exited(7, false, 1, 0);
        assert_eq!(end(&cache), (None, None), "a thread among others");
        cache.exited(7, true, 2, 0);
        cache.exited(7, false, 3, 1 << 8);
        assert_eq!(end(&cache), (Some(3), Some(1 << 8)));
        cache.exited(7, true, 4, 9);
        assert_eq!(end(&cache), (Some(3), Some(1 << 8)), "another process, that was not read");
        cache.insert(7, &process(1, "a"), By::Driver, 0);
        assert_eq!(end(&cache), (Some(3), Some(1 << 8)), "read before it ended, told after");
        cache.insert(7, &process(1, "a"), By::Exec, 0);
        assert_eq!(end(&cache), (None, None), "another thread went on with another program");
        cache.exited(8, true, 1, 0);
        assert_eq!(cache.past(8, None), [], "what nobody read is not kept");
    }
}
