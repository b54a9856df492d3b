use super::*;
use nix::errno::Errno;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

/// Long enough for any thread to be run.
const LONG: Duration = Duration::from_secs(600);

const HOUR: Duration = Duration::from_secs(3600);

fn sample(processes: Vec<Process>) -> Sample {
    Sample { processes: Some((1..).zip(processes).collect()), ..Sample::default() }
}

fn read(users: &mut Users, uids: &[u32]) -> (BTreeMap<u32, Arc<str>>, Vec<SourceError>) {
    let process = |uid: &u32| Process { uid: Some(*uid), ..Process::default() };
    let mut sample = sample(uids.iter().map(process).collect());
    let errors = users.read(&Request::default(), &mut sample);
    (sample.users, errors)
}

fn set<const N: usize>(uids: [u32; N]) -> BTreeSet<u32> {
    BTreeSet::from(uids)
}

fn name(found: &Found, uid: u32) -> Option<&str> {
    found.names.get(&uid).map(AsRef::as_ref)
}

type Asked = Arc<Mutex<Vec<u32>>>;

/// A name service that answers at once, and what it was asked.
fn quick(answer: impl Fn(u32) -> Result<Option<String>, Errno> + Send + 'static) -> (System, Asked) {
    let asked = Asked::default();
    let log = Arc::clone(&asked);
    let lookup = move |uid| {
        log.lock().unwrap().push(uid);
        answer(uid)
    };
    (System::new(lookup, LONG), asked)
}

/// A name service that answers `user<uid>` each time it is told to go on.
fn slow() -> (System, Sender<()>, Asked) {
    let (go, gate) = channel();
    let asked = Asked::default();
    let log = Arc::clone(&asked);
    let lookup = move |uid| {
        log.lock().unwrap().push(uid);
        gate.recv().map(|()| Some(format!("user{uid}"))).map_err(|_| Errno::EIO)
    };
    (System::new(lookup, Duration::ZERO), go, asked)
}

/// Reads until all uids are named.
fn until_named(system: &mut System, uids: &BTreeSet<u32>) -> Found {
    for _ in 0..60_000 {
        let found = system.find(uids, Instant::now());
        if found.pending.is_empty() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("{uids:?} stay without an answer");
}

#[test]
fn names_come_from_the_file_given() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("passwd");
    let table =
        "root:x:0:0::/root:/bin/sh\n# c:x:5:\nbroken\nalice:x:1000:1::\nshadow:x:1000:1::\n\x1b[2J:x:7:7::\n";
    std::fs::write(&path, table).unwrap();
    let (names, errors) = read(&mut Users::new(Names::File(path)), &[1000, 7, 9]);
    assert!(errors.is_empty());
    assert_eq!(names.get(&1000).map(AsRef::as_ref), Some("alice"));
    assert_eq!(names.get(&7).map(AsRef::as_ref), Some("\u{fffd}[2J"));
    assert_eq!(names.get(&9), None);
}

#[test]
fn a_file_that_changes_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("passwd");
    let mut users = Users::new(Names::File(path.clone()));
    for (table, named) in [
        ("alice:x:1000:1::\n", ["alice"].to_vec()),
        ("kim:x:1000:1::\nlee:x:1001:1::\n", ["kim", "lee"].to_vec()),
    ] {
        // As vipw and useradd do: a new file takes the place of the old one.
        let new = dir.path().join("passwd+");
        std::fs::write(&new, table).unwrap();
        std::fs::rename(&new, &path).unwrap();
        let (names, errors) = read(&mut users, &[1000, 1001]);
        assert_eq!((names.values().map(|name| &**name).collect::<Vec<_>>(), errors), (named, Vec::new()));
    }
}

#[test]
fn what_is_no_file_is_said_and_not_waited_for() {
    let mut users = Users::new(Names::File("/dev/zero".into()));
    let (names, errors) = read(&mut users, &[1000]);
    assert!(names.is_empty() && errors[0].message.contains("no file"), "{errors:?}");
}

