//! The cases: what happens on a node, as a scenario and as the truth of it.

use super::truth::{Instance, Load, Session, Style};
use std::fmt::Write as _;

/// All sessions are over by then.
pub(crate) const END_S: i64 = 600;
/// A program is up for so long before it opens its context.
const LEAD_MS: i64 = 300;
const USERS: [&str; 6] = ["alice", "bob", "carol", "dave", "erin", "frank"];
const UID: u32 = 1000;

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Steady,
    Bursty,
    ShortJobs,
    Mig,
    TimeSlicing,
    Mps,
    PidReuse,
    Reload,
}

/// A case: what happens, on a driver that answers in some way.
pub(crate) struct Case {
    pub(crate) kind: Kind,
    pub(crate) style: Style,
    /// Whether accounting mode is on.
    pub(crate) accounting: bool,
    pub(crate) sessions: Vec<Session>,
}

impl Kind {
    pub(crate) const ALL: [Self; 8] = [
        Self::Steady,
        Self::Bursty,
        Self::ShortJobs,
        Self::Mig,
        Self::TimeSlicing,
        Self::Mps,
        Self::PidReuse,
        Self::Reload,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Bursty => "bursty",
            Self::ShortJobs => "50 short jobs a minute",
            Self::Mig => "MIG reshaped",
            Self::TimeSlicing => "time-slicing",
            Self::Mps => "MPS",
            Self::PidReuse => "pids used again",
            Self::Reload => "driver reloaded",
        }
    }

    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Steady => "six processes on four GPUs, each with one load for minutes",
            Self::Bursty => {
                "loads that go on and off every 0.7 to 8 s, memory that changes; some of 20 s only"
            }
            Self::ShortJobs => "50 processes begin a minute on four GPUs, of 0.2 to 20 s each",
            Self::Mig => {
                "a GPU in MIG mode whose instances are destroyed and made anew twice, with ids used again"
            }
            Self::TimeSlicing => "four pods of four users share one GPU by replicas of the device plugin",
            Self::Mps => "an MPS server, and clients of three users that come and go",
            Self::PidReuse => "three pids, each used again and again by another user after 0.8 to 15 s",
            Self::Reload => {
                "the driver is unloaded for 40 s, and later upgraded; what ran ends, and more begins"
            }
        }
    }

    /// Cases whose sessions the device's own figures tell, whatever the style.
    fn has_styles(self) -> bool {
        self != Self::Mig
    }
}

/// All cases.
pub(crate) fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in Kind::ALL {
        cases.push(Case::new(kind, Style::Ring, false));
        if kind.has_styles() {
            cases.push(Case::new(kind, Style::Last, false));
        }
        if matches!(kind, Kind::ShortJobs | Kind::PidReuse) {
            cases.push(Case::new(kind, Style::Ring, true));
            cases.push(Case::new(kind, Style::Last, true));
        }
    }
    cases
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % n.unsigned_abs()).cast_signed()
    }

    fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below(high - low + 1)
    }

    fn user(&mut self) -> usize {
        self.below(USERS.len() as i64).unsigned_abs() as usize
    }
}

/// A process of a host's user with one load.
fn session(pid: u32, user: usize, gpu: u32, (from_ms, until_ms): (i64, i64), sm: i64, mib: i64) -> Session {
    Session {
        pid,
        name: "python3",
        uid: UID + user as u32,
        user: Some(USERS[user].to_owned()),
        cgroup: format!("0::/user.slice/user-{}.slice/session-3.scope", UID + user as u32),
        gpu,
        instance: None,
        mps: false,
        from_ms,
        until_ms,
        loads: vec![Load { at_ms: from_ms, sm, mib }],
    }
}

impl Case {
    pub(crate) fn new(kind: Kind, style: Style, accounting: bool) -> Self {
        let sessions = match kind {
            Kind::Steady => steady(),
            Kind::Bursty => bursty(),
            Kind::ShortJobs => short_jobs(),
            Kind::Mig => mig(),
            Kind::TimeSlicing => time_slicing(),
            Kind::Mps => mps(),
            Kind::PidReuse => pid_reuse(),
            Kind::Reload => reload(),
        };
        Self { kind, style, accounting, sessions }
    }

