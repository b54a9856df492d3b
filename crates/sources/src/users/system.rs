//! The name service of this machine, asked on a thread of its own: a directory may answer late or never, a call that
//! hangs cannot be ended, and nobody may wait on it.
//!
//! There is one thread and one queue. While a call hangs, the uids in the queue stay pending; no thread is added.

use super::Found;
use crate::source_error;
use gpu_session_core::sample::SourceError;
use gpu_session_core::text;
use nix::errno::Errno;
use nix::unistd::{Uid, User};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// Longest time that a reading waits for uids that were not asked for before.
pub(super) const PATIENCE: Duration = Duration::from_millis(300);

/// How long a name is believed.
const NAME_LIFE: Duration = Duration::from_secs(3600);

/// How long it is believed that a uid has no name: it may be made at any time.
const NAMELESS_LIFE: Duration = Duration::from_secs(600);

/// Most answers that are kept.
const MAX_KNOWN: usize = 16_384;

/// Most uids that wait to be looked up; those beyond stay pending and get their turn later.
const MAX_QUEUED: usize = 4096;

/// Where the services behind getpwuid are set.
const SERVICES_FILE: &str = "/etc/nsswitch.conf";

/// Finds the name of a uid; `None` where it has none.
type Lookup = Box<dyn Fn(u32) -> Result<Option<String>, Errno> + Send>;

/// An answer, or why there is none.
type Answer = (u32, Result<Option<String>, Errno>);