#[test]
fn a_missing_file_is_said_and_no_names_are_no_error() {
    let mut users = Users::new(Names::File("/nonexistent/passwd".into()));
    let mut sample = sample(vec![Process { uid: Some(1000), ..Process::default() }]);
    let errors = users.read(&Request::default(), &mut sample);
    assert!(sample.users.is_empty() && sample.users_pending.is_empty());
    assert!(errors[0].message.contains("/nonexistent/passwd"));
    let (names, errors) = read(&mut Users::new(Names::None), &[1000]);
    assert!(names.is_empty() && errors.is_empty());
}

#[test]
fn the_uids_of_host_processes_of_requests_and_of_slurm_jobs_are_looked_up() {
    let (system, asked) = quick(|uid| Ok(Some(format!("user{uid}"))));
    let id = "2f1a3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f809";
    let process =
        |uid, cgroup: &str| Process { uid: Some(uid), cgroup: Some(cgroup.into()), ..Process::default() };
    let mut sample = sample(vec![
        process(1, "0::/system.slice/train.service\n"),
        process(2, "3:memory:/slurm/uid_3/job_42/step_0\n"),
        process(4, &format!("0::/docker/{id}\n")),
        Process { uid: Some(5), ..Process::default() },
    ]);
    let request = Request { uids: set([6]), ..Request::default() };
    let errors = Users(Book::System(system)).read(&request, &mut sample);
    assert!(errors.is_empty() && sample.users_pending.is_empty());
    assert_eq!(sample.users.keys().copied().collect::<Vec<_>>(), [1, 2, 3, 5, 6]);
    assert_eq!(*asked.lock().unwrap(), [1, 2, 3, 5, 6]);
}

#[test]
fn hostile_names_are_cleaned_and_a_uid_without_a_name_is_not_pending() {
    let (mut system, _) = quick(|uid| Ok((uid == 7).then(|| format!("\x1b[2J{}", "é".repeat(5_000)))));
    let found = system.find(&set([7, 8]), Instant::now());
    let hostile = name(&found, 7).unwrap();
    assert!(hostile.starts_with("\u{fffd}[2Jé") && hostile.len() <= text_limit());
    assert_eq!(name(&found, 8), None);
    assert!(found.pending.is_empty() && found.errors.is_empty());
}

fn text_limit() -> usize {
    gpu_session_core::text::MAX_LABEL_BYTES
}

#[test]
fn names_are_kept_for_an_hour_and_their_absence_for_ten_minutes() {
    let (mut system, asked) = quick(|uid| Ok((uid == 7).then(|| "alice".to_owned())));
    let begin = Instant::now();
    let mut asked_at = |seconds| {
        system.find(&set([7, 8]), begin + Duration::from_secs(seconds));
        std::mem::take(&mut *asked.lock().unwrap())
    };
    assert_eq!(asked_at(0), [7, 8]);
    assert_eq!(asked_at(599), [0; 0]);
    assert_eq!(asked_at(600), [8]);
    assert_eq!(asked_at(1200), [8]);
    assert_eq!(asked_at(3599), [8]);
    assert_eq!(asked_at(3600), [7]);
}

#[test]
fn a_service_that_does_not_answer_is_said_once_and_asked_once() {
    let (mut system, go, asked) = slow();
    let first = system.find(&set([7, 8]), Instant::now());
    assert_eq!(first.pending, set([7, 8]));
    assert_eq!(first.errors.len(), 1);
    assert_eq!(&*first.errors[0].kind, "timeout");
    for part in ["name service", "uid 7", "getent passwd 7", "users.passwd", "/etc/nsswitch.conf"] {
        assert!(first.errors[0].message.contains(part), "{}", first.errors[0].message);
    }
    let again = system.find(&set([7, 8, 9]), Instant::now());
    assert_eq!((again.pending, again.errors.len()), (set([7, 8, 9]), 0));
    for _ in 0..3 {
        go.send(()).unwrap();
    }
    let late = until_named(&mut system, &set([7, 8, 9]));
    assert_eq!((name(&late, 7), name(&late, 9)), (Some("user7"), Some("user9")));
    assert_eq!(*asked.lock().unwrap(), [7, 8, 9]);
    // It answered all: the next silence is a new one.
    assert_eq!(system.find(&set([10]), Instant::now()).errors.len(), 1);
}

