//! NVML on a thread of its own: a call can hang in the driver and cannot be ended, and nobody may wait on it.

use super::Nvml;
use crate::{Source, source_error};
use gpu_session_core::sample::{Driver, Request, Sample, SourceError};
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// How long the end of the program waits for the driver to be shut down.
const LONGEST_GOODBYE: Duration = Duration::from_secs(1);

enum Order {
    Prime,
    Read(Request),
}

enum Reply {
    Primed(bool),
    Read(Option<Driver>, Vec<SourceError>),
}

/// The NVML source behind a time limit.
pub struct GuardedNvml {
    /// `None` once the thread is told to end.
    orders: Option<Sender<Order>>,
    replies: Receiver<Reply>,
    limit: Duration,
    /// An order that has not been answered yet.
    pending: bool,
}

impl GuardedNvml {
    /// Starts the thread. It makes the source itself, for handles of NVML stay on the thread they are used on.
    pub fn start(make: impl FnOnce() -> Nvml + Send + 'static, limit: Duration) -> std::io::Result<Self> {
        let (orders, inbox) = channel();
        let (outbox, replies) = channel();
        std::thread::Builder::new().name("nvml".to_owned()).spawn(move || serve(make(), &inbox, &outbox))?;
        Ok(Self { orders: Some(orders), replies, limit, pending: false })
    }

    fn ask(&mut self, order: Order) -> Result<Reply, SourceError> {
        if self.pending {
            // An answer to an order that was given up says nothing of now.
            match self.replies.try_recv() {
                Ok(_) => self.pending = false,
                Err(_) => return Err(self.late()),
            }
        }
        let gone = || source_error("io", "the thread that calls NVML has ended".to_owned());
        self.orders.as_ref().and_then(|orders| orders.send(order).ok()).ok_or_else(gone)?;
        match self.replies.recv_timeout(self.limit) {
            Ok(reply) => Ok(reply),
            Err(RecvTimeoutError::Timeout) => {
                self.pending = true;
                Err(self.late())
            }
            Err(RecvTimeoutError::Disconnected) => Err(gone()),
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
        self.orders = None;
        if !self.pending {
            // Answers with the thread's end, or not in time.
            let _ = self.replies.recv_timeout(self.limit.min(LONGEST_GOODBYE));
        }
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
