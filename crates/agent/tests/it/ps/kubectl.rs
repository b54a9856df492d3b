//! `kubectl gpu-sessions`, by the real kubectl, through the real API server, from a real Prometheus.

use crate::chain::Prometheus;
use crate::cluster::Cluster;
use crate::node::{Node, Run, plain, program, workspace};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

const NAMESPACE: &str = "monitoring";
const POD: &str = "prometheus-0";
const OTHER: &str = "prometheus-operated";
const USUAL: &str = "kube-prometheus-stack-prometheus";

/// An address of this machine that endpoints may have: none of loopback. Nothing is sent.
fn own_address() -> IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("192.0.2.254:9").expect("a route to other machines");
    socket.local_addr().unwrap().ip()
}

/// Listens on an address that the API server reaches, for what listens on loopback.
fn forwarding(to: String) -> SocketAddr {
    let listener = TcpListener::bind((own_address(), 0)).unwrap();
    let place = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut theirs, mut ours) = (stream.unwrap(), TcpStream::connect(&to).unwrap());
            let (mut from, mut back) = (theirs.try_clone().unwrap(), ours.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut ours);
                let _ = ours.shutdown(Shutdown::Write);
            });
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut back, &mut theirs);
                let _ = theirs.shutdown(Shutdown::Write);
            });
        }
    });
    place
}

/// A node of now, with a session.
fn metrics() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let session = "node=\"gpu-7\",session=\"s1\",gpu=\"0\",user=\"alice\"";
    format!(
        "gpu_session_collector_last_sample_timestamp_seconds{{node=\"gpu-7\"}} {now}\n\
         gpu_device_info{{node=\"gpu-7\",gpu=\"0\",uuid=\"GPU-a\",model=\"NVIDIA L40S\"}} 1\n\
         gpu_session_count{{node=\"gpu-7\",gpu=\"0\"}} 1\n\
         gpu_session_info{{{session},uuid=\"GPU-a\",pid=\"10\",command=\"train\",namespace=\"ml\",pod=\"train-0\"}} 1\n\
         gpu_session_start_time_seconds{{{session}}} {}\n\
         gpu_session_collector_source_up{{node=\"gpu-7\",source=\"nvml\"}} 1\n",
        now - 60
    )
}

/// A service of that name whose endpoint is there.
fn service(cluster: &Cluster, name: &str, labels: &Value, at: SocketAddr) {
    let metadata = json!({ "name": name, "namespace": NAMESPACE, "labels": labels });
    cluster.apply(&json!({
        "apiVersion": "v1", "kind": "Service", "metadata": metadata,
        "spec": { "ports": [{ "name": "http-web", "port": 9090, "targetPort": at.port() }] },
    }));
    let pod = json!({ "kind": "Pod", "name": POD, "namespace": NAMESPACE });
    cluster.apply(&json!({
        "apiVersion": "v1", "kind": "Endpoints", "metadata": { "name": name, "namespace": NAMESPACE },
        "subsets": [{ "addresses": [{ "ip": at.ip().to_string(), "targetRef": pod }], "ports": [{ "name": "http-web", "port": at.port() }] }],
    }));
    // The API server hears of it from a controller.
    let raw = format!("--raw=/api/v1/namespaces/{NAMESPACE}/services/{name}:9090/proxy/-/ready");
    cluster.wait_for("the endpoint", || cluster.try_kubectl(&["get", &raw]).code == 0);
}

/// A pod of that address: the API server connects to nothing else. It has no node, so nothing runs.
fn pod(cluster: &Cluster, ip: IpAddr) {
    let account = ["get", "serviceaccount/default", "--namespace", NAMESPACE];
    cluster.wait_for("the service account", || cluster.try_kubectl(&account).code == 0);
    cluster.apply(&json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": POD, "namespace": NAMESPACE },
        "spec": { "nodeSelector": { "none": "none" }, "containers": [{ "name": "main", "image": "none" }] },
    }));
    let status =
        json!({ "status": { "podIP": ip.to_string(), "podIPs": [{ "ip": ip.to_string() }] } }).to_string();
    cluster.kubectl(&[
        "patch",
        "pod",
        POD,
        "--namespace",
        NAMESPACE,
        "--subresource=status",
        "--type=merge",
        "--patch",
        &status,
    ]);
}

/// kubectl, with our program as its plugin.
fn kubectl(cluster: &Cluster, plugins: &Path, kubeconfig: &Path, args: &[&str]) -> Run {
    let mut command = cluster.command("kubectl");
    command.env("PATH", plugins).env("KUBECONFIG", kubeconfig).arg("gpu-sessions").args(args);
    Run::of(command.output().unwrap())
}

