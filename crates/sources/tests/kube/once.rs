//! One list, for a program that runs once.

use super::bench::Bench;
use gpu_session_core::sample::{Allocations, ContainerDevices, Process, Request, Sample};
use gpu_session_sources::kubernetes::Mode;
use gpu_session_sources::pods::Wanted;
use kube_sim::api::{Fault, Rule};

fn bench() -> Bench {
    Bench::new(Mode::Once, Wanted::default())
}

fn process(cgroup: &str) -> Sample {
    let process = Process { cgroup: Some(cgroup.into()), ..Process::default() };
    Sample { processes: Some([(1, process)].into()), ..Sample::default() }
}

fn in_a_pod() -> Sample {
    process(
        "0::/kubepods.slice/kubepods-pod3b1c5a0e_91f6_4b7e_8d1a_0c2f4e6a8b9d.slice/cri-containerd-x.scope\n",
    )
}

#[test]
fn nothing_is_requested_where_nothing_is_a_pods() {
    let mut bench = bench();
    for sample in [Sample::default(), process("0::/user.slice/user-1000.slice\n")] {
        let reading = bench.read_as(sample, &Request::default());
        assert!(reading.errors.is_empty() && reading.list().is_none());
    }
    assert!(bench.cluster.requests().is_empty());
}

#[test]
fn one_list_is_requested_where_something_is_a_pods() {
    let unplaced = Request { unplaced: ["x".into()].into(), ..Request::default() };
    let containers = vec![ContainerDevices::default()];
    let allocations = Some(Allocations { containers, allocatable: None });
    let allocated = Sample { allocations, ..Sample::default() };
    for (sample, request) in
        [(in_a_pod(), Request::default()), (Sample::default(), unplaced), (allocated, Request::default())]
    {
        let mut bench = bench();
        let reading = bench.read_as(sample, &request);
        assert!(reading.is_fresh() && reading.names() == ["one", "two"], "{:?}", reading.errors);
        assert_eq!(bench.requests(), ["list pods"]);
        assert_eq!(bench.cluster.requests()[0].query["resourceVersion"], "0");
    }
}

#[test]
fn namespaces_are_listed_too_where_a_rule_reads_them() {
    let wanted = Wanted { namespace_annotations: ["owner".into()].into(), ..Wanted::default() };
    let mut bench = Bench::new(Mode::Once, wanted);
    bench.cluster.put_namespace("team-a", [], [("owner", "kim")]);
    let reading = bench.read_as(in_a_pod(), &Request::default());
    let namespaces = reading.sample.namespaces.unwrap();
    assert_eq!(namespaces["team-a"].annotations, [("owner".into(), "kim".into())].into());
    assert_eq!(bench.requests(), ["list pods", "list namespaces"]);
}

#[test]
fn failures_are_said_and_nothing_is_named() {
    let failing = Fault::Fail { code: 503, retry_after: None, times: u32::MAX };
    for (fault, kind) in [(failing, "http_status"), (Fault::Garbage, "malformed"), (Fault::Deaf, "timeout")] {
        let mut bench = bench();
        bench.server.set_fault(fault);
        let reading = bench.read_as(in_a_pod(), &Request::default());
        assert_eq!(reading.kind(), kind, "{:?}", reading.errors);
        assert!(reading.list().is_none() && reading.message().contains("no pods are named"));
        assert!(bench.cluster.requests().len() <= 1, "it is tried once");
        bench.server.set_fault(Fault::None);
        assert!(bench.read_as(in_a_pod(), &Request::default()).is_fresh(), "and again at the next reading");
    }
}

#[test]
fn a_missing_right_on_namespaces_leaves_the_pods() {
    let wanted = Wanted { namespace_labels: ["team".into()].into(), ..Wanted::default() };
    let mut bench = Bench::new(Mode::Once, wanted);
    let rights = [Rule::new(&["list", "watch"], &["pods"])];
    bench.server.accept_token_with(super::bench::TOKEN, "monitor", rights);
    let reading = bench.read_as(in_a_pod(), &Request::default());
    assert_eq!((reading.kind(), reading.names()), ("forbidden", vec!["one".to_owned(), "two".to_owned()]));
    assert!(reading.message().contains("namespaces") && reading.sample.namespaces.is_none());
}

#[test]
fn namespaces_that_never_come_leave_the_pods() {
    let wanted = Wanted { namespace_labels: ["team".into()].into(), ..Wanted::default() };
    let mut bench = Bench::new(Mode::Once, wanted);
    bench.server.set_fault(Fault::DeafTo("namespaces"));
    let reading = bench.read_as(in_a_pod(), &Request::default());
    assert_eq!((reading.kind(), reading.names()), ("timeout", vec!["one".to_owned(), "two".to_owned()]));
    assert!(reading.sample.namespaces.is_none());
}

#[test]
fn an_empty_token_is_said_and_nobody_is_asked_without_one() {
    let mut bench = bench();
    bench.write_token(" \n");
    let reading = bench.read_as(in_a_pod(), &Request::default());
    assert_eq!(reading.kind(), "config");
    assert!(reading.message().contains("/token: there is no token in it"), "{}", reading.message());
    assert!(bench.cluster.requests().is_empty());
    bench.write_token(super::bench::TOKEN);
    assert!(bench.read_as(in_a_pod(), &Request::default()).is_fresh());
}
