//! /proc and the passwd file: `stat`, `status` and `cgroup` of a process, `stat` of the node.

use super::{is_clean, of_parts, parts};
use crate::Target;
use gpu_session_core::cgroup::Place;
use gpu_session_core::sample::{Activity, Device, DeviceFacts, DeviceProcess, Driver, Request, Sample};
use gpu_session_sources::Source;
use gpu_session_sources::clock::Clock;
use gpu_session_sources::proc::{Proc, Recent};
use gpu_session_sources::users::{Names, Users};
use std::path::Path;
use std::sync::Arc;

pub(super) const TARGET: Target = Target {
    name: "proc",
    cases: 1_500,
    words: &[
        "(",
        ")",
        " ",
        "\n",
        "\t",
        "Uid:\t",
        "btime ",
        "0::/",
        "root:x:0:0",
        ":",
        "#",
        " Z ",
        " 4 ",
        "18446744073709551615",
        "\u{202e}",
    ],
    seeds,
    run,
};

const PID: u32 = 42;

/// Longest file of a process that is read, and what a file system may give with the last read.
const LONGEST_CGROUP: usize = 2 * (64 << 10);

fn seeds() -> Vec<Vec<u8>> {
    let stat = |name: &str, flags: u32, start: u64| {
        format!(
            "42 ({name}) S 1 42 42 0 -1 {flags} 0 0 0 0 0 0 0 0 20 0 1 0 {start} 0 0 18446744073709551615 0 0"
        )
    };
    let status =
        "Name:\tpython\nUmask:\t0022\nState:\tS (sleeping)\nUid:\t1000\t1000\t1000\t1000\nGid:\t1000\n";
    let cgroup = "0::/kubepods/pod1f0a8f5e-3c1d-4b86-9a57-0c8e64d2b913/46ef5ac7d83b2462a59c5fbe1a14e9be51b9fbd03226074ea3cab055cbfb440c\n";
    let node = "cpu  1 2 3\nbtime 1795827551\nprocesses 5\n";
    let passwd = "root:x:0:0:root:/root:/bin/sh\n# a comment\nalice:x:1000:1000::/home/alice:/bin/sh\n";
    let of = |stat: &str, cgroup: &str| of_parts(&[stat, status, cgroup, node, passwd].map(str::as_bytes));
    vec![
        of(&stat("python", 0x0040_0000, 12_345), cgroup),
        of(&stat("a) S 1 (b", 0, 0), "0::/user.slice/user-1000.slice/user@1000.service/app.slice/x.scope\n"),
        of(&stat("exiting", 4, u64::MAX), "0::/\n"),
    ]
}

fn run(bytes: &[u8]) {
    let [stat, status, cgroup, node, passwd] = parts(bytes);
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    std::fs::create_dir_all(folder.path().join("42")).unwrap();
    for (name, bytes) in
        [("42/stat", stat), ("42/status", status), ("42/cgroup", cgroup), ("stat", node), ("passwd", passwd)]
    {
        write(name, bytes);
    }
    let mut sample = sample();
    let mut source = Proc::new(folder.path(), Recent::default(), Clock::Real);
    let errors = source.read(&Request::default(), &mut sample);
    assert!(
        errors.iter().all(|error| error.message.contains(&*folder.path().to_string_lossy())),
        "{errors:?}"
    );
    check(stat, &sample);
    // What is known is not read again.
    if let Some(start) = start(&sample) {
        let mut again = self::sample();
        source.read(&Request { known: [(PID, start)].into(), ..Request::default() }, &mut again);
        assert_eq!(self::start(&again), Some(start));
    }
    named(&folder.path().join("passwd"), passwd, &mut sample);
    let written = serde_json::to_string(&sample).unwrap();
    assert_eq!(serde_json::from_str::<Sample>(&written).unwrap(), sample, "a capture of it");
}

fn start(sample: &Sample) -> Option<u64> {
    sample.processes.as_ref()?.get(&PID)?.start_ticks
}

fn check(stat: &[u8], sample: &Sample) {
    let Some(process) = sample.processes.as_ref().and_then(|processes| processes.get(&PID)) else { return };
    if let Some(start) = process.start_ticks {
        // The 20th word after the name, which may hold anything.
        let after = stat.rsplit(|b| *b == b')').next().unwrap();
        assert_eq!(after.first(), Some(&b' '));
        let word = after.split(|b| *b == b' ').nth(20).unwrap();
        assert_eq!(std::str::from_utf8(word).unwrap().trim().parse(), Ok(start));
        assert!(process.command.is_some());
    }
    assert!(process.command.as_ref().is_none_or(|command| is_clean(command)), "{process:?}");
    if let Some(cgroup) = &process.cgroup {
        // What is no UTF-8 takes three bytes.
        assert!(cgroup.len() <= 3 * LONGEST_CGROUP);
        Place::of(cgroup);
    }
}

/// The first entry of a uid names it.
fn named(path: &Path, passwd: &[u8], sample: &mut Sample) {
    let errors = Users::new(Names::File(path.to_owned()))
        .read(&Request { uids: [0, 1000].into(), ..Request::default() }, sample);
    assert!(errors.is_empty(), "{errors:?}");
    for (uid, name) in &sample.users {
        assert!(is_clean(name) && !name.is_empty(), "{uid}: {name:?}");
        assert!(passwd.windows(2).any(|pair| pair[0] == b':'), "{uid}: {name:?} out of nothing");
    }
}

/// One device with one process.
fn sample() -> Sample {
    let facts = DeviceFacts {
        label: gpu_session_core::ids::GpuLabel { gpu: 0, instance: None },
        uuid: "GPU-a".into(),
        parent_uuid: None,
        model: None,
        mig_profile: None,
        pci_bus_id: None,
        minor_number: None,
        memory_total_bytes: None,
        compute_fraction: None,
    };
    let device = Device {
        facts: Arc::new(facts),
        memory_used_bytes: None,
        utilization: None,
        energy_millijoules: None,
        processes: Some(vec![DeviceProcess { pid: PID, memory_bytes: None }]),
        mps: false,
        activity: Activity::Unsupported,
        accounting: None,
    };
    let driver = Driver { devices: vec![device], ..Driver::default() };
    Sample { time_us: 1_800_000_000_000_000, driver: Some(driver), ..Sample::default() }
}
