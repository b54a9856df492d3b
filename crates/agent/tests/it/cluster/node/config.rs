//! A pod's specification in the words of the container runtime.

use super::agent::{Agent, name, namespace, uid};
use super::env::expand;
use crate::containers::{ROOT, cri};
use k8s_openapi::api::core::v1::{Container, Pod, PodSecurityContext, PodSpec, SeccompProfile};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Paths that a kubelet hides from containers that are not privileged.
const MASKED: [&str; 11] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
/// Those that they may only read.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The pod's specification.
pub(super) fn spec(pod: &Pod) -> &PodSpec {
    pod.spec.as_ref().expect("every pod has a specification")
}

/// What the pod asks for that the tests' node cannot give.
pub(super) fn unsupported(pod: &Pod) -> Option<String> {
    let spec = spec(pod);
    let all = || spec.init_containers.iter().flatten().chain(&spec.containers);
    let no = |what: &str| Some(format!("the tests' node has no {what}"));
    if spec.init_containers.iter().flatten().any(|container| container.restart_policy.is_some()) {
        return no("init containers that go on (restartPolicy)");
    }
    if all().any(|container| container.env_from.iter().flatten().next().is_some()) {
        return no("envFrom");
    }
    if all().any(|container| container.lifecycle.is_some()) {
        return no("hooks of containers (lifecycle)");
    }
    if all().any(|container| container.startup_probe.is_some()) {
        return no("startupProbe");
    }
    let probes =
        |container: &Container| [container.readiness_probe.clone(), container.liveness_probe.clone()];
    if all().flat_map(probes).flatten().any(|probe| probe.http_get.is_none() && probe.tcp_socket.is_none()) {
        return no("probes but httpGet and tcpSocket");
    }
    if all()
        .flat_map(|container| container.volume_mounts.iter().flatten())
        .any(|mount| mount.sub_path_expr.is_some())
    {
        return no("subPathExpr");
    }
    None
}

/// The pod's cgroup: a kubelet's, below the root of the tests (`--cgroup-root`).
pub(super) fn cgroup(pod: &Pod) -> String {
    let class = match pod.status.as_ref().and_then(|status| status.qos_class.as_deref()) {
        Some("Burstable") => "/burstable",
        Some("BestEffort") => "/besteffort",
        _ => "",
    };
    format!("{ROOT}/kubepods{class}/pod{}", uid(pod))
}

/// Where the logs of its containers lie on the node.
pub(super) fn logs(agent: &Agent, pod: &Pod) -> PathBuf {
    agent.path("/var/log/pods").join(format!("{}_{}_{}", namespace(pod), name(pod), uid(pod)))
}

/// Labels by which a kubelet finds its pods again.
fn names(pod: &Pod) -> cri::Labels {
    let names = [("name", name(pod)), ("namespace", namespace(pod)), ("uid", uid(pod))];
    names.map(|(key, value)| (format!("io.kubernetes.pod.{key}"), value)).into()
}

/// The network is the machine's.
fn namespaces(pod: &Pod) -> cri::NamespaceOption {
    let pid = if spec(pod).host_pid == Some(true) { cri::NODE } else { cri::OWN };
    cri::NamespaceOption { network: cri::NODE, pid }
}

fn number(value: Option<i64>) -> Option<cri::Number> {
    value.map(|value| cri::Number { value })
}

/// Groups of the pod's processes beside the first.
fn groups(context: &PodSecurityContext) -> Vec<i64> {
    context.supplemental_groups.iter().flatten().copied().chain(context.fs_group).collect()
}

/// Without a word about it Kubernetes confines nobody.
fn seccomp(profile: Option<&SeccompProfile>) -> cri::SecurityProfile {
    let confined = profile.is_some_and(|profile| profile.type_ == "RuntimeDefault");
    cri::SecurityProfile { kind: if confined { 0 } else { cri::UNCONFINED } }
}

/// The pod's sandbox.
pub(super) fn sandbox(agent: &Agent, pod: &Pod) -> cri::SandboxConfig {
    let context = spec(pod).security_context.clone().unwrap_or_default();
    let all = spec(pod).init_containers.iter().flatten().chain(&spec(pod).containers);
    let privileged = all
        .filter_map(|container| container.security_context.as_ref())
        .any(|own| own.privileged == Some(true));
    let security = cri::SandboxSecurity {
        namespaces: Some(namespaces(pod)),
        user: number(context.run_as_user),
        supplemental_groups: groups(&context),
        privileged,
        group: number(context.run_as_user.and(context.run_as_group)),
        seccomp: Some(seccomp(context.seccomp_profile.as_ref())),
    };
    let owned = |map: &Option<BTreeMap<String, String>>| map.clone().unwrap_or_default();
    cri::SandboxConfig {
        metadata: Some(cri::SandboxMetadata { name: name(pod), uid: uid(pod), namespace: namespace(pod) }),
        log_directory: logs(agent, pod).to_str().unwrap().to_owned(),
        labels: owned(&pod.metadata.labels).into_iter().chain(names(pod)).collect(),
        annotations: owned(&pod.metadata.annotations),
        linux: Some(cri::LinuxSandbox { cgroup_parent: cgroup(pod), security: Some(security) }),
    }
}

