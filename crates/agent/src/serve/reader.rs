//! The thread that owns the sources. Whatever hangs in one of them, nobody else waits for it.

use super::Event;
use crate::pipeline::Sources;
use crate::settings::Settings;
use gpu_session_core::sample::Request;
use gpu_session_sources::Progress;
use gpu_session_sources::kubernetes::Mode;
use std::sync::mpsc::{Receiver, Sender, channel};

enum Order {
    Read(Request),
    /// Read by these settings from now on.
    Use(Box<Settings>),
}

/// The loop's end of it.
pub(super) struct Reader {
    orders: Sender<Order>,
    /// How often the settings have changed.
    generation: u64,
    /// A reading has not ended.
    busy: bool,
}

impl Reader {
    /// Starts the thread with these settings; `progress` shows what it reads.
    pub(super) fn start(
        settings: &Settings,
        events: Sender<Event>,
        progress: Progress,
    ) -> std::io::Result<Self> {
        let (orders, inbox) = channel();
        let settings = settings.clone();
        std::thread::Builder::new().name("reader".to_owned()).spawn(move || {
            let last_words = LastWords(events);
            if let Err(e) = serve(&settings, &inbox, &last_words.0, &progress) {
                // Said here, for the loop only learns that this thread is over.
                crate::say::error(format_args!("the sources cannot be started: {e}"));
            }
        })?;
        Ok(Self { orders, generation: 0, busy: false })
    }

    /// Asks for a sample, unless the one before is still being read.
    pub(super) fn read(&mut self, request: impl FnOnce() -> Request) {
        if !self.busy {
            self.busy = self.orders.send(Order::Read(request())).is_ok();
        }
    }

    /// Takes note that a reading has ended; whether it was made by the settings of now.
    pub(super) fn ended(&mut self, generation: u64) -> bool {
        self.busy = false;
        generation == self.generation
    }

    /// Reads by these settings from now on.
    pub(super) fn use_settings(&mut self, settings: Settings) {
        self.generation += 1;
        // A reader that is gone has said so.
        let _ = self.orders.send(Order::Use(Box::new(settings)));
    }
}

/// Tells the loop that the thread is over, whatever ended it.
struct LastWords(Sender<Event>);

impl Drop for LastWords {
    fn drop(&mut self) {
        let _ = self.0.send(Event::ReaderEnded);
    }
}

fn serve(
    settings: &Settings,
    inbox: &Receiver<Order>,
    events: &Sender<Event>,
    progress: &Progress,
) -> std::io::Result<()> {
    let live = |settings: &Settings| {
        Sources::live(settings, Mode::Watch).map(|sources| sources.showing(progress.clone()))
    };
    let mut generation = 0;
    let mut sources = live(settings)?;
    while let Ok(order) = inbox.recv() {
        match order {
            Order::Read(request) => {
                let sample = Box::new(sources.read(&request));
                if events.send(Event::Sample(generation, sample)).is_err() {
                    break;
                }
            }
            Order::Use(settings) => {
                generation += 1;
                // The old ones first: two watches or two clients of the driver are one too many.
                drop(sources);
                sources = live(&settings)?;
            }
        }
    }
    Ok(())
}
