//! Volumes of a pod, as folders and files of the node.

use super::agent::{Agent, name, namespace, uid};
use super::env;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{
    HostPathVolumeSource, KeyToPath, Pod, ServiceAccount, ServiceAccountTokenProjection, Volume,
    VolumeProjection,
};
use kube::Api;
use kube::api::PostParams;
use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

/// What a container sees as files: by name below the volume.
type Files = BTreeMap<String, Vec<u8>>;

/// Folders of the machine that a node shares with it.
const SHARED: [&str; 3] = ["/proc", "/sys", "/dev"];

/// Where the pod's volumes lie on the node.
pub(super) fn folder(agent: &Agent, pod: &Pod) -> PathBuf {
    agent.path("/var/lib/kubelet/pods").join(uid(pod))
}

/// Makes the volumes of a pod; where each lies, by name.
pub(super) async fn make(agent: &Agent, pod: &Pod) -> Result<BTreeMap<String, PathBuf>, String> {
    let spec = pod.spec.as_ref().expect("every pod has a specification");
    let group = spec.security_context.as_ref().and_then(|context| context.fs_group);
    let mut all = BTreeMap::new();
    for volume in spec.volumes.iter().flatten() {
        let here = |error: String| format!("volume {}: {error}", volume.name);
        let path = match &volume.host_path {
            Some(host) => host_path(agent, host).map_err(here)?,
            None => own(agent, pod, volume, group).await.map_err(here)?,
        };
        all.insert(volume.name.clone(), path);
    }
    Ok(all)
}

/// A volume that belongs to the pod.
async fn own(agent: &Agent, pod: &Pod, volume: &Volume, group: Option<i64>) -> Result<PathBuf, String> {
    let path = folder(agent, pod).join("volumes").join(&volume.name);
    std::fs::create_dir_all(&path).map_err(|e| e.to_string())?;
    if volume.empty_dir.is_some() {
        give(&path, 0o777, group)?;
        return Ok(path);
    }
    let (files, mode) = if let Some(map) = &volume.config_map {
        (config_map(agent, pod, &map.name, map.items.as_deref(), map.optional).await?, map.default_mode)
    } else if let Some(source) = &volume.secret {
        let name = source.secret_name.as_deref().unwrap_or_default();
        (secret(agent, pod, name, source.items.as_deref(), source.optional).await?, source.default_mode)
    } else if let Some(source) = &volume.projected {
        let mut files = Files::new();
        for projection in source.sources.iter().flatten() {
            files.append(&mut projected(agent, pod, projection).await?);
        }
        (files, source.default_mode)
    } else {
        return Err("the tests' node knows hostPath, emptyDir, configMap, secret and projected only".into());
    };
    let mode = mode.and_then(|mode| u32::try_from(mode).ok()).unwrap_or(0o644);
    for (file, content) in files {
        let file = path.join(file);
        std::fs::create_dir_all(file.parent().unwrap_or(&path)).map_err(|e| e.to_string())?;
        std::fs::write(&file, content).map_err(|e| format!("{}: {e}", file.display()))?;
        give(&file, mode, group)?;
    }
    Ok(path)
}

/// Sets the mode, and the group where the pod has one for its volumes.
fn give(path: &Path, mode: u32, group: Option<i64>) -> Result<(), String> {
    let group = group.and_then(|group| u32::try_from(group).ok());
    let mode = if group.is_some() { mode | (mode & 0o700) >> 3 } else { mode };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(|e| e.to_string())?;
    chown(path, None, group).map_err(|e| e.to_string())
}

async fn projected(agent: &Agent, pod: &Pod, source: &VolumeProjection) -> Result<Files, String> {
    if let Some(token) = &source.service_account_token {
        let text = self::token(agent, pod, token).await?;
        return Ok(Files::from([(token.path.clone(), text.into_bytes())]));
    }
    if let Some(map) = &source.config_map {
        return config_map(agent, pod, &map.name, map.items.as_deref(), map.optional).await;
    }
    if let Some(source) = &source.secret {
        return secret(agent, pod, &source.name, source.items.as_deref(), source.optional).await;
    }
    if let Some(source) = &source.downward_api {
        let fields = source.items.iter().flatten().map(|file| {
            let field = file.field_ref.as_ref().ok_or("the tests' node knows fieldRef only")?;
            Ok((file.path.clone(), env::field(agent, pod, &field.field_path)?.into_bytes()))
        });
        return fields.collect();
    }
    Err("the tests' node knows serviceAccountToken, configMap, secret and downwardAPI only".into())
}

