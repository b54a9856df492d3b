use super::*;
use gpu_session_core::sample::PastProcess;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};

/// Long enough for any thread to be run.
const LONG: Duration = Duration::from_secs(600);

/// Listens to this machine's kernel.
fn listening() -> (ProcessEvents, Recent) {
    let recent = Recent::default();
    let mut source = ProcessEvents::new(Path::new("/proc"), recent.clone(), Clock::Real);
    assert_eq!(
        health(&mut source),
        [],
        "this test needs root in the initial namespaces of pids, users and the network, and CONFIG_PROC_EVENTS"
    );
    (source, recent)
}

/// What went wrong, without what the other processes of a busy machine can do.
fn health(source: &mut ProcessEvents) -> Vec<SourceError> {
    let errors = source.read(&Request::default(), &mut Sample::default());
    errors.into_iter().filter(|error| !matches!(&*error.kind, "overflow" | "overload")).collect()
}

fn until<T>(mut found: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(begin.elapsed() < LONG, "nothing came");
        std::thread::yield_now();
    }
}

fn spawn(program: &str, args: &[&str]) -> Child {
    Command::new(program).args(args).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap()
}

/// The last process of the pid, once its end was heard.
fn over(recent: &Recent, pid: u32) -> PastProcess {
    until(|| recent.lock().past(pid, None).pop().filter(|past| past.ended_us.is_some()))
}

/// A shell that does this once its input ends, and is known by now.
fn shell(recent: &Recent, script: &str) -> Child {
    let script = format!("read x; {script}");
    let child = Command::new("sh").args(["-c", &script]).stdin(Stdio::piped()).spawn().unwrap();
    until(|| recent.lock().past(child.id(), None).pop().filter(|past| is(past, "sh")));
    child
}

fn is(past: &PastProcess, command: &str) -> bool {
    past.process.command.as_deref() == Some(command)
}

#[test]
fn what_is_over_is_known_with_its_cgroup_and_status() {
    let (mut source, recent) = listening();
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    for (script, status) in [("exit 3", 3 << 8), ("kill -KILL $$", 9), ("exit 0", 0)] {
        let mut child = shell(&recent, script);
        let before = Clock::Real.now_us();
        drop(child.stdin.take());
        assert_eq!(child.wait().unwrap().into_raw() as u32, status);
        let past = over(&recent, child.id());
        assert_eq!((past.wait_status, past.process.cgroup.as_deref()), (Some(status), Some(&*own)));
        assert_eq!(past.process.uid, Some(rustix::process::getuid().as_raw()));
        assert!(past.process.start_ticks.is_some() && is(&past, "sh"));
        let ended = past.ended_us.unwrap();
        assert!((before..=Clock::Real.now_us()).contains(&ended), "{ended} is not after {before}");
    }
    assert_eq!(health(&mut source), []);
}

#[test]
fn a_process_that_becomes_another_program_is_one() {
    let (_source, recent) = listening();
    let mut child = shell(&recent, "exec sleep 1000");
    let pid = child.id();
    drop(child.stdin.take());
    until(|| recent.lock().past(pid, None).pop().filter(|past| is(past, "sleep")));
    child.kill().unwrap();
    child.wait().unwrap();
    let past = over(&recent, pid);
    assert_eq!((past.wait_status, is(&past, "sleep")), (Some(9), true));
    assert_eq!(recent.lock().past(pid, None).len(), 1);
}

#[test]
fn a_session_of_the_driver_gets_its_end_from_the_kernel() {
    use crate::proc::Proc;
    let (_source, recent) = listening();
    let mut child = shell(&recent, "exit 5");
    let pid = child.id();
    let start = recent.lock().past(pid, None)[0].process.start_ticks.unwrap();
    let mut proc = Proc::new(Path::new("/proc"), recent.clone(), Clock::Real);
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let request =
        Request { known: [(pid, start)].into(), boot_id: boot_id.trim().into(), ..Request::default() };
    let mut sample = Sample::default();
    assert_eq!(proc.read(&request, &mut sample), []);
    assert_eq!((sample.processes.unwrap()[&pid].start_ticks, sample.past), (Some(start), [].into()));

    drop(child.stdin.take());
    child.wait().unwrap();
    over(&recent, pid);
    let mut sample = Sample::default();
    assert_eq!(proc.read(&request, &mut sample), []);
    let past = &sample.past[&pid][0];
    assert_eq!((past.process.start_ticks, past.wait_status), (Some(start), Some(5 << 8)));
    assert!(!sample.processes.unwrap().contains_key(&pid));
}

