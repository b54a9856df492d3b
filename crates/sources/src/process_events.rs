//! The kernel's process connector: every exec and exit on the node, as it happens.
//!
//! A process that is over before anyone asks for it has left neither a cgroup nor a status. Here both are noted while
//! they can be: the cgroup when the process begins its program, the status when it ends. Nothing is read at a fork: it
//! would double the cost, a CUDA context does not survive one, and a child that makes its own without exec is placed by
//! a sample while it runs.

mod socket;
#[cfg(test)]
mod tests;
mod wire;

use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::proc::Recent;
use crate::proc::files::{Failure, Files};
use crate::proc::recent::By;
use crate::{Source, source_error};
use gpu_session_core::sample::{Request, Sample, SourceError};
use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};
use socket::Socket;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use wire::Event;

/// Longest wait before the socket is opened again.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Processes that are read in a second at most: a storm of short ones shall not take a core.
const READS_PER_SECOND: u32 = 2000;
/// Messages between two looks at whether to end.
const BATCH: u32 = 256;

/// Listens on a thread of its own and fills what it shares with [`crate::proc::Proc`].
pub struct ProcessEvents {
    root: PathBuf,
    recent: Recent,
    clock: Clock,
    backoff: Backoff,
    listener: Option<Listener>,
    /// Why there is no listener.
    failure: Option<SourceError>,
}

/// The thread.
struct Listener {
    thread: JoinHandle<SourceError>,
    /// Closed to end it.
    stop: UnixStream,
    troubles: Arc<Troubles>,
}

/// What was lost since it was last told.
#[derive(Default)]
struct Troubles {
    overflows: AtomicU64,
    skipped: AtomicU64,
    unread: AtomicU64,
}

impl ProcessEvents {
    /// Reads processes below `root`, which must be of our own pid namespace; listens from the first reading on.
    pub fn new(root: &Path, recent: Recent, clock: Clock) -> Self {
        let (backoff, root) = (Backoff::up_to(LONGEST_WAIT), root.to_owned());
        Self { root, recent, clock, backoff, listener: None, failure: None }
    }

    fn start(&self) -> Result<Listener, SourceError> {
        let reading = self.reading()?;
        Listener::start(Socket::listen(socket::BUFFER)?, reading)
    }

    fn reading(&self) -> Result<Reading, SourceError> {
        let mut files = Files::new(&self.root);
        files.prepare()?;
        Ok(Reading {
            files,
            recent: self.recent.clone(),
            clock: self.clock.clone(),
            troubles: Arc::default(),
            limit: READS_PER_SECOND,
            second: Instant::now(),
            reads: 0,
        })
    }

    /// The error of a thread that has ended.
    fn ended(&mut self) -> Option<SourceError> {
        let listener = self.listener.take_if(|listener| listener.thread.is_finished())?;
        let fault = || source_error("io", "the thread that listened has ended".to_owned());
        Some(listener.thread.join().unwrap_or_else(|_| fault()))
    }
}

impl Source for ProcessEvents {
    fn name(&self) -> &'static str {
        "process_events"
    }

    fn read(&mut self, _: &Request, _: &mut Sample) -> Vec<SourceError> {
        if let Some(error) = self.ended() {
            self.backoff.failed(self.clock.now_us());
            self.failure = Some(error);
        } else if self.listener.is_some() {
            self.backoff.succeeded();
        } else if self.backoff.is_over(self.clock.now_us()) {
            match self.start() {
                Ok(listener) => (self.listener, self.failure) = (Some(listener), None),
                Err(error) => {
                    self.backoff.failed(self.clock.now_us());
                    self.failure = Some(error);
                }
            }
        }
        let troubles = self.listener.iter().flat_map(|listener| listener.troubles.take());
        self.failure.iter().cloned().chain(troubles).collect()
    }
}

