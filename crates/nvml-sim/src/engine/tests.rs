#![allow(clippy::unwrap_used, clippy::float_cmp)]

use super::*;
use crate::code::Code;
use crate::scenario::ScenarioError;

const SECOND: i64 = 1_000_000;

fn engine(text: &str) -> Engine {
    Engine::new(Scenario::parse(text).unwrap())
}

/// One plain GPU with processes given as YAML.
fn plain(style: &str, processes: &str) -> Engine {
    engine(&format!(
        "version: 1\nutilization: {{ style: {style} }}\n\
         gpus: [{{ model: A, memory: 10GiB, reserved: 1GiB }}]\nprocesses:\n{processes}"
    ))
}

const TWO: &str = r"
  - { pid: 1, name: a, devices: [{ gpu: 0, memory: 1GiB, sm: 80, steps: [{ at: 1s, sm: 20 }, { at: 2s, memory: unavailable }] }] }
  - { pid: 5, count: 2, name: b, start: 100ms, end: 3s, devices: [{ gpu: 0, memory: 2GiB, sm: 10, mem: 4 }] }
";

fn entries(samples: &[Sample]) -> Vec<(u32, i64, u32)> {
    let one = |sample: &Sample| (sample.pids.start, sample.at, sample.percent[0]);
    samples.iter().map(one).collect()
}

#[test]
fn processes_come_and_go() {
    let engine = plain("ring", TWO);
    let gpu = Device::gpu(0);
    let pids = |at| engine.processes_at(gpu, at).iter().map(|listed| listed.pid).collect::<Vec<_>>();
    assert_eq!(pids(-1), [0_u32; 0]);
    assert_eq!(pids(0), [1]);
    assert_eq!(pids(100_000), [1, 5, 6]);
    assert_eq!(pids(3 * SECOND - 1), [1, 5, 6]);
    assert_eq!(pids(3 * SECOND), [1]);
    assert_eq!(engine.processes_at(gpu, SECOND)[0].memory, Some(1 << 30));
    assert_eq!(engine.processes_at(gpu, 2 * SECOND)[0].memory, None);
    assert_eq!(engine.memory_used(0, None, SECOND), 5 << 30);
    assert_eq!(engine.memory_used(0, None, 2 * SECOND), 4 << 30);
    assert_eq!(engine.process_at(6, SECOND), Some(1));
    assert_eq!(engine.process_at(6, 3 * SECOND), None);
    assert!(engine.processes_at(Device::gpu(9), SECOND).is_empty());
}

#[test]
fn mean_loads_are_exact() {
    let engine = plain("ring", TWO);
    let gpu = Device::gpu(0);
    assert_eq!(engine.load(1, gpu, 0, SECOND), 80.0);
    assert_eq!(engine.load(1, gpu, 0, 2 * SECOND), 50.0);
    assert_eq!(engine.load(1, gpu, -SECOND, SECOND), 40.0);
    assert_eq!(engine.load(6, gpu, 0, 200_000), 5.0);
    assert_eq!(engine.load(6, gpu, 5, 5), 0.0);
    assert_eq!(engine.total_load(0, None, 0, SECOND).sm, 98.0);
    assert_eq!(engine.total_load(0, None, SECOND, 2 * SECOND).sm, 40.0);
    assert_eq!(engine.total_load(0, None, SECOND, 2 * SECOND).mem, 8.0);
}

#[test]
fn the_ring_has_an_entry_per_period() {
    let engine = plain("ring", TWO);
    let all = engine.samples(0, None, 450_000);
    assert_eq!(entries(&all), [(1, 200_000, 80), (5, 200_000, 5), (1, 400_000, 80), (5, 400_000, 10)]);
    assert_eq!(all[1].pids, 5..7);
    assert_eq!(all[1].percent, [5, 2, 0, 0]);
    assert_eq!(engine.samples(0, Some(200_000), 450_000), all[2..]);
    assert_eq!(engine.samples(0, Some(199_999), 399_999), all[..2]);
    assert!(engine.samples(0, Some(400_000), 599_999).is_empty());
    assert!(engine.samples(0, Some(900_000), 450_000).is_empty());
    // Ended at 3 s, and still there; kept for two minutes.
    let ended = |now| engine.samples(0, None, now).iter().filter(|sample| sample.pids.start == 5).count();
    assert_eq!(ended(10 * SECOND), 15);
    assert_eq!(ended(122 * SECOND), 5);
    assert_eq!(ended(123 * SECOND), 0);
}

