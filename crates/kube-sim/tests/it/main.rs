//! The simulated cluster through the clients that real ones are asked with.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod access;
mod api;
mod faults;
mod golden;
mod kubelet;
mod review;
mod watch;

use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube_sim::{ApiServer, Cluster, Container, Pod};

const TOKEN: &str = "a-token";
const USER: &str = "system:serviceaccount:gpu-operator:monitor";

/// A client that has a server's kubeconfig and a token.
async fn client_with(server: &ApiServer, token: &str) -> Client {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, token).unwrap();
    let config = Kubeconfig::from_yaml(&server.kubeconfig(&file)).unwrap();
    let mut config =
        kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.unwrap();
    // By default a client tries again for minutes what is answered with 429, 503 or 504.
    config.default_retry = false;
    // The file is read when the client is made; afterwards it may go.
    Client::try_from(config).unwrap()
}

async fn client(server: &ApiServer) -> Client {
    client_with(server, TOKEN).await
}

/// A cluster with two nodes and a pod on each, and its server.
fn cluster() -> (Cluster, ApiServer) {
    let cluster = Cluster::new();
    cluster.put_pod(&pod("team-a", "train-0").on("node-a").label("creator-id", "kim"));
    cluster.put_pod(&pod("team-b", "train-0").on("node-b"));
    let server = ApiServer::start(&cluster).unwrap();
    server.accept_token(TOKEN, USER);
    (cluster, server)
}

fn pod(namespace: &str, name: &str) -> Pod {
    Pod::new(namespace, name).container(Container::new("main").id("c0ffee".repeat(10) + "0123"))
}
