use super::files::stat;
use super::*;
use gpu_session_core::ids::GpuLabel;
use gpu_session_core::sample::{Accounting, AccountingRecord, DeviceFacts, DeviceProcess, Driver};
use std::sync::Arc;

fn stat_line(pid: u32, comm: &[u8], start: u64) -> Vec<u8> {
    let mut line = format!("{pid} (").into_bytes();
    line.extend_from_slice(comm);
    line.extend_from_slice(format!(") S 1{} {start} 0 0\n", " 0".repeat(17)).as_bytes());
    line
}

fn sample(pids: &[u32]) -> Sample {
    let facts = DeviceFacts {
        label: GpuLabel { gpu: 0, instance: None },
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
        facts: facts.into(),
        memory_used_bytes: None,
        utilization: None,
        energy_millijoules: None,
        accounting: None,
        processes: Some(pids.iter().map(|pid| DeviceProcess { pid: *pid, memory_bytes: None }).collect()),
        mps: false,
        activity: Activity::Unsupported,
    };
    Sample { driver: Some(Driver { devices: vec![device], ..Driver::default() }), ..Sample::default() }
}

fn tree() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("stat"), "cpu 1 2\nbtime 1700000000\n").unwrap();
    dir
}

fn add(root: &Path, pid: u32, comm: &[u8], start: u64) {
    let dir = root.join(pid.to_string());
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("stat"), stat_line(pid, comm, start)).unwrap();
    std::fs::write(dir.join("status"), "Name:\tx\nUid:\t1000\t0\t0\t0\n").unwrap();
    std::fs::write(dir.join("cgroup"), "0::/user.slice\n").unwrap();
}

#[test]
fn the_name_may_hold_anything() {
    for comm in [&b"python3"[..], b"a) b (c", b"new\nline", b"\xff\xfe", &[b'x'; 10_000]] {
        assert_eq!(stat(&stat_line(1, comm, 77)), Some((comm, 77)));
    }
    // What follows the bracket at once would be taken for the blank, and the fields behind it for each other.
    let glued = String::from_utf8(stat_line(1, b"x", 77)).unwrap().replace(") S", ")S S");
    for bad in [&b""[..], b"1 (x", b"1 x) S", b"1 (x) S 1 2", glued.as_bytes()] {
        assert_eq!(stat(bad), None);
    }
}

#[test]
fn an_exiting_process_has_no_cgroup_any_more() {
    let dir = tree();
    add(dir.path(), 7, b"python3", 100);
    let stat = |flags: &str| {
        let fields = format!("7 (python3) S 1 7 7 0 -1 {flags}{} 100 0 0\n", " 0".repeat(12));
        std::fs::write(dir.path().join("7/stat"), fields).unwrap();
    };
    for (flags, cgroup) in [("4194304", Some("0::/user.slice\n")), ("4194308", None)] {
        stat(flags);
        let mut read = sample(&[7]);
        assert!(
            Proc::new(dir.path(), Recent::default(), Clock::Real)
                .read(&Request::default(), &mut read)
                .is_empty()
        );
        let process = &read.processes.unwrap()[&7];
        assert_eq!((process.start_ticks, process.cgroup.as_deref()), (Some(100), cgroup), "{flags}");
    }
}

#[test]
fn a_known_process_costs_one_read_and_a_reused_pid_is_new() {
    let dir = tree();
    add(dir.path(), 7, b"python3", 100);
    let mut source = Proc::new(dir.path(), Recent::default(), Clock::Real);
    let mut first = sample(&[7, 8]);
    assert!(source.read(&Request::default(), &mut first).is_empty());
    let processes = first.processes.unwrap();
    assert_eq!((processes.len(), processes[&7].uid), (1, Some(1000)), "8 has gone: no process, no error");
    assert_eq!(first.boot_us, Some(1_700_000_000_000_000));

    // Were it read again, the missing files would be errors.
    std::fs::remove_file(dir.path().join("7/cgroup")).unwrap();
    let known = Request { known: BTreeMap::from([(7, 100)]), ..Request::default() };
    let mut second = sample(&[7]);
    assert!(source.read(&known, &mut second).is_empty());
    assert_eq!(second.processes.unwrap()[&7].command, None);

    add(dir.path(), 7, b"other", 200);
    let mut third = sample(&[7]);
    source.read(&known, &mut third);
    assert_eq!(third.processes.unwrap()[&7].command.as_deref(), Some("other"));
}

