//! Devices that containers hold: who works on them, who does nothing, and what cannot be said.

use crate::samples::{BOOT_US, HZ, bare, monitor, plain_device, taken};
use gpu_session_core::accounting::{Counter, Usage};
use gpu_session_core::ids::GpuLabel;
use gpu_session_core::ledger;
use gpu_session_core::metrics::{Context, Format, Labels, render};
use gpu_session_core::monitor::Monitor;
use gpu_session_core::sample::{
    Activity, ActivityEntry, Allocations, ContainerDevices, DeviceProcess, Phase, Pod, PodList, Process,
    Sample,
};
use gpu_session_core::snapshot::{AllocationView, Snapshot};
use gpu_session_core::state::State;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A process: pid, pod by its digit (0: the host), name, whether it works.
#[derive(Clone, Copy)]
struct Works(u32, u32, &'static str, bool);

const TRAINS: Works = Works(10, 1, "python3", true);
const RESTS: Works = Works(10, 1, "python3", false);

/// A node of one GPU, minute by minute.
struct Node {
    state: State,
    minute: i64,
    /// Pods that hold the GPU, with their phase where that is known.
    holders: Vec<(u32, Option<Phase>)>,
    devices: &'static [&'static str],
    mps_listed: bool,
    /// The device is an instance of GPU 0.
    instance: Option<(u32, u32)>,
}

fn uid(pod: u32) -> Arc<str> {
    format!("0000000{pod}-0000-4000-8000-000000000000").into()
}

impl Node {
    fn new(holders: &[(u32, Option<Phase>)]) -> Self {
        let state = State::default();
        Self {
            state,
            minute: 0,
            holders: holders.to_vec(),
            devices: &["GPU-0"],
            mps_listed: false,
            instance: None,
        }
    }

    fn pods(&self) -> PodList {
        let known = self.holders.iter().filter(|(_, phase)| phase.is_some());
        let pod = |(pod, phase): &(u32, Option<Phase>)| {
            let id: Arc<str> = format!("{pod:064x}").into();
            let made = Pod {
                namespace: "team".into(),
                name: format!("pod-{pod}").into(),
                phase: *phase,
                containers: BTreeMap::from([(id, "main".into())]),
                ..Pod::default()
            };
            (uid(*pod), made.into())
        };
        let pods: BTreeMap<_, _> = known.map(pod).collect();
        PodList { source: "kubernetes".into(), as_of_us: self.now(), pods: pods.into() }
    }

    fn now(&self) -> i64 {
        BOOT_US + (self.minute + 60) * 60_000_000
    }

    /// A minute later, with these processes.
    fn after(&mut self, minutes: i64, works: &[Works]) -> Snapshot {
        let sample = self.sample(minutes, works);
        taken(&monitor(), &mut self.state, &sample, i64::MAX)
    }

    /// The sample of a minute later.
    fn sample(&mut self, minutes: i64, works: &[Works]) -> Sample {
        self.minute += minutes;
        let now = self.now();
        let listed =
            works.iter().map(|works| DeviceProcess { pid: works.0, memory_bytes: Some(1) }).collect();
        let mut device = plain_device(0, listed);
        Arc::make_mut(&mut device.facts).label.instance = self.instance;
        let since_us = now - minutes * 60_000_000;
        let busy = works.iter().filter(|works| works.3);
        let entry =
            |works: &Works| ActivityEntry { pid: works.0, time_us: now, sm: 50, ..ActivityEntry::default() };
        device.activity = Activity::Entries { since_us, entries: busy.map(entry).collect() };
        device.mps = self.mps_listed;
        let process = |works: &Works| {
            let pod = uid(works.1).replace('-', "_");
            let path =
                format!("0::/kubepods.slice/kubepods-pod{pod}.slice/cri-containerd-{:064x}.scope\n", works.1);
            let cgroup = Some(if works.1 == 0 { "0::/system.slice/x.service\n".into() } else { path.into() });
            let start_ticks = Some(u64::from(works.0) * HZ as u64);
            (works.0, Process { start_ticks, command: Some(works.2.into()), uid: Some(0), cgroup })
        };
        let container = |(pod, _): &(u32, Option<Phase>)| ContainerDevices {
            namespace: "team".into(),
            pod: format!("pod-{pod}").into(),
            container: "main".into(),
            devices: self.devices.iter().map(|id| Arc::from(*id)).collect(),
        };
        Sample {
            processes: Some(works.iter().map(process).collect()),
            pods: vec![self.pods()],
            allocations: Some(Allocations {
                containers: self.holders.iter().map(container).collect(),
                allocatable: Some(vec![Arc::from("GPU-0")].into()),
            }),
            ..bare(now, vec![device])
        }
    }
}

