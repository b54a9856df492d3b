//! NVML on a thread of its own: a call can hang in the driver and cannot be ended, and nobody may wait on it.

use super::Nvml;
use crate::{Source, source_error};
use gpu_session_core::sample::{Driver, Request, Sample, SourceError};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

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
    orders: Sender<Order>,
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
        Ok(Self { orders, replies, limit, pending: false })
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
        self.orders.send(order).map_err(|_| gone())?;
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
}

impl Source for GuardedNvml {
    fn name(&self) -> &'static str {
        "nvml"
    }

    fn prime(&mut self) -> bool {
        matches!(self.ask(Order::Prime), Ok(Reply::Primed(true)))
    }

    fn read(&mut self, request: &Request, sample: &mut Sample) -> Vec<SourceError> {
        match self.ask(Order::Read(request.clone())) {
            Ok(Reply::Read(driver, errors)) => {
                sample.driver = driver;
                errors
            }
            Ok(Reply::Primed(_)) => Vec::new(),
            Err(error) => vec![error],
        }
    }
}