#[test]
fn the_last_period_of_those_that_run() {
    let engine = plain("last", &TWO.replace("sm: 20 }", "sm: 0 }"));
    assert_eq!(entries(&engine.samples(0, None, 2500 * 1000)), [(1, SECOND, 80), (5, 2_400_000, 10)]);
    assert_eq!(entries(&engine.samples(0, Some(SECOND), 2500 * 1000)), [(5, 2_400_000, 10)]);
    assert_eq!(entries(&engine.samples(0, None, 3 * SECOND)), [(1, SECOND, 80)]);
}

#[test]
fn the_average_since_the_callers_stamp() {
    let engine = plain("average", TWO);
    assert_eq!(entries(&engine.samples(0, None, 2 * SECOND)), [(1, 2 * SECOND, 50), (5, 2 * SECOND, 10)]);
    assert_eq!(
        entries(&engine.samples(0, Some(1_500_000), 2 * SECOND)),
        [(1, 2 * SECOND, 20), (5, 2 * SECOND, 10)]
    );
    assert_eq!(entries(&engine.samples(0, Some(SECOND), 4 * SECOND)), [(1, 4 * SECOND, 20)]);
    assert!(engine.samples(0, Some(SECOND), SECOND).is_empty());
}

const MIG: &str = r"
version: 1
gpus:
  - model: H
    memory: 80GiB
    gpm: true
    mig:
      - { profile: 3g.40gb, gpu_instance: 1, compute_instance: 0, until: 10s }
      - { profile: 1c.2g.20gb, gpu_instance: 3, compute_instance: 0 }
      - { profile: 1c.2g.20gb, gpu_instance: 3, compute_instance: 1 }
      - { profile: 1g.10gb, gpu_instance: 1, compute_instance: 0, from: 10s }
processes:
  - { pid: 1, name: a, devices: [{ gpu: 0, instance: 1/0, memory: 1GiB, sm: 70 }] }
  - { pid: 2, name: b, devices: [{ gpu: 0, instance: 3/0, memory: 2GiB, sm: 60 }] }
  - { pid: 3, name: c, devices: [{ gpu: 0, instance: 3/1, memory: 4GiB, sm: 60 }] }
";

#[test]
fn mig_devices() {
    let engine = engine(MIG);
    let pids =
        |device, at| engine.processes_at(device, at).iter().map(|listed| listed.pid).collect::<Vec<_>>();
    assert_eq!(pids(Device::gpu(0), SECOND), [1, 2, 3]);
    assert_eq!(pids(Device::mig(0, 3, 1), SECOND), [3]);
    assert_eq!(pids(Device::mig(0, 3, 2), SECOND), [0_u32; 0]);
    // Destroyed, with what ran on it.
    assert_eq!(pids(Device::mig(0, 1, 0), 10 * SECOND), [0_u32; 0]);
    // Compute instances share their GPU instance's memory.
    assert_eq!(engine.memory_used(0, Some(3), SECOND), 6 << 30);
    assert_eq!(engine.total_load(0, Some(1), 0, SECOND).sm, 70.0);
    assert_eq!(engine.total_load(0, Some(3), 0, SECOND).sm, 100.0);
    let migs = engine.scenario().gpus[0].mig.as_ref().unwrap();
    let indices: Vec<_> = migs.iter().filter_map(|mig| mig.index).collect();
    assert_eq!(indices, [0, 1, 2, 0]);
    assert_eq!((migs[1].slices, migs[1].compute_slices, migs[1].memory.0), (2, 1, 20 << 30));
}

