//! A cluster, its API server, and the source that asks it.

use gpu_session_core::sample::{PodList, Request, Sample, SourceError};
use gpu_session_sources::Source;
use gpu_session_sources::clock::Clock;
use gpu_session_sources::kubernetes::{Kubernetes, Mode, Options};
use gpu_session_sources::pods::Wanted;
use kube_sim::{ApiServer, Cluster, Container, Pod};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// This node.
pub(crate) const NODE: &str = "node-a";
/// What no message may show.
pub(crate) const TOKEN: &str = "secret-token-one";

/// Time for what must happen at some time; what takes longer never does.
const DEADLINE: Duration = Duration::from_secs(90);

pub(crate) struct Bench {
    pub(crate) cluster: Cluster,
    pub(crate) server: ApiServer,
    pub(crate) kubernetes: Kubernetes,
    folder: tempfile::TempDir,
}

/// What a reading gave.
pub(crate) struct Reading {
    pub(crate) sample: Sample,
    pub(crate) errors: Vec<SourceError>,
}

impl Reading {
    pub(crate) fn list(&self) -> Option<&PodList> {
        assert!(self.sample.pods.len() <= 1);
        self.sample.pods.first()
    }

    /// Names of the pods, with a `-` before those that were deleted.
    pub(crate) fn names(&self) -> Vec<String> {
        let pods = self.list().into_iter().flat_map(|list| list.pods.values());
        let mut names: Vec<String> =
            pods.map(|pod| format!("{}{}", if pod.deleted { "-" } else { "" }, pod.name)).collect();
        names.sort();
        names
    }

    /// Whether it is of now, whole and without an error.
    pub(crate) fn is_fresh(&self) -> bool {
        self.errors.is_empty() && self.list().is_some_and(|list| list.as_of_us == self.sample.time_us)
    }

    /// Kind of its only error; none is an empty text.
    pub(crate) fn kind(&self) -> &str {
        assert!(self.errors.len() <= 1, "{:?}", self.errors);
        self.errors.first().map_or("", |error| &error.kind)
    }

    pub(crate) fn message(&self) -> &str {
        self.errors.first().map_or("", |error| &error.message)
    }
}

pub(crate) fn pod(name: &str) -> Pod {
    Pod::new("team-a", name).on(NODE).container(Container::new("main").id(format!("id-of-{name}")))
}

impl Bench {
    /// With two pods on this node and one elsewhere.
    pub(crate) fn new(mode: Mode, wanted: Wanted) -> Self {
        let cluster = Cluster::new();
        cluster.put_pod(&pod("one"));
        cluster.put_pod(&pod("two"));
        cluster.put_pod(&pod("elsewhere").on("node-b"));
        let server = ApiServer::start(&cluster).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let token = folder.path().join("token");
        std::fs::write(&token, TOKEN).unwrap();
        server.accept_token(TOKEN, "system:serviceaccount:gpu-operator:monitor");
        let kubeconfig = folder.path().join("kubeconfig");
        std::fs::write(&kubeconfig, server.kubeconfig(&token)).unwrap();
        let kubernetes = Kubernetes::new(options(Some(kubeconfig), mode, wanted));
        Self { cluster, server, kubernetes, folder }
    }

    pub(crate) fn watching() -> Self {
        Self::new(Mode::Watch, Wanted::default())
    }

    /// Watching, after its first list.
    pub(crate) fn synced() -> Self {
        let mut bench = Self::watching();
        bench.until("the first list", Reading::is_fresh);
        bench
    }

    pub(crate) fn write_token(&self, token: &str) {
        std::fs::write(self.folder.path().join("token"), token).unwrap();
    }

    pub(crate) fn read(&mut self) -> Reading {
        self.read_as(Sample::default(), &Request::default())
    }

    pub(crate) fn read_as(&mut self, mut sample: Sample, request: &Request) -> Reading {
        sample.time_us = Clock::Real.now_us();
        let errors = self.kubernetes.read(request, &mut sample);
        for error in &errors {
            assert!(!error.message.contains("secret"), "a secret is shown: {error:?}");
        }
        Reading { sample, errors }
    }

    /// Reads until a reading is as it must become.
    pub(crate) fn until(&mut self, what: &str, is: impl Fn(&Reading) -> bool) -> Reading {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let reading = self.read();
            if is(&reading) {
                return reading;
            }
            let (names, errors) = (reading.names(), &reading.errors);
            assert!(Instant::now() < deadline, "{what}: never; at last {names:?} {errors:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Requests in a line each: `watch pods`, after a look at what every one of them must be.
    pub(crate) fn requests(&self) -> Vec<String> {
        let requests = self.cluster.requests();
        for request in &requests {
            assert_eq!(request.method, "GET", "{request:?}");
            assert!(matches!(&*request.verb, "list" | "watch"), "{request:?}");
            match &*request.resource {
                "pods" => {
                    let selector = request.query.get("fieldSelector").map(String::as_str);
                    assert_eq!(selector, Some("spec.nodeName=node-a"), "{request:?}");
                }
                "namespaces" => {}
                other => panic!("{other}: {request:?}"),
            }
            assert!(request.namespace.is_empty() && request.name.is_empty(), "{request:?}");
        }
        requests.iter().map(|request| format!("{} {}", request.verb, request.resource)).collect()
    }
}

pub(crate) fn options(kubeconfig: Option<PathBuf>, mode: Mode, wanted: Wanted) -> Options {
    Options { kubeconfig, node: NODE.to_owned(), mode, wanted, clock: Clock::Real }
}
