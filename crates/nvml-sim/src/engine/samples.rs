//! Utilisation of processes in the three ways that drivers have been seen to report it.

use std::ops::Range;

use super::{Context, Engine};
use crate::scenario::Style;

/// An entry, for one process or for several alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Host pids: one entry each.
    pub pids: Range<u32>,
    /// When the period ended, in microseconds since the anchor.
    pub at: i64,
    /// Percentages: SM, memory, encoder, decoder.
    pub percent: [u32; 4],
}

impl Engine {
    /// What `nvmlDeviceGetProcessUtilization` would report at `now` to a caller whose newest time stamp is
    /// `last_seen` (`None`: it has none), both in microseconds since the anchor.
    pub fn samples(&self, gpu: usize, last_seen: Option<i64>, now: i64) -> Vec<Sample> {
        let contexts = self.on_gpu(gpu);
        match self.scenario.utilization.style {
            Style::Ring => self.ring(contexts, last_seen, now),
            Style::Last => self.last(contexts, last_seen, now),
            Style::Average => average(contexts, last_seen, now),
        }
    }

    /// The time over which `nvmlDeviceGetUtilizationRates` averages at `now`: the last whole sample period.
    pub fn last_period(&self, now: i64) -> Range<i64> {
        let period = self.period();
        let end = now.div_euclid(period) * period;
        end - period..end
    }

    pub(super) fn period(&self) -> i64 {
        self.scenario.utilization.period.0
    }

    /// Numbers of the periods that ended after `last_seen`, are still kept, and are over.
    fn ticks(&self, last_seen: Option<i64>, now: i64) -> Range<i64> {
        let oldest = now - self.scenario.utilization.keep.0;
        let after = last_seen.map_or(oldest, |seen| seen.max(oldest));
        after.div_euclid(self.period()) + 1..now.div_euclid(self.period()) + 1
    }

    fn ring(&self, contexts: &[Context], last_seen: Option<i64>, now: i64) -> Vec<Sample> {
        let ticks = self.ticks(last_seen, now);
        let mut samples: Vec<_> = contexts
            .iter()
            .flat_map(|context| {
                clip(context, &ticks, self.period()).filter_map(|tick| self.tick(context, tick))
            })
            .collect();
        samples.sort_by_key(|sample| sample.at);
        samples
    }

    fn last(&self, contexts: &[Context], last_seen: Option<i64>, now: i64) -> Vec<Sample> {
        let ticks = self.ticks(last_seen, now);
        let running = contexts.iter().filter(|context| context.alive_at(now));
        running
            .filter_map(|context| {
                clip(context, &ticks, self.period()).rev().find_map(|tick| self.tick(context, tick))
            })
            .collect()
    }

    /// The entry of the period that ends at a tick, if anything was used.
    fn tick(&self, context: &Context, tick: i64) -> Option<Sample> {
        let period = self.period();
        entry(context, (tick - 1) * period, tick * period)
    }
}

/// Those ticks whose periods a context can have been in.
fn clip(context: &Context, ticks: &Range<i64>, period: i64) -> Range<i64> {
    let first = context.from.div_euclid(period) + 1;
    let end = if context.until == i64::MAX { i64::MAX } else { (context.until - 1).div_euclid(period) + 2 };
    ticks.start.max(first)..ticks.end.min(end)
}

fn average(contexts: &[Context], last_seen: Option<i64>, now: i64) -> Vec<Sample> {
    let running = contexts.iter().filter(|context| context.alive_at(now));
    running.filter_map(|context| entry(context, last_seen.unwrap_or(context.from), now)).collect()
}

fn entry(context: &Context, from: i64, to: i64) -> Option<Sample> {
    let used = context.integral(from, to);
    let percent = || used.mean_over(to - from).rounded();
    (from < to && !used.is_zero()).then(|| Sample { pids: context.pids.clone(), at: to, percent: percent() })
}
