//! A Kubernetes API server and a kubelet for tests: real protocols, invented cluster.
//!
//! A [`Cluster`] is the truth: pods, namespaces, and what the kubelet gave to containers. An [`ApiServer`] tells it
//! over HTTPS as Kubernetes does (lists, watches, RBAC, `Status` errors), a [`Kubelet`] over the PodResources socket.
//! Both run in a thread of their own, so that a synchronous test can use them, and stop when dropped. Both can be
//! told to misbehave: [`api::Fault`], [`kubelet::Fault`].
//!
//! ```
//! use kube_sim::{ApiServer, Cluster, Container, Kubelet, Pod};
//!
//! # fn main() -> std::io::Result<()> {
//! let cluster = Cluster::new();
//! let main = Container::new("main").devices("nvidia.com/gpu", ["GPU-5a3c0b12-0000-4000-8000-000000000001"]);
//! cluster.put_pod(&Pod::new("team-a", "train-0").on("node-a").label("creator-id", "kim").container(main));
//!
//! let server = ApiServer::start(&cluster)?;
//! # let folder = std::env::temp_dir().join(format!("kube-sim-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! let kubelet = Kubelet::start(&cluster, "node-a", folder.join("kubelet.sock"))?;
//! server.accept_token("secret", "system:serviceaccount:gpu-operator:monitor");
//! let kubeconfig = server.kubeconfig(&folder.join("token"));
//! assert!(kubeconfig.contains("https://127.0.0.1:"));
//! cluster.set_phase("team-a", "train-0", kube_sim::Phase::Succeeded);
//! # drop(kubelet);
//! # std::fs::remove_dir_all(&folder)
//! # }
//! ```

pub mod api;
mod background;
mod cluster;
mod holdings;
pub mod kubelet;
mod pod;
mod request;
pub mod scenario;

pub use api::ApiServer;
pub use cluster::{Cluster, Kind};
pub use holdings::{Claim, ClaimDevice, Devices, Holdings, Memory};
pub use kubelet::Kubelet;
pub use pod::{Container, ContainerKind, Phase, Pod};
pub use request::{Request, Token};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks; what a panicking holder left behind is still whole, as every change here is one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A UUID that depends on the text only, so that runs are alike.
fn uuid_of(text: &str) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, text).hash(&mut hasher);
        hasher.finish()
    };
    let (high, low) = (half(0), half(1));
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        0x8000 | (low >> 48) & 0x3fff,
        low & 0xffff_ffff_ffff
    )
}
