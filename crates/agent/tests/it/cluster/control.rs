//! The control plane: etcd, the API server, the controllers and the scheduler, all on loopback.

use super::pki::{Authority, Identity, signing_keys};
use super::process::Process;
use crate::chain::free_port;
use serde_json::json;
use std::path::{Path, PathBuf};

/// What runs, and how it is reached.
pub(super) struct ControlPlane {
    pub(super) authority: Authority,
    folder: PathBuf,
    /// Port of the API server.
    pub(super) port: u16,
    processes: Vec<Process>,
}

impl ControlPlane {
    /// Starts etcd and the API server in a folder; waits for nothing.
    pub(super) fn start(folder: &Path) -> Self {
        let [etcd, peer, port] = [(); 3].map(|()| free_port());
        let authority = Authority::new();
        let mut plane = Self { authority, folder: folder.to_owned(), port, processes: Vec::new() };
        std::fs::write(plane.file("ca.crt"), &plane.authority.certificate).unwrap();
        let (private, public) = signing_keys();
        std::fs::write(plane.file("service-accounts.key"), private).unwrap();
        std::fs::write(plane.file("service-accounts.pub"), public).unwrap();
        for (file, user, group) in [
            ("admin", "admin", Some("system:masters")),
            ("controllers", "system:kube-controller-manager", None),
            ("scheduler", "system:kube-scheduler", None),
        ] {
            let identity = plane.authority.client(user, group);
            plane.write_kubeconfig(&plane.path(&format!("{file}.kubeconfig")), &identity);
        }
        plane.start_etcd(etcd, peer);
        plane.start_api(etcd);
        plane
    }

    /// Starts the controllers and the scheduler, once the API server answers: they do not wait for it.
    pub(super) fn start_others(&mut self) {
        self.start_controllers();
        let pairs = [
            ("kubeconfig", self.file("scheduler.kubeconfig")),
            ("leader-elect", "false".to_owned()),
            ("secure-port", "0".to_owned()),
        ];
        self.run_with("kube-scheduler", pairs);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn file(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Writes a kubeconfig of whoever has this certificate.
    pub(super) fn write_kubeconfig(&self, file: &Path, identity: &Identity) {
        use base64::Engine as _;
        let encoded = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        let server = format!("https://127.0.0.1:{}", self.port);
        let ca = encoded(&self.authority.certificate);
        let user = json!({
            "client-certificate-data": encoded(&identity.certificate),
            "client-key-data": encoded(&identity.key),
        });
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "tests",
            "clusters": [{ "name": "tests", "cluster": { "server": server, "certificate-authority-data": ca } }],
            "users": [{ "name": "tests", "user": user }],
            "contexts": [{ "name": "tests", "context": { "cluster": "tests", "user": "tests" } }],
        });
        std::fs::write(file, config.to_string()).unwrap();
    }

    fn start_etcd(&mut self, port: u16, peer: u16) {
        let (client, peer) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peer}"));
        let pairs = [
            ("data-dir", self.file("etcd")),
            ("listen-client-urls", client.clone()),
            ("advertise-client-urls", client),
            ("listen-peer-urls", peer.clone()),
            ("initial-advertise-peer-urls", peer.clone()),
            ("initial-cluster", format!("default={peer}")),
            // What it stores need not outlive the machine.
            ("unsafe-no-fsync", "true".to_owned()),
        ];
        self.run_with("etcd", pairs);
    }

    fn start_api(&mut self, etcd: u16) {
        let names = ["127.0.0.1", "localhost", "kubernetes.default.svc", "kubernetes.default"];
        let serving = self.authority.server("kube-apiserver", &names).write(&self.folder, "api");
        // Whom the kubelets know the API server by.
        let client = self.authority.client("kube-apiserver-kubelet-client", Some("system:masters"));
        let client = client.write(&self.folder, "kubelet-client");
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        let pairs = [
            ("etcd-servers", format!("http://127.0.0.1:{etcd}")),
            ("bind-address", "127.0.0.1".to_owned()),
            ("advertise-address", "127.0.0.1".to_owned()),
            ("secure-port", self.port.to_string()),
            // The address of the one server is no address for endpoints.
            ("endpoint-reconciler-type", "none".to_owned()),
            ("tls-cert-file", text(serving.0)),
            ("tls-private-key-file", text(serving.1)),
            ("client-ca-file", self.file("ca.crt")),
            ("kubelet-client-certificate", text(client.0)),
            ("kubelet-client-key", text(client.1)),
            ("kubelet-preferred-address-types", "InternalIP".to_owned()),
            ("service-account-issuer", "https://kubernetes.default.svc".to_owned()),
            ("service-account-key-file", self.file("service-accounts.pub")),
            ("service-account-signing-key-file", self.file("service-accounts.key")),
            ("service-cluster-ip-range", "10.96.0.0/16".to_owned()),
            ("authorization-mode", "Node,RBAC".to_owned()),
            ("allow-privileged", "true".to_owned()),
        ];
        self.run_with("kube-apiserver", pairs);
    }

    fn start_controllers(&mut self) {
        let pairs = [
            ("kubeconfig", self.file("controllers.kubeconfig")),
            ("service-account-private-key-file", self.file("service-accounts.key")),
            ("root-ca-file", self.file("ca.crt")),
            ("use-service-account-credentials", "true".to_owned()),
            ("leader-elect", "false".to_owned()),
            ("secure-port", "0".to_owned()),
            ("node-monitor-period", "1s".to_owned()),
        ];
        self.run_with("kube-controller-manager", pairs);
    }

    fn run_with<const N: usize>(&mut self, program: &str, pairs: [(&str, String); N]) {
        let args = pairs.map(|(flag, value)| format!("--{flag}={value}"));
        self.processes.push(Process::start(&self.folder, &super::tool(program), &args));
    }

    /// Ends all programs, and waits for that.
    pub(super) fn stop(&mut self) {
        self.processes.clear();
    }

    /// Whether all that was started still runs.
    pub(super) fn is_running(&self) -> bool {
        self.processes.iter().all(Process::is_running)
    }

    /// The end of what each program has said.
    pub(super) fn said(&self) -> String {
        self.processes.iter().map(Process::said).collect()
    }
}