/// A container of the pod, run for the `attempt`th time after the first.
pub(super) fn container(
    pod: &Pod,
    container: &Container,
    attempt: u32,
    env: Vec<cri::Variable>,
    volumes: &BTreeMap<String, PathBuf>,
) -> Result<cri::ContainerConfig, String> {
    let expanded = |words: &Option<Vec<String>>| -> Vec<String> {
        words.iter().flatten().map(|word| expand(word, &env)).collect()
    };
    let (command, args) = (expanded(&container.command), expanded(&container.args));
    let mut labels = names(pod);
    labels.insert("io.kubernetes.container.name".to_owned(), container.name.clone());
    let restarts = ("io.kubernetes.container.restartCount".to_owned(), attempt.to_string());
    Ok(cri::ContainerConfig {
        metadata: Some(cri::ContainerMetadata { name: container.name.clone(), attempt }),
        image: Some(cri::ImageSpec { image: container.image.clone().unwrap_or_default() }),
        command,
        args,
        working_dir: container.working_dir.clone().unwrap_or_default(),
        env,
        mounts: mounts(container, volumes)?,
        labels,
        annotations: cri::Labels::from([restarts]),
        log_path: format!("{}/{attempt}.log", container.name),
        linux: Some(cri::LinuxContainer {
            resources: Some(resources(container)?),
            security: Some(security(pod, container)?),
        }),
    })
}

/// Microseconds over which CPU time is limited; a kubelet's.
const PERIOD: f64 = 100_000.0;

/// The container's requests and limits as a kubelet has them in its cgroup.
fn resources(container: &Container) -> Result<cri::LinuxResources, String> {
    let own = container.resources.clone().unwrap_or_default();
    let of = |map: &Option<BTreeMap<String, Quantity>>, name: &str| {
        map.as_ref().and_then(|map| map.get(name)).map(|found| amount(&found.0)).transpose()
    };
    let (requested, limit) = (of(&own.requests, "cpu")?, of(&own.limits, "cpu")?);
    Ok(cri::LinuxResources {
        cpu_period: limit.map_or(0, |_| PERIOD as i64),
        cpu_quota: limit.map_or(0, |cpus| (cpus * PERIOD) as i64),
        cpu_shares: requested.or(limit).map_or(2, |cpus| (cpus * 1024.0).max(2.0) as i64),
        memory_limit: of(&own.limits, "memory")?.map_or(0, |bytes| bytes as i64),
    })
}

/// The number that a quantity such as `100m` or `512Mi` stands for.
fn amount(text: &str) -> Result<f64, String> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor = match unit {
        "" => 1.0,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "Ki" => 1024.0,
        "Mi" => f64::from(1 << 20),
        "Gi" => f64::from(1 << 30),
        _ => return Err(format!("the tests' node knows no quantity such as {text}")),
    };
    let number: f64 = number.parse().map_err(|_| format!("{text} is no quantity"))?;
    Ok(number * factor)
}

fn mounts(container: &Container, volumes: &BTreeMap<String, PathBuf>) -> Result<Vec<cri::Mount>, String> {
    let mounts = container.volume_mounts.iter().flatten().map(|mount| {
        let volume = volumes.get(&mount.name).ok_or_else(|| format!("no volume {}", mount.name))?;
        let host = mount.sub_path.as_ref().map_or_else(|| volume.clone(), |below| volume.join(below));
        Ok(cri::Mount {
            container_path: mount.mount_path.clone(),
            host_path: host.to_str().unwrap().to_owned(),
            readonly: mount.read_only == Some(true),
        })
    });
    mounts.collect()
}

/// What the container says of itself stands over what the pod says.
fn security(pod: &Pod, container: &Container) -> Result<cri::ContainerSecurity, String> {
    let of_pod = spec(pod).security_context.clone().unwrap_or_default();
    let own = container.security_context.clone().unwrap_or_default();
    let user = own.run_as_user.or(of_pod.run_as_user);
    // The images of the tests name no user.
    if own.run_as_non_root.or(of_pod.run_as_non_root) == Some(true) && user.unwrap_or(0) == 0 {
        return Err("container has runAsNonRoot and image will run as root".to_owned());
    }
    let privileged = own.privileged == Some(true);
    let capabilities = own.capabilities.unwrap_or_default();
    let paths = |paths: &[&str]| {
        if privileged { Vec::new() } else { paths.iter().map(|&path| path.to_owned()).collect() }
    };
    Ok(cri::ContainerSecurity {
        capabilities: Some(cri::Capabilities {
            add: capabilities.add.unwrap_or_default(),
            drop: capabilities.drop.unwrap_or_default(),
        }),
        privileged,
        namespaces: Some(namespaces(pod)),
        user: number(user),
        readonly_root: own.read_only_root_filesystem == Some(true),
        supplemental_groups: groups(&of_pod),
        no_new_privileges: own.allow_privilege_escalation == Some(false),
        group: number(user.and(own.run_as_group.or(of_pod.run_as_group))),
        masked_paths: paths(&MASKED),
        readonly_paths: paths(&READ_ONLY),
        seccomp: Some(seccomp(own.seccomp_profile.as_ref().or(of_pod.seccomp_profile.as_ref()))),
    })
}
