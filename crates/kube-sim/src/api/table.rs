//! Tables, which kubectl asks for in place of objects.

use crate::cluster::Kind;
use crate::request::Request;
use serde_json::{Value, json};
use std::time::SystemTime;

/// Whether a table is the form that the client likes best.
pub(super) fn is_wanted(request: &Request) -> bool {
    let first = request.accept.split(',').next().unwrap_or_default();
    let mut parts = first.split(';').map(str::trim);
    parts.next() == Some("application/json") && parts.any(|part| part == "as=Table")
}

/// The objects as rows.
pub(super) fn render<'a>(kind: Kind, objects: impl Iterator<Item = &'a Value>, metadata: &Value) -> Value {
    let now = SystemTime::now();
    let rows: Vec<Value> = objects.map(|object| row(kind, object, now)).collect();
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": columns(kind),
        "rows": rows,
    })
}

fn columns(kind: Kind) -> Vec<Value> {
    // Those of priority 1 are shown with `-o wide` only.
    let columns: &[(&str, u8)] = match kind {
        Kind::Pods => {
            &[("Name", 0), ("Ready", 0), ("Status", 0), ("Restarts", 0), ("Age", 0), ("IP", 1), ("Node", 1)]
        }
        Kind::Namespaces | Kind::Nodes => &[("Name", 0), ("Status", 0), ("Age", 0)],
    };
    let column = |&(name, priority): &(&str, u8)| {
        let format = if name == "Name" { "name" } else { "" };
        json!({ "name": name, "type": "string", "format": format, "description": name, "priority": priority })
    };
    columns.iter().map(column).collect()
}

fn row(kind: Kind, object: &Value, now: SystemTime) -> Value {
    let metadata = &object["metadata"];
    let (name, status, age) = (&metadata["name"], status(object), age(&metadata["creationTimestamp"], now));
    let cells = match kind {
        Kind::Pods => {
            let (ready, all) = ready(object);
            let (ip, node) = (&object["status"]["podIP"], &object["spec"]["nodeName"]);
            json!([name, format!("{ready}/{all}"), status, "0", age, or_none(ip), or_none(node)])
        }
        Kind::Namespaces | Kind::Nodes => json!([name, status, age]),
    };
    let object =
        json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata });
    json!({ "cells": cells, "object": object })
}

fn or_none(value: &Value) -> &str {
    value.as_str().unwrap_or("<none>")
}

/// Containers that are ready, and all.
fn ready(object: &Value) -> (usize, usize) {
    let statuses = object["status"]["containerStatuses"].as_array();
    let ready = statuses.into_iter().flatten().filter(|status| status["ready"] == true).count();
    (ready, object["spec"]["containers"].as_array().map_or(0, Vec::len))
}

fn status(object: &Value) -> &str {
    match object["status"]["phase"].as_str() {
        _ if object["metadata"]["deletionTimestamp"].is_string() => "Terminating",
        Some("Succeeded") => "Completed",
        Some("Failed") => "Error",
        phase => phase.unwrap_or_default(),
    }
}

/// How long ago, in the largest unit.
fn age(created: &Value, now: SystemTime) -> String {
    let created = created.as_str().and_then(|text| humantime::parse_rfc3339(text).ok());
    let Some(age) = created.and_then(|created| now.duration_since(created).ok()) else {
        return "<unknown>".to_owned();
    };
    match age.as_secs() {
        seconds @ ..120 => format!("{seconds}s"),
        seconds @ ..7_200 => format!("{}m", seconds / 60),
        seconds @ ..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}
