//! Real containers, placed by each source on its own: pods of all three QoS classes run in containerd, the simulated
//! driver lists their real pids, and the program reads the machine's own /proc.

use crate::containers::{Container, Containerd, Pod, PodSpec, Qos};
use crate::kubernetes::{NODE, TOKEN, documented_rights};
use crate::node::Metrics;
use crate::pods::{RealNode, Work};
use kube_sim::{ApiServer, Cluster, Kubelet};
use std::path::Path;

/// A pod of each class with one container, each on a GPU of its own.
struct Scene {
    node: RealNode,
    pods: Vec<(Pod, Container)>,
}

impl Scene {
    fn new() -> Self {
        let runtime = Containerd::shared();
        let spec = |name: &str, qos| {
            PodSpec::new(name, qos).annotation("creator-user-name", &format!("{name}-user"))
        };
        let specs = [
            spec("guaranteed", Qos::Guaranteed),
            spec("burstable", Qos::Burstable),
            spec("best-effort", Qos::BestEffort),
        ];
        let pods: Vec<(Pod, Container)> = specs
            .iter()
            .map(|spec| {
                let pod = runtime.run_pod(spec);
                let container = pod.run("main", &["sleep", "600"]);
                (pod, container)
            })
            .collect();
        let works: Vec<Work> =
            pods.iter().enumerate().map(|(gpu, (_, container))| Work::of(container, gpu)).collect();
        Self { node: RealNode::new(&works), pods }
    }

    /// What the API server and the kubelet know of those pods.
    fn cluster(&self) -> Cluster {
        let cluster = Cluster::new();
        for (gpu, (pod, container)) in self.pods.iter().enumerate() {
            let id = format!("GPU-5e550000-0000-4000-8000-{gpu:012x}");
            let main = kube_sim::Container::new("main").id(&container.id).devices("nvidia.com/gpu", [id]);
            let mut known =
                kube_sim::Pod::new(&pod.spec.namespace, &pod.spec.name).uid(&pod.spec.uid).on(NODE);
            known = known.container(main);
            for (key, value) in &pod.spec.annotations {
                known = known.annotation(key, value);
            }
            cluster.put_pod(&known);
        }
        cluster
    }

    /// The program with these flags, while the containers run and after they ended.
    fn check(self, args: &[&str], source: &str, names_users: bool) {
        // Twice: the second run writes the counters that came to be in the first.
        self.node.collected(args);
        let metrics = self.node.collected(args);
        for (gpu, (pod, container)) in self.pods.iter().enumerate() {
            assert_live(&metrics, (gpu, pod, container), source, names_users);
        }
        for (_, container) in &self.pods {
            container.stop();
        }
        self.node.set(&[]);
        let after = self.node.collected(args);
        for (pod, _) in &self.pods {
            let of = [("namespace", &*pod.spec.namespace), ("pod", &*pod.spec.name), ("container", "main")];
            assert!(after.get("gpu_session_sm_seconds_total", &of).is_some(), "{source}: {of:?}");
            assert_eq!(after.get("gpu_session_info", &of), None, "{source}: it has ended");
        }
        assert_eq!(after.get("gpu_total_sessions", &[]), Some(0.0));
    }
}

fn assert_live(
    metrics: &Metrics,
    (gpu, pod, container): (usize, &Pod, &Container),
    source: &str,
    names_users: bool,
) {
    let (gpu, pid) = (gpu.to_string(), container.pid.to_string());
    let user = if names_users { format!("{}-user", pod.spec.name) } else { String::new() };
    let info = [
        ("gpu", &*gpu),
        ("pid", &*pid),
        ("namespace", &*pod.spec.namespace),
        ("pod", &*pod.spec.name),
        ("container", "main"),
        ("command", "sleep"),
        ("attributed_by", source),
        ("user", &*user),
    ];
    assert_eq!(metrics.get("gpu_session_info", &info), Some(1.0), "{source}: {info:?}\n{metrics:?}");
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn by_cgroup_and_the_kubernetes_api() {
    let scene = Scene::new();
    let cluster = scene.cluster();
    let api = ApiServer::start(&cluster).unwrap();
    api.accept_token_with(TOKEN, "monitor", [documented_rights(&[])]);
    let (token, kubeconfig) = (scene.node.path("token"), scene.node.path("kubeconfig"));
    std::fs::write(&token, TOKEN).unwrap();
    std::fs::write(&kubeconfig, api.kubeconfig(&token)).unwrap();
    let args = ["--kubernetes-kubeconfig", text(&kubeconfig), "--kubernetes-node", NODE];
    scene.check(&args, "kubernetes", true);
}

#[test]
fn by_cgroup_and_the_container_runtime_alone() {
    let socket = Containerd::socket();
    Scene::new().check(&["--cri-socket", text(&socket)], "cri", true);
}

#[test]
fn by_the_kubelet_alone() {
    let scene = Scene::new();
    let kubelet = Kubelet::start(&scene.cluster(), NODE, scene.node.path("kubelet.sock")).unwrap();
    let socket = kubelet.socket().to_owned();
    scene.check(&["--kubelet-socket", text(&socket)], "kubelet", false);
}
