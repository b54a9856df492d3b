//! Environment and arguments of a container.

use super::agent::{Agent, name, namespace, uid};
use crate::containers::cri::Variable;
use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVarSource, Pod, Secret};
use kube::Api;

/// The variables of a container: the API's address first, as a kubelet has it, then its own.
pub(super) async fn variables(
    agent: &Agent,
    pod: &Pod,
    container: &Container,
) -> Result<Vec<Variable>, String> {
    let variable = |key: &str, value: String| Variable { key: key.to_owned(), value };
    let mut all = vec![
        variable("KUBERNETES_SERVICE_HOST", "127.0.0.1".to_owned()),
        variable("KUBERNETES_SERVICE_PORT", agent.api_port.to_string()),
        variable("KUBERNETES_SERVICE_PORT_HTTPS", agent.api_port.to_string()),
    ];
    for own in container.env.iter().flatten() {
        let value = match &own.value_from {
            None => Some(expand(own.value.as_deref().unwrap_or_default(), &all)),
            Some(source) => value_of(agent, pod, source).await?,
        };
        if let Some(value) = value {
            all.retain(|known| known.key != own.name);
            all.push(variable(&own.name, value));
        }
    }
    Ok(all)
}

/// The value that a source has; `None` where it is optional and not there.
async fn value_of(agent: &Agent, pod: &Pod, source: &EnvVarSource) -> Result<Option<String>, String> {
    if let Some(field) = &source.field_ref {
        return self::field(agent, pod, &field.field_path).map(Some);
    }
    if let Some(key) = &source.config_map_key_ref {
        let found = config_map(agent, pod, &key.name).await?;
        let value = found.and_then(|map| map.data?.remove(&key.key));
        return there(value, key.optional, &format!("key {} in ConfigMap {}", key.key, key.name));
    }
    if let Some(key) = &source.secret_key_ref {
        let found = secret(agent, pod, &key.name).await?;
        let value = found.and_then(|secret| secret.data?.remove(&key.key));
        let value = value.map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned());
        return there(value, key.optional, &format!("key {} in Secret {}", key.key, key.name));
    }
    Err("the tests' node knows fieldRef, configMapKeyRef and secretKeyRef only".to_owned())
}

fn there(value: Option<String>, optional: Option<bool>, what: &str) -> Result<Option<String>, String> {
    match value {
        None if optional != Some(true) => Err(format!("couldn't find {what}")),
        value => Ok(value),
    }
}

/// A ConfigMap of the pod's namespace, where it is there.
pub(super) async fn config_map(agent: &Agent, pod: &Pod, name: &str) -> Result<Option<ConfigMap>, String> {
    let api: Api<ConfigMap> = Api::namespaced(agent.client(), &namespace(pod));
    api.get_opt(name).await.map_err(|error| format!("ConfigMap {name}: {error}"))
}

/// A Secret of the pod's namespace, where it is there.
pub(super) async fn secret(agent: &Agent, pod: &Pod, name: &str) -> Result<Option<Secret>, String> {
    let api: Api<Secret> = Api::namespaced(agent.client(), &namespace(pod));
    api.get_opt(name).await.map_err(|error| format!("Secret {name}: {error}"))
}

/// A field of the pod, by its path.
pub(super) fn field(agent: &Agent, pod: &Pod, path: &str) -> Result<String, String> {
    let keyed = |map: &str| path.strip_prefix(map)?.strip_prefix("['")?.strip_suffix("']");
    if let Some(key) = keyed("metadata.labels") {
        return Ok(pod
            .metadata
            .labels
            .iter()
            .flatten()
            .find(|(k, _)| *k == key)
            .map_or(String::new(), |(_, v)| v.clone()));
    }
    if let Some(key) = keyed("metadata.annotations") {
        return Ok(pod
            .metadata
            .annotations
            .iter()
            .flatten()
            .find(|(k, _)| *k == key)
            .map_or(String::new(), |(_, v)| v.clone()));
    }
    match path {
        "metadata.name" => Ok(name(pod)),
        "metadata.namespace" => Ok(namespace(pod)),
        "metadata.uid" => Ok(uid(pod)),
        "spec.nodeName" => Ok(agent.name.clone()),
        "spec.serviceAccountName" => {
            Ok(pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone()).unwrap_or_default())
        }
        "status.hostIP" | "status.podIP" => Ok(agent.ip.clone()),
        _ => Err(format!("the tests' node knows no field {path}")),
    }
}

/// Replaces `$(NAME)` where the variable is known; `$$` stands for `$`.
pub(super) fn expand(text: &str, variables: &[Variable]) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out += before;
        rest = after;
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let named = rest.strip_prefix('(').and_then(|inner| inner.split_once(')'));
        match named.and_then(|(name, after)| Some((variables.iter().find(|v| v.key == name)?, after))) {
            Some((variable, after)) => {
                out += &variable.value;
                rest = after;
            }
            None => out.push('$'),
        }
    }
    out + rest
}