    pub(crate) fn name(&self) -> String {
        let accounting = if self.accounting { ", accounting" } else { "" };
        let style = if self.kind.has_styles() { self.style.name() } else { "GPM" };
        format!("{}, {style}{accounting}", self.kind.name())
    }

    pub(crate) fn in_pods(&self) -> bool {
        self.kind == Kind::TimeSlicing
    }

    /// How many GPUs there are.
    fn gpus(&self) -> u32 {
        self.sessions.iter().map(|session| session.gpu + 1).max().unwrap_or(1)
    }

    /// The scenario, with each process's pid as it is here.
    pub(crate) fn yaml(&self) -> String {
        let mut text = format!("version: 1\nutilization: {{ style: {} }}\ngpus:\n", self.style.name());
        for _ in 0..self.gpus() {
            let line = match self.kind {
                Kind::Mig => MIG_GPU.to_owned(),
                _ => format!("  - {{ profile: L40S, accounting: {{ enabled: {} }} }}\n", self.accounting),
            };
            text.push_str(&line);
        }
        if self.kind == Kind::Reload {
            text.push_str(RELOADS);
        }
        if self.in_pods() {
            text.push_str(&pods());
        }
        let users: Vec<String> =
            (UID..).zip(USERS).map(|(uid, name)| format!("{{ name: {name}, uid: {uid} }}")).collect();
        let _ = writeln!(text, "passwd: [{}]\nprocesses:", users.join(", "));
        for session in &self.sessions {
            text.push_str(&process(session));
        }
        text
    }
}

fn process(session: &Session) -> String {
    let Session { pid, name, uid, cgroup, gpu, from_ms, until_ms, .. } = session;
    let instance = session.instance.map(|i| format!(", instance: \"{}/0\"", i.id)).unwrap_or_default();
    let kind = if session.mps { ", kind: [mps]" } else { "" };
    let [first, later @ ..] = &session.loads[..] else { return String::new() };
    let steps: Vec<String> = later
        .iter()
        .map(|load| format!("{{ at: {}ms, sm: {}, memory: {}MiB }}", load.at_ms, load.sm, load.mib))
        .collect();
    let start = from_ms - LEAD_MS;
    format!(
        "  - {{ pid: {pid}, name: {name}, uid: {uid}, cgroup: \"{cgroup}\\n\", start: {start}ms, end: {until_ms}ms, devices: [{{ gpu: {gpu}{instance}{kind}, from: {from_ms}ms, sm: {}, memory: {}MiB, steps: [{}] }}] }}\n",
        first.sm,
        first.mib,
        steps.join(", ")
    )
}

fn steady() -> Vec<Session> {
    [
        (0, 0, 6_130, 593_410, 35, 8_192),
        (1, 0, 11_270, 301_650, 60, 4_096),
        (2, 1, 7_390, 588_930, 100, 40_960),
        (3, 2, 63_510, 555_070, 5, 1_024),
        (4, 3, 121_730, 480_310, 80, 16_384),
        (0, 3, 490_150, 581_890, 45, 20_480),
    ]
    .into_iter()
    .zip(10_000..)
    .map(|((user, gpu, from, until, sm, mib), pid)| session(pid, user, gpu, (from, until), sm, mib))
    .collect()
}

