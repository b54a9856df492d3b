use super::*;
use crate::report::prometheus::answer;
use crate::view::NodeView;
use gpu_session_api::UserSessions;
use std::collections::VecDeque;

/// Answers what it was given, in order.
struct Given(VecDeque<Vec<answer::Series>>);

impl Asks for Given {
    fn ask(&self, query: &str, _at: i64) -> anyhow::Result<Vector> {
        let names = [
            "max_over_time(",
            "gpu_device_info",
            "gpu_session_info",
            "gpu_session_start",
            "gpu_allocation",
            "source_up",
        ];
        let place = names.iter().position(|name| query.contains(name)).unwrap();
        let series = self.0[place].iter().map(|s| answer::Series {
            labels: s.labels.clone(),
            value: s.value,
            values: Vec::new(),
        });
        Ok(Vector { series: series.collect(), warnings: Vec::new() })
    }

    fn name(&self) -> String {
        "p".to_owned()
    }
}

fn series(name: &str, labels: &str, value: f64) -> answer::Series {
    let pairs = labels.split_whitespace().map(|pair| pair.split_once('=').unwrap());
    let pairs = pairs.chain([("__name__", name)]);
    answer::Series {
        labels: pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        value: Some(value),
        values: Vec::new(),
    }
}

fn look(parts: [Vec<answer::Series>; 5]) -> anyhow::Result<View> {
    look_with(parts, Vec::new())
}

fn look_with(parts: [Vec<answer::Series>; 5], sources: Vec<answer::Series>) -> anyhow::Result<View> {
    let given = parts.into_iter().chain([sources]).collect();
    Prometheus::new(Box::new(Given(given)), None, Clock::Real).look()
}

fn only(view: View) -> NodeView {
    let [node]: [NodeView; 1] = view.nodes.try_into().unwrap();
    node
}

#[test]
fn the_expressions_name_what_is_asked_and_merge_replicas() {
    let prometheus = Prometheus::new(Box::new(Given(VecDeque::new())), Some("cluster=\"a\""), Clock::Real);
    assert_eq!(
        prometheus.series("max", ALLOCATIONS, &["gpu"]),
        "max by (__name__, cluster, exported_cluster, node, exported_node, instance, job, gpu, exported_gpu) \
         ({__name__=~\"gpu_allocation_sessions|gpu_allocation_idle_seconds\", cluster=\"a\"})"
    );
    assert_eq!(
        prometheus.last_samples(),
        "max by (cluster, exported_cluster, node, exported_node, instance, job) \
         (max_over_time(gpu_session_collector_last_sample_timestamp_seconds{cluster=\"a\"}[1h]))"
    );
}

#[test]
fn where_nothing_is_said_nothing_is_known() {
    let at = "instance=i:1 job=j";
    let device = format!("{at} gpu=0 uuid=GPU-a");
    let node = only(
        look([
            vec![series("", at, 100.0)],
            vec![series("gpu_device_info", &device, 1.0)],
            vec![],
            vec![],
            vec![],
        ])
        .unwrap(),
    );
    assert_eq!((node.node.as_deref(), node.timestamp), (Some("i:1"), Some(100.0)));
    let device = &node.devices[0];
    assert_eq!((device.sessions, &device.users, device.memory_used_bytes), (None, &None, None));
    let none = look([vec![], vec![], vec![], vec![], vec![]]).unwrap_err().to_string();
    assert!(none.contains("no series of gpu-session-monitor") && none.contains("doctor"), "{none}");
}

#[test]
fn of_two_that_tell_of_a_node_the_newer_counts_and_nothing_is_mixed() {
    let (old, new) = ("node=a instance=i:9100 job=node", "node=a instance=i:9836 job=serve");
    let of = |at: &str, pid: &str| {
        series("gpu_session_info", &format!("{at} session=s{pid} gpu=0 uuid=GPU-a pid={pid}"), 1.0)
    };
    let start =
        |at: &str, pid: &str| series("gpu_session_start_time_seconds", &format!("{at} session=s{pid}"), 5.0);
    let node = only(
        look([
            vec![series("", old, 100.0), series("", new, 160.0)],
            [old, new].map(|at| series("gpu_device_info", &format!("{at} gpu=0 uuid=GPU-a"), 1.0)).into(),
            vec![of(old, "1"), of(new, "2"), of(new, "3")],
            vec![start(old, "1"), start(new, "2")],
            vec![],
        ])
        .unwrap(),
    );
    let pids: Vec<u32> = node.sessions.iter().map(|session| session.pid).collect();
    assert_eq!((node.timestamp, pids), (Some(160.0), vec![2]), "3 has no begin yet");
}

#[test]
fn labels_of_the_target_are_not_the_sessions_own() {
    let at = "node=a instance=i:1 job=j namespace=gpu-operator pod=collector-x container=c";
    let device = series("gpu_device_info", &format!("{at} gpu=0 uuid=GPU-a"), 1.0);
    let bare = series("gpu_session_info", &format!("{at} session=s1 gpu=0 uuid=GPU-a pid=1"), 1.0);
    let named = "exported_namespace=ml exported_pod=train-0 exported_container=main";
    let named = series("gpu_session_info", &format!("{at} {named} session=s2 gpu=0 uuid=GPU-a pid=2"), 1.0);
    let start = |session: &str| {
        series("gpu_session_start_time_seconds", &format!("node=a instance=i:1 job=j session={session}"), 5.0)
    };
    let node = only(
        look([
            vec![series("", at, 1.0)],
            vec![device],
            vec![bare, named],
            vec![start("s1"), start("s2")],
            vec![],
        ])
        .unwrap(),
    );
    let places: Vec<_> = node
        .sessions
        .iter()
        .map(|s| [&s.namespace, &s.pod, &s.container].map(|slot| slot.as_deref()))
        .collect();
    assert_eq!(places, [[None; 3], [Some("ml"), Some("train-0"), Some("main")]]);
}

