//! Questions that take long: each is asked once, whoever waits for its answer, and a few at a time.

use super::cache::Cache;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, watch};

/// Longest wait for a turn.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// Others that take long are asked.
    Busy,
    /// It was asked in vain: why.
    Failed(Arc<str>),
}

type Outcome<V> = Result<Arc<V>, Unanswered>;

/// Who asks a question now, by question: whoever asks the same waits for the same answer.
type Flying<K, V> = Mutex<Vec<(K, watch::Receiver<Option<Outcome<V>>>)>>;

/// Answers by question.
pub(super) struct Flights<K, V> {
    known: Cache<K, V>,
    flying: Flying<K, V>,
}

impl<K: Clone + PartialEq + Send + 'static, V: Send + Sync + 'static> Flights<K, V> {
    /// Keeps at most so many answers, each for so long.
    pub(super) fn new(most: usize, lasts: Duration) -> Arc<Self> {
        Arc::new(Self { known: Cache::new(most, lasts), flying: Mutex::default() })
    }

    /// The answer: one that is known, one that is being waited for, or what `ask` says on a thread of its own when its turn
    /// comes. A question that was begun is asked to its end, also where nobody waits for it any more.
    pub(super) async fn answer(
        self: &Arc<Self>,
        key: K,
        turns: &Arc<Semaphore>,
        ask: impl FnOnce() -> anyhow::Result<V> + Send + 'static,
    ) -> Outcome<V> {
        let mut flight = {
            let mut flying = self.flying.lock().unwrap_or_else(PoisonError::into_inner);
            // An answer is known before its flight ends.
            if let Some(known) = self.known.get(&key, Instant::now()) {
                return Ok(known);
            }
            if let Some((_, flight)) = flying.iter().find(|(other, _)| *other == key) {
                flight.clone()
            } else {
                let (sender, flight) = watch::channel(None);
                flying.push((key.clone(), flight.clone()));
                tokio::spawn(Arc::clone(self).fly(key, Arc::clone(turns), ask, sender));
                flight
            }
        };
        let outcome = flight.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
        outcome.unwrap_or_else(|| Err(Unanswered::Failed("the program ends".into())))
    }

    async fn fly(
        self: Arc<Self>,
        key: K,
        turns: Arc<Semaphore>,
        ask: impl FnOnce() -> anyhow::Result<V> + Send + 'static,
        sender: watch::Sender<Option<Outcome<V>>>,
    ) {
        let outcome = asked(turns, ask).await;
        if let Ok(answer) = &outcome {
            self.known.put(key.clone(), Instant::now(), Arc::clone(answer));
        }
        let mut flying = self.flying.lock().unwrap_or_else(PoisonError::into_inner);
        flying.retain(|(other, _)| *other != key);
        sender.send_replace(Some(outcome));
    }
}

async fn asked<V: Send + 'static>(
    turns: Arc<Semaphore>,
    ask: impl FnOnce() -> anyhow::Result<V> + Send + 'static,
) -> Outcome<V> {
    let turn = tokio::time::timeout(LONGEST_WAIT, turns.acquire_owned()).await;
    let Ok(Ok(_turn)) = turn else { return Err(Unanswered::Busy) };
    match tokio::task::spawn_blocking(ask).await {
        Ok(Ok(answer)) => Ok(Arc::new(answer)),
        // What Prometheus says has no password in it.
        Ok(Err(e)) => Err(Unanswered::Failed(format!("{e:#}").into())),
        Err(e) => Err(Unanswered::Failed(format!("it was not asked to its end: {e}").into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::sync::mpsc;

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
    }

    #[test]
    fn who_asks_the_same_waits_for_the_same_answer() {
        run(async {
            let (flights, turns) = (Flights::new(4, Duration::from_secs(60)), Arc::new(Semaphore::new(1)));
            let asked = Arc::new(AtomicUsize::new(0));
            let (go, wait) = mpsc::channel::<()>();
            let count = Arc::clone(&asked);
            let first = flights.answer("a", &turns, move || {
                count.fetch_add(1, SeqCst);
                wait.recv()?;
                Ok(7)
            });
            let second = flights.answer("a", &turns, || panic!("it is asked already"));
            let third = async {
                // Both wait by now; the only turn is that of the first.
                tokio::task::yield_now().await;
                go.send(()).unwrap();
            };
            let (first, second, ()) = tokio::join!(first, second, third);
            assert_eq!((first.unwrap(), second.unwrap(), asked.load(SeqCst)), (7.into(), 7.into(), 1));
            let known = flights.answer("a", &Arc::new(Semaphore::new(0)), || panic!("it is known")).await;
            assert_eq!(known, Ok(7.into()), "without a turn");
            assert_eq!(turns.available_permits(), 1);
        });
    }

    #[test]
    fn a_failure_is_that_of_all_who_waited_and_is_not_kept() {
        run(async {
            let (flights, turns) =
                (Flights::<_, u8>::new(4, Duration::from_secs(60)), Arc::new(Semaphore::new(1)));
            let fail = || anyhow::bail!("no answer");
            let both = tokio::join!(flights.answer("a", &turns, fail), flights.answer("a", &turns, fail));
            let failed = Err(Unanswered::Failed("no answer".into()));
            assert_eq!(both, (failed.clone(), failed));
            assert_eq!(flights.answer("a", &turns, || Ok(1)).await, Ok(1.into()));
        });
    }

    #[test]
    fn another_question_waits_for_its_turn_and_then_is_refused() {
        run(async {
            let (flights, turns) =
                (Flights::<_, u8>::new(4, Duration::from_secs(60)), Arc::new(Semaphore::new(0)));
            let asked = flights.answer("b", &turns, || panic!("it has no turn")).await;
            assert_eq!(asked, Err(Unanswered::Busy));
        });
    }

    #[test]
    fn a_question_that_nobody_waits_for_is_asked_to_its_end() {
        run(async {
            let (flights, turns) = (Flights::new(4, Duration::from_secs(60)), Arc::new(Semaphore::new(1)));
            let (go, wait) = mpsc::channel::<()>();
            let ask = move || Ok(wait.recv().map(|()| 3)?);
            // Its client goes away.
            let gone = tokio::time::timeout(Duration::ZERO, flights.answer("a", &turns, ask)).await;
            assert!(gone.is_err());
            go.send(()).unwrap();
            let known = flights.answer("a", &turns, || panic!("it is asked already")).await;
            assert_eq!(known, Ok(3.into()));
        });
    }
}
