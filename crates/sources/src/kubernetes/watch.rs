//! The watch: one thread that keeps the stores current.

use super::Options;
use super::connect::connect;
use super::problem::Problem;
use super::slim;
use super::store::{Namespaces, Pods, Store, Table};
use kube::runtime::watcher::{self, DefaultBackoff, Event, watcher};
use kube::{Api, Client};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio_stream::StreamExt as _;

/// How long the server lets a watch be silent before it ends it, whereupon the next one begins. A connection
/// that died without a word is noticed five seconds later.
const WATCH_SECONDS: u32 = 120;
/// Longest wait for a page of a list.
const LIST_LIMIT: Duration = Duration::from_secs(30);
/// Pause where the backoff has none.
const PAUSE: Duration = Duration::from_secs(30);

/// The running watch; it ends when this is dropped.
pub(super) struct Watch {
    pub(super) pods: Arc<Store<Pods>>,
    /// `None` where no rule reads namespaces.
    pub(super) namespaces: Option<Arc<Store<Namespaces>>>,
    _stop: oneshot::Sender<()>,
}

impl Watch {
    /// Starts the thread.
    pub(super) fn start(options: &Options) -> io::Result<Self> {
        let pods = Arc::new(Store::new(options.clock.clone(), options.wanted.clone()));
        let wants_namespaces = options.wanted.namespaces();
        let namespaces =
            wants_namespaces.then(|| Arc::new(Store::new(options.clock.clone(), options.wanted.clone())));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let tasks = (Arc::new(options.clone()), pods.clone(), namespaces.clone());
        std::thread::Builder::new().name("kubernetes".to_owned()).spawn(move || {
            let (options, pods, namespaces) = tasks;
            slim::keep(&options.wanted);
            runtime.block_on(async {
                let fields = options.fields();
                tokio::spawn(follow(options.clone(), Some(fields), pods));
                if let Some(namespaces) = namespaces {
                    tokio::spawn(follow(options, None, namespaces));
                }
                // An error means that the sender is gone, which is the sign to stop.
                let _ = stopped.await;
            });
            // A name that is being resolved is not waited for.
            runtime.shutdown_background();
        })?;
        Ok(Self { pods, namespaces, _stop: stop })
    }
}

/// Whether the watch cannot go on from where it is, though it would try.
fn needs_new_list(problem: &Problem, error: &watcher::Error) -> bool {
    match error {
        // It would ask for what is gone again and again.
        watcher::Error::WatchStartFailed(_) => problem.is_gone(),
        // What could not be read was a change, which would be missed.
        watcher::Error::WatchFailed(_) => problem.is_malformed(),
        _ => false,
    }
}

/// Keeps a store current for ever.
async fn follow<T: Table>(options: Arc<Options>, fields: Option<String>, store: Arc<Store<T>>) {
    // Tries are ever further apart and at random moments, so that a server's return brings no storm.
    let mut backoff = DefaultBackoff::default();
    loop {
        let opened = store.clone();
        let problem = match connect(&options, Arc::new(move || opened.resumed())).await {
            Ok((client, url)) => session(client, &url, fields.as_deref(), &store, &mut backoff).await,
            Err(problem) => problem,
        };
        store.broke(problem);
        tokio::time::sleep(backoff.next().unwrap_or(PAUSE)).await;
    }
}

/// Watches with one client, until it can no longer be used.
async fn session<T: Table>(
    client: Client,
    url: &str,
    fields: Option<&str>,
    store: &Store<T>,
    backoff: &mut DefaultBackoff,
) -> Problem {
    // A list that any server of the API has in memory is good enough, for the watch goes on from it.
    let mut config = watcher::Config { page_size: None, ..watcher::Config::default() };
    config = config.any_semantic().timeout(WATCH_SECONDS);
    config.field_selector = fields.map(str::to_owned);
    let mut events = pin!(watcher(Api::<T::Object>::all(client), config));
    let mut listing = true;
    loop {
        let next = if listing {
            tokio::time::timeout(LIST_LIMIT, events.next()).await
        } else {
            Ok(events.next().await)
        };
        match next {
            Ok(Some(Ok(event))) => {
                listing = matches!(event, Event::Init | Event::InitApply(_));
                store.event(event);
            }
            Ok(Some(Err(error))) => {
                let problem = Problem::watch(url, T::WHAT, &error);
                if problem.needs_new_client() || needs_new_list(&problem, &error) {
                    return problem;
                }
                let unreached = matches!(error, watcher::Error::WatchStartFailed(_)) && problem.is_silence();
                if unreached {
                    store.lost(problem);
                } else {
                    store.broke(problem);
                }
                tokio::time::sleep(backoff.next().unwrap_or(PAUSE)).await;
            }
            // A watch has no end of its own.
            Ok(None) | Err(_) => return Problem::slow(url, LIST_LIMIT),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::kubernetes::Mode;
    use crate::pods::Wanted;
    use std::time::Instant;

    #[test]
    fn dropping_the_watch_ends_its_thread() {
        let wanted = Wanted { namespace_labels: ["team".into()].into(), ..Wanted::default() };
        let kubeconfig = Some("/nonexistent/kubeconfig".into());
        let options =
            Options { kubeconfig, node: "node-a".to_owned(), mode: Mode::Watch, wanted, clock: Clock::Real };
        let watch = Watch::start(&options).unwrap();
        watch.pods.wait(Instant::now() + Duration::from_secs(60));
        let pods = Arc::downgrade(&watch.pods);
        let namespaces = Arc::downgrade(watch.namespaces.as_ref().unwrap());
        drop(watch);
        let deadline = Instant::now() + Duration::from_secs(60);
        while pods.strong_count() + namespaces.strong_count() > 0 {
            assert!(Instant::now() < deadline, "the thread lives on");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
