//! A list of pods, as the Kubernetes API answers it.

use super::is_clean;
use crate::Target;
use crate::servers::{Http, kept_folder};
use gpu_session_core::sample::{Process, Request, Sample};
use gpu_session_sources::Source;
use gpu_session_sources::clock::Clock;
use gpu_session_sources::kubernetes::{Kubernetes, Mode, Options};
use gpu_session_sources::pods::Wanted;
use std::sync::{LazyLock, Mutex};
use tempfile::TempDir;

pub(super) const TARGET: Target = Target {
    name: "kubernetes",
    cases: 40,
    words: &[
        "{",
        "}",
        "[",
        "]",
        ",",
        "\"",
        "null",
        "\"items\":[",
        "\"metadata\":{",
        "\"uid\":\"a\"",
        "\"annotations\":{",
        "\"kubernetes.io/config.mirror\":\"a\"",
        "\"kubernetes.io/config.hash\":\"0123456789abcdef0123456789abcdef\"",
        "\"creator-user-name\":\"bob\"",
        "\"containerStatuses\":[",
        "\"containerID\":\"containerd://c2\"",
        "\"startTime\":\"2026-11-28T00:00:00Z\"",
        "\"startTime\":\"-009999-01-01T00:00:00Z\"",
        "\\u001b",
        "\\n",
        "\"kind\":\"Status\"",
    ],
    seeds,
    run,
};

const UID: &str = "1f0a8f5e-3c1d-4b86-9a57-0c8e64d2b913";

fn seeds() -> Vec<Vec<u8>> {
    let list = |items: &str| {
        format!(
            r#"{{"kind":"PodList","apiVersion":"v1","metadata":{{"resourceVersion":"7"}},"items":[{items}]}}"#
        )
        .into_bytes()
    };
    let pod = format!(
        r#"{{"metadata":{{"name":"p","namespace":"ns","uid":"{UID}","resourceVersion":"5","labels":{{"creator-id":"7","other":"x"}},"annotations":{{"creator-user-name":"alice"}}}},"spec":{{"containers":[{{"name":"main","env":[{{"name":"A","value":"b"}}]}}]}},"status":{{"phase":"Running","startTime":"2026-11-28T01:02:03Z","containerStatuses":[{{"name":"main","containerID":"containerd://c1"}}],"initContainerStatuses":[{{"name":"init"}}]}}}}"#
    );
    let mirror = r#"{"metadata":{"name":"s","namespace":"kube-system","uid":"b","annotations":{"kubernetes.io/config.mirror":"x","kubernetes.io/config.hash":"0123456789ABCDEF0123456789abcdef"}},"status":{"phase":"Unknown"}}"#;
    let refusal = br#"{"kind":"Status","apiVersion":"v1","status":"Failure","message":"no","reason":"Forbidden","code":403}"#;
    vec![list(&format!("{pod},{mirror}")), list(""), refusal.to_vec()]
}

static SERVER: LazyLock<Mutex<(Http, TempDir)>> = LazyLock::new(|| {
    let server = Http::start();
    let folder = kept_folder();
    let kubeconfig = format!(
        "apiVersion: v1\nkind: Config\nclusters: [{{name: c, cluster: {{server: '{}'}}}}]\nusers: [{{name: u, user: {{}}}}]\n\
         contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\ncurrent-context: c\n",
        server.url
    );
    std::fs::write(folder.path().join("kubeconfig"), kubeconfig).unwrap();
    Mutex::new((server, folder))
});

fn run(bytes: &[u8]) {
    let server = SERVER.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    server.0.says(vec![(200, "application/json", bytes.to_vec())]);
    let wanted = Wanted {
        pod_labels: ["creator-id".into()].into(),
        pod_annotations: ["creator-user-name".into()].into(),
        ..Wanted::default()
    };
    let (kept_labels, kept_annotations) = (wanted.pod_labels.clone(), wanted.pod_annotations.clone());
    let kubeconfig = Some(server.1.path().join("kubeconfig"));
    let options = Options { kubeconfig, node: "n".to_owned(), mode: Mode::Once, wanted, clock: Clock::Real };
    let cgroup = format!("0::/kubepods/pod{UID}/c1\n");
    let process = Process { cgroup: Some(cgroup.into()), ..Process::default() };
    let mut sample = Sample { processes: Some([(1, process)].into()), ..Sample::default() };
    let errors = Kubernetes::new(options).read(&Request::default(), &mut sample);
    assert!(errors.iter().all(|error| !error.message.chars().any(char::is_control)), "{errors:?}");
    let Some(list) = sample.pods.first() else { return assert!(!errors.is_empty()) };
    assert!(list.pods.len() <= bytes.len());
    for (uid, pod) in &*list.pods {
        assert!([uid, &pod.namespace, &pod.name].into_iter().all(|name| is_clean(name)), "{uid} {pod:?}");
        assert!(pod.containers.iter().all(|(id, name)| is_clean(id) && is_clean(name)), "{pod:?}");
        // All else is forgotten where it enters.
        assert!(pod.metadata.labels.keys().all(|key| kept_labels.contains(key)), "{pod:?}");
        assert!(pod.metadata.annotations.keys().all(|key| kept_annotations.contains(key)), "{pod:?}");
    }
}
