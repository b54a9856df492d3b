//! From the entries of `nvmlDeviceGetProcessUtilization` to engine time by process.
//!
//! Drivers differ. Some return one entry per process (its last sample period, or an average since the last
//! reading): it stands for the time since that reading. Some return many from a ring: each stands for one
//! period of the ring, and their sum loses nothing.

use crate::sample::ActivityEntry;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Readings further apart than this are not bridged: the time before counts as unobserved.
pub const MAX_GAP_US: i64 = 15 * 60 * 1_000_000;

/// Longest sample period of a driver (NVML: 1/6 s to 1 s), with room for a late timer.
const MAX_PERIOD_US: i64 = 1_500_000;

/// How far ahead of our clock a driver's stamp may be.
const CLOCK_SLACK_US: i64 = 1_000_000;

/// Entries ahead of our clock by less than this may soon be taken for entries of now.
const NEAR_US: i64 = 15_000_000;

/// What is kept of a device between two readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// lastSeenTimeStamp of the next call.
    pub stamp_us: i64,
    /// Use is accounted for up to here.
    pub covered_us: i64,
    /// Whether this driver has been seen to answer with many entries per process.
    pub many: bool,
    /// Period of its ring, where known.
    pub period_us: Option<i64>,
    /// The wall clock was set since, and the ring may have entries with stamps of the old one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<ClockSet>,
}

/// The wall clock was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockSet {
    /// By how much, microseconds.
    pub by_us: i64,
    /// The newest stamp that was read before, by the old clock: older entries are counted.
    pub until_us: i64,
    /// Whether a reading was made since.
    pub read: bool,
}

impl Cursor {
    /// The wall clock was set by so much.
    pub(crate) fn clock_set(&mut self, by_us: i64) {
        if self.many {
            // A clock that is set twice within a ring is not followed: the second counts, the rest cannot be told.
            self.set = Some(ClockSet { by_us, until_us: self.stamp_us, read: false });
        }
        self.stamp_us = (self.stamp_us + by_us).max(0);
        self.covered_us = (self.covered_us + by_us).max(0);
    }
}

/// Use of one process over one stretch of time, as shares 0 to 1 of the whole stretch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slice {
    /// Start, Unix microseconds.
    pub from_us: i64,
    /// End, Unix microseconds.
    pub to_us: i64,
    /// SM, memory, encoder, decoder.
    pub shares: [f64; 4],
    /// Whether the shares are means over the whole stretch (a ring's entry), or one value that stands for
    /// it and holds only while the process was there.
    pub exact: bool,
}

impl Slice {
    /// Whether any engine worked in it.
    pub fn is_busy(&self) -> bool {
        self.shares.iter().any(|share| *share > 0.0)
    }
}

/// One answer, worked out.
#[derive(Clone, Debug)]
pub struct Integrated {
    /// The stretch of time that is accounted for; `None` for a first reading.
    pub window: Option<(i64, i64)>,
    /// Time before the window that nobody can account for, microseconds.
    pub unobserved_us: i64,
    /// For the next reading.
    pub next: Cursor,
    groups: Groups,
    now_us: i64,
}

/// Entries of one process in an answer.
pub struct ProcessUse<'a> {
    /// Pid.
    pub pid: u32,
    entries: &'a [ActivityEntry],
    from_us: i64,
    now_us: i64,
    /// Period of the ring, where the driver gives many entries.
    ring_us: Option<i64>,
}

/// Works out one answer of the driver, given what is known from the reading before.
///
/// `now_us` is the wall clock of the reading. Entries with values over 100 or stamps outside the time asked
/// for are discarded, for drivers return such.
pub fn integrate(previous: Option<Cursor>, entries: &[ActivityEntry], now_us: i64) -> Integrated {
    // A wall clock that was set back makes the old stamps useless: begin anew.
    let previous = previous.filter(|p| p.covered_us <= now_us + CLOCK_SLACK_US);
    if let Some((cursor, set)) = previous.and_then(|p| Some((p, p.set?))) {
        return after_clock_set(cursor, set, entries, now_us);
    }
    integrate_by_one_clock(previous, entries, now_us)
}

