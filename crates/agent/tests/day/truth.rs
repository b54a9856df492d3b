//! What really happens on the day.

use crate::{DAY, EPOCH};
use nvml_sim::proc_tree::ProcTree;
use nvml_sim::scenario::Scenario;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// Of a day of 24 hours.
const SESSIONS: i64 = 20_000;
/// Plain GPUs; the one after them is in MIG mode.
const GPUS: u32 = 7;
pub(crate) const USERS: u32 = 40;
/// Seconds that the node has been up when the day begins.
pub(crate) const BOOT: i64 = 3600;

/// When the driver is away, seconds of the day.
fn reloads() -> [(i64, i64); 2] {
    [*DAY / 4, *DAY * 3 / 4].map(|from| (from, from + 40))
}

/// When the second MIG instance gives way to another of its ids.
fn reshaped() -> (i64, i64) {
    (*DAY / 2, *DAY / 2 + 10)
}

/// When the clock is set back, and by how much.
pub(crate) fn clock_set() -> (i64, i64) {
    (*DAY * 5 / 8 + 2, -3600)
}

/// Numbers that look random and are the same in every run.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// A session, in tenths of seconds of the day.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) pid: u32,
    pub(crate) user: u32,
    pub(crate) gpu: u32,
    /// GPU instance, on the GPU in MIG mode.
    pub(crate) instance: Option<u32>,
    pub(crate) from: i64,
    pub(crate) until: i64,
    /// Percent.
    pub(crate) sm: i64,
}

impl Session {
    pub(crate) fn seconds(&self) -> f64 {
        (self.until - self.from) as f64 / 10.0
    }

    pub(crate) fn sm_seconds(&self) -> f64 {
        self.seconds() * self.sm as f64 / 100.0
    }
}

pub(crate) struct Truth {
    pub(crate) sessions: Vec<Session>,
}

impl Truth {
    pub(crate) fn new() -> Self {
        let mut dice = Dice(3);
        let count = SESSIONS * *DAY / 86_400;
        let mut sessions = Vec::new();
        // When each pid is free again.
        let mut pids: BTreeMap<u32, i64> = BTreeMap::new();
        let mut starts: Vec<i64> =
            (0..count).map(|_| 50 + dice.below((*DAY * 10 - 600) as u64) as i64).collect();
        starts.sort_unstable();
        for from in starts {
            let length = match dice.below(100) {
                0..70 => 20 + dice.below(580),
                70..95 => 600 + dice.below(11_400),
                _ => 12_000 + dice.below(204_000),
            };
            let gpu = dice.below(u64::from(GPUS) * 4 + 1) as u32 / 4;
            let instance = (gpu == GPUS).then(|| 1 + dice.below(2) as u32);
            let until = last_moment(from, (from + length as i64).min(*DAY * 10 - 100), instance);
            // A session needs two seconds, and the driver.
            let Some(until) = until.filter(|until| until - from >= 20) else { continue };
            // Used again after two hours: a clock that was set back makes earlier ones look like those of an hour later.
            let free = |pid: &u32| pids.get(pid).is_none_or(|free| *free + 72_000 < from);
            let mut drawn = (0..10_000).map(|_| 1_000 + dice.below(6_000) as u32);
            let pid = drawn.find(free).expect("a pid is free");
            pids.insert(pid, until);
            let (user, sm) = (dice.below(u64::from(USERS)) as u32, 1 + dice.below(12) as i64);
            sessions.push(Session { pid, user, gpu, instance, from, until, sm });
        }
        Self { sessions }
    }

    /// The sessions that the driver tells everything of.
    pub(crate) fn plain(&self) -> impl Iterator<Item = &Session> {
        self.sessions.iter().filter(|session| session.instance.is_none())
    }

    /// Scenario, /proc, users and clocks.
    pub(crate) fn write(&self, folder: &Path) {
        let text = self.yaml();
        std::fs::write(folder.join("scenario.yaml"), &text).unwrap();
        let scenario = Scenario::parse(&text).unwrap_or_else(|e| panic!("{e}"));
        let tree = ProcTree::create(&folder.join("proc"), &scenario, EPOCH * 1_000_000).unwrap();
        tree.write_passwd(&folder.join("passwd")).unwrap();
        set_clock(folder, 0);
    }

    fn yaml(&self) -> String {
        let mut text = "version: 1\ngpus:\n".to_owned();
        for _ in 0..GPUS {
            text.push_str("  - { profile: L40S }\n");
        }
        let _ = writeln!(
            text,
            "  - profile: H100\n    mig:\n      - {{ profile: 1g.10gb, gpu_instance: 1, compute_instance: 0 }}\n      \
             - {{ profile: 1g.10gb, gpu_instance: 2, compute_instance: 0, uuid: MIG-00000000-0000-4000-8000-000000000001, until: {}s }}\n      \
             - {{ profile: 1g.10gb, gpu_instance: 2, compute_instance: 0, uuid: MIG-00000000-0000-4000-8000-000000000002, from: {}s }}",
            reshaped().0,
            reshaped().1,
        );
        text.push_str("driver_events:\n");
        for (from, until) in reloads() {
            let _ = writeln!(
                text,
                "  - {{ at: {from}s, unloaded: true }}\n  - {{ at: {until}s, unloaded: false }}"
            );
        }
        let (at, by) = clock_set();
        let _ = writeln!(text, "clock_steps: [{{ at: {at}s, by: {by}s }}]\npasswd:");
        for user in 0..USERS {
            let _ = writeln!(text, "  - {{ name: user-{user}, uid: {} }}", 1000 + user);
        }
        text.push_str("processes:\n");
        for session in &self.sessions {
            let Session { pid, user, gpu, instance, from, until, sm } = session;
            let instance = instance.map(|gi| format!(", instance: \"{gi}/0\"")).unwrap_or_default();
            let (from, until) = (*from as f64 / 10.0, *until as f64 / 10.0);
            let _ = writeln!(
                text,
                "  - {{ pid: {pid}, name: job, uid: {}, start: {from}s, end: {until}s, devices: [{{ gpu: {gpu}{instance}, memory: 256MiB, sm: {sm} }}] }}",
                1000 + user
            );
        }
        text
    }
}

/// Nothing runs while the driver is unloaded, or in an instance that is destroyed.
fn last_moment(from: i64, until: i64, instance: Option<u32>) -> Option<i64> {
    let away = reloads().into_iter().chain((instance == Some(2)).then(reshaped));
    let mut until = until;
    for (away_from, away_until) in away.map(|(a, b)| (a * 10 - 100, b * 10 + 100)) {
        if (away_from..away_until).contains(&from) {
            return None;
        }
        if from < away_from {
            until = until.min(away_from);
        }
    }
    Some(until)
}

/// What the clock of the node says at a second of the day, Unix microseconds.
pub(crate) fn wall_us(second: i64) -> i64 {
    let (at, by) = clock_set();
    (EPOCH + second + if second >= at { by } else { 0 }) * 1_000_000
}

/// Sets both clocks to a second of the day.
pub(crate) fn set_clock(folder: &Path, second: i64) {
    let write = |name: &str, text: String| {
        let made = folder.join(format!("{name}.new"));
        std::fs::write(&made, text).unwrap();
        std::fs::rename(made, folder.join(name)).unwrap();
    };
    write("clock", format!("{} {}", wall_us(second), (BOOT + second) * 1_000_000));
    write("true-time", ((EPOCH + second) * 1_000_000).to_string());
}
