//! That the harness runs pods as a kubelet has them run.

use super::{Containerd, PodSpec, Qos, cgroups, cri, wait_for};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// Whether the process runs. One that is dead, though nobody has asked how it ended, does not.
fn is_there(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains("zombie"))
}

fn is_in(text: &str, cgroup: &str) -> bool {
    text.lines().any(|line| line.splitn(3, ':').nth(2) == Some(cgroup))
}

fn state(runtime: &Containerd, id: &str) -> Option<i32> {
    runtime.containers().iter().find(|container| container.id == id).map(|container| container.state)
}

#[test]
fn a_pod_of_every_class_has_the_cgroup_of_a_kubelet() {
    let runtime = Containerd::shared();
    for (qos, class) in
        [(Qos::Guaranteed, ""), (Qos::Burstable, "/burstable"), (Qos::BestEffort, "/besteffort")]
    {
        let spec = PodSpec::new("trainer", qos);
        let pod = runtime.run_pod(&spec);
        let container = pod.run("main", &["sleep", "600"]);
        assert_eq!(container.comm(), "sleep");
        let cgroup = format!("/kubepods{class}/pod{}/{}", spec.uid, container.id);
        assert!(is_in(&container.cgroup(), &cgroup), "{qos:?}: {cgroup} is not in\n{}", container.cgroup());
        pod.remove();
        assert!(!is_there(container.pid));
        assert_eq!(cgroups(&spec.cgroup()), <[&Path; 0]>::default());
    }
}

#[test]
fn the_runtime_lists_what_a_kubelet_labels() {
    let runtime = Containerd::shared();
    let spec = PodSpec::new("labelled", Qos::Burstable)
        .label("creator-id", "42")
        .annotation("creator-user-name", "alice");
    let pod = runtime.run_pod(&spec);
    let container = pod.run("main", &["sleep", "600"]);
    let sandboxes = runtime.sandboxes();
    let sandbox = sandboxes.iter().find(|sandbox| sandbox.id == pod.id).unwrap();
    assert_eq!(sandbox.state, cri::READY);
    assert_eq!(sandbox.labels["creator-id"], "42");
    assert_eq!(sandbox.annotations["creator-user-name"], "alice");
    assert_eq!(sandbox.labels["io.kubernetes.pod.uid"], spec.uid);
    let containers = runtime.containers();
    let listed = containers.iter().find(|listed| listed.id == container.id).unwrap();
    assert_eq!((listed.state, &listed.sandbox), (cri::RUNNING, &pod.id));
    let named = |name: &str| listed.labels[&format!("io.kubernetes.{name}")].as_str();
    assert_eq!(named("container.name"), "main");
    assert_eq!((named("pod.namespace"), named("pod.name")), ("team-a", "labelled"));
    assert_eq!(named("pod.uid"), spec.uid);
}

#[test]
fn a_stopped_container_is_listed_until_it_is_removed() {
    let runtime = Containerd::shared();
    let pod = runtime.run_pod(&PodSpec::new("stopped", Qos::BestEffort));
    let container = pod.run("main", &["sleep", "600"]);
    assert_eq!(state(&runtime, &container.id), Some(cri::RUNNING));
    container.stop();
    assert!(!is_there(container.pid));
    assert_eq!(state(&runtime, &container.id), Some(cri::EXITED));
    let id = container.id.clone();
    container.remove();
    assert_eq!(state(&runtime, &id), None);
}

#[test]
fn two_containers_of_a_pod_share_its_cgroup() {
    let runtime = Containerd::shared();
    let spec = PodSpec::new("pair", Qos::Guaranteed);
    let pod = runtime.run_pod(&spec);
    let (main, side) = (pod.run("main", &["sleep", "600"]), pod.run("side", &["tail", "-f", "/dev/null"]));
    assert_eq!((main.comm().as_str(), side.comm().as_str()), ("sleep", "tail"));
    for container in [&main, &side] {
        assert!(is_in(&container.cgroup(), &format!("{}/{}", spec.cgroup(), container.id)));
    }
    main.stop();
    assert!(!is_there(main.pid) && is_there(side.pid));
}

/// What a container manager within the container does.
const BELOW: &str = r"
if [ -e /sys/fs/cgroup/cgroup.controllers ]
then folders=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)
else folders=$(echo /sys/fs/cgroup/*)
fi
for folder in $folders; do mkdir $folder/below && echo $$ >$folder/below/cgroup.procs; done
exec sleep 600";

#[test]
fn a_container_can_make_a_cgroup_below_its_own() {
    let runtime = Containerd::shared();
    let spec = PodSpec::new("nested", Qos::Burstable).privileged();
    let pod = runtime.run_pod(&spec);
    let container = pod.run("main", &["sh", "-c", BELOW]);
    wait_for("the container to move", || container.comm() == "sleep");
    let cgroup = format!("{}/{}/below", spec.cgroup(), container.id);
    assert!(is_in(&container.cgroup(), &cgroup), "{cgroup} is not in\n{}", container.cgroup());
}

#[test]
fn a_pod_that_comes_again_has_another_uid() {
    let runtime = Containerd::shared();
    let first = PodSpec::new("again", Qos::BestEffort);
    runtime.run_pod(&first).remove();
    let second = PodSpec::new("again", Qos::BestEffort);
    let pod = runtime.run_pod(&second);
    let container = pod.run("main", &["sleep", "600"]);
    assert_ne!(first.uid, second.uid);
    assert!(container.cgroup().contains(&second.uid) && !container.cgroup().contains(&first.uid));
    let sandboxes = runtime.sandboxes();
    let uids = sandboxes.iter().filter(|sandbox| sandbox.labels["io.kubernetes.pod.name"] == "again");
    assert_eq!(
        uids.map(|sandbox| &sandbox.labels["io.kubernetes.pod.uid"]).collect::<Vec<_>>(),
        [&second.uid]
    );
}

#[test]
fn what_a_killed_run_leaves_is_removed_by_the_next() {
    // Not the shared one, but the same folder: whichever is the later waits.
    let runtime = Arc::new(Containerd::start());
    let spec = PodSpec::new("left", Qos::Burstable);
    let pod = runtime.run_pod(&spec);
    let container = pod.run("main", &["sleep", "600"]);
    assert!(is_there(container.pid) && !cgroups(&spec.cgroup()).is_empty());
    let killed = Command::new("kill").args(["-9", &runtime.supervisor.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let pid = container.pid;
    // Nobody is there any more to be asked.
    std::mem::forget((runtime, pod, container));
    let _next = Containerd::start();
    assert!(!is_there(pid), "the container outlived the start of the next run");
    assert_eq!(cgroups(&spec.cgroup()), <[&Path; 0]>::default());
}
