//! What single names of cgroups mean.

use crate::text::{MAX_LABEL_BYTES, clean_bytes};

/// Longest name of a container in containerd.
const MAX_CONTAINERD_ID: usize = 76;

/// Services of root's that run the containers of a node, by the beginning of their names.
const RUNTIME_SERVICES: [&str; 8] =
    ["containerd.", "crio.", "cri-o.", "docker.", "k0s", "k3s", "rke2-", "snap.microk8s."];

/// Container runtimes name containers by 64 hex digits.
fn is_hex_id(id: &str) -> bool {
    id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Whether containerd accepts it as the id of a container.
pub(super) fn is_containerd_id(id: &str) -> bool {
    let word = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric());
    id.len() <= MAX_CONTAINERD_ID && id.split(['-', '_', '.']).all(word)
}

/// Whether a runtime's prefix is that of conmon, which only watches over the container: a process of the host.
pub(super) fn is_conmon(prefix: &str) -> bool {
    prefix.ends_with("conmon")
}

/// Prefix and id of `<id>`, `docker-<id>.scope`, `crio-<id>`, `libpod-payload-<id>`, `kata_<id>`.
fn prefixed_id(segment: &str) -> Option<(&str, &str)> {
    let name = segment.strip_suffix(".scope").unwrap_or(segment);
    let (prefix, id) = name.rsplit_once(['-', '_']).unwrap_or(("", name));
    (is_hex_id(id) && !is_conmon(prefix)).then_some((prefix, id))
}

/// Id of a runtime's container, by a name that says that it is one.
pub(super) fn container(segment: &str) -> Option<&str> {
    prefixed_id(segment).map(|(_, id)| id)
}

/// Whether Docker or containerd's clients made the container.
pub(super) fn is_docker_container(segment: &str) -> bool {
    prefixed_id(segment).is_some_and(|(prefix, _)| matches!(prefix, "" | "docker" | "nerdctl"))
}

/// Id of a container that only a kubelet's runtime makes.
pub(super) fn cri_container(segment: &str) -> Option<&str> {
    prefixed_id(segment).filter(|(prefix, _)| matches!(*prefix, "cri-containerd" | "crio")).map(|(_, id)| id)
}

/// Id of the container directly below a pod. Its runtime made that cgroup, so the id need not be of hex digits.
pub(super) fn pod_container(segment: &str) -> Option<&str> {
    if let Some(id) = container(segment) {
        return Some(id);
    }
    let id = match segment.strip_suffix(".scope") {
        Some(scope) => scope.strip_prefix("cri-containerd-")?,
        None => segment,
    };
    let other = id.starts_with("kata_") || id.contains("conmon") || is_unit(id) || is_slice(id);
    (is_containerd_id(id) && !other).then_some(id)
}

/// A pod's class of service, where its cgroup has one of its own.
pub(super) fn is_class(segment: &str) -> bool {
    matches!(segment, "burstable" | "besteffort")
}

/// UID of `pod<uid>`.
pub(super) fn plain_pod(segment: &str) -> Option<&str> {
    segment.strip_prefix("pod").filter(|uid| is_pod_uid(uid, b'-'))
}

/// What follows `kubepods` in the name of a slice, behind what the kubelet's `--cgroup-root` puts before it.
pub(super) fn pods_slice(segment: &str) -> Option<&str> {
    let stem = segment.strip_suffix(".slice")?;
    let begin = if stem.starts_with("kubepods") { 0 } else { stem.find("-kubepods")? + 1 };
    let rest = stem.get(begin + "kubepods".len()..)?;
    (rest.is_empty() || rest.starts_with('-')).then_some(rest)
}

/// UID of a pod by that.
pub(super) fn sliced_pod(rest: &str) -> Option<&str> {
    let rest = rest.strip_prefix('-')?;
    let pod = match rest.split_once('-') {
        Some((class, pod)) if is_class(class) => pod,
        _ => rest,
    };
    pod.strip_prefix("pod").filter(|uid| is_pod_uid(uid, b'_'))
}

/// `8-4-4-4-12` lower-case hex digits, or the 32 of a static pod, whose UID is a hash of its manifest.
fn is_pod_uid(uid: &str, separator: u8) -> bool {
    let hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    match uid.len() {
        32 => uid.bytes().all(hex),
        36 => uid
            .bytes()
            .enumerate()
            .all(|(at, b)| if matches!(at, 8 | 13 | 18 | 23) { b == separator } else { hex(b) }),
        _ => false,
    }
}