#[test]
fn an_answer_that_nobody_waits_for_any_more_is_kept() {
    let (mut system, go, asked) = slow();
    assert_eq!(system.find(&set([7]), Instant::now()).pending, set([7]));
    go.send(()).unwrap();
    let empty = until_named(&mut system, &set([]));
    assert!(empty.names.is_empty());
    assert_eq!(name(&until_named(&mut system, &set([7])), 7), Some("user7"));
    assert_eq!(*asked.lock().unwrap(), [7]);
}

#[test]
fn the_queue_of_a_hanging_service_is_bounded_and_all_get_their_turn() {
    let (mut system, go, asked) = slow();
    let many: BTreeSet<u32> = (0..5_000).collect();
    for _ in 0..3 {
        assert_eq!(system.find(&many, Instant::now()).pending.len(), many.len());
        assert!(system.waiting() < many.len());
    }
    for _ in &many {
        go.send(()).unwrap();
    }
    assert_eq!(until_named(&mut system, &many).names.len(), many.len());
    assert_eq!(asked.lock().unwrap().len(), many.len());
}

#[test]
fn what_is_remembered_is_bounded() {
    let (mut system, _) = quick(|uid| Ok((uid % 2 == 0).then(|| "even".to_owned())));
    let begin = Instant::now();
    for part in 0..5_u32 {
        let uids: BTreeSet<u32> = (part * 4000..(part + 1) * 4000).collect();
        let found = system.find(&uids, begin + Duration::from_secs(part.into()));
        assert_eq!((found.names.len(), found.pending.len()), (2000, 0));
    }
    assert!(system.remembered() < 20_000);
    // Those asked for last are still there.
    assert_eq!(system.find(&set([19_998, 19_999]), begin + Duration::from_secs(5)).names.len(), 1);
    assert_eq!(name(&system.find(&set([2]), begin + 2 * HOUR), 2), Some("even"));
}

#[test]
fn errors_of_the_service_are_told_and_the_uid_stays_pending() {
    let (mut system, asked) = quick(|_| Err(Errno::EMFILE));
    for _ in 0..2 {
        let found = system.find(&set([7, 8]), Instant::now());
        assert_eq!((found.names.len(), found.pending), (0, set([7, 8])));
        assert_eq!(found.errors.len(), 1);
        assert_eq!(&*found.errors[0].kind, "io");
        let message = &found.errors[0].message;
        assert!(message.contains("uid 7 (and 1 more): EMFILE"), "{message}");
    }
    assert_eq!(*asked.lock().unwrap(), [7, 8, 7, 8]);
}

#[test]
fn a_lookup_that_brings_its_thread_down_is_told() {
    let (mut system, _) = quick(|_| panic!("a broken service"));
    let found = system.find(&set([7]), Instant::now());
    assert_eq!(found.pending, set([7]));
    assert!(!found.errors.is_empty());
    let later = system.find(&set([8]), Instant::now());
    assert!(later.errors.iter().any(|error| &*error.kind == "io"), "{:?}", later.errors);
}

#[test]
fn root_is_named_by_the_real_name_service() {
    let mut system = System::new(system::by_getpwuid, LONG);
    let found = system.find(&set([0]), Instant::now());
    assert_eq!(name(&found, 0), Some("root"), "{:?}", found.errors);
    assert!(found.pending.is_empty());
}

#[test]
fn processes_that_are_over_have_users_too() {
    let dir = tempfile::tempdir().unwrap();
    let passwd = dir.path().join("passwd");
    std::fs::write(&passwd, "ada:x:1000:1000::/:/bin/sh\n").unwrap();
    let process = Process { uid: Some(1000), ..Process::default() };
    let past = gpu_session_core::sample::PastProcess { process, ..Default::default() };
    let mut sample = Sample { past: [(7, vec![past])].into(), ..Sample::default() };
    assert_eq!(Users::new(Names::File(passwd)).read(&Request::default(), &mut sample), []);
    assert_eq!(sample.users, [(1000, "ada".into())].into());
}