async fn config_map(
    agent: &Agent,
    pod: &Pod,
    name: &str,
    items: Option<&[KeyToPath]>,
    optional: Option<bool>,
) -> Result<Files, String> {
    let Some(map) = env::config_map(agent, pod, name).await? else {
        return if optional == Some(true) {
            Ok(Files::new())
        } else {
            Err(format!("configmap \"{name}\" not found"))
        };
    };
    let text = map.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.into_bytes()));
    let binary = map.binary_data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0));
    chosen(text.chain(binary).collect(), items, optional)
}

async fn secret(
    agent: &Agent,
    pod: &Pod,
    name: &str,
    items: Option<&[KeyToPath]>,
    optional: Option<bool>,
) -> Result<Files, String> {
    let Some(secret) = env::secret(agent, pod, name).await? else {
        return if optional == Some(true) {
            Ok(Files::new())
        } else {
            Err(format!("secret \"{name}\" not found"))
        };
    };
    let all = secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0));
    chosen(all.collect(), items, optional)
}

/// The keys that are asked for, under their paths; all where none are named.
fn chosen(mut all: Files, items: Option<&[KeyToPath]>, optional: Option<bool>) -> Result<Files, String> {
    let Some(items) = items else { return Ok(all) };
    let mut files = Files::new();
    for item in items {
        match all.remove(&item.key) {
            Some(content) => drop(files.insert(item.path.clone(), content)),
            None if optional == Some(true) => {}
            None => return Err(format!("references non-existent key: {}", item.key)),
        }
    }
    Ok(files)
}

/// A token of the pod's service account, bound to the pod.
async fn token(agent: &Agent, pod: &Pod, asked: &ServiceAccountTokenProjection) -> Result<String, String> {
    let account =
        pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref()).unwrap_or("default");
    let bound = BoundObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        name: Some(name(pod)),
        uid: Some(uid(pod)),
    };
    let spec = TokenRequestSpec {
        audiences: asked.audience.clone().map(|audience| vec![audience]),
        bound_object_ref: Some(bound),
        expiration_seconds: asked.expiration_seconds,
        ..TokenRequestSpec::default()
    };
    let request = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
    let api: Api<ServiceAccount> = Api::namespaced(agent.client(), &namespace(pod));
    let answer = api.create_token_request(account, &PostParams::default(), &request).await;
    let status = answer.map_err(|error| format!("token of {account}: {error}"))?.status;
    status.and_then(|status| status.token).ok_or_else(|| "the API gave no token".to_owned())
}

/// A path of the node, made where its type says so.
fn host_path(agent: &Agent, source: &HostPathVolumeSource) -> Result<PathBuf, String> {
    let path = Path::new(&source.path);
    if SHARED.iter().any(|shared| path.starts_with(shared)) {
        return Ok(path.to_owned());
    }
    let here = agent.path(path);
    let made = match source.type_.as_deref().unwrap_or_default() {
        "DirectoryOrCreate" => std::fs::create_dir_all(&here),
        "FileOrCreate" if !here.exists() => std::fs::write(&here, ""),
        // Runtimes make what is not there.
        "" if !here.exists() => std::fs::create_dir_all(&here),
        _ => Ok(()),
    };
    made.map_err(|error| format!("{}: {error}", source.path))?;
    let found = std::fs::metadata(&here).ok();
    let kind = source.type_.as_deref().unwrap_or_default();
    let fits = found.is_some_and(|found| match kind {
        "" => true,
        "Directory" | "DirectoryOrCreate" => found.is_dir(),
        "File" | "FileOrCreate" => found.is_file(),
        "Socket" => found.file_type().is_socket(),
        _ => false,
    });
    if fits { Ok(here) } else { Err(format!("hostPath type check failed: {} is no {kind}", source.path)) }
}