fn integrate_by_one_clock(previous: Option<Cursor>, entries: &[ActivityEntry], now_us: i64) -> Integrated {
    let since = previous.map_or(0, |p| p.stamp_us);
    let groups = Groups::new(entries, since, now_us);
    let many = previous.is_some_and(|p| p.many) || groups.iter().any(|(_, list)| list.len() > 1);
    let period_us = groups.period().or(previous.and_then(|p| p.period_us));
    let newest = groups.entries.iter().map(|e| e.time_us).max();

    let covered_us = match (many, period_us) {
        (true, Some(period)) => newest.unwrap_or(0).max(now_us - period).min(now_us),
        _ => now_us,
    };
    let covered_us = covered_us.max(previous.map_or(i64::MIN, |p| p.covered_us));
    let stamp_us = if many { newest.unwrap_or(since).max(since) } else { covered_us };
    let next = Cursor { stamp_us, covered_us, many, period_us, set: None };
    let window = previous.map(|p| (p.covered_us.max(covered_us - MAX_GAP_US), covered_us));
    let unobserved_us = previous.zip(window).map_or(0, |(p, (from, _))| from - p.covered_us);
    Integrated { window, unobserved_us, next, groups, now_us }
}

/// An answer in which stamps can be of the clock of before it was set.
///
/// The first reading still asked by the old clock: what it has from between the last reading and the change gets the
/// stamps of the new one. Set back, it has nothing since the change, which the next reading has; and that has
/// everything of before again, with stamps that lie ahead. While those are far ahead they are no matter; when they come
/// near, old and new cannot be told apart, and the time is unobserved.
fn after_clock_set(cursor: Cursor, set: ClockSet, entries: &[ActivityEntry], now_us: i64) -> Integrated {
    let passed_us = now_us - cursor.covered_us;
    let last_old_us = set.until_us + passed_us + CLOCK_SLACK_US;
    let plain = Cursor { set: None, ..cursor };
    if !set.read {
        let read = ClockSet { read: true, until_us: set.until_us + passed_us, ..set };
        if set.by_us.abs() <= passed_us + 2 * CLOCK_SLACK_US {
            return unreadable(Cursor { set: Some(read), ..cursor }, now_us);
        }
        let renewed = |entry: &ActivityEntry| {
            let by_us = if entry.time_us <= last_old_us { set.by_us } else { 0 };
            ActivityEntry { time_us: entry.time_us + by_us, ..*entry }
        };
        let entries: Vec<_> = entries.iter().map(renewed).collect();
        let mut done = integrate_by_one_clock(Some(plain), &entries, now_us);
        if set.by_us < 0 {
            // What came since the change is in the next answer.
            let newest = done.groups.entries.iter().map(|e| e.time_us).max().unwrap_or(cursor.covered_us);
            done.next.covered_us = newest.max(cursor.covered_us);
            done.next.stamp_us = done.next.covered_us;
            done.window = done.window.map(|(from, _)| (from, done.next.covered_us));
            done.next.set = Some(read);
        }
        return done;
    }
    let ahead = entries.iter().map(|e| e.time_us).filter(|at| *at > now_us + CLOCK_SLACK_US).min();
    let near = ahead.is_some_and(|at| at - now_us < NEAR_US);
    // Within the slack they no longer show as ahead.
    let last = (0..=CLOCK_SLACK_US).contains(&(set.until_us - now_us));
    if (near && now_us <= set.until_us) || last {
        return unreadable(cursor, now_us);
    }
    let mut done = integrate_by_one_clock(Some(plain), entries, now_us);
    done.next.set = ahead.map(|_| set);
    done
}