/// Sessions and idle minutes of each holder.
fn held(snapshot: &Snapshot) -> Vec<(Option<u64>, Option<i64>)> {
    let minutes = |held: &AllocationView| held.idle_us.map(|us| us / 60_000_000);
    snapshot.allocations.iter().map(|held| (held.sessions, minutes(held))).collect()
}

const RUNNING: Option<Phase> = Some(Phase::Running);

#[test]
fn a_device_that_is_held_and_not_used_is_held_but_idle() {
    let mut node = Node::new(&[(1, RUNNING)]);
    assert_eq!(held(&node.after(1, &[])), [(Some(0), Some(0))]);
    let later = node.after(7, &[]);
    assert_eq!(held(&later), [(Some(0), Some(7))]);
    assert_eq!(later.devices[0].allocations, Some(1));
    let text = render(&later, Context::default(), &Labels::default(), Format::Text);
    let labels = "{gpu=\"0\",namespace=\"team\",pod=\"pod-1\",container=\"main\",user=\"\"}";
    for line in
        [format!("gpu_allocation_sessions{labels} 0"), format!("gpu_allocation_idle_seconds{labels} 420")]
    {
        assert!(text.lines().any(|have| have == line), "{line}\n{text}");
    }
}

#[test]
fn idle_time_counts_from_the_last_work_also_after_the_session_ended() {
    let mut node = Node::new(&[(1, RUNNING)]);
    node.after(1, &[TRAINS]);
    assert_eq!(held(&node.after(1, &[TRAINS])), [(Some(1), Some(0))]);
    assert_eq!(held(&node.after(3, &[RESTS])), [(Some(1), Some(3))]);
    assert_eq!(held(&node.after(1, &[])), [(Some(0), Some(4))]);
    for _ in 0..6 {
        node.after(10, &[]);
    }
    assert_eq!(held(&node.after(1, &[])), [(Some(0), Some(65))], "the session itself is long forgotten");
    assert_eq!(held(&node.after(1, &[Works(11, 1, "python3", true)]))[0].0, Some(1));
    assert_eq!(held(&node.after(1, &[Works(11, 1, "python3", true)])), [(Some(1), Some(0))]);
}

#[test]
fn a_pod_that_is_over_holds_nothing_and_one_of_unknown_phase_is_not_called_idle() {
    let mut over = Node::new(&[(1, Some(Phase::Succeeded)), (2, Some(Phase::Failed))]);
    let snapshot = over.after(1, &[]);
    assert_eq!((held(&snapshot), snapshot.devices[0].allocations), (vec![], Some(0)));
    let mut unknown = Node::new(&[(1, None)]);
    let snapshot = unknown.after(1, &[]);
    assert_eq!((held(&snapshot), snapshot.devices[0].allocations), (vec![(None, None)], Some(1)));
    assert_eq!(held(&unknown.after(1, &[TRAINS])), [(Some(1), None)], "a session that is there is there");
}

