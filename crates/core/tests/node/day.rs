//! A day on a busy node: two thousand pods come and go, pids and names of pods are used again, pods are moved, and
//! the sources come and go too. Whatever is placed is placed right; what cannot be known is empty, with its reason.

use crate::samples::{BOOT_US, HZ, bare, monitor, plain_device, taken};
use gpu_session_core::monitor::Monitor;
use gpu_session_core::sample::{
    Allocations, ContainerDevices, Device, DeviceProcess, Metadata, Phase, Pod, PodList, Process, Sample,
};
use gpu_session_core::snapshot::Snapshot;
use gpu_session_core::state::State;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const MINUTES: i64 = 24 * 60;
const PODS: usize = 2_000;
const GPUS: u32 = 8;
/// GPUs below are given to one pod at a time, the others to up to four.
const EXCLUSIVE: u32 = 4;
const MINUTE_US: i64 = 60_000_000;

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % n.unsigned_abs()) as i64
    }
}

/// A pod's life, in minutes of the day.
struct Life {
    uid: Arc<str>,
    name: Arc<str>,
    namespace: Arc<str>,
    user: Arc<str>,
    container_id: Arc<str>,
    gpu: u32,
    start: i64,
    end: i64,
    /// After how long the API shows it.
    seen_after: i64,
    /// For how long the kubelet lists it when it is over.
    listed_after: i64,
    processes: Vec<Run>,
}

/// A process, in minutes of the day, and the second of its first.
struct Run {
    pid: u32,
    from: i64,
    until: i64,
    second: i64,
}

impl Run {
    fn start_ticks(&self) -> u64 {
        ((self.from * 60 + self.second) * HZ) as u64
    }

    fn start_us(&self) -> i64 {
        BOOT_US + (self.from * 60 + self.second) * 1_000_000
    }

    fn is_there(&self, minute: i64) -> bool {
        self.from <= minute && minute < self.until
    }
}

fn lives() -> Vec<Life> {
    let mut dice = Dice(7);
    let mut lives: Vec<Life> = Vec::new();
    while lives.len() < PODS {
        let (start, length, gpu) = (dice.below(1_420), 1 + dice.below(8), dice.below(GPUS.into()) as u32);
        let (end, name) = (start + length, format!("job-{}", dice.below(60)));
        let beside: Vec<&Life> = lives.iter().filter(|o| o.start <= end && start <= o.end).collect();
        let room = if gpu < EXCLUSIVE { 1 } else { 4 };
        if beside.iter().any(|o| *o.name == *name) || beside.iter().filter(|o| o.gpu == gpu).count() >= room {
            continue;
        }
        let n = lives.len();
        let processes = (0..=dice.below(3)).map(|_| {
            let from = start + dice.below(length);
            let (pid, second) = (100 + dice.below(150) as u32, 1 + dice.below(50));
            Run { pid, from, until: from + 1 + dice.below(end - from), second }
        });
        let processes = processes.collect();
        lives.push(Life {
            uid: format!("{n:08x}-0000-4000-8000-{n:012x}").into(),
            name: name.into(),
            namespace: format!("team-{}", dice.below(5)).into(),
            user: format!("user-{}", dice.below(40)).into(),
            container_id: format!("{n:064x}").into(),
            gpu,
            start,
            end,
            seen_after: dice.below(3),
            listed_after: dice.below(4),
            processes,
        });
    }
    drop_clashing_pids(&mut lives);
    lives
}

/// No pid is two processes' at one time; it is used again from the next minute on.
fn drop_clashing_pids(lives: &mut [Life]) {
    let mut taken: BTreeSet<(u32, i64)> = BTreeSet::new();
    for life in lives {
        life.processes.retain(|run| {
            let free = (run.from..run.until).all(|minute| !taken.contains(&(run.pid, minute)));
            if free {
                taken.extend((run.from..run.until).map(|minute| (run.pid, minute)));
            }
            free
        });
    }
}

