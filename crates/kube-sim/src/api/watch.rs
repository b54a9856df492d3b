//! Watches: events as lines of JSON.

use super::fault::{Fault, Faults, GARBAGE, cut_here};
use super::list;
use super::status::Status;
use super::table;
use crate::cluster::{Change, Cluster, Kind, Selector, Signal, Store};
use crate::request::Request;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use serde_json::{Value, json};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;

/// How long a watch lasts that does not say: a real server ends it after half an hour to an hour.
const LASTS: Duration = Duration::from_secs(1800);

/// Answers a watch.
pub(super) fn start(
    cluster: &Cluster,
    faults: &Faults,
    kind: Kind,
    request: &Request,
) -> Result<Response, Status> {
    let watch = Watch {
        cluster: cluster.clone(),
        kind,
        selector: list::selector(kind, request)?,
        bookmarks: request.is_set("allowWatchBookmarks"),
        tables: table::is_wanted(request),
        first: *cluster.signal().borrow(),
        signal: cluster.signal(),
        faults: faults.follow(),
    };
    let begin = Begin::read(cluster, kind, request)?;
    let lasts =
        request.param("timeoutSeconds").and_then(|text| text.parse().ok()).filter(|seconds| *seconds > 0);
    let end = Instant::now() + lasts.map_or(LASTS, |seconds: u32| Duration::from_secs(seconds.into()));
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(async move {
        // The client has gone, or was cut off: nobody is left to be told.
        drop(watch.run(&Lines(sender), begin, end).await);
    });
    let mut response = Response::new(Body::from_stream(ReceiverStream::new(receiver)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// What a watch tells first. It is settled when the watch is asked for, not when its answer is on its way.
enum Begin {
    /// All objects as of a version, then what changes; with a bookmark between the two where that was asked for.
    Objects { version: u64, objects: Vec<Arc<Value>>, marked: bool },
    /// What changed after a version.
    After(u64),
    /// That the version is too old.
    Never(Status),
}

impl Begin {
    fn read(cluster: &Cluster, kind: Kind, request: &Request) -> Result<Self, Status> {
        let version = list::version(request)?;
        let initial = request.param("sendInitialEvents");
        match (initial, request.param("resourceVersionMatch")) {
            (None, None) | (Some(_), Some("NotOlderThan")) => {}
            (None, Some(_)) => {
                let message = "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
                return Err(Status::invalid("resourceVersionMatch", message));
            }
            (Some(_), _) => {
                let message =
                    "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
                return Err(Status::invalid("resourceVersionMatch", message));
            }
        }
        let marked = initial.is_some() && request.is_set("allowWatchBookmarks");
        let objects = match initial {
            Some(word) => matches!(word, "true" | "1"),
            None => version == 0,
        };
        Ok(cluster.with_store(|store| match version {
            _ if objects => Self::Objects { version: store.version, objects: store.list(kind), marked },
            0 => Self::After(store.version),
            _ if version < store.compacted => Self::Never(Status::expired(version, store.compacted)),
            _ => Self::After(version),
        }))
    }
}

/// The other end of the body.
struct Lines(mpsc::Sender<io::Result<Bytes>>);

/// The watch is over: the client went away, or was cut off.
struct Gone;

impl Lines {
    async fn send(&self, bytes: impl Into<Bytes>) -> Result<(), Gone> {
        self.0.send(Ok(bytes.into())).await.map_err(|_| Gone)
    }

    async fn cut(&self) -> Gone {
        drop(self.0.send(Err(cut_here().await)).await);
        Gone
    }
}

struct Watch {
    cluster: Cluster,
    kind: Kind,
    selector: Selector,
    bookmarks: bool,
    /// Each object as a table of one row.
    tables: bool,
    /// As it was when the watch was asked for.
    first: Signal,
    signal: watch::Receiver<Signal>,
    faults: watch::Receiver<Fault>,
}

impl Watch {
    async fn run(mut self, lines: &Lines, begin: Begin, end: Instant) -> Result<(), Gone> {
        let first = self.first;
        let mut bookmarks = first.bookmarks;
        let mut told = self.begin(lines, begin).await?;
        loop {
            let signal = *self.signal.borrow_and_update();
            if *self.faults.borrow_and_update() != Fault::Silent {
                if signal.cuts != first.cuts {
                    return Err(lines.cut().await);
                }
                told = self.changes(lines, told).await?;
                if signal.expiries != first.expiries {
                    return self.event(lines, "ERROR", &Status::expired(told, told + 1).object()).await;
                }
                if signal.bookmarks != bookmarks {
                    bookmarks = signal.bookmarks;
                    self.bookmark(lines, told, false).await?;
                }
                if Instant::now() >= end {
                    return self.bookmark(lines, told, false).await;
                }
            }
            let silent = *self.faults.borrow() == Fault::Silent;
            tokio::select! {
                changed = self.signal.changed() => changed.map_err(|_| Gone)?,
                changed = self.faults.changed() => changed.map_err(|_| Gone)?,
                () = tokio::time::sleep_until(end), if !silent => {}
                () = lines.0.closed() => return Err(Gone),
            }
        }
    }

    /// Tells what is told first; gives the version up to which all has been told.
    async fn begin(&mut self, lines: &Lines, begin: Begin) -> Result<u64, Gone> {
        tokio::select! {
            _ = self.faults.wait_for(|fault| *fault != Fault::Silent) => {}
            () = lines.0.closed() => return Err(Gone),
        }
        match begin {
            Begin::Never(status) => {
                self.event(lines, "ERROR", &status.object()).await?;
                Err(Gone)
            }
            Begin::After(version) => Ok(version),
            Begin::Objects { version, objects, marked } => {
                for object in objects.iter().filter(|object| self.selector.matches(object)) {
                    self.object(lines, "ADDED", object).await?;
                }
                if marked {
                    self.bookmark(lines, version, true).await?;
                }
                Ok(version)
            }
        }
    }

    async fn changes(&self, lines: &Lines, told: u64) -> Result<u64, Gone> {
        let read = |store: &Store| (store.version, store.forgotten, store.since(self.kind, told));
        let (newest, forgotten, changes) = self.cluster.with_store(read);
        if told < forgotten {
            // Too slow to be told everything.
            self.event(lines, "ERROR", &Status::expired(told, forgotten).object()).await?;
            return Err(Gone);
        }
        for change in &changes {
            if let Some((word, object)) = seen(&self.selector, change) {
                self.object(lines, word, &object).await?;
            }
        }
        // A watch may begin in the future.
        Ok(newest.max(told))
    }

    async fn bookmark(&self, lines: &Lines, version: u64, ends_initial: bool) -> Result<(), Gone> {
        if !self.bookmarks {
            return Ok(());
        }
        let mut object = json!({
            "kind": self.kind.word(),
            "apiVersion": "v1",
            "metadata": { "resourceVersion": version.to_string(), "creationTimestamp": null },
            "spec": {},
            "status": {},
        });
        if self.kind == Kind::Pods {
            object["spec"]["containers"] = Value::Null;
        }
        if ends_initial {
            object["metadata"]["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
        }
        self.event(lines, "BOOKMARK", &object).await
    }

    async fn object(&self, lines: &Lines, word: &str, object: &Value) -> Result<(), Gone> {
        if !self.tables {
            return self.event(lines, word, object).await;
        }
        let metadata = json!({ "resourceVersion": object["metadata"]["resourceVersion"] });
        self.event(lines, word, &table::render(self.kind, [object].into_iter(), &metadata)).await
    }

    async fn event(&self, lines: &Lines, word: &str, object: &Value) -> Result<(), Gone> {
        let mut line = json!({ "type": word, "object": object }).to_string().into_bytes();
        line.push(b'\n');
        let fault = self.faults.borrow().clone();
        match fault {
            Fault::CutWatch => {
                line.truncate(line.len() / 2);
                lines.send(line).await?;
                Err(lines.cut().await)
            }
            Fault::Garbage => lines.send(GARBAGE).await,
            _ => lines.send(line).await,
        }
    }
}

/// A change as a watch with this selector sees it: what begins to match is new to it, what ceases to match is gone.
fn seen(selector: &Selector, change: &Change) -> Option<(&'static str, Arc<Value>)> {
    let before = change.before.as_ref().filter(|object| selector.matches(object));
    let after = change.after.as_ref().filter(|object| selector.matches(object));
    match (before, after) {
        (None, None) => None,
        (None, Some(after)) => Some(("ADDED", Arc::clone(after))),
        (Some(_), Some(after)) => Some(("MODIFIED", Arc::clone(after))),
        (Some(before), None) => {
            // The last state that the watch has seen, but with the version of the change.
            let mut last = Value::clone(before);
            if let Some(metadata) = last.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.insert("resourceVersion".to_owned(), json!(change.version.to_string()));
            }
            Some(("DELETED", Arc::new(last)))
        }
    }
}