#[test]
fn an_unreadable_proc_is_not_an_empty_one() {
    let empty = tempfile::tempdir().unwrap();
    for root in [empty.path(), Path::new("/nonexistent")] {
        let mut taken = sample(&[7]);
        let errors = Proc::new(root, Recent::default(), Clock::Real).read(&Request::default(), &mut taken);
        assert_eq!((errors.len(), taken.processes), (1, None));
        assert!(errors[0].message.contains("proc.root"), "{}", errors[0].message);
    }
}

#[test]
fn a_malformed_process_is_an_error_and_still_a_process() {
    let dir = tree();
    add(dir.path(), 7, b"x", 1);
    std::fs::write(dir.path().join("7/stat"), "garbage").unwrap();
    let mut taken = sample(&[7]);
    let errors = Proc::new(dir.path(), Recent::default(), Clock::Real).read(&Request::default(), &mut taken);
    assert_eq!(&*errors[0].kind, "malformed");
    assert_eq!(taken.processes.unwrap()[&7], Process::default());
}

#[test]
fn this_machine_has_us() {
    let own = std::process::id();
    let mut taken = sample(&[own]);
    let errors =
        Proc::new(Path::new("/proc"), Recent::default(), Clock::Real).read(&Request::default(), &mut taken);
    // In a container of its own pid namespace the source must refuse instead.
    match errors.first() {
        None => assert!(taken.processes.unwrap()[&own].start_ticks.is_some()),
        Some(error) => assert_eq!(&*error.kind, "pid_namespace"),
    }
}

/// What was used since: pid and stamp of each entry.
fn used(sample: &mut Sample, since_us: i64, entries: &[(u32, i64)]) {
    let entry =
        |&(pid, time_us): &(u32, i64)| ActivityEntry { pid, time_us, dec: 1, ..ActivityEntry::default() };
    let entries = entries.iter().map(entry).collect();
    sample.driver.as_mut().unwrap().devices[0].activity = Activity::Entries { since_us, entries };
}

fn since(known: &[(u32, u64)]) -> Request {
    Request {
        known: known.iter().copied().collect(),
        since_us: [(Arc::from("GPU-a"), 100)].into(),
        seen: [Arc::from("GPU-a")].into(),
        ..Request::default()
    }
}

fn starts(past: &[PastProcess]) -> Vec<u64> {
    past.iter().map(|past| past.process.start_ticks.unwrap()).collect()
}

#[test]
fn a_known_process_that_is_no_longer_listed_is_looked_for() {
    let dir = tree();
    add(dir.path(), 7, b"python3", 100);
    let mut source = Proc::new(dir.path(), Recent::default(), Clock::Real);
    assert_eq!(source.read(&since(&[]), &mut sample(&[7])), []);

    let request = since(&[(7, 100)]);
    let mut released = sample(&[]);
    assert_eq!(source.read(&request, &mut released), []);
    let only_start = Process { start_ticks: Some(100), ..Process::default() };
    assert_eq!((released.processes, released.past), (Some([(7, only_start)].into()), [].into()));

    std::fs::remove_dir_all(dir.path().join("7")).unwrap();
    let mut over = sample(&[]);
    assert_eq!(source.read(&request, &mut over), []);
    assert_eq!(over.processes, Some([].into()));
    let past = &over.past[&7];
    assert_eq!((past.len(), past[0].process.uid, past[0].wait_status), (1, Some(1000), None));
    assert_eq!(past[0].process.cgroup.as_deref(), Some("0::/user.slice\n"));

    // In another boot the same ticks are another process's.
    let mut booted = sample(&[]);
    assert_eq!(source.read(&Request { boot_id: "other".into(), ..request }, &mut booted), []);
    assert_eq!((booted.processes, booted.past), (Some([].into()), [].into()));
}

