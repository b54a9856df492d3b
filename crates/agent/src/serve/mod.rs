//! The one loop. It owns the recorder and waits on one channel for whatever happens: a sample is ready, a signal came.
//! The sources are read on a thread of their own, HTTP is answered on another: what hangs in one of them
//! hangs nothing else.

mod io;
mod notify;
mod otlp;
mod reader;
pub mod reload;
pub mod settings;
mod textfile;
mod ticker;

use crate::exit::{Exit, Failure};
use crate::ledger::Ledger;
use crate::outputs::http::{Heart, LedgerIs, Published, Reading, Shared};
use crate::outputs::server::Web;
use crate::pipeline;
use crate::recorder::Recorder;
use crate::say::{self, Conditions};
use crate::state_file::StateFolder;
use anyhow::Context as _;
use gpu_session_core::monitor::Monitor;
use gpu_session_core::sample::Sample;
use gpu_session_core::snapshot::Snapshot;
use gpu_session_sources::Progress;
use gpu_session_sources::clock::Clock;
use notify::Notifier;
use otlp::{Delivery, Exporter};
use reader::Reader;
use reload::Reload;
use settings::ServeSettings;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};
use textfile::TextfileWriter;
use ticker::Ticker;
use tokio::sync::watch;

/// Counters wait this long for a late attribution.
const HOLD_US: i64 = 30_000_000;

/// Longest wait for the sources at the end; what hangs is left behind.
const LONGEST_GOODBYE: Duration = Duration::from_millis(500);

/// What the loop waits for.
enum Event {
    /// A sample, and by which generation of settings it was read.
    Sample(u64, Box<Sample>),
    /// The thread that reads the sources is over.
    ReaderEnded,
    /// SIGTERM or SIGINT.
    Terminate,
    /// SIGHUP.
    Hangup,
    /// What came of sending metrics by OTLP.
    Sent(Delivery),
}

/// Sees every snapshot, and can end the loop.
pub type Observer<'a> = Box<dyn FnMut(&Snapshot) -> Option<Exit> + 'a>;

/// What a loop is made of.
pub struct Setup<'a> {
    /// Its settings.
    pub settings: ServeSettings,
    /// Where HTTP is served (see [`bind`]), and to whom.
    pub serving: Option<(TcpListener, Arc<Web>)>,
    /// To read the configuration anew; without it SIGHUP ends the loop.
    pub reload: Option<Reload>,
    /// End after this time.
    pub end_after: Option<Duration>,
    /// Sees every snapshot.
    pub observe: Observer<'a>,
}

/// Listens; a port that is taken is named with the remedy.
pub fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| {
        format!(
            "listen: {address} cannot be served on; end what uses it, name another address with --listen, or serve none with --listen off"
        )
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The loop, ready to run.
pub struct Loop<'a> {
    settings: ServeSettings,
    clock: Clock,
    recorder: Recorder,
    has_ledger: bool,
    reader: Reader,
    events: Receiver<Event>,
    /// For threads that begin later.
    sender: Sender<Event>,
    published: watch::Sender<Arc<Published>>,
    reading: Reading,
    ticker: Ticker,
    textfile: Option<TextfileWriter>,
    exporter: Option<Exporter>,
    conditions: Conditions,
    notifier: Notifier,
    heart: Heart,
    reload: Option<Reload>,
    /// Whether the configuration was good when it was last read, and when it last was, Unix seconds.
    reloaded: Option<(bool, f64)>,
    until: Option<Instant>,
    observe: Observer<'a>,
}

impl<'a> Loop<'a> {
    /// Takes the state folder and starts the threads. From here on signals are events.
    pub fn open(setup: Setup<'a>) -> Result<Self, Failure> {
        let Setup { settings, serving, reload, end_after, observe } = setup;
        let clock = settings.common.clock.clone();
        let folder = StateFolder::open(&settings.common.state_dir)?;
        let mut recorder = Recorder::open(monitor(&settings, false), folder, None)?;
        let has_ledger = open_ledger(&settings, &mut recorder);
        recorder.set_monitor(monitor(&settings, has_ledger));
        let reading = Reading::before_the_first(Arc::clone(recorder.counters()));
        let reloaded = reload.as_ref().map(|_| (true, clock.now_us() as f64 / 1e6));
        let published = watch::Sender::new(Arc::new(publish(
            &settings,
            reloaded,
            &reading,
            ledger_is(&settings, has_ledger),
        )));
        let (sender, events) = channel();
        let state_dir = settings.common.state_dir.clone();
        let (heart, progress) = (Heart::new(clock.clone()), Progress::default());
        let shared = Shared {
            published: published.subscribe(),
            clock: clock.clone(),
            heart: heart.clone(),
            progress: progress.clone(),
            state_dir,
        };
        io::start(serving, shared, sender.clone())?;
        let reader = Reader::start(&settings.common, sender.clone(), progress)?;
        let now_us = clock.monotonic_us();
        let mut made = Self {
            recorder,
            has_ledger,
            reader,
            events,
            sender,
            published,
            reading,
            ticker: Ticker::new(now_us, settings.interval),
            textfile: TextfileWriter::new(&settings, now_us),
            exporter: None,
            conditions: Conditions::default(),
            notifier: Notifier::new(),
            heart,
            reload,
            reloaded,
            until: end_after.and_then(|after| Instant::now().checked_add(after)),
            observe,
            clock,
            settings,
        };
        made.start_exporter();
        Ok(made)
    }

