//! The scenarios that come with the project.
#![allow(clippy::unwrap_used, clippy::float_cmp)]

use std::path::{Path, PathBuf};

use nvml_sim::engine::Device;
use nvml_sim::{Engine, ProcTree, Scenario};

const MINUTE: i64 = 60_000_000;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/scenarios")
}

fn engine(name: &str) -> Engine {
    Engine::new(Scenario::load(&folder().join(name)).unwrap())
}

#[test]
fn all_load_and_make_a_proc_tree() {
    let mut seen = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let scenario = Scenario::load(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let root = tempfile::tempdir().unwrap();
        let mut tree = ProcTree::create(root.path(), &scenario, 1_700_000_000_000_000).unwrap();
        // Ten thousand folders are for whoever needs them.
        if scenario.processes.iter().all(|process| process.count < 1000) {
            tree.sync(1_700_000_060_000_000).unwrap();
        }
        seen += 1;
    }
    assert!(seen >= 9);
}

#[test]
fn the_seed() {
    let engine = engine("seed.yaml");
    let sessions: Vec<_> = (0..4).map(|gpu| engine.processes_at(Device::gpu(gpu), MINUTE).len()).collect();
    assert_eq!(sessions, [1, 1, 1, 0]);
    let process = engine.processes_at(Device::gpu(1), MINUTE)[0];
    assert_eq!(process.pid, 12345);
    assert_eq!(engine.load(12345, Device::gpu(1), 0, MINUTE), 75.0);
    assert_eq!(process.memory.unwrap() * 100, engine.scenario().gpus[1].memory.0 * 45);
}

#[test]
fn sizes() {
    let total = |name: &str| {
        let engine = engine(name);
        let gpus = 0..engine.scenario().gpus.len();
        gpus.map(|gpu| engine.processes_at(Device::gpu(gpu), MINUTE).len()).sum::<usize>()
    };
    assert_eq!(total("mig-224.yaml"), 224);
    assert_eq!(total("plain-64.yaml"), 64);
    assert_eq!(total("ten-thousand.yaml"), 10_000);
}

/// Nothing in the demo is more than a GPU can do, and it never stands still for long.
#[test]
fn the_demo_is_plausible() {
    let engine = engine("demo.yaml");
    let mut pictures = std::collections::HashSet::new();
    for minute in 0..42 {
        let at = minute * MINUTE;
        for (index, gpu) in engine.scenario().gpus.iter().enumerate() {
            assert!(engine.memory_used(index, None, at) + gpu.reserved.0 <= gpu.memory.0);
            let parts: Vec<_> = gpu.mig.iter().flatten().map(|mig| Some(mig.gpu_instance)).collect();
            for part in if gpu.mig.is_some() { parts } else { vec![None] } {
                let load = engine.total_load(index, part, at, at + 1_000_000);
                assert!(load.sm < 100.0, "GPU {index} at minute {minute}");
            }
            let mig = gpu.mig.iter().flatten();
            for mig in mig {
                assert!(engine.memory_used(index, Some(mig.gpu_instance), at) <= mig.memory.0);
            }
            pictures.insert(format!("{index} {:?}", engine.processes_at(Device::gpu(index), at)));
        }
        assert_eq!(engine.load(41000, Device::gpu(2), at, at + MINUTE), 0.0);
    }
    assert!(pictures.len() >= 12, "{}", pictures.len());
}

#[test]
fn the_examples_of_the_documentation() {
    let text = std::fs::read_to_string(folder().join("../../docs/scenario.md")).unwrap();
    let examples: Vec<Scenario> = text
        .split("```yaml\n")
        .skip(1)
        .map(|rest| Scenario::parse(rest.split_once("```").unwrap().0).unwrap())
        .collect();
    assert_eq!(examples[0].processes[0].devices.len(), 2);
    assert_eq!(examples[1].driver_events.len(), 3);
}