/// The text of what is wrong.
fn refusal(text: &str) -> String {
    match Scenario::parse(text) {
        Ok(_) => panic!("accepted: {text}"),
        Err(error @ (ScenarioError::Syntax(_) | ScenarioError::Invalid(..) | ScenarioError::Read(_))) => {
            error.to_string()
        }
    }
}

#[test]
fn errors_name_the_place() {
    let base = "version: 1\ngpus: [{ model: A, memory: 1GiB }]\n";
    let process = |body: &str| format!("{base}processes: [{{ pid: 1, name: a, {body} }}]");
    for (text, place) in [
        ("version: 2\ngpus: []".to_owned(), "version: 2 is not 1"),
        (format!("{base}gpu: 1"), "line 3"),
        (format!("{base}boot_time: soon"), "`soon` is not a duration"),
        (format!("{base}boot_time: soon"), "line 3"),
        (process("devices: [{ gpu: 7 }]"), "processes[0].devices[0].gpu: there is no GPU 7"),
        (process("devices: [{ gpu: 0, instance: 1/0 }]"), "devices[0].instance: the GPU has no `mig`"),
        (process("devices: [{ gpu: 0, instance: x }]"), "`x` is not `<gpu instance>/<compute instance>`"),
        (process("devices: [{ gpu: 0, sm: 101 }]"), "percent"),
        (process("devices: [{ gpu: 0 }, { gpu: 0 }]"), "devices[1]: the process has this device"),
        (process("devices: [{ gpu: 0, from: -1s }]"), "devices[0].from: is before"),
        (process("end: 0s"), "processes[0].end: is not after"),
        (process("name_hex: aa"), "processes[0].name: give either"),
        (process("start: -2h"), "processes[0].start: is before `boot_time`"),
        (process("count: 0"), "processes[0].count"),
        (
            format!("{base}processes: [{{ pid: 1, count: 5, name: a }}, {{ pid: 3, name: b }}]"),
            "processes[1].pid",
        ),
        (format!("{base}faults: [{{ function: x }}]"), "faults[0]: needs"),
        (format!("{base}faults: [{{ function: x, return: OOPS }}]"), "`OOPS` is not an NVML return code"),
        (format!("{base}faults: [{{ function: x, gpu: 3, hang: true }}]"), "faults[0].gpu"),
        ("version: 1\ngpus: [{ model: A, memory: 1GiB, pci: x }]".to_owned(), "gpus[0].pci"),
        ("version: 1\ngpus: [{ memory: 1GiB }]".to_owned(), "gpus[0].model: is needed"),
        ("version: 1\ngpus: [{ model: A }]".to_owned(), "gpus[0].memory: is needed"),
        ("version: 1\ngpus: [{ profile: H900 }]".to_owned(), "H900"),
        ("version: 1\ngpus: [{ profile: T4, mig: [] }]".to_owned(), "gpus[0].mig: the GPU is not capable"),
        ("version: 1\ngpus: [{ profile: T4, power: { idle: 80W } }]".to_owned(), "gpus[0].power: `idle`"),
        ("version: 1\ngpus: [{ profile: T4, power: { idle: 8V } }]".to_owned(), "`8V` is not a power"),
        (
            "version: 1\ngpus: [{ profile: A30, mig: [], accounting: { enabled: true } }]".to_owned(),
            "gpus[0].accounting.enabled",
        ),
        (format!("{base}driver: {{ branch: R300 }}"), "R300"),
        (format!("{base}driver_events: [{{ at: 1s }}]"), "driver_events[0]: needs either"),
        (
            format!("{base}driver_events: [{{ at: 1s, unloaded: true }}, {{ at: 2s, upgrade: a }}]"),
            "driver_events[1]: the driver is unloaded",
        ),
        (
            format!("{base}driver_events: [{{ at: 1s, unloaded: true, version: a }}]"),
            "driver_events[0]: `version`",
        ),
        (
            format!("{base}driver_events: [{{ at: 1s, upgrade: a }}, {{ at: 1s, upgrade: b }}]"),
            "driver_events: must be in the order",
        ),
        (MIG.replace("1g.10gb", "big"), "gpus[0].mig[3].profile"),
        (MIG.replace("from: 10s", "from: 9s"), "gpus[0].mig[3]"),
    ] {
        let message = refusal(&text);
        assert!(message.contains(place), "{message} does not say {place}");
        assert!(!message.contains('\n'), "{message}");
    }
}

