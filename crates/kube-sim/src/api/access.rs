//! Who may do what: bearer tokens and RBAC.

use super::status::Status;
use crate::request::{Request, Token};
use serde_json::json;
use std::collections::BTreeMap;

/// What every cluster lets everybody read, known or not.
const PUBLIC: &[&str] = &["/healthz", "/livez", "/readyz", "/version", "/version/"];

/// What every cluster lets everybody read whose token is valid.
const DISCOVERY: &[&str] = &["/api", "/apis", "/openapi"];

/// What a role allows. A rule is for resources, or for paths that are none.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    /// `get`, `list`, `watch`…, or `*`.
    pub verbs: Vec<String>,
    /// API groups; empty for the core's alone, as is `""`.
    pub groups: Vec<String>,
    /// `pods`, `pods/log`, or `*`.
    pub resources: Vec<String>,
    /// Only objects of these names; empty for all.
    pub names: Vec<String>,
    /// Only in this namespace (a Role); `None` for the whole cluster (a ClusterRole).
    pub namespace: Option<String>,
    /// Paths that are no resources: `/metrics`, `/logs/*`.
    pub paths: Vec<String>,
}

impl Rule {
    /// A rule of a ClusterRole, for paths that are no resources.
    pub fn of_paths(verbs: &[&str], paths: &[&str]) -> Self {
        let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Self { verbs: own(verbs), paths: own(paths), ..Self::default() }
    }

    /// The rules of the ClusterRole `system:auth-delegator`: whoever has them may ask for reviews.
    pub fn auth_delegator() -> [Self; 2] {
        [("authentication.k8s.io", "tokenreviews"), ("authorization.k8s.io", "subjectaccessreviews")].map(
            |(group, resource)| Self {
                groups: vec![group.to_owned()],
                ..Self::new(&["create"], &[resource])
            },
        )
    }

    /// A rule of a ClusterRole, for resources of the core group.
    pub fn new(verbs: &[&str], resources: &[&str]) -> Self {
        let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Self { verbs: own(verbs), resources: own(resources), ..Self::default() }
    }

    /// Only in this namespace: a rule of a Role.
    #[must_use]
    pub fn within(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    fn allows(&self, request: &Request) -> bool {
        let any = |list: &[String], wanted: &str| list.iter().any(|word| word == "*" || word == wanted);
        if !any(&self.verbs, &request.verb) {
            return false;
        }
        if request.resource.is_empty() {
            return self.paths.iter().any(|path| match path.strip_suffix('*') {
                Some(prefix) => request.path.starts_with(prefix),
                None => request.path == *path,
            });
        }
        let group =
            if self.groups.is_empty() { request.group.is_empty() } else { any(&self.groups, &request.group) };
        let name = self.names.is_empty() || self.names.contains(&request.name);
        let here = self.namespace.as_ref().is_none_or(|namespace| *namespace == request.namespace);
        group && name && here && any(&self.resources, &request.resource)
    }
}

#[derive(Clone, Debug)]
struct Account {
    user: String,
    /// `None`: everything.
    rules: Option<Vec<Rule>>,
}

impl Account {
    fn may(&self, request: &Request) -> bool {
        let discovers = request.resource.is_empty()
            && request.verb == "get"
            && DISCOVERY.iter().any(|path| {
                request.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            });
        // The ClusterRole system:basic-user, which everybody has whose token is valid.
        let asks_of_itself = request.verb == "create"
            && (&*request.group, &*request.resource) == ("authorization.k8s.io", "selfsubjectaccessreviews");
        discovers
            || asks_of_itself
            || self.rules.as_ref().is_none_or(|rules| rules.iter().any(|rule| rule.allows(request)))
    }
}

/// The accounts of a server. Without any, everybody may do everything.
#[derive(Debug, Default)]
pub(super) struct Access {
    accounts: BTreeMap<String, Account>,
    closed: bool,
}

impl Access {
    pub(super) fn accept(&mut self, token: &str, user: &str, rules: Option<Vec<Rule>>) {
        self.closed = true;
        self.accounts.insert(token.to_owned(), Account { user: user.to_owned(), rules });
    }

    pub(super) fn revoke(&mut self, token: &str) {
        self.accounts.remove(token);
    }

    /// What the request's token is worth.
    pub(super) fn judge(&self, bearer: Option<&str>) -> Token {
        match bearer {
            None => Token::None,
            Some(token) if !self.closed || self.accounts.contains_key(token) => Token::Accepted,
            Some(_) => Token::Rejected,
        }
    }

    /// Whether the request may go on.
    pub(super) fn check(&self, bearer: Option<&str>, request: &Request) -> Result<(), Status> {
        if request.token == Token::Rejected {
            return Err(Status::unauthorized());
        }
        if !self.closed || PUBLIC.contains(&request.path.as_str()) {
            return Ok(());
        }
        let Some(account) = bearer.and_then(|token| self.accounts.get(token)) else {
            return Err(forbidden("system:anonymous", request));
        };
        if account.may(request) { Ok(()) } else { Err(forbidden(&account.user, request)) }
    }

    /// Whose a token is.
    pub(super) fn user_of(&self, token: &str) -> Option<&str> {
        self.accounts.get(token).map(|account| account.user.as_str())
    }

    /// Whether whoever has this token may do this.
    pub(super) fn bearer_may(&self, bearer: Option<&str>, request: &Request) -> bool {
        let account = bearer.and_then(|token| self.accounts.get(token));
        !self.closed || account.is_some_and(|account| account.may(request))
    }

    /// Whether somebody, whatever his token, may do this.
    pub(super) fn may(&self, user: &str, request: &Request) -> bool {
        let public = request.resource.is_empty() && PUBLIC.contains(&request.path.as_str());
        public || self.accounts.values().any(|account| account.user == user && account.may(request))
    }
}

fn forbidden(user: &str, request: &Request) -> Status {
    let Request { verb, group, resource, namespace, name, path, .. } = request;
    if resource.is_empty() {
        let message = format!("forbidden: User \"{user}\" cannot {verb} path \"{path}\"");
        return Status::new(403, "Forbidden", message).details(json!({}));
    }
    let kind = resource.split('/').next().unwrap_or_default();
    let full = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
    let what = if name.is_empty() { full } else { format!("{full} \"{name}\"") };
    let place = if namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace \"{namespace}\"")
    };
    let message = format!(
        "{what} is forbidden: User \"{user}\" cannot {verb} resource \"{resource}\" in API group \"{group}\" {place}"
    );
    let mut details = json!({ "kind": kind });
    if !name.is_empty() {
        details["name"] = json!(name);
    }
    Status::new(403, "Forbidden", message).details(details)
}
