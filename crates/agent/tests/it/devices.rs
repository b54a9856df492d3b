//! Devices: choice, MIG, users.

use crate::node::{Node, plain};

const MIG: &str = "version: 1
gpus:
  - model: NVIDIA H100 80GB HBM3
    uuid: GPU-aaaaaaaa-0000-4000-8000-000000000000
    pci: \"00000000:1B:00.0\"
    memory: 80GiB
    gpm: GPM
    mig:
      - { profile: 3g.40gb, gpu_instance: 1, compute_instance: 0, uuid: MIG-one, memory: 40GiB, slices: 3 }
      - { profile: 2g.20gb, gpu_instance: 5, compute_instance: 0, uuid: MIG-two, memory: 20GiB, slices: 2 }
  - { model: NVIDIA L40S, memory: 48GiB }
processes:
  - { pid: 10, name: alone, uid: 1000, devices: [{ gpu: 0, instance: 1/0, memory: 10GiB, sm: 60 }] }
  - { pid: 20, name: shared, uid: 1000, count: 2, devices: [{ gpu: 0, instance: 5/0, memory: 5GiB, sm: 20 }] }
passwd: [{ name: alice, uid: 1000 }]
";

fn mig(gpm: bool, monitor: bool) -> Node {
    let text = MIG.replace("GPM", &gpm.to_string());
    let mut node = Node::new(&format!("{text}mig_monitor: {monitor}\n"));
    node.at(60.0);
    node
}

#[test]
fn both_views_of_mig_give_the_same_sessions() {
    for monitor in [true, false] {
        let metrics = mig(true, monitor).collected();
        let count = |gpu| metrics.get("gpu_session_count", &[("gpu", gpu)]);
        assert_eq!(
            (count("0_1_0"), count("0_5_0"), count("1"), count("0")),
            (Some(1.0), Some(2.0), Some(0.0), None)
        );
        assert_eq!(metrics.get("gpu_total_sessions", &[]), Some(3.0));
        let memory = metrics.get("gpu_process_memory_utilization", &[("pid", "gpu0_1_0_10")]);
        assert_eq!(memory, Some(25.0), "of the instance's memory");
        let info =
            [("gpu", "0_5_0"), ("mig_profile", "2g.20gb"), ("gpu_instance_id", "5"), ("uuid", "MIG-two")];
        assert_eq!(metrics.get("gpu_device_info", &info), Some(1.0));
        let fraction = metrics.get("gpu_device_compute_fraction", &[("gpu", "0_1_0")]).unwrap();
        assert!((fraction - 3.0 / 7.0).abs() < 1e-12);
    }
}

#[test]
fn an_instances_use_is_its_only_process_and_of_several_nobodys() {
    let mut node = mig(true, true);
    let metrics = node.collected();
    assert_eq!(metrics.get("gpu_process_utilization", &[("pid", "gpu0_1_0_10")]), Some(60.0));
    assert_eq!(metrics.get("gpu_device_utilization_ratio", &[("gpu", "0_5_0")]), Some(0.4));
    assert_eq!(metrics.get("gpu_process_utilization", &[("pid", "gpu0_5_0_20")]), None);
    assert_eq!(
        metrics.get("gpu_session_sm_seconds_total", &[("gpu", "0_5_0")]),
        None,
        "not measured is not 0"
    );
    // A later run waits for its own window, and the time between counts as unobserved.
    node.at(120.0);
    let later = node.collected();
    assert_eq!(later.get("gpu_process_utilization", &[("pid", "gpu0_1_0_10")]), Some(60.0));
    let unobserved =
        later.get("gpu_session_collector_unobserved_seconds_total", &[("gpu", "0_1_0")]).unwrap();
    assert!((58.0..60.0).contains(&unobserved), "{unobserved}");
    let user = later.get("gpu_user_sm_seconds_total", &[("gpu", "0_1_0"), ("user", "alice")]).unwrap();
    let session = later.sum("gpu_session_sm_seconds_total", &[("gpu", "0_1_0")]);
    assert!((session * 3.0 / 7.0 - user).abs() < 1e-9 && user > 0.4, "{session} {user}");
}