#[test]
fn a_zombie_is_over_unless_it_has_threads_left() {
    let dir = tree();
    add(dir.path(), 7, b"python3", 100);
    for (threads, there) in [(1, false), (2, true)] {
        let line = format!("7 (python3) Z 1{} {threads} 0 100 0 0\n", " 0".repeat(15));
        std::fs::write(dir.path().join("7/stat"), line).unwrap();
        let mut source = Proc::new(dir.path(), Recent::default(), Clock::Real);
        let mut read = sample(&[]);
        assert_eq!(source.read(&since(&[(7, 100)]), &mut read), []);
        assert_eq!(read.processes.unwrap().contains_key(&7), there, "{threads}");
    }
}

#[test]
fn a_pid_that_only_the_entries_name_is_read_while_it_runs_and_remembered_after() {
    let dir = tree();
    add(dir.path(), 7, b"burst", 100);
    let mut source = Proc::new(dir.path(), Recent::default(), Clock::Real);
    let read = |source: &mut Proc, request: &Request, entries: &[(u32, i64)]| {
        let mut taken = sample(&[]);
        used(&mut taken, 100, entries);
        assert_eq!(source.read(request, &mut taken), []);
        (taken.processes.unwrap(), taken.past)
    };
    let (processes, past) = read(&mut source, &Request::default(), &[(7, 200)]);
    assert_eq!((processes.len(), past.len()), (0, 0), "at a first reading the past is nobody's");
    let (processes, past) = read(&mut source, &since(&[]), &[(7, 100)]);
    assert_eq!((processes.len(), past.len()), (0, 0), "not newer than the last reading");
    let (processes, past) = read(&mut source, &since(&[]), &[(7, 101), (8, 101)]);
    assert_eq!((processes.len(), processes[&7].command.as_deref()), (1, Some("burst")));
    assert_eq!(past.len(), 0, "8 is gone and was never known");

    // The pid is another's, and then nobody's.
    add(dir.path(), 7, b"other", 200);
    let (processes, past) = read(&mut source, &since(&[]), &[(7, 101)]);
    assert_eq!((processes[&7].start_ticks, starts(&past[&7])), (Some(200), vec![100]));
    std::fs::remove_dir_all(dir.path().join("7")).unwrap();
    let (processes, past) = read(&mut source, &since(&[]), &[(7, 101)]);
    assert_eq!((processes.len(), starts(&past[&7])), (0, vec![100, 200]));
    let (_, past) = read(&mut source, &since(&[]), &[]);
    assert_eq!(past.len(), 0, "nobody named it");
}

#[test]
fn use_of_nothing_names_nobody() {
    let dir = tree();
    add(dir.path(), 7, b"idle", 100);
    let mut taken = sample(&[]);
    let entries = vec![ActivityEntry { pid: 7, time_us: 101, ..ActivityEntry::default() }];
    taken.driver.as_mut().unwrap().devices[0].activity = Activity::Entries { since_us: 100, entries };
    let mut source = Proc::new(dir.path(), Recent::default(), Clock::Real);
    assert_eq!(source.read(&since(&[]), &mut taken), []);
    assert_eq!(taken.processes, Some([].into()));
}

#[test]
fn a_pid_of_accounting_is_looked_for_where_the_device_was_read_before() {
    let dir = tree();
    add(dir.path(), 7, b"python3", 100);
    let mut source = Proc::new(dir.path(), Recent::default(), Clock::Real);
    assert_eq!(source.read(&since(&[]), &mut sample(&[7])), []);
    std::fs::remove_dir_all(dir.path().join("7")).unwrap();
    for (request, expected) in [(since(&[]), 1), (Request::default(), 0)] {
        let mut taken = sample(&[]);
        let record =
            AccountingRecord { pid: 7, start_us: 1, duration_us: 1, sm: None, max_memory_bytes: None };
        let accounting = Accounting { pids: [7].into(), ended: vec![record] };
        taken.driver.as_mut().unwrap().devices[0].accounting = Some(accounting);
        assert_eq!(source.read(&request, &mut taken), []);
        assert_eq!(taken.past.len(), expected);
    }
}

#[test]
fn a_session_whose_pid_is_listed_as_anothers_is_past() {
    let dir = tree();
    add(dir.path(), 7, b"first", 100);
    let mut source = Proc::new(dir.path(), Recent::default(), Clock::Real);
    assert_eq!(source.read(&since(&[]), &mut sample(&[7])), []);
    add(dir.path(), 7, b"second", 200);
    let mut taken = sample(&[7]);
    assert_eq!(source.read(&since(&[(7, 100)]), &mut taken), []);
    assert_eq!((taken.processes.unwrap()[&7].start_ticks, starts(&taken.past[&7])), (Some(200), vec![100]));
}