/// The administrator's kubeconfig as of somebody who may do nothing.
fn as_nobody(cluster: &Cluster, file: &Path) {
    let mut config: Value = serde_json::from_slice(&std::fs::read(cluster.kubeconfig()).unwrap()).unwrap();
    config["users"][0]["user"]["as"] = json!("nobody");
    std::fs::write(file, config.to_string()).unwrap();
}

#[test]
fn the_cluster_is_shown_through_its_api_server() {
    let cluster = Cluster::shared();
    let _turn = cluster.turn();
    let node = Node::new(&plain(1, ""));
    let target = super::cluster::serving(BTreeMap::from([("/metrics".to_owned(), metrics())]));
    let prometheus = Prometheus::scraping(&node, &target.to_string());
    prometheus.query("gpu_session_start_time_seconds");
    let place = forwarding(prometheus.url().strip_prefix("http://").unwrap().to_owned());
    std::fs::create_dir(node.path("plugins")).unwrap();
    std::os::unix::fs::symlink(program(), node.path("plugins/kubectl-gpu_sessions")).unwrap();
    let (admin, nobody) = (cluster.kubeconfig(), node.path("nobody.kubeconfig"));
    as_nobody(&cluster, &nobody);
    let run = |kubeconfig: &Path, args: &[&str]| kubectl(&cluster, &node.path("plugins"), kubeconfig, args);

    let absent = run(&admin, &[]);
    assert_eq!((absent.code, absent.stdout.as_str()), (1, ""));
    assert!(
        absent.stderr.contains(USUAL) && absent.stderr.contains("--service <namespace>"),
        "{}",
        absent.stderr
    );

    cluster.apply(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } }));
    pod(&cluster, place.ip());
    service(&cluster, USUAL, &json!({}), place);
    let usual = run(&admin, &["--context", "tests"]);
    assert_eq!((usual.code, usual.stderr.as_str()), (0, ""));
    assert!(usual.stdout.contains("alice") && usual.stdout.ends_with("sessions: 1\n"), "{}", usual.stdout);
    let filtered = run(&admin, &["-n", "other", "--json"]);
    let document: Value = serde_json::from_str(&filtered.stdout).unwrap();
    assert_eq!(
        (&document["nodes"][0]["node"], &document["nodes"][0]["sessions"]),
        (&json!("gpu-7"), &json!([]))
    );

    // Who may do nothing is told what to ask for, and that is enough.
    let named = format!("{NAMESPACE}/{USUAL}:9090");
    let refused = run(&nobody, &["--service", &named]);
    assert_eq!((refused.code, refused.stdout.as_str()), (1, ""));
    assert!(
        refused.stderr.contains("services/proxy") && refused.stderr.contains("[\"get\"]"),
        "{}",
        refused.stderr
    );
    cluster.apply(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": { "name": "gpu-sessions", "namespace": NAMESPACE },
        "rules": [{ "apiGroups": [""], "resources": ["services/proxy"], "resourceNames": [format!("{USUAL}:9090")], "verbs": ["get"] }],
    }));
    cluster.apply(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": { "name": "gpu-sessions", "namespace": NAMESPACE },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "gpu-sessions" },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "nobody" }],
    }));
    cluster.wait_for("the right", || run(&nobody, &["--service", &named]).code == 0);

    // While it looks for one, a service that it may not ask is as good as none; where none is left, that is told.
    let searched = run(&nobody, &[]);
    assert_eq!(searched.code, 0, "the one whose right was given: {}", searched.stderr);
    service(&cluster, OTHER, &json!({}), place);
    let right = |name: &str| {
        let role = json!({ "rules": [{ "apiGroups": [""], "resources": ["services/proxy"], "resourceNames": [name], "verbs": ["get"] }] });
        let patch = ["patch", "role", "gpu-sessions", "--namespace", NAMESPACE, "--type=merge", "--patch"];
        cluster.kubectl(&[&patch[..], &[&role.to_string()]].concat());
    };
    right(&format!("{OTHER}:9090"));
    let named = format!("{NAMESPACE}/{OTHER}:9090");
    cluster.wait_for("the other right", || {
        run(&nobody, &["--service", &named]).code == 0
            && run(&nobody, &["--service", &format!("{NAMESPACE}/{USUAL}:9090")]).code == 1
    });
    let searched = run(&nobody, &[]);
    assert!(searched.code == 0 && searched.stdout.contains("alice"), "{}", searched.stderr);
    right("none");
    cluster.wait_for("no right", || run(&nobody, &["--service", &named]).code == 1);
    let searched = run(&nobody, &[]);
    assert_eq!((searched.code, searched.stdout.as_str()), (1, ""));
    assert!(
        searched.stderr.contains("services/proxy") && searched.stderr.contains("--service <namespace>"),
        "{}",
        searched.stderr
    );

    // By its label; of two none is guessed.
    let label = json!({ "app.kubernetes.io/name": "prometheus" });
    service(&cluster, "one", &label, place);
    assert_eq!(run(&admin, &[]).code, 0);
    service(&cluster, "two", &label, place);
    let two = run(&admin, &[]);
    assert_eq!(two.code, 1);
    assert!(two.stderr.contains("monitoring/one:9090, monitoring/two:9090"), "{}", two.stderr);
    cluster.kubectl(&["delete", "namespace", NAMESPACE]);
}