fn bursty() -> Vec<Session> {
    let mut dice = Dice(5);
    let lives = [(6_130, 590_000), (21_000, 402_000), (100_310, 560_770), (140_000, 592_210)];
    let short = (0..10).map(|n| (32_000 + n * 55_000, 52_000 + n * 55_000));
    let mut sessions = Vec::new();
    for ((from, until), pid) in lives.into_iter().chain(short).zip(11_000..) {
        let gpu = pid % 2;
        let mut one = session(pid, dice.user(), gpu, (from, until), 0, 2_048);
        let (mut at, mut mib) = (from, 2_048);
        loop {
            at += dice.between(700, 8_000);
            if at >= until - 500 {
                break;
            }
            if dice.below(6) == 0 {
                mib = dice.between(1, 8) * 1_024;
            }
            let busy = one.loads.len() % 2 == 1;
            // Two long ones and a short one are on a GPU at most: never more than all of it.
            let sm = if busy { dice.between(5, 33) } else { 0 };
            one.loads.push(Load { at_ms: at, sm, mib });
        }
        sessions.push(one);
    }
    sessions
}

fn short_jobs() -> Vec<Session> {
    let mut dice = Dice(7);
    let jobs = 50 * (END_S - 25) / 60;
    (0..jobs)
        .zip(12_000..)
        .map(|(number, pid)| {
            let from = 5_000 + number * 1_200 + dice.below(1_200);
            let length = match dice.below(100) {
                0..15 => dice.between(200, 990),
                15..75 => dice.between(1_000, 5_000),
                _ => dice.between(5_001, 19_000),
            };
            let (user, gpu) = (dice.user(), pid % 4);
            session(pid, user, gpu, (from, from + length), dice.between(10, 24), dice.between(1, 6) * 512)
        })
        .collect()
}

const MIG_GPU: &str = "  - profile: H100
    mig:
      - { profile: 3g.40gb, gpu_instance: 1, compute_instance: 0, uuid: MIG-00000000-0000-4000-8000-000000000001, until: 200s }
      - { profile: 3g.40gb, gpu_instance: 2, compute_instance: 0, uuid: MIG-00000000-0000-4000-8000-000000000002, until: 200s }
      - { profile: 2g.20gb, gpu_instance: 1, compute_instance: 0, uuid: MIG-00000000-0000-4000-8000-000000000003, from: 206s, until: 395s }
      - { profile: 2g.20gb, gpu_instance: 2, compute_instance: 0, uuid: MIG-00000000-0000-4000-8000-000000000004, from: 206s, until: 395s }
      - { profile: 1g.10gb, gpu_instance: 9, compute_instance: 0, uuid: MIG-00000000-0000-4000-8000-000000000005, from: 206s, until: 395s }
      - { profile: 7g.80gb, gpu_instance: 1, compute_instance: 0, uuid: MIG-00000000-0000-4000-8000-000000000006, from: 401s }
";

fn mig() -> Vec<Session> {
    let on = |id, slices| Some(Instance { id, slices });
    [
        // Alone on their instances, which are destroyed with them or after them.
        (0, on(1, 3), 6_130, 199_000, 70, 20_480),
        (1, on(2, 3), 14_310, 96_500, 30, 8_192),
        (2, on(2, 3), 99_870, 190_130, 55, 8_192),
        // The ids are used again.
        (3, on(1, 2), 208_330, 390_000, 90, 10_240),
        (4, on(2, 2), 215_000, 394_000, 20, 4_096),
        (5, on(9, 1), 221_570, 300_000, 100, 4_096),
        // Short ones, one after the other.
        (0, on(9, 1), 310_450, 314_700, 80, 2_048),
        (1, on(9, 1), 322_210, 335_050, 80, 2_048),
        (2, on(1, 7), 408_890, 590_510, 65, 40_960),
    ]
    .into_iter()
    .zip(13_000..)
    .map(|((user, instance, from, until, sm, mib), pid)| Session {
        instance,
        ..session(pid, user, 0, (from, until), sm, mib)
    })
    .collect()
}

const PODS: u32 = 4;

fn pods() -> String {
    let mut text = "pods:\n".to_owned();
    for (pod, user) in (0..PODS).zip(USERS) {
        let _ = writeln!(
            text,
            "  - {{ uid: {pod:08x}-0000-4000-8000-000000000000, namespace: team-{pod}, name: notebook-{pod}, annotations: {{ creator-user-name: {user} }}, start: -30m, containers: [{{ name: main, id: \"{pod:064x}\", devices: [\"GPU-5e550000-0000-4000-8000-000000000000::{pod}\"] }}] }}"
        );
    }
    text
}