/// Which sources answer: the hours of the day have their weather.
struct Weather {
    api_away_since: Option<i64>,
    cri: bool,
    kubelet: bool,
}

fn weather(minute: i64) -> Weather {
    let since = match minute / 60 {
        9 | 10 => Some(9 * 60),
        hour @ (3 | 16 | 21) => Some(hour * 60),
        _ => None,
    };
    Weather { api_away_since: since, cri: minute / 60 % 5 == 1, kubelet: minute % 97 > 6 }
}

fn at(minute: i64) -> i64 {
    BOOT_US + minute * MINUTE_US
}

fn pod(life: &Life, minute: i64) -> Arc<Pod> {
    let over = minute >= life.end;
    let annotations = BTreeMap::from([("creator-user-name".into(), Arc::clone(&life.user))]);
    Arc::new(Pod {
        namespace: Arc::clone(&life.namespace),
        name: Arc::clone(&life.name),
        phase: Some(if over { Phase::Succeeded } else { Phase::Running }),
        deleted: over && minute > life.end + 1,
        start_us: Some(at(life.start)),
        metadata: Metadata { annotations, ..Metadata::default() },
        containers: BTreeMap::from([(Arc::clone(&life.container_id), "main".into())]),
    })
}

fn pods(source: &str, lives: &[Life], minute: i64, lag: fn(&Life) -> i64) -> PodList {
    let known = lives.iter().filter(|life| life.start + lag(life) <= minute && minute < life.end + 10);
    let pods: BTreeMap<_, _> = known.map(|life| (Arc::clone(&life.uid), pod(life, minute))).collect();
    PodList { source: source.into(), as_of_us: at(minute), pods: pods.into() }
}

fn allocations(lives: &[Life], minute: i64) -> Allocations {
    let listed = lives.iter().filter(|l| l.start <= minute && minute < l.end + l.listed_after);
    let containers = listed.map(|life| {
        let replica = if life.gpu < EXCLUSIVE { String::new() } else { format!("::{}", life.start % 4) };
        ContainerDevices {
            namespace: Arc::clone(&life.namespace),
            pod: Arc::clone(&life.name),
            container: "main".into(),
            devices: vec![format!("GPU-{}{replica}", life.gpu).into()],
        }
    });
    Allocations { containers: containers.collect(), allocatable: None }
}

fn device(gpu: u32, lives: &[Life], minute: i64) -> Device {
    let here = lives.iter().filter(|life| life.gpu == gpu).flat_map(|life| &life.processes);
    let now = here.filter(|run| run.is_there(minute));
    let processes = now.map(|run| DeviceProcess { pid: run.pid, memory_bytes: Some(1 << 30) });
    plain_device(gpu, processes.collect())
}

fn process(life: &Life, run: &Run, known: &BTreeMap<u32, u64>) -> Process {
    let start_ticks = Some(run.start_ticks());
    if known.get(&run.pid) == start_ticks.as_ref() {
        return Process { start_ticks, ..Process::default() };
    }
    let (uid, id) = (life.uid.replace('-', "_"), &life.container_id);
    let path = format!("0::/kubepods.slice/kubepods-pod{uid}.slice/cri-containerd-{id}.scope\n");
    Process { start_ticks, command: Some("python3".into()), uid: Some(0), cgroup: Some(path.into()) }
}

fn sample(lives: &[Life], minute: i64, known: &BTreeMap<u32, u64>) -> Sample {
    // Near the end of the minute, so that the processes that begin in it are there.
    let time_us = at(minute) + 59_000_000;
    let weather = weather(minute);
    let runs = lives.iter().flat_map(|life| life.processes.iter().map(move |run| (life, run)));
    let now = runs.filter(|(_, run)| run.is_there(minute));
    let seen = weather.api_away_since.unwrap_or(minute);
    let mut lists = vec![pods("kubernetes", lives, seen, |life| life.seen_after)];
    lists.extend(weather.cri.then(|| pods("cri", lives, minute, |_| 0)));
    let devices = (0..GPUS).map(|gpu| device(gpu, lives, minute)).collect();
    Sample {
        processes: Some(now.map(|(life, run)| (run.pid, process(life, run, known))).collect()),
        pods: lists,
        allocations: weather.kubelet.then(|| allocations(lives, minute)),
        ..bare(time_us, devices)
    }
}