#[test]
fn events_that_the_kernel_dropped_are_told_once() {
    // Room for a handful.
    let socket = Socket::listen(1).unwrap();
    for _ in 0..200 {
        spawn("true", &[]).wait().unwrap();
    }
    let mut source = ProcessEvents::new(Path::new("/proc"), Recent::default(), Clock::Real);
    let reading = reading(&source, READS_PER_SECOND);
    source.listener = Some(Listener::start(socket, reading).unwrap());
    let error = until(|| source.read(&Request::default(), &mut Sample::default()).pop());
    assert_eq!(&*error.kind, "overflow", "{}", error.message);
}

fn reading(source: &ProcessEvents, limit: u32) -> Reading {
    let mut reading = source.reading().unwrap();
    reading.limit = limit;
    reading
}

#[test]
fn a_storm_is_not_read_and_told() {
    let recent = Recent::default();
    let source = ProcessEvents::new(Path::new("/proc"), recent.clone(), Clock::Real);
    let mut reading = reading(&source, 2);
    let pid = std::process::id();
    for _ in 0..5 {
        reading.take(Event::Exec { pid });
    }
    assert_eq!(recent.lock().past(pid, None).len(), 1);
    let told = |reading: &Reading| -> Vec<String> {
        reading
            .troubles
            .take()
            .into_iter()
            .map(|error| format!("{}: {}", error.kind, error.message))
            .collect()
    };
    assert_eq!(told(&reading), ["overload: more than 2000 processes began in a second: 3 were not read"]);
    assert_eq!(told(&reading), [""; 0], "told once");
    reading.second = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
    reading.take(Event::Exec { pid });
    assert_eq!(told(&reading), [""; 0], "a new second");
}

#[test]
fn what_cannot_be_read_is_told_and_what_is_gone_is_not() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("stat"), "btime 1700000000\n").unwrap();
    std::fs::create_dir(root.path().join("7")).unwrap();
    std::fs::write(root.path().join("7/stat"), "garbage").unwrap();
    let source = ProcessEvents::new(root.path(), Recent::default(), Clock::Real);
    let mut reading = reading(&source, 10);
    reading.take(Event::Exec { pid: 8 });
    assert_eq!(reading.troubles.take(), []);
    reading.take(Event::Exec { pid: 7 });
    let message = "processes that could not be read as they began: 1".to_owned();
    assert_eq!(reading.troubles.take(), [source_error("io", message)]);
}

#[test]
fn a_thread_that_ended_is_started_anew_after_a_while() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("clock");
    std::fs::write(&file, "1000000").unwrap();
    let clock = Clock::file(&file).unwrap();
    let mut source = ProcessEvents::new(Path::new("/proc"), Recent::default(), clock);
    let listener = |thread: JoinHandle<SourceError>| {
        until(|| thread.is_finished().then_some(()));
        let (stop, _) = UnixStream::pair().unwrap();
        Some(Listener { thread, stop, troubles: Arc::default() })
    };
    source.listener = listener(std::thread::spawn(|| source_error("io", "broken".to_owned())));
    let error = [source_error("io", "broken".to_owned())];
    assert_eq!(health(&mut source), error);
    assert_eq!(health(&mut source), error, "it waits");
    std::fs::write(&file, "2000000").unwrap();
    assert_eq!(health(&mut source), []);
    assert!(source.listener.is_some());

    source.listener = listener(std::thread::spawn(|| panic!("a fault of ours")));
    let ended = "the thread that listened has ended".to_owned();
    assert_eq!(health(&mut source), [source_error("io", ended)]);
}

#[test]
fn it_ends_with_the_source() {
    let (source, recent) = listening();
    let troubles = Arc::downgrade(&source.listener.as_ref().unwrap().troubles);
    drop(source);
    assert_eq!(troubles.strong_count(), 0, "the thread is gone and what it had");
    let mut child = spawn("true", &[]);
    child.wait().unwrap();
    assert_eq!(recent.lock().past(child.id(), None), []);
}

#[test]
fn a_missing_proc_is_named() {
    let mut source = ProcessEvents::new(Path::new("/nonexistent"), Recent::default(), Clock::Real);
    let [error] = health(&mut source).try_into().unwrap();
    assert!(
        error.message.contains("/nonexistent") && error.message.contains("proc.root"),
        "{}",
        error.message
    );
}

#[test]
fn a_refusal_names_the_remedy() {
    for (errno, kind, words) in [
        (Errno::PERM, "permission_denied", "CAP_NET_ADMIN"),
        (Errno::CONNREFUSED, "permission_denied", "hostNetwork"),
        (Errno::PROTONOSUPPORT, "unsupported", "CONFIG_CONNECTOR"),
        (Errno::NOMEM, "io", "memory"),
    ] {
        let error = socket::failed("x", errno);
        assert_eq!(&*error.kind, kind);
        assert!(error.message.contains(words), "{}", error.message);
    }
}