/// An answer of which nothing can be said.
fn unreadable(cursor: Cursor, now_us: i64) -> Integrated {
    let covered_us = now_us.max(cursor.covered_us);
    Integrated {
        window: None,
        unobserved_us: covered_us - cursor.covered_us,
        next: Cursor { stamp_us: covered_us, covered_us, ..cursor },
        groups: Groups { entries: Vec::new(), ends: Vec::new() },
        now_us,
    }
}

impl Integrated {
    /// What each process used within the window; nothing for a first reading.
    pub fn processes(&self) -> impl Iterator<Item = ProcessUse<'_>> {
        let Cursor { many, period_us, .. } = self.next;
        let ring_us = period_us.filter(|_| many);
        self.window.into_iter().flat_map(move |(from_us, _)| {
            let process =
                move |(pid, entries)| ProcessUse { pid, entries, from_us, now_us: self.now_us, ring_us };
            self.groups.iter().map(process)
        })
    }
}

impl ProcessUse<'_> {
    /// Its stretches of time, in order.
    pub fn slices(&self) -> impl Iterator<Item = Slice> {
        let from_us = self.from_us;
        let slice = |index| match self.ring_us {
            Some(period) => Some(self.ring_slice(index, period)),
            None => self.single_slice(index),
        };
        (0..self.entries.len()).filter_map(slice).filter(move |slice| slice.to_us > from_us)
    }

    /// Each entry of a ring stands for the time since the entry before it, or for one period after a pause.
    fn ring_slice(&self, index: usize, period: i64) -> Slice {
        let entry = &self.entries[index];
        let gap = index.checked_sub(1).map(|before| entry.time_us - self.entries[before].time_us);
        let length = gap.filter(|gap| *gap * 2 < period * 3).unwrap_or(period);
        Slice { from_us: entry.time_us - length, to_us: entry.time_us, shares: shares(entry), exact: true }
    }

    /// A single entry stands for the time since the last reading, up to its stamp or, when that is as recent
    /// as a sample period, up to now.
    fn single_slice(&self, index: usize) -> Option<Slice> {
        let entry = &self.entries[index];
        let recent = self.now_us - entry.time_us <= MAX_PERIOD_US;
        let to_us = if recent { self.now_us } else { entry.time_us };
        let newest = index + 1 == self.entries.len();
        newest.then(|| Slice { from_us: self.from_us, to_us, shares: shares(entry), exact: false })
    }
}

fn shares(entry: &ActivityEntry) -> [f64; 4] {
    [entry.sm, entry.mem, entry.enc, entry.dec].map(|percent| f64::from(percent) / 100.0)
}

/// Entries by pid, in time order within a pid, without those that cannot be.
#[derive(Clone, Debug)]
struct Groups {
    entries: Vec<ActivityEntry>,
    /// Pid, and where its entries end.
    ends: Vec<(u32, usize)>,
}

impl Groups {
    /// Drivers give entries in any order; a counting sort by pid touches each twice, and the time order
    /// within a pid is mostly there already.
    fn new(answer: &[ActivityEntry], since: i64, now_us: i64) -> Self {
        let sane = |entry: &&ActivityEntry| {
            [entry.sm, entry.mem, entry.enc, entry.dec].iter().all(|percent| *percent <= 100)
                && entry.time_us > since
                && entry.time_us <= now_us + CLOCK_SLACK_US
        };
        let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
        for entry in answer.iter().filter(sane) {
            *counts.entry(entry.pid).or_default() += 1;
        }
        let mut places = BTreeMap::new();
        let mut ends = Vec::with_capacity(counts.len());
        let mut total = 0;
        for (pid, count) in counts {
            places.insert(pid, total);
            total += count;
            ends.push((pid, total));
        }
        let mut entries = vec![ActivityEntry::default(); total];
        for entry in answer.iter().filter(sane) {
            if let Some(place) = places.get_mut(&entry.pid) {
                entries[*place] = *entry;
                *place += 1;
            }
        }
        let mut groups = Self { entries, ends };
        groups.order();
        groups
    }

