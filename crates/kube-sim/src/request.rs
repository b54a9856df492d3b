//! Requests in the words of Kubernetes: verb, resource, namespace, name.

use axum::http::Uri;
use std::collections::BTreeMap;

/// How a request said who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// It sent no bearer token.
    None,
    /// A token that is valid, or of which nobody asked.
    Accepted,
    /// A token that is expired or unknown.
    Rejected,
}

/// A request that the API server received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// HTTP method.
    pub method: String,
    /// Path, without the query.
    pub path: String,
    /// Parameters of the query.
    pub query: BTreeMap<String, String>,
    /// In RBAC's words: `get`, `list`, `watch`, `create`…; for what is no resource the method in lower case.
    pub verb: String,
    /// API group; empty for the core's.
    pub group: String,
    /// `pods`, `pods/log`; empty for what is no resource: `/version`.
    pub resource: String,
    /// Namespace; empty for all, or where there is none.
    pub namespace: String,
    /// Name of the object; empty for a collection.
    pub name: String,
    /// How it said who it is.
    pub token: Token,
    /// `Accept`; empty if not sent.
    pub accept: String,
    /// `User-Agent`; empty if not sent.
    pub user_agent: String,
}

impl Request {
    /// Reads method and address as Kubernetes does.
    pub(crate) fn parse(method: &str, uri: &Uri) -> Self {
        let query = uri.query().unwrap_or_default();
        let query: BTreeMap<_, _> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let mut request = Self {
            method: method.to_owned(),
            path: uri.path().to_owned(),
            query,
            verb: method.to_ascii_lowercase(),
            group: String::new(),
            resource: String::new(),
            namespace: String::new(),
            name: String::new(),
            token: Token::None,
            accept: String::new(),
            user_agent: String::new(),
        };
        let path = request.path.clone();
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        match parts.as_slice() {
            ["api", _, rest @ ..] if !rest.is_empty() => request.place(rest),
            ["apis", group, _, rest @ ..] if !rest.is_empty() => {
                (*group).clone_into(&mut request.group);
                request.place(rest);
            }
            _ => {}
        }
        request
    }

    fn place(&mut self, rest: &[&str]) {
        let rest = match rest {
            // What follows is in the namespace, but for the namespace's own parts.
            ["namespaces", namespace, inner @ ..] => {
                (*namespace).clone_into(&mut self.namespace);
                if matches!(inner, [] | ["status" | "finalize"]) { rest } else { inner }
            }
            _ => rest,
        };
        let part = |index: usize| rest.get(index).copied().unwrap_or_default();
        part(0).clone_into(&mut self.resource);
        part(1).clone_into(&mut self.name);
        if !part(2).is_empty() {
            self.resource = format!("{}/{}", part(0), part(2));
        }
        let one = !self.name.is_empty();
        let verb = match self.method.as_str() {
            "GET" | "HEAD" if self.is_set("watch") => "watch",
            "GET" | "HEAD" if one => "get",
            "GET" | "HEAD" => "list",
            "POST" => "create",
            "PUT" => "update",
            "PATCH" => "patch",
            "DELETE" if one => "delete",
            "DELETE" => "deletecollection",
            _ => return,
        };
        verb.clone_into(&mut self.verb);
        // A role may be limited to names; so limited, a collection may be asked for by a selector of one name.
        let selected = self.param("fieldSelector").and_then(|fields| {
            fields.split(',').find_map(|term| term.strip_prefix("metadata.name=").map(str::to_owned))
        });
        if let (false, Some(name)) = (one, selected) {
            self.name = name;
        }
    }

    /// A parameter; `None` also for an empty one.
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A parameter that is true.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        matches!(self.param(name), Some("true" | "1"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_kubernetes_reads_them() {
        for (method, path, wanted) in [
            ("GET", "/version", ["get", "", "", "", ""]),
            ("GET", "/api/v1", ["get", "", "", "", ""]),
            ("GET", "/api/v1/pods?limit=500", ["list", "", "pods", "", ""]),
            ("GET", "/api/v1/pods?watch=1", ["watch", "", "pods", "", ""]),
            ("GET", "/api/v1/pods?watch=false", ["list", "", "pods", "", ""]),
            ("GET", "/api/v1/namespaces", ["list", "", "namespaces", "", ""]),
            ("GET", "/api/v1/namespaces/a", ["get", "", "namespaces", "a", "a"]),
            ("PUT", "/api/v1/namespaces/a/finalize", ["update", "", "namespaces/finalize", "a", "a"]),
            ("GET", "/api/v1/pods?fieldSelector=metadata.name%3Db", ["list", "", "pods", "", "b"]),
            ("GET", "/api/v1/namespaces/a/pods", ["list", "", "pods", "a", ""]),
            ("GET", "/api/v1/namespaces/a/pods/b", ["get", "", "pods", "a", "b"]),
            ("GET", "/api/v1/namespaces/a/pods/b/log", ["get", "", "pods/log", "a", "b"]),
            (
                "POST",
                "/apis/authentication.k8s.io/v1/tokenreviews",
                ["create", "authentication.k8s.io", "tokenreviews", "", ""],
            ),
            (
                "DELETE",
                "/apis/apps/v1/namespaces/a/deployments",
                ["deletecollection", "apps", "deployments", "a", ""],
            ),
        ] {
            let found = Request::parse(method, &path.parse().unwrap());
            let found = [&found.verb, &found.group, &found.resource, &found.namespace, &found.name];
            assert_eq!(found.map(String::as_str), wanted, "{method} {path}");
        }
    }

    #[test]
    fn queries_are_decoded() {
        let uri = "/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-a&labelSelector=".parse().unwrap();
        let request = Request::parse("GET", &uri);
        assert_eq!(request.param("fieldSelector"), Some("spec.nodeName=node-a"));
        assert_eq!(request.param("labelSelector"), None);
    }
}