    /// Sends metrics by the settings of now; one that sends by others is left behind.
    fn start_exporter(&mut self) {
        let Some(target) = self.settings.otlp.clone() else {
            self.exporter = None;
            return;
        };
        let sender = self.sender.clone();
        // A loop that is gone has no use for it.
        let tell = move |delivery| drop(sender.send(Event::Sent(delivery)));
        let started = Exporter::start(target, self.published.subscribe(), self.clock.clone(), tell);
        self.exporter = started.map_err(|e| self.recorder.failed("otlp", &e.into())).ok();
    }

    fn sent(&mut self, delivery: Delivery) {
        match delivery {
            Ok(said) => {
                self.recorder.succeeded("otlp");
                let now_us = self.clock.monotonic_us();
                match said {
                    Some(words) => self.conditions.holds("otlp receiver", &[("said", words)], now_us),
                    None => self.conditions.ended("otlp receiver", "takes everything without a word"),
                }
            }
            Err(e) => self.recorder.failed("otlp", &e),
        }
    }

    /// Runs until a signal, or what cannot be gone on after; then saves the state. Threads that hang are left behind:
    /// the program is to end without them.
    pub fn run(mut self) -> Exit {
        warn_of_two_outputs(&self.settings);
        let exit = loop {
            self.notifier.beat();
            self.heart.beat();
            if self.until.is_some_and(|until| Instant::now() >= until) {
                break Exit::Ok;
            }
            if self.ticker.is_due(self.clock.monotonic_us()) {
                self.tick();
            }
            let end = match self.events.recv_timeout(self.patience()) {
                Ok(event) => self.handle(event),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => Some(Exit::Failed),
            };
            if let Some(exit) = end {
                break exit;
            }
        };
        notify::stopping();
        // What failed was told; without the state what was used since the last save counts anew at the next start.
        let saved = self.recorder.finish();
        drop(self.reader);
        leave(&self.events);
        if saved { exit } else { Exit::Failed }
    }

    fn patience(&self) -> Duration {
        let until = self.until.map(|until| until.saturating_duration_since(Instant::now()));
        let limits = [Some(self.clock.patience(self.ticker.next_us())), self.notifier.patience(), until];
        limits.into_iter().flatten().fold(Heart::EVERY, Duration::min)
    }

    fn tick(&mut self) {
        if self.reload.as_ref().is_some_and(Reload::is_due) && self.reload() {
            // The next tick is at once.
            return;
        }
        self.reader.read(|| self.recorder.request());
    }

    /// Returns how to end, where that is to be.
    fn handle(&mut self, event: Event) -> Option<Exit> {
        match event {
            Event::Sample(generation, sample) => {
                if self.reader.ended(generation) {
                    return self.take(&sample);
                }
                // Of devices or by rules that are not asked for any more.
                self.reader.read(|| self.recorder.request());
                None
            }
            Event::Hangup if self.reload.is_some() => {
                self.reload();
                None
            }
            Event::Sent(delivery) => {
                self.sent(delivery);
                None
            }
            Event::Terminate | Event::Hangup => Some(Exit::Ok),
            Event::ReaderEnded => {
                say::error("the thread that reads the sources has ended");
                Some(Exit::Failed)
            }
        }
    }

    fn take(&mut self, sample: &Sample) -> Option<Exit> {
        self.conditions.health(sample);
        let hold_since_us = sample.time_us - micros(self.settings.scrape_interval);
        let snapshot = Arc::new(self.recorder.take(sample, hold_since_us));
        self.reading = Reading { snapshot: Arc::clone(&snapshot), taken_us: Some(sample.monotonic_us) };
        self.publish();
        if let Some(textfile) = &mut self.textfile
            && textfile.is_due(sample.monotonic_us)
        {
            let with_counters = self.settings.textfile_counters();
            let labels = &self.settings.common.labels;
            match textfile.write(&snapshot, labels, self.reloaded, with_counters, &mut self.conditions) {
                Ok(()) => self.recorder.succeeded("textfile"),
                Err(e) => self.recorder.failed("textfile", &e),
            }
        }
        self.notifier.ready(status(&snapshot));
        (self.observe)(&snapshot)
    }

