//! NVML on a thread of its own: a call can hang in the driver and cannot be ended, and nobody may wait on it.
//!
//! A thread that hangs is given up. Now and then another one asks whether the driver answers again.

use super::Nvml;
use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::{Source, source_error};
use gpu_session_core::sample::{Driver, Request, Sample, SourceError};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::time::Duration;

/// How long the end of the program waits for the driver to be shut down.
const LONGEST_GOODBYE: Duration = Duration::from_secs(1);

/// Threads that may hang at once. Each holds some 50 KiB for as long as its call does not return, and some never do
/// though the driver answers others.
const MOST_HANGING: usize = 64;

/// Longest time between two threads that try.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

enum Order {
    Prime,
    Read(Request),
}

enum Reply {
    Primed(bool),
    Read(Option<Driver>, Vec<SourceError>),
}

/// Makes the source on the thread that uses it: handles of NVML stay where they are used.
type Make = Arc<dyn Fn() -> Nvml + Send + Sync>;

/// A thread with an NVML source of its own.
struct Worker {
    /// `None` once the thread is told to end.
    orders: Option<Sender<Order>>,
    replies: Receiver<Reply>,
    /// An order that has not been answered in time.
    pending: bool,
}

impl Worker {
    fn start(make: &Make) -> std::io::Result<Self> {
        let (orders, inbox) = channel();
        let (outbox, replies) = channel();
        let make = Arc::clone(make);
        let name = "nvml".to_owned();
        std::thread::Builder::new().name(name).spawn(move || serve(make(), &inbox, &outbox))?;
        Ok(Self { orders: Some(orders), replies, pending: false })
    }

    /// Whether it still hangs. An answer to an order that was given up says nothing of now.
    fn hangs(&mut self) -> bool {
        self.pending = self.pending && matches!(self.replies.try_recv(), Err(TryRecvError::Empty));
        self.pending
    }
}

/// Answers orders until there can be no more; then leaves the driver, and only then lets go of the outbox.
fn serve(mut nvml: Nvml, inbox: &Receiver<Order>, outbox: &Sender<Reply>) {
    while let Ok(order) = inbox.recv() {
        let reply = match order {
            Order::Prime => Reply::Primed(nvml.prime()),
            Order::Read(request) => {
                let mut sample = Sample::default();
                let errors = nvml.read(&request, &mut sample);
                Reply::Read(sample.driver, errors)
            }
        };
        if outbox.send(reply).is_err() {
            return;
        }
    }
    drop(nvml);
}

/// The NVML source behind a time limit.
pub struct GuardedNvml {
    make: Make,
    worker: Worker,
    given_up: Vec<Worker>,
    limit: Duration,
    clock: Clock,
    backoff: Backoff,
}

impl GuardedNvml {
    /// Starts the first thread.
    pub fn start(
        make: impl Fn() -> Nvml + Send + Sync + 'static,
        limit: Duration,
        clock: Clock,
    ) -> std::io::Result<Self> {
        let make: Make = Arc::new(make);
        let worker = Worker::start(&make)?;
        Ok(Self { make, worker, given_up: Vec::new(), limit, clock, backoff: Backoff::up_to(LONGEST_WAIT) })
    }

    fn ask(&mut self, order: Order) -> Result<Reply, SourceError> {
        self.given_up.retain_mut(Worker::hangs);
        if self.worker.hangs() {
            self.replace()?;
        }
        if self.worker.orders.as_ref().is_none_or(|orders| orders.send(order).is_err()) {
            return Err(self.gone());
        }
        match self.worker.replies.recv_timeout(self.limit) {
            Ok(reply) => {
                self.backoff.succeeded();
                Ok(reply)
            }
            Err(RecvTimeoutError::Timeout) => {
                self.worker.pending = true;
                self.backoff.failed(self.clock.now_us());
                Err(self.late())
            }
            Err(RecvTimeoutError::Disconnected) => Err(self.gone()),
        }
    }

    /// Gives up the thread that hangs and starts another, if it is time to and not too many hang already.
    fn replace(&mut self) -> Result<(), SourceError> {
        if self.given_up.len() + 1 >= MOST_HANGING || !self.backoff.is_over(self.clock.now_us()) {
            return Err(self.late());
        }
        let fresh = Worker::start(&self.make).map_err(|e| source_error("io", format!("no thread: {e}")))?;
        self.given_up.push(std::mem::replace(&mut self.worker, fresh));
        Ok(())
    }

    /// The thread ended by itself, which only a fault of ours can do: another takes over at the next reading.
    fn gone(&mut self) -> SourceError {
        match Worker::start(&self.make) {
            Ok(fresh) => {
                self.worker = fresh;
                source_error("io", "the thread that called NVML has ended; another is started".to_owned())
            }
            Err(e) => source_error("io", format!("no thread to call NVML on: {e}")),
        }
    }

    fn late(&self) -> SourceError {
        let limit = self.limit.as_secs_f64();
        source_error(
            "timeout",
            format!(
                "the driver has not answered for {limit} s (--timeout): a call hangs in it; see dmesg for Xid"
            ),
        )
    }
}

impl Drop for GuardedNvml {
    /// Lets the driver be left in order, unless it hangs.
    fn drop(&mut self) {
        self.worker.orders = None;
        if !self.worker.pending {
            // Answers with the thread's end, or not in time.
            let _ = self.worker.replies.recv_timeout(self.limit.min(LONGEST_GOODBYE));
        }
    }
}

impl Source for GuardedNvml {
    fn name(&self) -> &'static str {
        "nvml"
    }

    fn prime(&mut self) -> bool {
        matches!(self.ask(Order::Prime), Ok(Reply::Primed(true)))
    }

    fn read(&mut self, request: &Request, sample: &mut Sample) -> Vec<SourceError> {
        // What is known of processes is nothing to the driver.
        let request = Request { known: BTreeMap::new(), ..request.clone() };
        match self.ask(Order::Read(request)) {
            Ok(Reply::Read(driver, errors)) => {
                sample.driver = driver;
                errors
            }
            Ok(Reply::Primed(_)) => Vec::new(),
            Err(error) => vec![error],
        }
    }
}