#[test]
fn what_others_wrote_is_harmless_and_in_order() {
    let at = "instance=i:1";
    let device =
        |gpu: &str| series("gpu_device_info", &format!("{at} gpu={gpu} uuid=GPU-{gpu} model=\u{1b}[2J"), 1.0);
    let devices = ["10", "0_1_0", "2", "0"].map(device).into();
    let bad = series("gpu_session_info", &format!("{at} session=x gpu=0 uuid=GPU-0 pid=gpu0_1"), 1.0);
    let node = only(look([vec![series("", at, 1.0)], devices, vec![bad], vec![], vec![]]).unwrap());
    let labels: Vec<&str> = node.devices.iter().map(|device| device.gpu.as_str()).collect();
    assert_eq!(labels, ["0", "0_1_0", "2", "10"]);
    assert_eq!(node.devices[0].model.as_deref(), Some("\u{fffd}[2J"));
    assert!(node.sessions.is_empty());
}

#[test]
fn what_has_no_series_any_more_does_not_stand_for_the_node() {
    // `serve` went after the textfile was written.
    let (whole, gone) = ("node=a instance=i:9100 job=node", "node=a instance=i:9836 job=serve");
    let sampled = vec![series("", whole, 100.0), series("", gone, 130.0)];
    let device = series("gpu_device_info", &format!("{whole} gpu=0 uuid=GPU-a"), 1.0);
    let node = only(look([sampled, vec![device], vec![], vec![], vec![]]).unwrap());
    assert_eq!((node.timestamp, node.devices.len()), (Some(100.0), 1));
}

#[test]
fn while_the_exporters_pod_is_replaced_nothing_is_there_twice() {
    let at = "node=a instance=i:1 job=j";
    let both = |name: &str, labels: &str, values: [f64; 2]| {
        let pods = ["exp-old", "exp-new"].into_iter().zip(values);
        pods.map(|(pod, value)| {
            series(name, &format!("{at} namespace=mon pod={pod} container=c gpu=0{labels}"), value)
        })
        .collect::<Vec<_>>()
    };
    let devices = [
        both("gpu_device_info", " uuid=GPU-a", [1.0; 2]),
        both("gpu_session_count", "", [3.0, 2.0]),
        both("gpu_user_sessions", " user=alice", [1.0, 2.0]),
        both("gpu_sessions_unattributed", " reason=uid", [1.0, 1.0]),
    ];
    // A process of the host, told by each.
    let hosts = |pod: &str, session: &str| {
        let labels =
            format!("{at} namespace=mon pod={pod} container=c session={session} gpu=0 uuid=GPU-a pid=1");
        series("gpu_session_info", &labels, 1.0)
    };
    let start =
        |session: &str| series("gpu_session_start_time_seconds", &format!("{at} session={session}"), 5.0);
    let node = only(
        look([
            vec![series("", at, 1.0)],
            devices.into_iter().flatten().collect(),
            vec![hosts("exp-old", "s1"), hosts("exp-new", "s2")],
            vec![start("s1"), start("s2")],
            vec![],
        ])
        .unwrap(),
    );
    let device = &node.devices[0];
    assert_eq!(device.sessions, Some(3));
    assert_eq!(device.users, Some(vec![UserSessions { user: "alice".to_owned(), sessions: 2 }]));
    assert_eq!(device.unattributed.as_ref().map(Vec::len), Some(1));
    assert_eq!(node.sessions.len(), 2);
    assert!(node.sessions.iter().all(|session| session.pod.is_none() && session.namespace.is_none()));
}

#[test]
fn a_figure_that_is_no_count_is_not_known() {
    let at = "node=a instance=i:1 job=j gpu=0";
    let huge = series("gpu_session_count", at, 1e19);
    let devices = vec![series("gpu_device_info", &format!("{at} uuid=GPU-a"), 1.0), huge];
    let node = only(look([vec![series("", at, 1.0)], devices, vec![], vec![], vec![]]).unwrap());
    assert_eq!(node.devices[0].sessions, None);
}

#[test]
fn nodes_of_two_clusters_are_told_apart_and_a_source_is_up_where_all_saw_it_so() {
    let look = |clusters: &[&str]| {
        let at = |cluster: &str| format!("cluster={cluster} node=gpu-7 instance=i:1 job=j");
        let sampled = clusters.iter().map(|cluster| series("", &at(cluster), 9.0)).collect();
        let source = |cluster: &&str| {
            let up = if *cluster == "b" { 0.0 } else { 1.0 };
            series("gpu_session_collector_source_up", &format!("{} source=nvml", at(cluster)), up)
        };
        look_with([sampled, vec![], vec![], vec![], vec![]], clusters.iter().map(source).collect()).unwrap()
    };
    let names = |view: &View| view.nodes.iter().filter_map(|node| node.node.clone()).collect::<Vec<_>>();
    assert_eq!(names(&look(&["a"])), ["gpu-7"]);
    let two = look(&["a", "b"]);
    assert_eq!(names(&two), ["a/gpu-7", "b/gpu-7"]);
    let up: Vec<bool> = two.nodes.iter().map(|node| node.sources[0].up).collect();
    assert_eq!(up, [true, false]);
    let prometheus = Prometheus::new(Box::new(Given(VecDeque::new())), None, Clock::Real);
    assert!(prometheus.series("min", SOURCES, &["source"]).starts_with("min by (__name__, "));
}