    fn publish(&self) {
        let ledger = ledger_is(&self.settings, self.has_ledger && !self.recorder.ledger_fails());
        let published = publish(&self.settings, self.reloaded, &self.reading, ledger);
        published.prepare(&self.published.borrow());
        self.published.send_replace(Arc::new(published));
    }

    /// Reads the configuration anew; returns whether other settings apply now.
    fn reload(&mut self) -> bool {
        let Some(reload) = &mut self.reload else { return false };
        self.notifier.reloading();
        let fresh = reload.read(&self.settings);
        let good = fresh.is_some();
        if let Some((last_good, at)) = &mut self.reloaded {
            *last_good = good;
            if good {
                *at = self.clock.now_us() as f64 / 1e6;
            }
        }
        if let Some(fresh) = fresh {
            self.apply(fresh);
        }
        self.publish();
        self.notifier.reloaded();
        good
    }

    fn apply(&mut self, fresh: ServeSettings) {
        let outputs = |settings: &ServeSettings| (settings.textfile.clone(), settings.listen);
        let other_outputs = outputs(&fresh) != outputs(&self.settings);
        let other_ledger = fresh.ledger != self.settings.ledger;
        let other_otlp = fresh.otlp != self.settings.otlp;
        self.settings = fresh;
        if other_ledger || (self.settings.ledger.is_some() && !self.has_ledger) {
            self.has_ledger = open_ledger(&self.settings, &mut self.recorder);
        }
        self.recorder.set_monitor(monitor(&self.settings, self.has_ledger));
        self.reader.use_settings(self.settings.common.clone());
        if other_otlp {
            self.start_exporter();
        }
        let now_us = self.clock.monotonic_us();
        self.ticker = Ticker::new(now_us, self.settings.interval);
        if other_outputs {
            warn_of_two_outputs(&self.settings);
            self.textfile = TextfileWriter::new(&self.settings, now_us);
        }
        say::info("the configuration was read anew");
    }
}

/// Lets the reader, whose orders have ended, leave its sources in order, unless one of them hangs.
fn leave(events: &Receiver<Event>) {
    let until = Instant::now() + LONGEST_GOODBYE;
    while let Ok(event) = events.recv_timeout(until.saturating_duration_since(Instant::now())) {
        if matches!(event, Event::ReaderEnded) {
            break;
        }
    }
}

fn monitor(settings: &ServeSettings, ledger: bool) -> Monitor {
    Monitor { hold_us: HOLD_US, ledger, ..pipeline::monitor(&settings.common) }
}

/// Opens the ledger that is asked for; returns whether there is one. Without one everything else goes on.
fn open_ledger(settings: &ServeSettings, recorder: &mut Recorder) -> bool {
    // The one of before first: of two that are open neither is sure of the file.
    recorder.set_ledger(None);
    let Some(keep) = settings.ledger else { return false };
    match Ledger::open(&settings.common.state_dir, keep) {
        Ok(ledger) => {
            recorder.succeeded("ledger");
            recorder.set_ledger(Some(ledger));
            true
        }
        Err(e) => {
            recorder.failed("ledger", &e.context("the ledger cannot be opened; nothing is written to it"));
            false
        }
    }
}

fn ledger_is(settings: &ServeSettings, is_written: bool) -> LedgerIs {
    match settings.ledger {
        None => LedgerIs::Off,
        Some(_) if is_written => LedgerIs::Kept,
        Some(_) => LedgerIs::Failing,
    }
}

fn publish(
    settings: &ServeSettings,
    reloaded: Option<(bool, f64)>,
    reading: &Reading,
    ledger: LedgerIs,
) -> Published {
    let labels = settings.common.labels.clone();
    Published::new(reading.clone(), labels, reloaded, micros(settings.stale_after()), ledger)
}

fn warn_of_two_outputs(settings: &ServeSettings) {
    let (Some(textfile), Some(_)) = (&settings.textfile, settings.listen) else { return };
    let what = match textfile.counters {
        Some(false) => return,
        Some(true) => "counters are in both, as --textfile-counters asks",
        None => {
            "counters are left out of the file; --textfile-counters true writes them, --listen off serves the file alone"
        }
    };
    say::warn(format_args!(
        "textfile: /metrics is served too, and whoever scrapes both has every number twice: {what}"
    ));
}

/// One line for the service manager.
fn status(snapshot: &Snapshot) -> String {
    let sessions = snapshot.total_sessions.map(|n| format!(", {n} sessions")).unwrap_or_default();
    let down: Vec<&str> = snapshot.health.iter().filter(|h| !h.up).map(|h| &*h.source).collect();
    let down = if down.is_empty() { String::new() } else { format!("; not well: {}", down.join(", ")) };
    format!("{} devices{sessions}{down}", snapshot.devices.len())
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