/// Whether it is a systemd slice, which holds units and other slices.
pub(super) fn is_slice(segment: &str) -> bool {
    segment.strip_suffix(".slice").is_some()
}

/// Whether it is a systemd unit that holds processes.
pub(super) fn is_unit(segment: &str) -> bool {
    [".service", ".scope"].iter().any(|end| segment.strip_suffix(end).is_some_and(|stem| !stem.is_empty()))
}

/// The unit's name: a leading `_` keeps it apart from the kernel's own files.
pub(super) fn unit(segment: &str) -> &str {
    segment.strip_prefix('_').unwrap_or(segment)
}

/// `user@1000.service`, in which a user's own units run.
pub(super) fn is_user_manager(unit: &str) -> bool {
    unit.strip_prefix("user@").is_some_and(is_unit)
}

/// Whether the unit runs the node's containers and is root's.
pub(super) fn is_runtime_service(segment: &str) -> bool {
    segment.strip_suffix(".service").is_some()
        && RUNTIME_SERVICES.iter().any(|begin| segment.starts_with(begin))
}

/// A unit below which others than root may make cgroups.
pub(super) fn is_plain_unit(segment: &str) -> bool {
    is_unit(segment) && !is_runtime_service(segment)
}

/// Where users of the host make cgroups.
pub(super) fn is_given_away(segment: &str) -> bool {
    matches!(segment, "user.slice" | "user")
}

/// `slurm`, or with several daemons on one machine `slurm_<node>`.
pub(super) fn is_slurm_root(segment: &str) -> bool {
    segment == "slurm" || segment.starts_with("slurm_")
}

/// `slurmstepd.scope`, or with several daemons on one machine `<node>_slurmstepd.scope`.
pub(super) fn is_slurm_scope(segment: &str) -> bool {
    segment == "slurmstepd.scope" || segment.ends_with("_slurmstepd.scope")
}

/// Uid of `uid_1000`.
pub(super) fn slurm_uid(segment: &str) -> Option<u32> {
    segment.strip_prefix("uid_").filter(|uid| is_number(uid))?.parse().ok()
}

/// Job of `job_42`.
pub(super) fn slurm_job(segment: &str) -> Option<&str> {
    segment.strip_prefix("job_").filter(|job| is_number(job))
}

/// Step of `step_0`, `step_batch`, `step_0+1` (one component of a heterogeneous job).
pub(super) fn slurm_step(segment: &str) -> Option<&str> {
    let plain = |step: &&str| {
        (1..=20).contains(&step.len()) && step.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+')
    };
    segment.strip_prefix("step_").filter(plain)
}

/// Digits that fit into 64 bits.
fn is_number(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u64>().is_ok()
}

/// Name of `lxc.payload.<name>`.
pub(super) fn lxc_payload(segment: &str) -> Option<&str> {
    segment.strip_prefix("lxc.payload.").filter(|name| !name.is_empty())
}

/// `lxc.monitor.<name>` watches over the container: a process of the host.
pub(super) fn is_lxc_monitor(segment: &str) -> bool {
    segment == "lxc.monitor" || segment.starts_with("lxc.monitor.")
}

/// Name, still escaped, of `systemd-nspawn@<name>.service` or `machine.slice/machine-<name>.scope`.
pub(super) fn machine<'a>(segment: &'a str, before: Option<&str>) -> Option<&'a str> {
    if let Some(name) = segment.strip_prefix("systemd-nspawn@") {
        return name.strip_suffix(".service").filter(|name| !name.is_empty());
    }
    let scope = segment.strip_prefix("machine-").filter(|_| before == Some("machine.slice"))?;
    // A virtual machine is a process of the host, with a uid of the host.
    let virtual_machine = scope.starts_with("qemu\\x2d");
    scope.strip_suffix(".scope").filter(|name| !name.is_empty() && !virtual_machine)
}

/// Undoes systemd's escapes, `\x2d`, and cleans the name.
pub(super) fn unescape(name: &str) -> String {
    // Four characters make one at most, and what is beyond a label's length is cut anyway.
    let mut rest = name.as_bytes();
    let mut out = Vec::new();
    while let Some((first, after)) = rest.split_first() {
        if out.len() > MAX_LABEL_BYTES + 4 {
            break;
        }
        let digits = rest.strip_prefix(b"\\x").and_then(|digits| digits.get(..2));
        let escaped = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        out.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &rest[4..] } else { after };
    }
    clean_bytes(&out)
}
