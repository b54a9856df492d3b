//! What a client asks before it asks for objects.

use serde_json::{Value, json};

/// `/version`.
pub(super) fn version() -> Value {
    json!({
        "major": "1",
        "minor": "34",
        "gitVersion": "v1.34.1",
        "gitCommit": "0000000000000000000000000000000000000000",
        "gitTreeState": "clean",
        "buildDate": "2026-01-05T08:00:00Z",
        "goVersion": "go1.24.6",
        "compiler": "gc",
        "platform": "linux/amd64",
    })
}

/// `/api`.
pub(super) fn versions(address: &str) -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{ "clientCIDR": "0.0.0.0/0", "serverAddress": address }],
    })
}

/// `/apis`: no groups but the core's.
pub(super) fn groups() -> Value {
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": [] })
}

/// `/api/v1`.
pub(super) fn resources() -> Value {
    let verbs = ["get", "list", "watch"];
    json!({
        "kind": "APIResourceList",
        "groupVersion": "v1",
        "resources": [
            { "name": "namespaces", "singularName": "namespace", "namespaced": false, "kind": "Namespace",
              "verbs": verbs, "shortNames": ["ns"] },
            { "name": "nodes", "singularName": "node", "namespaced": false, "kind": "Node", "verbs": verbs,
              "shortNames": ["no"] },
            { "name": "pods", "singularName": "pod", "namespaced": true, "kind": "Pod", "verbs": verbs,
              "shortNames": ["po"], "categories": ["all"] },
        ],
    })
}