#[test]
fn while_a_session_may_be_a_holders_nothing_is_said_of_him() {
    let mut node = Node::new(&[(1, RUNNING), (2, None)]);
    let stranger = Works(20, 3, "python3", true);
    node.after(1, &[TRAINS, stranger]);
    let snapshot = node.after(1, &[TRAINS, stranger]);
    assert_eq!(held(&snapshot), [(Some(1), Some(0)), (None, None)], "it is not pod 1's, whose UID is known");
    let mut host = Node::new(&[(1, RUNNING)]);
    let snapshot = host.after(1, &[Works(20, 0, "python3", true)]);
    assert_eq!(held(&snapshot), [(Some(0), Some(0))], "a process of the host is in no container");
}

#[test]
fn replicas_are_one_allocation_and_two_pods_are_two() {
    let mut node = Node::new(&[(1, RUNNING), (2, RUNNING)]);
    node.devices = &["GPU-0::0", "GPU-0::1"];
    let other = Works(20, 2, "python3", false);
    node.after(1, &[TRAINS, other]);
    let snapshot = node.after(1, &[TRAINS, other]);
    assert_eq!(
        (held(&snapshot), snapshot.devices[0].allocations),
        (vec![(Some(1), Some(0)), (Some(1), Some(1))], Some(2))
    );
    assert!(snapshot.sessions.iter().all(|view| view.allocated == Some(true)));
}

#[test]
fn with_only_the_mps_server_in_sight_nothing_is_guessed() {
    let mut node = Node::new(&[(1, RUNNING), (2, RUNNING)]);
    let server = Works(5, 0, "nvidia-cuda-mps", true);
    let snapshot = node.after(1, &[server]);
    assert_eq!(held(&snapshot), [(None, None), (None, None)]);
    let occupancy = snapshot.devices[0].occupancy.clone().unwrap();
    assert_eq!((occupancy.sessions, occupancy.users.len()), (1, 0));
    assert_eq!(occupancy.unattributed, [("mps_server".into(), 1)]);
    // A driver that lists the clients leaves nothing hidden.
    node.mps_listed = true;
    node.after(1, &[server, TRAINS]);
    assert_eq!(held(&node.after(1, &[server, TRAINS])), [(Some(1), Some(0)), (Some(0), Some(2))]);
}

#[test]
fn idle_time_begins_anew_where_nobody_watched_or_a_stranger_worked() {
    let mut node = Node::new(&[(1, RUNNING)]);
    node.after(1, &[]);
    assert_eq!(held(&node.after(10, &[])), [(Some(0), Some(10))]);
    assert_eq!(held(&node.after(40, &[])), [(Some(0), Some(0))], "forty minutes were not watched");
    assert_eq!(held(&node.after(5, &[])), [(Some(0), Some(5))]);
    // Work of a pid that no list ever had.
    node.minute += 1;
    let now = node.now();
    let mut device = plain_device(0, Vec::new());
    let entry = ActivityEntry { pid: 77, time_us: now - 1, sm: 90, ..ActivityEntry::default() };
    device.activity = Activity::Entries { since_us: now - 60_000_000, entries: vec![entry] };
    let sample = Sample { processes: Some(BTreeMap::new()), ..bare(now, vec![device]) };
    monitor().step(&mut node.state, &sample);
    assert_eq!(held(&node.after(2, &[])), [(Some(0), Some(2))]);
}

#[test]
fn an_instance_that_someone_may_hold_is_not_free() {
    let mut node = Node::new(&[(1, RUNNING)]);
    node.devices = &["gpu-0-mig-1g5gb-19-0"];
    node.instance = Some((1, 0));
    let snapshot = node.after(1, &[]);
    assert_eq!((held(&snapshot), snapshot.devices[0].allocations), (vec![], None));
    node.holders.clear();
    assert_eq!(node.after(1, &[]).devices[0].allocations, Some(0));
}

/// Seconds of all accounts of users, allocated and idle.
fn seconds(state: &State) -> (f64, f64) {
    let sum = |of: fn(&Usage) -> Option<Counter>| {
        state.users.values().filter_map(of).map(|counter| counter.value).sum::<f64>()
    };
    (sum(|usage| usage.allocation_seconds), sum(|usage| usage.idle_allocation_seconds))
}

