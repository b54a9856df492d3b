//! The scenario of sessions in pods.

use std::fmt::Write as _;

const GPUS: u32 = 8;

/// Eight GPUs with that many processes, in pods or on the host.
pub(crate) fn scenario(sessions: u32, pods: u32, in_pods: bool) -> String {
    let mut text = "version: 1\nutilization: { style: last }\ngpus:\n".to_owned();
    for _ in 0..GPUS {
        text.push_str("  - { model: NVIDIA H100 80GB HBM3, memory: 80GiB }\n");
    }
    text.push_str("processes:\n");
    for pod in 0..pods {
        let cgroup = if in_pods {
            let slice = format!("kubepods-burstable-pod{pod:08x}_0000_4000_8000_000000000000");
            format!(
                "0::/kubepods.slice/kubepods-burstable.slice/{slice}.slice/cri-containerd-{pod:064x}.scope"
            )
        } else {
            "0::/user.slice/user-1000.slice/session-3.scope".to_owned()
        };
        let (pid, count, gpu) = (1_000 + pod * 100, sessions / pods, pod % GPUS);
        let _ = writeln!(
            text,
            "  - {{ pid: {pid}, count: {count}, name: python3, uid: 1000, cgroup: \"{cgroup}\\n\", start: -30m, devices: [{{ gpu: {gpu}, memory: 64MiB, sm: 1 }}] }}"
        );
    }
    text.push_str("pods:\n");
    for pod in 0..pods {
        let (gpu, replica) = (pod % GPUS, pod / GPUS);
        let _ = writeln!(
            text,
            "  - {{ uid: {pod:08x}-0000-4000-8000-000000000000, namespace: team-{}, name: train-{pod}, annotations: {{ creator-user-name: user-{} }}, start: -30m, containers: [{{ name: main, id: \"{pod:064x}\", devices: [\"GPU-5e550000-0000-4000-8000-{gpu:012x}::{replica}\"] }}] }}",
            pod % 10,
            pod % 40
        );
    }
    text.push_str("passwd: [{ name: alice, uid: 1000 }]\n");
    text
}
