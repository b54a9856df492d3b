//! Lists, objects, and where a watch begins: the rules of `resourceVersion`.

use super::status::{Status, json_response};
use super::table;
use crate::cluster::{Cluster, Key, Kind, Selector, Store};
use crate::request::Request;
use axum::response::Response;
use serde_json::{Value, json};
use std::sync::Arc;

/// Reads the selectors of a request.
pub(super) fn selector(kind: Kind, request: &Request) -> Result<Selector, Status> {
    let (fields, labels) = (request.param("fieldSelector"), request.param("labelSelector"));
    let mut selector = Selector::parse(fields, labels, kind.fields()).map_err(Status::bad_request)?;
    if kind == Kind::Pods && !request.namespace.is_empty() {
        selector.namespace = Some(request.namespace.clone());
    }
    if !request.name.is_empty() && selector.name().is_none() {
        selector.and_name(&request.name);
    }
    Ok(selector)
}

/// Reads `resourceVersion`; 0 where it is not given.
pub(super) fn version(request: &Request) -> Result<u64, Status> {
    let Some(text) = request.param("resourceVersion") else { return Ok(0) };
    let bad = || {
        Status::bad_request(format!(
            "invalid resource version \"{text}\": strconv.ParseUint: parsing \"{text}\": invalid syntax"
        ))
    };
    text.parse().map_err(|_| bad())
}

/// `GET` of one object.
pub(super) fn get(cluster: &Cluster, kind: Kind, request: &Request) -> Result<Response, Status> {
    let key = match kind {
        Kind::Pods => Key::pod(&request.namespace, &request.name),
        Kind::Namespaces => Key::namespace(&request.name),
        Kind::Nodes => Key::node(&request.name),
    };
    let found = cluster.with_store(|store| store.get(&key).cloned());
    let found = found.ok_or_else(|| Status::not_found(kind.resource(), &request.name))?;
    if table::is_wanted(request) {
        let metadata = json!({ "resourceVersion": found["metadata"]["resourceVersion"] });
        return Ok(json_response(&table::render(kind, [&*found].into_iter(), &metadata)));
    }
    Ok(json_response(&found))
}

/// `GET` of a collection.
pub(super) fn list(cluster: &Cluster, kind: Kind, request: &Request) -> Result<Response, Status> {
    let selector = selector(kind, request)?;
    let page = Page::read(request)?;
    let (version, mut objects) = cluster.with_store(|store| page.objects(store, kind))?;
    objects.retain(|object| selector.matches(object));
    let mut metadata = json!({ "resourceVersion": version.to_string() });
    let left = objects.len().saturating_sub(page.start);
    if page.start > 0 {
        objects.drain(..page.start.min(objects.len()));
    }
    if let Some(limit) = page.limit
        && left > limit
    {
        objects.truncate(limit);
        metadata["continue"] = json!(format!("{version}.{}", page.start + limit));
        // With a selector nobody has counted the rest.
        if !selector.is_selective() {
            metadata["remainingItemCount"] = json!(left - limit);
        }
    }
    if table::is_wanted(request) {
        return Ok(json_response(&table::render(kind, objects.iter().map(|object| &**object), &metadata)));
    }
    let items: Vec<Value> = objects.iter().map(|object| item(object)).collect();
    Ok(json_response(&json!({
        "kind": format!("{}List", kind.word()),
        "apiVersion": "v1",
        "metadata": metadata,
        "items": items,
    })))
}

/// An object as it is in a list: without the type, which the list says.
fn item(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(object) = object.as_object_mut() {
        object.remove("kind");
        object.remove("apiVersion");
    }
    object
}

/// Which part of a collection is asked for, and of when.
struct Page {
    at: At,
    /// How many objects at most.
    limit: Option<usize>,
    /// How many were told before.
    start: usize,
}

enum At {
    Newest,
    NotOlderThan(u64),
    Exactly(u64),
    /// A further page of a list that began then.
    Continued(u64),
}

impl Page {
    fn read(request: &Request) -> Result<Self, Status> {
        let limit = request.param("limit").map(str::parse).transpose();
        let mut limit = limit.map_err(|_| Status::bad_request("invalid limit"))?.filter(|limit| *limit > 0);
        if let Some(text) = request.param("continue") {
            let parts =
                text.split_once('.').and_then(|(at, start)| Some((at.parse().ok()?, start.parse().ok()?)));
            let (at, start) = parts.ok_or_else(|| Status::bad_request("continue key is not valid"))?;
            if request.param("resourceVersion").is_some_and(|version| version != "0") {
                let message = "specifying resource version is not allowed when using continue";
                return Err(Status::bad_request(message));
            }
            return Ok(Self { at: At::Continued(at), limit, start });
        }
        let asked = request.param("resourceVersion").is_some();
        let version = version(request)?;
        let at = match request.param("resourceVersionMatch") {
            Some(_) if !asked => {
                let message =
                    "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided";
                return Err(Status::invalid("resourceVersionMatch", message));
            }
            Some("Exact") if version == 0 => {
                let message =
                    "Forbidden: resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\"";
                return Err(Status::invalid("resourceVersionMatch", message));
            }
            Some("Exact") => At::Exactly(version),
            Some("NotOlderThan") | None if asked => At::NotOlderThan(version),
            None => At::Newest,
            Some(_) => {
                return Err(Status::invalid("resourceVersionMatch", "Unsupported value"));
            }
        };
        if matches!(at, At::NotOlderThan(0)) {
            // Answered from the watch cache, which knows no pages.
            limit = None;
        }
        Ok(Self { at, limit, start: 0 })
    }

    fn objects(&self, store: &Store, kind: Kind) -> Result<(u64, Vec<Arc<Value>>), Status> {
        match self.at {
            At::NotOlderThan(version) | At::Exactly(version) if version > store.version => {
                Err(Status::too_large(version, store.version))
            }
            At::Newest | At::NotOlderThan(_) => Ok((store.version, store.list(kind))),
            At::Exactly(version) if version < store.compacted => {
                Err(Status::expired(version, store.compacted))
            }
            At::Continued(version) if version < store.compacted || version > store.version => {
                let message =
                    "The provided continue parameter is too old to display a consistent list result.";
                Err(Status::new(410, "Expired", message))
            }
            At::Exactly(version) | At::Continued(version) => Ok((version, store.list_at(kind, version))),
        }
    }
}