    /// Puts each pid's entries in time order. Of entries with one stamp the later ones get no time.
    fn order(&mut self) {
        let mut begin = 0;
        for (_, end) in &self.ends {
            let list = &mut self.entries[begin..*end];
            if !list.is_sorted_by_key(|e| e.time_us) {
                list.sort_by_key(|e| e.time_us);
            }
            begin = *end;
        }
    }

    fn iter(&self) -> impl Iterator<Item = (u32, &[ActivityEntry])> {
        let begins = std::iter::once(0).chain(self.ends.iter().map(|(_, end)| *end));
        begins.zip(&self.ends).map(|(begin, (pid, end))| (*pid, &self.entries[begin..*end]))
    }

    /// The ring's period: the usual distance of neighbouring entries of a process. Longer distances are pauses.
    fn period(&self) -> Option<i64> {
        let gaps = || {
            let pairs = self.iter().flat_map(|(_, list)| list.windows(2));
            pairs
                .map(|pair| pair[1].time_us - pair[0].time_us)
                .filter(|gap| (1..=MAX_PERIOD_US).contains(gap))
        };
        let shortest = gaps().min()?;
        let usual = || gaps().filter(|gap| *gap * 2 < shortest * 3);
        let (sum, count) = usual().fold((0, 0), |(sum, count), gap| (sum + gap, count + 1));
        Some(sum / count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000;
    const T0: i64 = 1_700_000_000 * S;

    fn entry(pid: u32, time_us: i64, sm: u32) -> ActivityEntry {
        ActivityEntry { pid, time_us, sm, mem: 0, enc: 0, dec: 0 }
    }

    fn ring(pid: u32, from: i64, to: i64, period: i64, sm: u32) -> Vec<ActivityEntry> {
        (from / period + 1..=to / period).map(|k| entry(pid, k * period, sm)).collect()
    }

    fn slices(done: &Integrated) -> Vec<Slice> {
        done.processes().flat_map(|process| process.slices().collect::<Vec<_>>()).collect()
    }

    fn seconds(done: &Integrated, pid: u32) -> f64 {
        let of_pid = done.processes().filter(|process| process.pid == pid);
        of_pid
            .flat_map(|process| process.slices().collect::<Vec<_>>())
            .map(|s| s.shares[0] * (s.to_us - s.from_us) as f64 / 1e6)
            .sum()
    }

    #[test]
    fn a_ring_is_summed_without_loss_or_double_counting() {
        let period = S / 5;
        let mut cursor = integrate(None, &ring(7, T0 - 10 * S, T0, period, 75), T0).next;
        assert!(cursor.many);
        let mut total = 0.0;
        // Readings at odd moments; every entry must count exactly once.
        for step in 1..=60 {
            let now = T0 + step * S + (step * 137_731) % S;
            let answer = ring(7, cursor.stamp_us, now, period, 75);
            let done = integrate(Some(cursor), &answer, now);
            total += seconds(&done, 7);
            cursor = done.next;
        }
        let truth = 0.75 * (cursor.covered_us - T0) as f64 / 1e6;
        assert!((total - truth).abs() < 1e-6, "{total} {truth}");
    }

    #[test]
    fn one_entry_per_process_stands_for_the_time_since_the_last_reading() {
        let first = integrate(None, &[entry(7, T0 - S / 10, 50)], T0);
        assert_eq!(first.window, None);
        assert!(slices(&first).is_empty());
        let done = integrate(Some(first.next), &[entry(7, T0 + 59 * S + S / 2, 50)], T0 + 60 * S);
        assert!((seconds(&done, 7) - 30.0).abs() < 1e-9);
        // Its stamp is old: it did nothing after that.
        let idle = integrate(Some(done.next), &[entry(7, T0 + 80 * S, 50)], T0 + 120 * S);
        assert!((seconds(&idle, 7) - 10.0).abs() < 1e-9);
    }

    #[test]
    fn nobody_active_is_zero_use_over_a_known_window() {
        let first = integrate(None, &[], T0);
        let done = integrate(Some(first.next), &[], T0 + 5 * S);
        assert_eq!(done.window, Some((T0, T0 + 5 * S)));
        assert!(slices(&done).is_empty());
    }

    #[test]
    fn nonsense_entries_are_discarded() {
        let first = integrate(None, &[], T0);
        let bad = [entry(1, T0 + S, 101), entry(2, T0 - S, 50), entry(3, T0 + 60 * S, 50), entry(4, 0, 50)];
        assert!(slices(&integrate(Some(first.next), &bad, T0 + 5 * S)).is_empty());
    }

    #[test]
    fn a_long_absence_is_unobserved_not_extrapolated() {
        let first = integrate(None, &[], T0);
        let now = T0 + 24 * 3600 * S;
        let done = integrate(Some(first.next), &[entry(7, now, 100)], now);
        assert!((seconds(&done, 7) - MAX_GAP_US as f64 / 1e6).abs() < 1e-9);
        assert_eq!(done.unobserved_us, 24 * 3600 * S - MAX_GAP_US);
    }

    #[test]
    fn a_clock_set_back_begins_anew() {
        let cursor = Cursor { stamp_us: T0, covered_us: T0, many: true, period_us: Some(S), set: None };
        let done = integrate(Some(cursor), &[entry(7, T0 - 3600 * S, 50)], T0 - 3600 * S);
        assert_eq!(done.window, None);
        assert!(done.next.covered_us <= T0 - 3600 * S);
    }

    mod properties {
        use super::*;
        use proptest::prelude::*;

        proptest! {
            #[test]
            fn however_a_ring_is_read_the_sum_is_the_same(
                steps in prop::collection::vec(1_i64..20_000_000, 1..30),
                period in 100_000_i64..1_000_000,
                sm in 1_u32..=100,
            ) {
                let mut cursor = integrate(None, &ring(7, T0 - 3 * S, T0, period, sm), T0).next;
                let begin = cursor.stamp_us;
                let (mut now, mut total) = (T0, 0.0);
                for step in steps {
                    now += step;
                    let done = integrate(Some(cursor), &ring(7, cursor.stamp_us, now, period, sm), now);
                    total += seconds(&done, 7);
                    cursor = done.next;
                }
                let truth = f64::from(sm) / 100.0 * (cursor.stamp_us - begin) as f64 / 1e6;
                prop_assert!((total - truth).abs() < 1e-6, "{} {}", total, truth);
            }

            #[test]
            fn no_answer_makes_more_than_the_time_there_was(
                entries in prop::collection::vec((0_u32..5, -10 * S..20 * S, 0_u32..200), 0..60),
                gap in 0_i64..10_000_000,
                many in any::<bool>(),
            ) {
                let entries: Vec<_> = entries.into_iter().map(|(pid, at, sm)| entry(pid, T0 + at, sm)).collect();
                let cursor = Cursor { stamp_us: T0, covered_us: T0, many, period_us: many.then_some(S / 5), set: None };
                let done = integrate(Some(cursor), &entries, T0 + gap);
                prop_assert!(done.next.covered_us >= T0 && done.next.stamp_us >= T0);
                for slice in &slices(&done) {
                    prop_assert!(slice.from_us < slice.to_us);
                    prop_assert!(slice.shares.iter().all(|share| (0.0..=1.0).contains(share)));
                    // A period before the window and the clock's slack after it are the most that can be off.
                    prop_assert!(slice.from_us >= T0 - MAX_PERIOD_US && slice.to_us <= T0 + gap + CLOCK_SLACK_US);
                }
            }
        }
    }
}