#[test]
fn wrong_usage_says_what_is_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let plugin = dir.path().join("kubectl-gpu_sessions");
    std::os::unix::fs::symlink(program(), &plugin).unwrap();
    let run =
        |args: &[&str]| Run::of(std::process::Command::new(&plugin).args(args).env_clear().output().unwrap());
    let bad = run(&["--service", "prometheus"]);
    assert!(bad.code == 2 && bad.stderr.contains("<namespace>/[<scheme>:]<name>:<port>"), "{}", bad.stderr);
    let absent = run(&["--kubeconfig", "/nonexistent"]);
    assert!(
        absent.code == 1 && absent.stderr.contains("/nonexistent") && absent.stderr.contains("--context"),
        "{}",
        absent.stderr
    );
    let help = run(&["--help"]);
    assert!(help.code == 0 && help.stdout.contains("Usage: kubectl gpu-sessions"), "{}", help.stdout);
}

#[test]
fn the_manifest_for_krew_has_a_platform_for_each_archive() {
    let dir = tempfile::tempdir().unwrap();
    let archive = |architecture: &str| {
        dir.path().join(format!("gpu-session-monitor-1.2.3-linux-{architecture}.tar.gz"))
    };
    std::fs::write(archive("amd64"), "a").unwrap();
    std::fs::write(archive("arm64"), "b").unwrap();
    let krew = |url: &str, archives: &[std::path::PathBuf]| {
        Run::of(
            std::process::Command::new(workspace().join("scripts/krew.sh"))
                .arg(url)
                .args(archives)
                .output()
                .unwrap(),
        )
    };
    let run = krew("https://h/releases/v1.2.3/", &["amd64", "arm64"].map(archive));
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    assert!(!run.stdout.contains('@'), "{}", run.stdout);
    let manifest: Value = serde_saphyr::from_str(&run.stdout).unwrap();
    assert_eq!(
        (&manifest["metadata"]["name"], &manifest["spec"]["version"]),
        (&json!("gpu-sessions"), &json!("v1.2.3"))
    );
    let platforms = manifest["spec"]["platforms"].as_array().unwrap();
    // The sums are those of the letters.
    let sums = [
        ("amd64", "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"),
        ("arm64", "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d"),
    ];
    assert_eq!(platforms.len(), sums.len());
    for (platform, (architecture, sum)) in platforms.iter().zip(sums) {
        let name = format!("gpu-session-monitor-1.2.3-linux-{architecture}");
        assert_eq!(platform["selector"]["matchLabels"]["arch"], architecture);
        assert_eq!(platform["uri"], format!("https://h/releases/v1.2.3/{name}.tar.gz"));
        assert_eq!((&platform["sha256"], &platform["bin"]), (&json!(sum), &json!("gpu-session-monitor")));
        assert_eq!(platform["files"][0]["from"], format!("{name}/*"));
    }
    for (url, archives) in [
        ("http://h", vec![archive("amd64")]),
        ("https://h", vec![]),
        ("https://h", vec![dir.path().join("gpu-session-monitor.tar.gz")]),
        ("https://h|x", vec![archive("amd64")]),
    ] {
        let run = krew(url, &archives);
        assert!(run.code == 1 && run.stdout.is_empty(), "{url} {archives:?}: {}", run.stdout);
    }
    // What a release has is named so.
    let release = std::fs::read_to_string(workspace().join("scripts/release.sh")).unwrap();
    assert!(release.contains("name=gpu-session-monitor-$version-linux-$architecture"));
}
