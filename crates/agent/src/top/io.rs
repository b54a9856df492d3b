//! The terminal, the keys, the signals, and the thread that looks: whatever hangs there delays no key.

use super::state::{State, Wish};
use super::{Theme, draw};
use crate::view::filter::Filter;
use crate::view::recording::Recording;
use crate::view::{Looks, View};
use anyhow::Context as _;
use gpu_session_sources::clock::Clock;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, KeyEvent, KeyEventKind};
use rustix::process::Signal;
use std::panic;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

mod suspend;

/// The ages on the screen are brought up to date this often.
const TICK: Duration = Duration::from_secs(1);

/// Where what is looked at comes from.
pub enum Feed {
    /// As it is now.
    Live(Box<dyn Looks + Send>),
    /// As it was.
    Recorded(Box<Recording>),
}

impl Feed {
    /// How many samples there are, of a recording.
    fn samples(&self) -> Option<usize> {
        match self {
            Self::Live(_) => None,
            Self::Recorded(recording) => Some(recording.samples()),
        }
    }

    fn look(&mut self, sample: usize, filter: &Filter) -> anyhow::Result<Seen> {
        let (mut view, mut warnings) = match self {
            Self::Live(looks) => (looks.look()?, looks.warnings()),
            Self::Recorded(recording) => (recording.view(sample), Vec::new()),
        };
        warnings.extend(filter.apply(&mut view, None).absent);
        Ok(Seen { view, warnings })
    }
}

/// What a look brought, and why something may be missing in it.
struct Seen {
    view: View,
    warnings: Vec<String>,
}

/// What `run` needs.
pub struct Setup {
    /// What is looked at.
    pub feed: Feed,
    /// What of it is shown.
    pub filter: Filter,
    /// Time from one look to the next.
    pub interval: Duration,
    /// What the ages are told by.
    pub clock: Clock,
    /// How the screen is painted.
    pub theme: Theme,
}

enum Event {
    Key(KeyEvent),
    /// The terminal has another size.
    Size,
    Looked(Result<Seen, String>),
    /// The process is to stop.
    Stop,
    /// It was stopped, and goes on.
    Continued,
    /// The process is to end.
    Terminate,
    /// A thread cannot go on.
    Broken(String),
}

/// Shows it until a key or a signal ends it. The terminal is left as it was found.
pub fn run(setup: Setup) -> anyhow::Result<()> {
    let (sender, events) = channel();
    on_signals(sender.clone())?;
    let samples = setup.feed.samples();
    let asks = looker(setup.feed, setup.filter, sender.clone())?;
    let mut screen = Screen::open(sender.clone())?;
    keys(sender)?;
    let Setup { interval, clock, theme, .. } = setup;
    let due = Instant::now();
    let shown = Shown {
        state: State::default(),
        events,
        asks,
        samples,
        at: None,
        wanted: None,
        waiting: false,
        stopped: false,
        due,
        interval,
        clock,
        theme,
    };
    shown.run(&mut screen.0)
}

/// The terminal while it is ours.
struct Screen(DefaultTerminal);

