//! Accounting: what each process used over its life, kept in a ring.

use super::{Context, Engine};

/// Somebody has switched accounting on or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switch {
    /// When, in microseconds since the anchor.
    pub at: i64,
    /// On or off.
    pub on: bool,
}

/// What is recorded of a process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Account {
    /// Host pid.
    pub pid: u32,
    /// When its context was opened, or accounting was switched on, whatever came later.
    pub start: i64,
    /// When its context was closed.
    pub end: Option<i64>,
    /// Percentage of its life in which its kernels ran.
    pub sm: f64,
    /// Percentage of its life in which it read or wrote memory.
    pub mem: f64,
    /// The most memory that it held; `None` where the driver could never tell.
    pub most_memory: Option<u64>,
    /// Sample periods of its life that are over.
    pub samples: u32,
    /// Percentages of those periods, summed: SM and memory.
    pub sums: [f64; 2],
}

/// Positions of contexts in the order of their opening; of those opened together, in the scenario's order.
pub(super) fn openings(contexts: &[Context]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..contexts.len()).collect();
    order.sort_by_key(|position| contexts[*position].from);
    order
}

impl Engine {
    /// Since when accounting has been on; `None` if it is off. The driver comes with it off, and only before the
    /// scenario can it have been switched on by somebody else. Switches are in the order of time.
    pub fn accounting_since(&self, gpu: usize, switches: &[Switch], now: i64) -> Option<i64> {
        let enabled = self.scenario.gpus.get(gpu)?.accounting.enabled;
        let loaded = self.driver_at(now).since;
        let begin = loaded.unwrap_or(i64::MIN);
        let mut since = (enabled && loaded.is_none()).then_some(begin);
        for switch in switches.iter().filter(|switch| begin <= switch.at && switch.at <= now) {
            since = if switch.on { since.or(Some(switch.at)) } else { None };
        }
        since
    }

    /// The pids that are recorded at a moment, the oldest first, each once.
    pub fn accounted(&self, gpu: usize, since: i64, now: i64) -> Vec<u32> {
        let mut seen = std::collections::HashSet::new();
        let ring = self.ring_of(gpu, since, now).map(|(pid, _)| pid);
        let mut pids: Vec<u32> = ring.filter(|pid| seen.insert(*pid)).collect();
        pids.reverse();
        pids
    }

    /// What is recorded of a pid: of its newest process.
    pub fn account(&self, gpu: usize, pid: u32, since: i64, now: i64) -> Option<Account> {
        let (_, context) = self.ring_of(gpu, since, now).find(|(recorded, _)| *recorded == pid)?;
        Some(self.account_of(context, pid, since, now))
    }

    /// The entries of the ring, the newest first. An entry whose pid has come again still takes its place.
    fn ring_of(&self, gpu: usize, since: i64, now: i64) -> impl Iterator<Item = (u32, &Context)> {
        let room = self.scenario.gpus.get(gpu).map_or(0, |gpu| gpu.accounting.buffer);
        let contexts = self.on_gpu(gpu);
        let order = self.openings.get(gpu).map_or(&[][..], Vec::as_slice);
        let opened = order.iter().rev().map(|position| &contexts[*position]);
        let recorded = opened.filter(move |context| context.from <= now && since < context.until);
        recorded
            .flat_map(|context| context.pids.clone().rev().map(move |pid| (pid, context)))
            .take(room as usize)
    }

    fn account_of(&self, context: &Context, pid: u32, since: i64, now: i64) -> Account {
        let start = context.from.max(since);
        let end = (context.until <= now).then_some(context.until);
        let until = end.unwrap_or(now);
        let whole = context.integral(start, until).mean_over(until - start);
        // The period of the opening is the first sample, and that of the closing the last.
        let period = self.period();
        let first = start.div_euclid(period);
        let last = end.map_or(i64::MAX, |end| (end - 1).div_euclid(period) + 1).min(now.div_euclid(period));
        let sampled = context.integral(start, until.min(last * period));
        let memory = context.segments_within(start, until.max(start + 1));
        Account {
            pid,
            start,
            end,
            sm: whole.sm,
            mem: whole.mem,
            most_memory: memory.filter_map(|(_, segment)| segment.memory.bytes()).max(),
            samples: u32::try_from((last - first).max(0)).unwrap_or(u32::MAX),
            sums: [sampled.sm, sampled.mem].map(|integral| integral / period as f64),
        }
    }
}
