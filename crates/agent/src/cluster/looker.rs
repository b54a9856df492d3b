//! Looks at Prometheus while somebody asks, and keeps what was seen last.

use super::Index;
use crate::say::Conditions;
use crate::view::Looks;
use anyhow::anyhow;
use gpu_session_core::text::clean_value;
use gpu_session_sources::clock::Clock;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Nobody is there who has not asked for so long.
const ATTENTION: Duration = Duration::from_secs(60);
/// After a look that failed the next comes so soon, or sooner where it would anyway.
const RETRY: Duration = Duration::from_secs(15);

/// What was seen.
#[derive(Clone, Default)]
pub struct Looked {
    /// By the last look that succeeded.
    pub index: Option<Arc<Index>>,
    /// Why the last look failed, if it did.
    pub failure: Option<Arc<str>>,
    /// When the last look ended.
    ended: Option<Instant>,
}

/// What is answered from now.
#[derive(Clone)]
pub struct Now {
    /// What was seen last.
    pub index: Arc<Index>,
    /// Why it is not newer, where the last look failed.
    pub failure: Option<Arc<str>>,
    /// Time from one look to the next while somebody asks.
    pub refresh: Duration,
}

/// When somebody asked last.
#[derive(Default)]
struct Attention {
    asked: Mutex<Option<Instant>>,
    comes: Condvar,
}

/// The thread that looks, as those who ask see it.
#[derive(Clone)]
pub struct Looker {
    attention: Arc<Attention>,
    looked: watch::Receiver<Looked>,
    refresh: Duration,
    patience: Duration,
}

impl Attention {
    fn asked(&self) {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.comes.notify_one();
    }