#[test]
fn without_gpm_an_instances_use_is_absent() {
    let metrics = mig(false, true).collected();
    assert!(metrics.values("gpu_process_utilization", &[]).is_empty());
    assert_eq!(metrics.get("gpu_device_utilization_ratio", &[("gpu", "0_1_0")]), None);
    assert_eq!(metrics.values("gpu_process_memory_utilization", &[]).len(), 3);
}

#[test]
fn devices_are_chosen_by_every_name() {
    let node = mig(true, true);
    for (list, wanted) in [
        ("0", "0_1_0 0_5_0"),
        ("GPU-aaaaaaaa-0000-4000-8000-000000000000", "0_1_0 0_5_0"),
        ("0000:1b:00.0", "0_1_0 0_5_0"),
        ("0_5_0", "0_5_0"),
        ("MIG-one,1", "0_1_0 1"),
    ] {
        let run = node.run(&["collect", "--output", "-", "--device", list]);
        assert_eq!(run.code, 0, "{list}: {}", run.stderr);
        let metrics = crate::node::Metrics::parse(&run.stdout);
        assert_eq!(metrics.label("gpu_session_count", "gpu").join(" "), wanted, "{list}");
    }
}

#[test]
fn a_device_that_is_not_there_is_named_and_the_others_are_measured() {
    let mut node =
        Node::new(&plain(2, "  - { pid: 7, name: python3, devices: [{ gpu: 0, memory: 1GiB }] }\n"));
    node.at(10.0);
    for args in [&["collect", "--gpu-count", "4"][..], &["collect", "--device", "0,1,2,3"]] {
        let run = node.run(args);
        assert_eq!(run.code, 3, "{}", run.stderr);
        assert!(run.stderr.contains("gpu.devices: 2 is not on this node"), "{}", run.stderr);
        let metrics = node.metrics();
        assert_eq!(metrics.get("gpu_session_count", &[("gpu", "0")]), Some(1.0));
        assert_eq!(metrics.get("gpu_total_sessions", &[]), None);
        assert_eq!(metrics.get("gpu_session_collector_source_up", &[("source", "nvml")]), Some(0.0));
    }
    assert_eq!(node.run(&["collect", "--gpu-count", "4", "--partial-ok"]).code, 0);
    assert_eq!(node.run(&["collect", "--gpu-count", "2"]).code, 0);
}

#[test]
fn lists_overlap_and_count_once_and_users_are_distinct() {
    let mut node = Node::new(&plain(
        2,
        "  - { pid: 7, name: python3, uid: 1000, devices: [{ gpu: 0, kind: [compute, graphics], memory: 1GiB }, { gpu: 1, memory: 2GiB }] }
  - { pid: 8, name: python3, uid: 1000, devices: [{ gpu: 0, kind: [mps], memory: 1GiB }] }
  - { pid: 9, name: python3, uid: 1001, devices: [{ gpu: 0, kind: [graphics], memory: unavailable }] }
  - { pid: 11, name: python3, uid: 4242, devices: [{ gpu: 0, memory: 1GiB }] }
  - { pid: 12, name: python3, uid: 0, cgroup: \"0::/docker/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\\n\", devices: [{ gpu: 0, memory: 1GiB }] }
",
    ));
    node.at(10.0);
    for _ in 0..2 {
        let metrics = node.collected();
        assert_eq!(metrics.get("gpu_session_count", &[("gpu", "0")]), Some(5.0), "MPS clients stay listed");
        assert_eq!(metrics.get("gpu_session_users", &[("gpu", "0")]), Some(3.0));
        assert_eq!(metrics.get("gpu_user_sessions", &[("gpu", "0"), ("user", "alice")]), Some(2.0));
        assert_eq!(metrics.get("gpu_user_sessions", &[("gpu", "0"), ("user", "uid:4242")]), Some(1.0));
        assert_eq!(
            metrics.get("gpu_sessions_unattributed", &[("gpu", "0"), ("reason", "container_unknown")]),
            Some(1.0)
        );
        assert_eq!(metrics.get("gpu_total_sessions", &[]), Some(6.0));
        let unknown = metrics.get("gpu_process_memory_utilization", &[("pid", "gpu0_9")]);
        assert_eq!(unknown, None, "what the driver does not say is absent");
        let sessions = metrics.label("gpu_session_info", "session");
        assert_eq!(sessions.iter().collect::<std::collections::BTreeSet<_>>().len(), 6);
        node.at(node.now() + 30.0);
    }
}
