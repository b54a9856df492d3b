//! The watch, when something is wrong.

use super::bench::{Bench, Reading, TOKEN, options, pod};
use gpu_session_core::sample::{Request, Sample};
use gpu_session_sources::Source;
use gpu_session_sources::kubernetes::{Kubernetes, Mode};
use gpu_session_sources::pods::Wanted;
use kube_sim::api::{Fault, Rule};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The last known pods are shown, with the moment at which they were known, and one error of this kind.
fn is_stale(reading: &Reading, kind: &str) -> bool {
    reading.kind() == kind
        && reading.names() == ["one", "two"]
        && reading.list().is_some_and(|list| list.as_of_us < reading.sample.time_us)
        && reading.message().contains("the last known pods are used")
}

#[test]
fn an_api_server_that_goes_away_leaves_the_last_known_pods_and_no_storm_at_its_return() {
    let mut bench = Bench::synced();
    bench.server.stop();
    let first = bench.until("the failure", |reading| is_stale(reading, "io"));
    assert!(first.message().contains(&bench.server.url()), "{}", first.message());
    let as_of = first.list().unwrap().as_of_us;
    // A second try has failed by the time that the server is back.
    let later = bench.until("a second failure", |reading| {
        reading.sample.time_us - first.sample.time_us > 3_000_000 && is_stale(reading, "io")
    });
    assert_eq!(later.list().unwrap().as_of_us, as_of, "the moment at which it broke stays: the age grows");
    bench.cluster.clear_requests();
    bench.server.restart().unwrap();
    bench.until("all is well, though nothing changed", Reading::is_fresh);
    let requests = bench.requests();
    assert!((1..=3).contains(&requests.len()), "{requests:?}");
    bench.cluster.put_pod(&pod("three"));
    bench.until("what comes now", |reading| reading.names() == ["one", "three", "two"]);
}

#[test]
fn what_happened_while_the_server_was_away_is_caught_up_with() {
    for compacted in [false, true] {
        let mut bench = Bench::synced();
        bench.server.stop();
        bench.until("the failure", |reading| is_stale(reading, "io"));
        bench.cluster.put_pod(&pod("three"));
        bench.cluster.delete_pod("team-a", "one");
        if compacted {
            // What the watch would go on from is forgotten: 410.
            bench.cluster.compact();
        }
        bench.server.restart().unwrap();
        bench.until("caught up", |reading| reading.names() == ["-one", "three", "two"] && reading.is_fresh());
    }
}

#[test]
fn a_watch_that_expires_is_begun_anew() {
    let mut bench = Bench::synced();
    bench.cluster.compact();
    bench.cluster.clear_requests();
    bench.cluster.expire_watches();
    bench.cluster.put_pod(&pod("three"));
    bench.until("listed anew", |reading| reading.names() == ["one", "three", "two"] && reading.is_fresh());
    let requests = bench.requests();
    assert!(requests.contains(&"list pods".to_owned()) && requests.len() <= 4, "{requests:?}");
}

#[test]
fn a_cut_watch_goes_on_where_it_was() {
    let mut bench = Bench::synced();
    for (round, fault) in [Fault::None, Fault::CutWatch].into_iter().enumerate() {
        bench.cluster.clear_requests();
        bench.server.set_fault(fault);
        let name = format!("new-{round}");
        bench.cluster.put_pod(&pod(&name));
        bench.cluster.cut_watches();
        bench.server.set_fault(Fault::None);
        bench.until("the pod that came meanwhile", |reading| {
            reading.names().contains(&name) && reading.is_fresh()
        });
    }
}

#[test]
fn an_expired_token_is_said_and_a_renewed_one_is_read() {
    let mut bench = Bench::synced();
    bench.server.revoke_token(TOKEN);
    bench.cluster.cut_watches();
    let reading = bench.until("the refusal", |reading| is_stale(reading, "unauthorized"));
    assert!(reading.message().contains("token"), "{}", reading.message());
    bench.server.accept_token("secret-token-two", "system:serviceaccount:gpu-operator:monitor");
    bench.write_token("secret-token-two");
    bench.until("the renewed token", Reading::is_fresh);
}

#[test]
fn a_token_file_may_end_in_a_line_end_and_is_read_again_when_its_token_is_refused() {
    let mut bench = Bench::watching();
    bench.write_token(&format!("{TOKEN}\n"));
    bench.until("the first list", Reading::is_fresh);
    bench.server.accept_token("secret-token-two", "system:serviceaccount:gpu-operator:monitor");
    bench.server.revoke_token(TOKEN);
    bench.write_token("secret-token-two\n");
    bench.cluster.cut_watches();
    bench.cluster.put_pod(&pod("three"));
    bench.until("the renewed token", |reading| reading.names() == ["one", "three", "two"]);
}