impl Screen {
    /// Takes it over. A panic here gives it back before it is told; one of another thread ends the show, which gives it back
    /// and tells: were it given back at once, one more frame could still be drawn over what is told.
    fn open(events: Sender<Event>) -> anyhow::Result<Self> {
        let opened = ratatui::try_init().context("the terminal cannot be used; use `gpu-session-monitor ps`");
        if opened.is_err() {
            ratatui::restore();
        }
        let (here, told) = (thread::current().id(), panic::take_hook());
        panic::set_hook(Box::new(move |defect| {
            if thread::current().id() == here {
                told(defect);
            } else {
                let _ = events.send(Event::Broken(format!("a defect of this program: {defect}")));
            }
        }));
        opened.map(Self)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// The state, and what moves it.
struct Shown {
    state: State,
    events: Receiver<Event>,
    asks: Sender<usize>,
    /// How many samples there are, of a recording.
    samples: Option<usize>,
    /// Which was asked for last.
    at: Option<usize>,
    /// Which a key asks for.
    wanted: Option<usize>,
    /// Whether an answer is waited for.
    waiting: bool,
    /// Whether the terminal was given back.
    stopped: bool,
    /// When to look of itself.
    due: Instant,
    interval: Duration,
    clock: Clock,
    theme: Theme,
}

impl Shown {
    fn run(mut self, terminal: &mut DefaultTerminal) -> anyhow::Result<()> {
        loop {
            // Until it is heard that it goes on, the terminal is not its own.
            if !self.stopped {
                self.ask()?;
                let now = self.now();
                terminal.draw(|frame| draw(frame, &self.state, now, self.theme))?;
            }
            match self.events.recv_timeout(self.patience()) {
                Ok(Event::Key(key)) => match self.state.key(key) {
                    Wish::Draw => {}
                    Wish::Forward => self.wanted = self.beside(1),
                    Wish::Back => self.wanted = self.samples.and_then(|_| self.beside(-1)),
                    Wish::Stop => self.stopped = suspend::stop(terminal)?,
                    Wish::End => return Ok(()),
                },
                Ok(Event::Looked(result)) => self.looked(result),
                Ok(Event::Stop) => self.stopped = suspend::stop(terminal)?,
                Ok(Event::Continued) => {
                    self.stopped = false;
                    suspend::take_again(terminal)?;
                }
                Ok(Event::Terminate) => return Ok(()),
                Ok(Event::Broken(problem)) => anyhow::bail!(problem),
                Ok(Event::Size) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    anyhow::bail!("no key and no answer can come any more")
                }
            }
        }
    }

    fn now(&self) -> f64 {
        self.clock.now_us() as f64 / 1e6
    }

    fn patience(&self) -> Duration {
        if self.waiting || self.following().is_none() {
            return TICK;
        }
        self.due.saturating_duration_since(Instant::now()).min(TICK)
    }

    /// The sample this much further; `None` where a recording has none there.
    fn beside(&self, by: isize) -> Option<usize> {
        let next = self.at.map_or(Some(0), |at| at.checked_add_signed(by))?;
        self.samples.is_none_or(|of| next < of).then_some(next)
    }

    /// The sample that comes of itself.
    fn following(&self) -> Option<usize> {
        if self.state.is_paused() { None } else { self.beside(1) }
    }

    /// Asks for what is wanted or due, unless an answer is waited for.
    fn ask(&mut self) -> anyhow::Result<()> {
        if self.waiting {
            return Ok(());
        }
        let due = self.due <= Instant::now();
        let Some(sample) = self.wanted.take().or_else(|| self.following().filter(|_| due)) else {
            return Ok(());
        };
        self.at = Some(sample);
        self.waiting = true;
        self.due = Instant::now() + self.interval;
        self.state.asked(self.now());
        self.asks.send(sample).context("the thread that looks has ended")
    }

    fn looked(&mut self, result: Result<Seen, String>) {
        self.waiting = false;
        let view = result.map(|Seen { view, warnings }| {
            self.state.warned(warnings);
            view
        });
        self.state.looked(view);
        if let Some((at, of)) = self.at.zip(self.samples) {
            self.state.at_sample(at + 1, of);
        }
    }
}

/// Looks when it is asked to.
fn looker(mut feed: Feed, filter: Filter, events: Sender<Event>) -> anyhow::Result<Sender<usize>> {
    let (asks, asked) = channel::<usize>();
    let look = move || {
        for sample in asked {
            let result = feed.look(sample, &filter).map_err(|error| format!("{error:#}"));
            if events.send(Event::Looked(result)).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("look".to_owned()).spawn(look)?;
    Ok(asks)
}

/// Reads the keys.
fn keys(events: Sender<Event>) -> std::io::Result<()> {
    let read = move || {
        loop {
            let event = match event::read() {
                Ok(event::Event::Key(key)) if key.kind != KeyEventKind::Release => Event::Key(key),
                Ok(event::Event::Resize(..)) => Event::Size,
                Ok(_) => continue,
                Err(error) => Event::Broken(format!("the terminal: {error}")),
            };
            let broken = matches!(event, Event::Broken(_));
            if events.send(event).is_err() || broken {
                return;
            }
        }
    };
    thread::Builder::new().name("keys".to_owned()).spawn(read).map(drop)
}

/// Signals that end or stop a program do it as a key does. Ctrl-C and Ctrl-Z are keys: the terminal sends no signal while it
/// is ours.
fn on_signals(events: Sender<Event>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let guard = runtime.enter();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut stop = signal(SignalKind::from_raw(Signal::TSTP.as_raw()))?;
    let mut go_on = signal(SignalKind::from_raw(Signal::CONT.as_raw()))?;
    drop(guard);
    let wait = move || {
        runtime.block_on(async {
            loop {
                let event = tokio::select! {
                    _ = terminate.recv() => Event::Terminate,
                    _ = interrupt.recv() => Event::Terminate,
                    _ = hangup.recv() => Event::Terminate,
                    _ = stop.recv() => Event::Stop,
                    _ = go_on.recv() => Event::Continued,
                };
                let ends = matches!(event, Event::Terminate);
                if events.send(event).is_err() || ends {
                    return;
                }
            }
        });
    };
    thread::Builder::new().name("signals".to_owned()).spawn(wait).map(drop)
}