/// Asks `getpwuid_r`.
pub(super) fn by_getpwuid(uid: u32) -> Result<Option<String>, Errno> {
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(user) => Ok(user.map(|user| user.name).filter(|name| !name.is_empty())),
        // Some services say so where others say nothing (getpwuid_r(3)).
        Err(Errno::ENOENT | Errno::ESRCH) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// The name service and what it said so far.
pub(super) struct System {
    /// Until the thread has it.
    lookup: Option<Lookup>,
    patience: Duration,
    worker: Option<Worker>,
    known: BTreeMap<u32, Known>,
    /// Asked for and not answered yet.
    queued: BTreeSet<u32>,
    /// It was said that the service does not answer, and it has not answered all since.
    told: bool,
}

struct Worker {
    questions: Sender<u32>,
    answers: Receiver<Answer>,
}

struct Known {
    name: Option<Arc<str>>,
    since: Instant,
}

impl Known {
    fn holds(&self, now: Instant) -> bool {
        let life = if self.name.is_some() { NAME_LIFE } else { NAMELESS_LIFE };
        now.saturating_duration_since(self.since) < life
    }
}

impl System {
    /// Names by `lookup`, for which a reading waits no longer than `patience`.
    pub(super) fn new(
        lookup: impl Fn(u32) -> Result<Option<String>, Errno> + Send + 'static,
        patience: Duration,
    ) -> Self {
        Self {
            lookup: Some(Box::new(lookup)),
            patience,
            worker: None,
            known: BTreeMap::new(),
            queued: BTreeSet::new(),
            told: false,
        }
    }

    /// Names of `uids` as far as they are known by now.
    pub(super) fn find(&mut self, uids: &BTreeSet<u32>, now: Instant) -> Found {
        let mut errors = Failures::default();
        self.take_answers(now, &mut errors);
        let busy = !self.queued.is_empty();
        let new = self.ask(uids, now, &mut errors);
        // Behind a call that already let one reading down the new ones would only wait in vain.
        if !busy {
            self.wait_for(new, now, &mut errors);
        }
        let mut found = Found::default();
        for uid in uids {
            match self.known.get(uid).filter(|known| known.holds(now)) {
                Some(known) => found.names.extend(known.name.clone().map(|name| (*uid, name))),
                None => _ = found.pending.insert(*uid),
            }
        }
        found.errors.extend(errors.told());
        found.errors.extend(self.silence());
        found
    }

    /// Queues those that are not known; returns them.
    fn ask(&mut self, uids: &BTreeSet<u32>, now: Instant, errors: &mut Failures) -> BTreeSet<u32> {
        let mut new = BTreeSet::new();
        for uid in uids {
            let known = self.known.get(uid).is_some_and(|known| known.holds(now));
            if known || self.queued.contains(uid) || self.queued.len() >= MAX_QUEUED {
                continue;
            }
            match self.start().map(|worker| worker.questions.send(*uid)) {
                Ok(Ok(())) => {
                    self.queued.insert(*uid);
                    new.insert(*uid);
                }
                Ok(Err(_)) => errors.add(*uid, &"its thread has ended"),
                Err(e) => errors.add(*uid, &e),
            }
        }
        new
    }

    /// The thread, which is started for the first question.
    fn start(&mut self) -> std::io::Result<&Worker> {
        if self.worker.is_none()
            && let Some(lookup) = self.lookup.take()
        {
            let (questions, inbox) = channel();
            let (outbox, answers) = channel();
            let thread = std::thread::Builder::new().name("users".to_owned());
            thread.spawn(move || serve(&lookup, &inbox, &outbox))?;
            self.worker = Some(Worker { questions, answers });
        }
        self.worker.as_ref().ok_or_else(|| std::io::Error::other("its thread could not be started"))
    }

    fn take_answers(&mut self, now: Instant, errors: &mut Failures) {
        while let Some(answer) = self.worker.as_ref().and_then(|worker| worker.answers.try_recv().ok()) {
            self.learn(answer, now, errors);
        }
    }

    fn wait_for(&mut self, mut uids: BTreeSet<u32>, now: Instant, errors: &mut Failures) {
        let begin = Instant::now();
        while !uids.is_empty() {
            let left = self.patience.saturating_sub(begin.elapsed());
            let answer = self.worker.as_ref().and_then(|worker| worker.answers.recv_timeout(left).ok());
            let Some(answer) = answer else { return };
            uids.remove(&answer.0);
            self.learn(answer, now, errors);
        }
    }

    fn learn(&mut self, (uid, answer): Answer, now: Instant, errors: &mut Failures) {
        self.queued.remove(&uid);
        let name = match answer {
            Ok(name) => name.map(|name| Arc::from(text::clean(&name))),
            // Asked again as long as somebody wants to know.
            Err(errno) => return errors.add(uid, &errno),
        };
        if self.known.len() >= MAX_KNOWN {
            self.forget(now);
        }
        self.known.insert(uid, Known { name, since: now });
    }

    /// Makes room: what is over goes, and if that is not enough the older half.
    fn forget(&mut self, now: Instant) {
        self.known.retain(|_, known| known.holds(now));
        if self.known.len() >= MAX_KNOWN {
            let mut oldest: Vec<(Instant, u32)> =
                self.known.iter().map(|(uid, known)| (known.since, *uid)).collect();
            oldest.sort_unstable();
            for (_, uid) in &oldest[..oldest.len() / 2] {
                self.known.remove(uid);
            }
        }
    }

    /// How many uids wait for an answer.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.queued.len()
    }

    /// How many answers are kept.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.known.len()
    }

    /// Says once that the service does not answer, until it has answered all.
    fn silence(&mut self) -> Option<SourceError> {
        let count = self.queued.len();
        let Some(first) = self.queued.first().copied() else {
            self.told = false;
            return None;
        };
        if std::mem::replace(&mut self.told, true) {
            return None;
        }
        let services = services().unwrap_or_else(|| "files".to_owned());
        let waited = self.patience.as_millis();
        Some(source_error(
            "timeout",
            format!(
                "the name service ({services} for passwd, {SERVICES_FILE}) did not answer for uid {first} within \
                 {waited} ms; users that wait: {count}. They are named once it answers: try `getent passwd \
                 {first}`, or give a file of users by users.passwd"
            ),
        ))
    }
}

/// Answers until nobody asks any more.
fn serve(lookup: &Lookup, inbox: &Receiver<u32>, outbox: &Sender<Answer>) {
    while let Ok(uid) = inbox.recv() {
        if outbox.send((uid, lookup(uid))).is_err() {
            return;
        }
    }
}

/// Lookups that failed in one reading.
#[derive(Default)]
struct Failures {
    first: Option<(u32, String)>,
    count: usize,
}

impl Failures {
    fn add(&mut self, uid: u32, why: &impl ToString) {
        self.first.get_or_insert_with(|| (uid, why.to_string()));
        self.count += 1;
    }

    fn told(self) -> Option<SourceError> {
        let (uid, why) = self.first?;
        let more = if self.count > 1 { format!(" (and {} more)", self.count - 1) } else { String::new() };
        Some(source_error(
            "io",
            format!(
                "the name service failed for uid {uid}{more}: {why}; try `getent passwd {uid}`, or give a file of \
                 users by users.passwd"
            ),
        ))
    }
}

/// The services that getpwuid asks, `files sss`.
fn services() -> Option<String> {
    let file = std::fs::read(SERVICES_FILE).ok()?;
    let text = String::from_utf8_lossy(&file);
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix("passwd:"))?;
    let services = text::clean(line.split('#').next()?.trim());
    (!services.is_empty()).then_some(services)
}