#[test]
fn a_missing_right_is_said_with_the_rule_that_gives_it_and_needs_no_restart() {
    let mut bench = Bench::watching();
    let user = "system:serviceaccount:gpu-operator:monitor";
    bench.server.accept_token_with(TOKEN, user, []);
    let reading = bench.until("the refusal", |reading| reading.kind() == "forbidden");
    assert!(reading.list().is_none(), "nothing is known");
    let rule = r#"{apiGroups: [""], resources: ["pods"], verbs: ["list", "watch"]}"#;
    assert!(reading.message().contains(rule) && reading.message().contains(user), "{}", reading.message());
    bench.server.accept_token_with(TOKEN, user, [Rule::new(&["list", "watch"], &["pods"])]);
    bench.until("the right", Reading::is_fresh);
}

#[test]
fn a_missing_right_on_namespaces_leaves_the_pods() {
    let wanted = Wanted { namespace_labels: ["team".into()].into(), ..Wanted::default() };
    let mut bench = Bench::new(Mode::Watch, wanted);
    bench.server.accept_token_with(TOKEN, "monitor", [Rule::new(&["list", "watch"], &["pods"])]);
    let reading = bench
        .until("the refusal", |reading| reading.kind() == "forbidden" && reading.names() == ["one", "two"]);
    assert!(reading.message().contains(r#"resources: ["namespaces"]"#), "{}", reading.message());
    assert!(reading.sample.namespaces.is_none());
}

#[test]
fn answers_that_are_none_are_said_and_the_next_good_one_is_taken() {
    let failing = |code| Fault::Fail { code, retry_after: Some(1), times: u32::MAX };
    let faults = [
        (Fault::Garbage, "malformed"),
        (Fault::CutList(40), "io"),
        (failing(500), "http_status"),
        (failing(429), "http_status"),
        (failing(504), "timeout"),
    ];
    let check = |fault: Fault, kind: &str| {
        let mut bench = Bench::watching();
        bench.server.set_fault(fault.clone());
        let reading = bench.until(&format!("{fault:?}"), |reading| reading.kind() == kind);
        assert!(reading.list().is_none() && reading.message().contains("none are known yet"));
        bench.server.set_fault(Fault::None);
        bench.until("a good answer", Reading::is_fresh);
    };
    // Each first reading waits for the list: side by side they wait once.
    std::thread::scope(|scope| {
        for (fault, kind) in faults {
            scope.spawn(move || check(fault, kind));
        }
    });
}

#[test]
fn garbage_in_a_watch_leaves_the_last_known_pods() {
    let mut bench = Bench::synced();
    bench.server.set_fault(Fault::Garbage);
    bench.cluster.put_pod(&pod("three"));
    bench.until("the garbage", |reading| !reading.kind().is_empty() && reading.names() == ["one", "two"]);
    bench.server.set_fault(Fault::None);
    bench.until("the pod", |reading| reading.names() == ["one", "three", "two"] && reading.is_fresh());
}

#[test]
fn a_change_that_cannot_be_read_is_not_passed_over() {
    let mut bench = Bench::synced();
    let metadata =
        serde_json::json!({ "name": "odd", "uid": "odd", "namespace": "team-a", "labels": { "a": 1 } });
    let odd = serde_json::json!({ "metadata": metadata, "spec": { "nodeName": "node-a" } });
    bench.cluster.put_pod_object("team-a", "odd", odd);
    bench.until("the refusal", |reading| is_stale(reading, "malformed"));
    bench.cluster.put_pod(&pod("three"));
    let later = bench.until("a later look", |reading| {
        assert!(!reading.is_fresh(), "one pod is missing: {:?}", reading.names());
        reading.list().is_some_and(|list| reading.sample.time_us - list.as_of_us > 3_000_000)
    });
    assert_eq!(later.kind(), "malformed");
    bench.cluster.put_pod(&pod("odd"));
    bench.until("all is well", |reading| {
        reading.names() == ["odd", "one", "three", "two"] && reading.is_fresh()
    });
}

#[test]
fn a_silent_watch_is_fresh_and_slow_answers_are_waited_for() {
    let mut bench = Bench::watching();
    bench.server.set_fault(Fault::Slow(Duration::from_millis(200)));
    let reading = bench.read();
    assert!(reading.is_fresh(), "{:?}", reading.errors);
    bench.server.set_fault(Fault::Silent);
    bench.cluster.put_pod(&pod("three"));
    for _ in 0..20 {
        let reading = bench.read();
        assert!(reading.is_fresh() && reading.names() == ["one", "two"], "{:?}", reading.errors);
    }
    bench.server.set_fault(Fault::None);
    bench.until("what was kept back", |reading| reading.names().len() == 3);
}

#[test]
fn a_server_that_never_answers_is_not_waited_for_without_end() {
    let mut bench = Bench::watching();
    bench.server.set_fault(Fault::Deaf);
    let reading = bench.read();
    assert_eq!((reading.kind(), reading.list().is_none()), ("timeout", true), "{:?}", reading.errors);
    bench.server.set_fault(Fault::None);
    bench.until("an answer", Reading::is_fresh);
}

#[test]
fn kubeconfigs_that_cannot_be_used_are_said_without_what_is_in_them() {
    let bench = Bench::watching();
    let folder = tempfile::tempdir().unwrap();
    let good = bench.server.kubeconfig(&folder.path().join("no-such-token"));
    let path = folder.path().join("kubeconfig");
    let replaced = |from: &str, to: &str| {
        assert!(good.contains(from), "{good}");
        good.replace(from, to)
    };
    let broken = [
        (None, "No such file"),
        (Some("users: [{token: secret".to_owned()), "no kubeconfig"),
        (Some("users:\n- name: sim\n  user: {token: [secret]}\n".to_owned()), "no kubeconfig"),
        (Some(replaced("current-context: sim", "current-context: other")), "context"),
        (Some(replaced("certificate-authority-data: ", "certificate-authority-data: secret")), "authority"),
        (Some(replaced("https://", "secret@@ ")), "URL"),
        (Some(good.clone()), "no-such-token"),
    ];
    for (text, said) in broken {
        if let Some(text) = &text {
            std::fs::write(&path, text).unwrap();
        }
        let mut kubernetes = Kubernetes::new(options(Some(path.clone()), Mode::Watch, Wanted::default()));
        let mut sample = Sample::default();
        let errors = kubernetes.read(&Request::default(), &mut sample);
        let [error] = &errors[..] else { panic!("{said}: {errors:?}") };
        assert!(&*error.kind == "config" && error.message.contains(said), "{said}: {error:?}");
        assert!(!error.message.contains("secret"), "{error:?}");
        assert!(sample.pods.is_empty());
    }
    assert!(bench.cluster.requests().is_empty());
}

#[test]
fn a_server_with_anothers_certificate_is_not_trusted() {
    let mut bench = Bench::watching();
    let other = Bench::watching();
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, TOKEN).unwrap();
    let port = |bench: &Bench| format!(":{}", bench.server.port());
    let text = bench.server.kubeconfig(&token).replace(&port(&bench), &port(&other));
    let path = folder.path().join("kubeconfig");
    std::fs::write(&path, text).unwrap();
    bench.kubernetes = Kubernetes::new(options(Some(path), Mode::Watch, Wanted::default()));
    let reading = bench.until("the distrust", |reading| reading.kind() == "io");
    assert!(reading.message().contains("certificate authority"), "{}", reading.message());
    assert!(other.cluster.requests().is_empty(), "no token is sent to it");
}

/// Answers each list with an empty page after which there is another one; returns its port.
fn endless_pages(requests: Arc<AtomicUsize>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = move |mut stream: TcpStream| {
        let page = r#"{"metadata":{"resourceVersion":"1","continue":"more"},"items":[]}"#;
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{page}", page.len());
        let mut buffer = [0; 8192];
        while stream.read(&mut buffer).is_ok_and(|n| n > 0) && stream.write_all(answer.as_bytes()).is_ok() {
            requests.fetch_add(1, Ordering::SeqCst);
        }
    };
    std::thread::spawn(move || listener.incoming().flatten().for_each(serve));
    port
}

#[test]
fn a_server_that_has_always_another_page_is_not_asked_without_end() {
    let requests = Arc::new(AtomicUsize::new(0));
    let server = format!("http://127.0.0.1:{}", endless_pages(requests.clone()));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubeconfig");
    let kubeconfig = serde_json::json!({
        "clusters": [{ "name": "sim", "cluster": { "server": server } }],
        "users": [{ "name": "sim", "user": {} }],
        "contexts": [{ "name": "sim", "context": { "cluster": "sim", "user": "sim" } }],
        "current-context": "sim",
    });
    std::fs::write(&path, kubeconfig.to_string()).unwrap();
    let mut kubernetes = Kubernetes::new(options(Some(path), Mode::Watch, Wanted::default()));
    // It waits for the first list as long as it may.
    let errors = kubernetes.read(&Request::default(), &mut Sample::default());
    assert_eq!(&*errors[0].kind, "timeout", "{errors:?}");
    let requests = requests.load(Ordering::SeqCst);
    assert!((2..=6).contains(&requests), "{requests} requests");
}