/// What the day came to, in sessions by sample.
#[derive(Default)]
struct Score {
    placed: usize,
    unplaced: usize,
    by: BTreeMap<String, usize>,
    reasons: BTreeMap<String, usize>,
}

impl Score {
    fn add(&mut self, snapshot: &Snapshot, truth: &BTreeMap<(u32, i64), &Life>, minute: i64) {
        for view in snapshot.sessions.iter().filter(|view| view.live) {
            let life = truth[&(view.pid, view.session.process_start_us.expect("a start"))];
            let whose = &view.session.attribution;
            let Some(pod) = &whose.pod else {
                let empty = [&whose.namespace, &whose.container, &whose.user];
                assert_eq!(empty, [&None; 3], "half a place at minute {minute}");
                let reason = whose.unattributed.as_deref().expect("a reason");
                *self.reasons.entry(reason.to_owned()).or_default() += 1;
                self.unplaced += 1;
                continue;
            };
            let place = (whose.namespace.as_deref().unwrap(), &**pod);
            assert_eq!(place, (&*life.namespace, &*life.name), "another pod's name at minute {minute}");
            assert!(whose.container.as_deref().is_none_or(|name| name == "main"));
            assert!(whose.user.as_ref().is_none_or(|user| *user == life.user), "another's, minute {minute}");
            *self.by.entry(whose.attributed_by.as_deref().unwrap().to_owned()).or_default() += 1;
            self.placed += 1;
        }
    }
}

/// Every session on a device is a user's or has its reason.
fn check_counts(snapshot: &Snapshot) {
    for device in &snapshot.devices {
        let occupancy = device.occupancy.as_ref().unwrap();
        let counted: u64 = occupancy.users.iter().chain(&occupancy.unattributed).map(|(_, n)| n).sum();
        assert_eq!(counted, occupancy.sessions);
    }
}

#[test]
fn whatever_is_placed_is_placed_right() {
    let lives = lives();
    let monitor = monitor();
    let runs = lives.iter().flat_map(|life| life.processes.iter().map(move |run| (run, life)));
    let truth: BTreeMap<_, _> = runs.map(|(run, life)| ((run.pid, run.start_us()), life)).collect();
    assert!(truth.len() > 2_500, "{} processes", truth.len());
    let (mut state, mut score) = (State::default(), Score::default());
    for minute in 0..MINUTES {
        // At times the state goes through its file, as it does between runs of `collect`.
        if minute % 60 == 30 {
            state = State::from_json(&state.to_json().unwrap()).unwrap();
        }
        let sample = sample(&lives, minute, &Monitor::request(&state).known);
        let snapshot = taken(&monitor, &mut state, &sample, i64::MAX);
        score.add(&snapshot, &truth, minute);
        check_counts(&snapshot);
    }
    let Score { placed, unplaced, by, reasons } = score;
    for source in ["kubernetes", "cri", "kubelet"] {
        assert!(by.get(source).is_some_and(|count| *count > 50), "{source}: {by:?}");
    }
    for reason in ["pod_unknown", "pod_ambiguous"] {
        assert!(reasons.get(reason).is_some_and(|count| *count > 10), "{reason}: {reasons:?}");
    }
    assert!(placed > 5 * unplaced, "{placed} placed ({by:?}), {unplaced} not ({reasons:?})");
    assert!(state.pods.len() < 300, "{} pods kept", state.pods.len());
}