#[test]
fn time_of_allocations_is_counted_and_that_in_which_nobody_worked() {
    let mut node = Node::new(&[(1, Some(Phase::Running))]);
    node.after(1, &[RESTS]);
    assert_eq!(seconds(&node.state), (0.0, 0.0));
    node.after(1, &[TRAINS]);
    assert_eq!(seconds(&node.state), (60.0, 0.0));
    for _ in 0..3 {
        node.after(1, &[RESTS]);
    }
    assert_eq!(seconds(&node.state), (240.0, 180.0));
    node.after(2, &[]);
    assert_eq!(seconds(&node.state), (360.0, 300.0), "held without any process is idle too");
    let pods = &node.state.pods[&(GpuLabel::default(), "team".into(), "pod-1".into())];
    assert_eq!(pods.idle_allocation_seconds.map(|counter| counter.value), Some(300.0));
}

#[test]
fn an_allocation_whose_pod_nobody_knows_is_time_and_not_idle() {
    let mut node = Node::new(&[(1, None)]);
    node.after(1, &[]);
    node.after(1, &[]);
    assert_eq!(seconds(&node.state), (60.0, 0.0));
}

#[test]
fn a_slice_counts_allocated_time_by_its_share() {
    let mut node = Node::new(&[(1, Some(Phase::Running))]);
    node.after(1, &[]);
    let mut sample = node.sample(1, &[]);
    Arc::make_mut(&mut sample.driver.as_mut().unwrap().devices[0].facts).compute_fraction = Some(0.25);
    taken(&monitor(), &mut node.state, &sample, i64::MAX);
    assert_eq!(seconds(&node.state), (15.0, 15.0));
}

#[test]
fn an_allocation_that_ends_waits_for_the_ledger_and_its_successor_of_that_name_is_another() {
    let keeps = Monitor { ledger: true, ..monitor() };
    let mut node = Node::new(&[(1, Some(Phase::Running))]);
    for _ in 0..3 {
        let sample = node.sample(1, &[]);
        taken(&keeps, &mut node.state, &sample, i64::MAX);
    }
    // A pod of the same name, with another UID.
    let mut sample = node.sample(1, &[]);
    let pod = sample.pods[0].pods.values().next().unwrap().clone();
    let again = BTreeMap::from([(uid(2), pod)]);
    sample.pods[0].pods = again.into();
    taken(&keeps, &mut node.state, &sample, i64::MAX);
    let [(key, ended)] = &node.state.past_allocations[..] else {
        panic!("{:?}", node.state.past_allocations)
    };
    assert_eq!((&*key.2, ended.allocated_seconds, ended.pod_uid.clone()), ("pod-1", 120.0, Some(uid(1))));
    assert_eq!(node.state.allocations.values().next().unwrap().allocated_seconds, 0.0);
    let rows = ledger::rows(&node.state, false);
    assert_eq!((rows.allocations.len(), rows.sessions.len()), (1, 0));
    assert_eq!(ledger::rows(&node.state, true).allocations.len(), 2);
    ledger::written(&mut node.state);
    assert!(node.state.past_allocations.is_empty());
    // The kubelet no longer lists it.
    node.holders.clear();
    let sample = node.sample(1, &[]);
    taken(&keeps, &mut node.state, &sample, i64::MAX);
    assert_eq!((node.state.allocations.len(), node.state.past_allocations.len()), (0, 1));
}

#[test]
fn a_kubelet_that_says_nothing_ends_no_allocation_for_a_while() {
    let mut node = Node::new(&[(1, Some(Phase::Running))]);
    node.after(1, &[RESTS]);
    for _ in 0..5 {
        let mut sample = node.sample(1, &[RESTS]);
        sample.allocations = None;
        taken(&monitor(), &mut node.state, &sample, i64::MAX);
    }
    assert_eq!((node.state.allocations.len(), seconds(&node.state)), (1, (0.0, 0.0)));
    node.after(1, &[RESTS]);
    assert_eq!(seconds(&node.state), (360.0, 360.0), "it was there before and after");
}
