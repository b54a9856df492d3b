//! One list, for a program that runs once.

use super::Options;
use super::connect::connect;
use super::problem::Problem;
use super::slim;
use super::store::{Namespaces, Pods, Store, Table};
use kube::api::{ListParams, VersionMatch};
use kube::runtime::watcher::Event;
use kube::{Api, Client};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// Longest time that the lists may take together.
const LIMIT: Duration = Duration::from_secs(5);

/// So much of it is left for handing over what is there, when one of them does not come.
const MARGIN: Duration = Duration::from_millis(500);

/// What was listed.
pub(super) struct Lists {
    pub(super) pods: Store<Pods>,
    /// `None` where no rule reads namespaces.
    pub(super) namespaces: Option<Store<Namespaces>>,
}

/// Lists. On a thread of its own: a plugin that makes credentials may hang, and is left to it.
pub(super) fn list(options: &Options) -> Result<Lists, Problem> {
    let (sender, receiver) = mpsc::channel();
    let until = Instant::now() + LIMIT.saturating_sub(MARGIN);
    let own = options.clone();
    let thread = std::thread::Builder::new().name("kubernetes".to_owned());
    let failed =
        |e: std::io::Error| Problem::new("io", format!("no thread: {e}"), "see the limits of this process");
    let started = thread.spawn(move || {
        slim::keep(&own.wanted);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
        let lists = runtime.map_err(failed).and_then(|runtime| {
            let lists = runtime.block_on(lists(&own, until));
            runtime.shutdown_background();
            lists
        });
        // Nobody listens when it took too long.
        let _ = sender.send(lists);
    });
    started.map_err(failed)?;
    receiver.recv_timeout(LIMIT).unwrap_or_else(|_| Err(Problem::slow("the API server", LIMIT)))
}

async fn lists(options: &Options, until: Instant) -> Result<Lists, Problem> {
    let (client, url) = connect(options, Arc::new(|| ())).await?;
    let pods = fill(&client, &url, Some(options.fields()), options, until).await?;
    let namespaces = if options.wanted.namespaces() {
        // Without them the pods still have their names.
        let filled = fill(&client, &url, None, options, until).await;
        Some(filled.unwrap_or_else(|problem| {
            let store = Store::new(options.clock.clone(), options.wanted.clone());
            store.broke(problem);
            store
        }))
    } else {
        None
    };
    Ok(Lists { pods, namespaces })
}

async fn fill<T: Table>(
    client: &Client,
    url: &str,
    fields: Option<String>,
    options: &Options,
    until: Instant,
) -> Result<Store<T>, Problem> {
    let params = ListParams {
        field_selector: fields,
        // What any server of the API has in memory is good enough.
        resource_version: Some("0".to_owned()),
        version_match: Some(VersionMatch::NotOlderThan),
        ..ListParams::default()
    };
    let api = Api::<T::Object>::all(client.clone());
    let answer = tokio::time::timeout_at(until.into(), api.list(&params)).await;
    let answer = answer.map_err(|_| Problem::slow(url, LIMIT))?;
    let list = answer.map_err(|e| Problem::client(url, T::WHAT, &e))?;
    let store = Store::new(options.clock.clone(), options.wanted.clone());
    for object in list.items {
        store.event(Event::InitApply(object));
    }
    store.event(Event::InitDone);
    Ok(store)
}