    /// Waits until the time has come and somebody is there.
    fn wait(&self, due: Option<Instant>) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let now = Instant::now();
            let is_there = asked.is_some_and(|at| now.saturating_duration_since(at) < ATTENTION);
            let rest = due.map_or(Duration::ZERO, |due| due.saturating_duration_since(now));
            match (is_there, rest) {
                (true, Duration::ZERO) => return,
                (true, rest) => {
                    asked = self.comes.wait_timeout(asked, rest).unwrap_or_else(PoisonError::into_inner).0;
                }
                (false, _) => asked = self.comes.wait(asked).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

impl Looker {
    /// Begins to look, once at first and then at most once in `refresh` while somebody asks; after a failure sooner, where
    /// that is long. Whoever has nothing to be answered from waits at most for `patience`.
    pub fn start(
        source: Box<dyn Looks + Send>,
        clock: Clock,
        refresh: Duration,
        patience: Duration,
    ) -> std::io::Result<Self> {
        let attention = Arc::new(Attention::default());
        attention.asked();
        let (sender, looked) = watch::channel(Looked::default());
        let waits = Arc::clone(&attention);
        std::thread::Builder::new()
            .name("looker".to_owned())
            .spawn(move || look_for_ever(source, &clock, refresh, &waits, &sender))?;
        Ok(Self { attention, looked, refresh, patience })
    }

    /// What was seen last, without waiting. While nothing has been seen yet, this is a wish to see.
    pub fn last(&self) -> Looked {
        let looked = self.looked.borrow().clone();
        if looked.index.is_none() {
            self.attention.asked();
        }
        looked
    }

    /// What there is to answer from. Only who comes first, or after a time in which nobody asked, waits for a look. The error
    /// says why there is nothing.
    pub async fn now(&self) -> Result<Now, String> {
        self.attention.asked();
        let mut looked = self.looked.clone();
        let asleep = ATTENTION.max(2 * self.refresh);
        let begin = Instant::now();
        let is_due = |seen: &Looked| match seen.ended {
            Some(ended) => begin.saturating_duration_since(ended) > asleep,
            None => true,
        };
        // Where the time is over, what is there has to do.
        let _ = tokio::time::timeout(self.patience, looked.wait_for(|seen| !is_due(seen))).await;
        let Looked { index, failure, ended } = self.looked.borrow().clone();
        match (index, failure) {
            (Some(index), failure) => Ok(Now { index, failure, refresh: self.refresh }),
            (None, Some(failure)) => Err(failure.to_string()),
            (None, None) if ended.is_none() => {
                Err("the first look at Prometheus goes on; ask again in a moment".to_owned())
            }
            (None, None) => Err("there is nothing yet; ask again in a moment".to_owned()),
        }
    }
}

fn look_for_ever(
    mut source: Box<dyn Looks + Send>,
    clock: &Clock,
    refresh: Duration,
    attention: &Attention,
    sender: &watch::Sender<Looked>,
) {
    let mut due = None;
    let mut conditions = Conditions::default();
    loop {
        attention.wait(due);
        let began = Instant::now();
        let at = (clock.now_us() / 1_000_000) as f64;
        // A defect must not leave readers with what is there, and nobody who looks.
        let seen = catch_unwind(AssertUnwindSafe(|| {
            source.look().map(|view| Arc::new(Index::of(view, at, source.warnings())))
        }));
        let seen = seen.unwrap_or_else(|_| Err(anyhow!("a defect of this program: see its log")));
        let (index, failure) = match seen {
            Ok(index) => {
                conditions.ended("Prometheus", "answers again");
                (Some(index), None)
            }
            Err(e) => {
                let words = clean_value(&format!("{e:#}"));
                conditions.holds("Prometheus", &[("it", words.clone())], clock.monotonic_us());
                (sender.borrow().index.clone(), Some(Arc::from(words)))
            }
        };
        due = began.checked_add(rest(refresh, failure.is_some()));
        sender.send_replace(Looked { index, failure, ended: Some(Instant::now()) });
    }
}

/// How long after the begin of a look the next one comes.
fn rest(refresh: Duration, failed: bool) -> Duration {
    if failed { refresh.min(RETRY) } else { refresh }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{NodeView, View};
    use std::sync::mpsc::{Receiver, channel};

    #[test]
    fn a_look_that_failed_is_made_again_soon() {
        let seconds = Duration::from_secs;
        assert_eq!(rest(seconds(600), false), seconds(600));
        assert_eq!(rest(seconds(600), true), seconds(15));
        assert_eq!(rest(seconds(5), true), seconds(5));
    }

    /// One that does as it is told.
    struct Told(Receiver<bool>);

    impl Looks for Told {
        fn look(&mut self) -> anyhow::Result<View> {
            if self.0.recv().unwrap() {
                Ok(View { nodes: vec![NodeView { node: Some("n1".to_owned()), ..NodeView::default() }] })
            } else {
                panic!("a wrong turn")
            }
        }
    }

    #[test]
    fn a_defect_is_told_and_looked_beyond() {
        let (tell, told) = channel();
        let refresh = Duration::from_millis(1);
        let source = Box::new(Told(told));
        let looker = Looker::start(source, Clock::Real, refresh, Duration::from_secs(60)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut looked = looker.looked.clone();
        let mut next = |is_well| {
            tell.send(is_well).unwrap();
            looker.attention.asked();
            runtime.block_on(looked.changed()).unwrap();
            let Looked { index, failure, .. } = looked.borrow().clone();
            (index.map(|index| index.cluster().nodes), failure)
        };
        let defect = "a defect of this program: see its log";
        let (nodes, failure) = next(false);
        assert_eq!((nodes, failure.as_deref()), (None, Some(defect)));
        assert_eq!(next(true), (Some(1), None));
        // What was seen before stays, and is said not to be newer.
        let (nodes, failure) = next(false);
        assert_eq!((nodes, failure.as_deref()), (Some(1), Some(defect)));
        // One that waits for ever, rather than one defect after another until nobody is there.
        std::mem::forget(tell);
    }
}