#[test]
fn a_changed_driver_and_its_clients() {
    let engine = engine(
        "version: 1\ngpus: []\ndriver_events: [{ at: 1s, upgrade: '1.2' }, { at: 2s, unloaded: true }, \
         { at: 3s, unloaded: false }]",
    );
    let state = |at| {
        let state = engine.driver_at(at);
        (state.loaded, state.since, state.version, state.changes)
    };
    assert_eq!(state(SECOND - 1), (true, None, "550.54.15", 0));
    assert_eq!(state(SECOND), (true, Some(SECOND), "1.2", 1));
    assert_eq!(state(2 * SECOND), (false, Some(SECOND), "1.2", 2));
    assert_eq!(state(3 * SECOND), (true, Some(3 * SECOND), "1.2", 3));
    assert_eq!(engine.nvml_version_at(3 * SECOND), "12.1.2");
    assert_eq!(engine.client_at(0, SECOND), Err(Code::LIB_RM_VERSION_MISMATCH));
    assert_eq!(engine.client_at(0, 3 * SECOND), Err(Code::UNINITIALIZED));
    assert_eq!(engine.client_at(1, SECOND), Ok(()));
    // Time that is set back undoes what has not happened yet.
    assert_eq!(engine.client_at(3, 0), Ok(()));
}

#[test]
fn energy_is_an_exact_integral() {
    let power = "power: { idle: 50W, busy: 150W, report: energy }";
    let engine = engine(
        &format!("version: 1\ngpus: [{{ model: A, memory: 1GiB, {power} }}]\nprocesses:\n{TWO}")
            .replace("sm: 10,", "sm: 33.3,")
            .replace("memory: 2GiB", "memory: 1"),
    );
    // 80 % for 100 ms, then capped at 100 % to 1 s, then 86.6 % to 3 s, then 20 %.
    assert_eq!(engine.energy(0, 100_000), 13_000);
    assert_eq!(engine.energy(0, SECOND), 13_000 + 135_000);
    assert_eq!(engine.energy(0, 3 * SECOND), 148_000 + 273_200);
    assert_eq!(engine.power(0, 2 * SECOND, 4 * SECOND), 103_300);
    assert_eq!(engine.power(0, SECOND, SECOND), 136_600);
    assert_eq!(engine.power(0, -SECOND, 0), 50_000);
    assert_eq!(engine.energy(0, -SECOND), 0);
}

#[test]
fn of_ten_thousand_the_last_are_accounted() {
    let processes = "  - { pid: 100, count: 10000, name: a, end: 1s, devices: [{ gpu: 0 }] }";
    let engine = plain("ring", processes);
    let pids = engine.accounted(0, i64::MIN, SECOND);
    assert_eq!((pids.len(), pids[0], pids[3999]), (4000, 6100, 10_099));
    assert!(engine.account(0, 6099, i64::MIN, SECOND).is_none());
}

#[test]
fn faults_match_by_pattern_and_time() {
    let text = "version: 1\ngpus: []\nfaults: [{ from: 1s, until: 2s, function: 'nvmlDeviceGet*Info*', hang: true }]";
    let scenario = Scenario::parse(text).unwrap();
    let matches = |function, at| scenario.faults[0].matches(function, Micros(at));
    assert!(matches("nvmlDeviceGetMemoryInfo_v2", SECOND));
    assert!(!matches("nvmlDeviceGetMemoryInfo_v2", 2 * SECOND));
    assert!(!matches("nvmlDeviceGetMemoryInfo_v2", 0));
    assert!(!matches("nvmlDeviceGetName", SECOND));
}

#[test]
fn ten_thousand_are_listed() {
    let engine = plain("ring", "  - { pid: 100, count: 10000, name: a, devices: [{ gpu: 0, memory: 1 }] }");
    for at in 0..100 {
        assert_eq!(engine.processes_at(Device::gpu(0), at).len(), 10_000);
    }
}