impl Listener {
    fn start(socket: Socket, mut reading: Reading) -> Result<Self, SourceError> {
        let fail = |e: std::io::Error| source_error("io", format!("no thread to listen on: {e}"));
        let (stop, stopped) = UnixStream::pair().map_err(fail)?;
        let troubles = Arc::clone(&reading.troubles);
        let thread = std::thread::Builder::new().name("process_events".to_owned());
        let thread = thread.spawn(move || reading.listen(&socket, &stopped)).map_err(fail)?;
        Ok(Self { thread, stop, troubles })
    }
}

impl Drop for ProcessEvents {
    fn drop(&mut self) {
        if let Some(Listener { thread, stop, .. }) = self.listener.take() {
            drop(stop);
            // It reads files of /proc only, which answer at once.
            let _ = thread.join();
        }
    }
}

impl Troubles {
    fn take(&self) -> Vec<SourceError> {
        let error = |count: &AtomicU64, kind, words: fn(u64) -> String| {
            let count = count.swap(0, Relaxed);
            (count > 0).then(|| source_error(kind, words(count)))
        };
        let errors = [
            error(&self.overflows, "overflow", |count| {
                format!(
                    "the kernel dropped events, times: {count}; some processes that are over have no cgroup or status"
                )
            }),
            error(&self.skipped, "overload", |count| {
                format!("more than {READS_PER_SECOND} processes began in a second: {count} were not read")
            }),
            error(&self.unread, "io", |count| {
                format!("processes that could not be read as they began: {count}")
            }),
        ];
        errors.into_iter().flatten().collect()
    }
}

/// What the thread works with.
struct Reading {
    files: Files,
    recent: Recent,
    clock: Clock,
    troubles: Arc<Troubles>,
    limit: u32,
    second: Instant,
    reads: u32,
}

impl Reading {
    /// Takes events until the other end of `stop` is closed, or the socket fails: the error is why.
    fn listen(&mut self, socket: &Socket, stop: &UnixStream) -> SourceError {
        loop {
            match socket.wait(stop.as_fd()) {
                Ok(true) => {}
                Ok(false) => return source_error("io", "told to end".to_owned()),
                Err(errno) => return socket::failed("waiting for events", errno),
            }
            for _ in 0..BATCH {
                match socket.receive() {
                    Ok(Some(event)) => self.take(event),
                    Ok(None) => {}
                    Err(Errno::AGAIN) => break,
                    Err(Errno::NOBUFS) => {
                        self.troubles.overflows.fetch_add(1, Relaxed);
                    }
                    Err(errno) => return socket::failed("receiving events", errno),
                }
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Exec { pid } if self.may_read() => match self.files.process(pid, None) {
                Ok((process, failed)) => {
                    self.recent.lock().insert(pid, &process, By::Exec, self.clock.monotonic_us());
                    if failed.is_some() {
                        self.troubles.unread.fetch_add(1, Relaxed);
                    }
                }
                Err(Failure::Vanished) => {}
                Err(Failure::Error(_) | Failure::Malformed) => {
                    self.troubles.unread.fetch_add(1, Relaxed);
                }
            },
            Event::Exec { .. } => {
                self.troubles.skipped.fetch_add(1, Relaxed);
            }
            Event::Exit { pid, first_thread, wait_status, at_ns } => {
                let ended_us = self.clock.now_us() - age_us(at_ns);
                self.recent.lock().exited(pid, first_thread, ended_us, wait_status);
            }
            Event::Answer(_) | Event::Other => {}
        }
    }

    fn may_read(&mut self) -> bool {
        if self.second.elapsed() >= Duration::from_secs(1) {
            (self.second, self.reads) = (Instant::now(), 0);
        }
        self.reads += 1;
        self.reads <= self.limit
    }
}

/// How long ago a stamp of the kernel's is.
fn age_us(at_ns: u64) -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    let now_ns = now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec);
    (now_ns.saturating_sub(i64::try_from(at_ns).unwrap_or(i64::MAX)) / 1000).max(0)
}
