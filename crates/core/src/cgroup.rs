//! The text of `/proc/PID/cgroup`.

/// Whether the cgroup text says that the process runs in a container (Kubernetes, Docker, Podman, CRI-O,
/// containerd, LXC, systemd-nspawn), on cgroup v1, v2 or hybrid.
///
/// Used to keep a container's uid from being taken for a user of the host.
pub fn is_containerised(text: &str) -> bool {
    text.lines()
        // `hierarchy:controllers:path`; the path may itself hold colons.
        .filter_map(|line| line.splitn(3, ':').nth(2))
        .flat_map(|path| path.split('/'))
        .any(is_container_segment)
}

fn is_container_segment(segment: &str) -> bool {
    let name = segment.strip_suffix(".slice").unwrap_or(segment);
    if name == "kubepods" || name.starts_with("kubepods-") {
        return true;
    }
    if segment.starts_with("lxc.payload") || segment.starts_with("systemd-nspawn@") || segment == "lxc" {
        return true;
    }
    // `<id>`, `docker-<id>.scope`, `cri-containerd-<id>.scope`, `crio-<id>.scope`, `libpod-<id>.scope`
    let scope = segment.strip_suffix(".scope").unwrap_or(segment);
    let (runtime, id) = scope.rsplit_once('-').unwrap_or(("", scope));
    // conmon only watches over the container: it is a process of the host.
    !runtime.ends_with("conmon") && is_container_id(id)
}

/// Container runtimes name containers by 64 hex digits.
fn is_container_id(id: &str) -> bool {
    id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "2f1a3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f809";

    #[test]
    fn containers_are_told_from_host_processes() {
        let containers = [
            format!(
                "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1a_2b.slice/cri-containerd-{ID}.scope\n"
            ),
            format!(
                "12:memory:/kubepods/besteffort/pod8e2c/{ID}\n1:name=systemd:/kubepods/besteffort/pod8e2c/{ID}\n"
            ),
            format!("0::/system.slice/docker-{ID}.scope\n"),
            format!("11:cpu,cpuacct:/docker/{ID}\n0::/\n"),
            format!(
                "0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope/container\n"
            ),
            format!("0::/../../kubepods-pod1a.slice/crio-{ID}.scope\n"),
            "0::/lxc.payload.web/system.slice\n".to_owned(),
        ];
        for text in containers {
            assert!(is_containerised(&text), "{text}");
        }
        let hosts = [
            "0::/\n".to_owned(),
            String::new(),
            "garbage".to_owned(),
            "0::/user.slice/user-1000.slice/session-3.scope\n".to_owned(),
            "0::/system.slice/slurmstepd.scope/job_42/step_0\n".to_owned(),
            "0::/system.slice/docker.service\n".to_owned(),
            format!("0::/machine.slice/libpod-conmon-{ID}.scope\n"),
            format!("0::/user.slice/{}\n", &ID[1..]),
            "0::/user.slice/mykubepods/kubepodsx\n".to_owned(),
        ];
        for text in hosts {
            assert!(!is_containerised(&text), "{text}");
        }
    }
}
