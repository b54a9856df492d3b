//! A GPU whose truth is known: processes that work for some time, a ring of their use, energy.

use crate::samples::{BOOT_US, HZ, bare, plain_device};
use gpu_session_core::monitor::Monitor;
use gpu_session_core::sample::{Activity, ActivityEntry, DeviceProcess, PastProcess, Process, Sample};
use gpu_session_core::state::State;
use std::collections::BTreeMap;

pub(crate) const S: i64 = 1_000_000;
/// Of the driver's ring.
const PERIOD: i64 = S / 5;
const KEEP: i64 = 120 * S;

/// A process, in seconds after the start of the model.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) pid: u32,
    pub(crate) from: i64,
    pub(crate) until: i64,
    /// Percent.
    pub(crate) sm: u32,
    pub(crate) memory: u64,
    pub(crate) uid: u32,
    pub(crate) cgroup: &'static str,
}

impl Job {
    pub(crate) fn new(pid: u32, from: i64, until: i64, sm: u32) -> Self {
        Self { pid, from, until, sm, memory: 1 << 30, uid: 1000, cgroup: "0::/user.slice/x.scope\n" }
    }

    fn process(&self) -> Process {
        Process {
            start_ticks: Some(((3600 + self.from) * HZ) as u64),
            command: Some("job".into()),
            uid: Some(self.uid),
            cgroup: Some(self.cgroup.into()),
        }
    }
}

/// The node: an hour after its boot when the model begins.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) jobs: Vec<Job>,
    /// Whether processes that are over are remembered by whoever reads /proc.
    pub(crate) remembers: bool,
    /// What was added to the wall clock, and when: stamps of before keep the old one.
    pub(crate) clock_set: Option<(i64, i64)>,
    /// Millijoules at a moment.
    pub(crate) energy: Option<fn(i64) -> u64>,
    pub(crate) state: State,
}

impl Model {
    pub(crate) fn new(jobs: &[Job]) -> Self {
        Self { jobs: jobs.to_vec(), ..Self::default() }
    }

    /// Wall clock at a second of the model.
    pub(crate) fn wall(&self, at_us: i64) -> i64 {
        let set = self.clock_set.filter(|(when, _)| at_us >= *when * S).map_or(0, |(_, by)| by);
        BOOT_US + 3600 * S + at_us + set
    }

    fn ring(&self, since_us: i64, now: i64) -> Vec<ActivityEntry> {
        let mut entries = Vec::new();
        for job in self.jobs.iter().filter(|job| job.sm > 0) {
            let ends =
                (1..).map(|k| job.from * S + k * PERIOD).take_while(|end| *end <= (job.until * S).min(now));
            let kept = ends.filter(|end| *end > now - KEEP);
            let entry = |end| ActivityEntry {
                pid: job.pid,
                time_us: self.wall(end),
                sm: job.sm,
                ..ActivityEntry::default()
            };
            entries.extend(kept.map(entry).filter(|entry| entry.time_us > since_us));
        }
        entries
    }

    /// What the sources say at a second.
    pub(crate) fn sample(&self, second: i64) -> Sample {
        let now = second * S;
        let request = Monitor::request(&self.state);
        let here = || self.jobs.iter().filter(|job| job.from <= second && second < job.until);
        let listed =
            here().map(|job| DeviceProcess { pid: job.pid, memory_bytes: Some(job.memory) }).collect();
        let mut device = plain_device(0, listed);
        let since_us = request.since_us.get("GPU-0").copied().unwrap_or(self.wall(now) - 3 * S);
        device.activity = Activity::Entries { since_us, entries: self.ring(since_us, now) };
        device.energy_millijoules = self.energy.map(|energy| energy(second));
        let over = self.jobs.iter().filter(|job| self.remembers && job.until <= second);
        let mut past: BTreeMap<u32, Vec<PastProcess>> = BTreeMap::new();
        for job in over {
            let known = PastProcess { process: job.process(), ..PastProcess::default() };
            past.entry(job.pid).or_default().push(known);
        }
        Sample {
            time_us: self.wall(now),
            monotonic_us: 3600 * S + now,
            boot_us: Some(self.wall(now) - 3600 * S - now),
            processes: Some(here().map(|job| (job.pid, job.process())).collect()),
            past,
            users: BTreeMap::from([(1000, "alice".into()), (1001, "bob".into())]),
            ..bare(now, vec![device])
        }
    }

    /// Takes the sample of a second, without counting.
    pub(crate) fn step(&mut self, monitor: &Monitor, second: i64) -> bool {
        let sample = self.sample(second);
        monitor.step(&mut self.state, &sample)
    }

    /// Takes samples, and counts at each.
    pub(crate) fn run(&mut self, monitor: &Monitor, seconds: impl IntoIterator<Item = i64>) {
        for second in seconds {
            self.step(monitor, second);
            monitor.settle(&mut self.state);
        }
    }

    /// A figure of a user, or 0 where there is none.
    pub(crate) fn user(
        &self,
        user: &str,
        of: fn(&gpu_session_core::accounting::Usage) -> Option<gpu_session_core::accounting::Counter>,
    ) -> f64 {
        let all = self.state.users.iter().filter(|((_, name), _)| &**name == user);
        all.filter_map(|(_, usage)| of(usage)).map(|counter| counter.value).sum()
    }
}