#[test]
fn an_unlisted_process_that_cannot_be_read_is_an_error_and_not_gone() {
    let dir = tree();
    add(dir.path(), 7, b"x", 100);
    std::fs::write(dir.path().join("7/stat"), "garbage").unwrap();
    let mut taken = sample(&[]);
    let errors = Proc::new(dir.path(), Recent::default(), Clock::Real).read(&since(&[(7, 100)]), &mut taken);
    // Of a process that is over, and of one that left its device, more is known.
    let may_be_there = Some([(7, Process::default())].into());
    assert_eq!((errors.len(), &*errors[0].kind, taken.processes), (1, "malformed", may_be_there));
    assert!(taken.past.is_empty());
}

fn child() -> std::process::Child {
    std::process::Command::new("sleep").arg("600").spawn().unwrap()
}

/// What a source says of a process that the driver lists.
fn listed(source: &mut Proc, known: &[(u32, u64)], pid: u32) -> Option<Process> {
    let mut sample = sample(&[pid]);
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let request = Request {
        known: known.iter().copied().collect(),
        boot_id: boot_id.trim().into(),
        ..Request::default()
    };
    assert_eq!(source.read(&request, &mut sample), []);
    sample.processes.unwrap().remove(&pid)
}

#[test]
fn a_process_that_is_held_is_not_read_until_it_ends() {
    let mut child = child();
    let pid = child.id();
    let mut source = Proc::new(Path::new("/proc"), Recent::default(), Clock::Real).holding();
    let start = listed(&mut source, &[], pid).unwrap().start_ticks.unwrap();
    assert_eq!(source.held(pid, Some(start)), None, "one that is seen once is not worth a file");

    let known = [(pid, start)];
    let read = listed(&mut source, &known, pid).unwrap();
    assert_eq!(source.held(pid, Some(start)), Some(start));
    assert_eq!(listed(&mut source, &known, pid).unwrap(), read);

    // It waits for its parent, who reads its end: until then it has its pid.
    child.kill().unwrap();
    let stat = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    while !stat().contains(") Z ") {
        std::thread::yield_now();
    }
    assert_eq!(listed(&mut source, &known, pid).unwrap(), read);
    child.wait().unwrap();
    assert_eq!(listed(&mut source, &known, pid), None);
    assert_eq!(source.held(pid, Some(start)), None);
}

#[test]
fn a_session_that_is_not_known_any_more_is_let_go() {
    let mut child = child();
    let pid = child.id();
    let mut source = Proc::new(Path::new("/proc"), Recent::default(), Clock::Real).holding();
    let start = listed(&mut source, &[], pid).unwrap().start_ticks.unwrap();
    listed(&mut source, &[(pid, start)], pid);
    assert_eq!(source.held(pid, Some(start)), Some(start));
    // A known start that is of another process is not this one's.
    let other = listed(&mut source, &[(pid, start + 1)], pid).unwrap();
    assert_eq!((other.start_ticks, other.command.as_deref()), (Some(start), Some("sleep")));
    assert_eq!(source.held(pid, Some(start)), None);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_handle_of_one_that_ended_before_its_pid_was_read_holds_no_other() {
    let mut held = Held::new();
    let mut child = child();
    let pid = child.id();
    let handle = held.handle(pid).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    held.hold(pid, 77, handle);
    held.look(|_, _| true);
    assert_eq!(held.start(pid), None);
    assert!(held.handle(pid).is_none(), "nobody has the pid");
}

#[test]
fn processes_of_a_tree_that_is_not_the_kernels_are_not_held() {
    let dir = tree();
    add(dir.path(), std::process::id(), b"python3", 100);
    let mut source = Proc::new(dir.path(), Recent::default(), Clock::Real).holding();
    let request = Request { known: [(std::process::id(), 100)].into(), ..Request::default() };
    for _ in 0..2 {
        assert_eq!(source.read(&request, &mut sample(&[std::process::id()])), []);
    }
    assert!(source.held.is_none());
}