fn time_slicing() -> Vec<Session> {
    let mut dice = Dice(13);
    let mut sessions = Vec::new();
    for number in 0..36_i64 {
        let pod = number.rem_euclid(i64::from(PODS));
        let from = 6_000 + (number / i64::from(PODS)) * 62_000 + dice.below(12_000);
        let length = if number < 8 { dice.between(200_000, 300_000) } else { dice.between(2_500, 45_000) };
        let until = (from + length).min(595_000);
        let user = pod as usize;
        let slice = format!("kubepods-burstable-pod{pod:08x}_0000_4000_8000_000000000000");
        let cgroup = format!(
            "0::/kubepods.slice/kubepods-burstable.slice/{slice}.slice/cri-containerd-{pod:064x}.scope"
        );
        let (sm, mib) = (dice.between(3, 9), dice.between(1, 3) * 1_024);
        let plain = session(14_000 + number as u32, user, 0, (from, until), sm, mib);
        // In a container everybody is root.
        sessions.push(Session { uid: 0, cgroup, ..plain });
    }
    sessions
}

fn mps() -> Vec<Session> {
    let mut dice = Dice(17);
    let server = Session {
        name: "nvidia-cuda-mps-server",
        uid: 0,
        user: None,
        cgroup: "0::/system.slice/nvidia-mps.service".to_owned(),
        ..session(15_000, 0, 0, (5_500, 597_000), 0, 32)
    };
    let clients = (0..24_i64).zip(15_001..).map(|(number, pid)| {
        let from = 8_000 + number * 23_000 + dice.below(9_000);
        let length =
            if number % 3 == 0 { dice.between(60_000, 120_000) } else { dice.between(1_500, 30_000) };
        let (user, until) = (number as usize % 3, (from + length).min(594_000));
        Session { mps: true, ..session(pid, user, 0, (from, until), dice.between(5, 14), 1_024) }
    });
    [server].into_iter().chain(clients).collect()
}

fn pid_reuse() -> Vec<Session> {
    let mut dice = Dice(19);
    let mut sessions = Vec::new();
    for number in 0..3 {
        let (mut from, mut user) = (5_700 + i64::from(number) * 900, number as usize);
        loop {
            let until = from + dice.between(2_500, 40_000);
            if until > 595_000 {
                break;
            }
            let (sm, mib) = (dice.between(10, 45), dice.between(1, 8) * 512);
            sessions.push(session(16_000 + number, user % USERS.len(), number % 2, (from, until), sm, mib));
            from = until + dice.between(800, 15_000);
            // No pid changes hands in the first 20 s of a minute: in a window of 20 s that begins with the minute the
            // simulated /proc stands still, and it has room for one of a pid.
            let minute = from / 60_000 * 60_000;
            if until > minute {
                from = from.max(minute + 21_500);
            }
            user += 1;
        }
    }
    sessions
}

const RELOADS: &str = "driver_events:
  - { at: 200s, unloaded: true }
  - { at: 240s, unloaded: false }
  - { at: 421s, upgrade: \"580.82.07\" }
";

fn reload() -> Vec<Session> {
    [
        (0, 0, 6_130, 199_500, 40, 8_192),
        (1, 1, 40_210, 170_330, 70, 4_096),
        (2, 0, 185_750, 197_070, 30, 1_024),
        (3, 0, 243_370, 419_000, 55, 8_192),
        (4, 1, 250_490, 262_010, 90, 2_048),
        (5, 1, 301_110, 420_500, 25, 16_384),
        (0, 0, 424_630, 590_870, 65, 8_192),
        (1, 1, 431_000, 449_250, 85, 4_096),
    ]
    .into_iter()
    .zip(17_000..)
    .map(|((user, gpu, from, until, sm, mib), pid)| session(pid, user, gpu, (from, until), sm, mib))
    .collect()
}
