//! The whole cluster.

use super::model::{Dashboard, Kind, Panel};
use super::{CLUSTER, NODE, recent};

const OF: &str = r#"{cluster=~"$cluster", node=~"$node"}"#;

fn sum(metric: &str) -> String {
    format!("sum({metric}{OF})")
}

fn by_node(metric: &str) -> String {
    format!("sum by (cluster, node) ({metric}{OF})")
}

pub(super) fn dashboard() -> Dashboard {
    Dashboard {
        uid: "gpu-sessions-overview",
        title: "GPU sessions: cluster",
        description: "How many GPUs there are, how many are held, and how many work.",
        variables: vec![CLUSTER, NODE],
        rows: vec![("Now", now()), ("Over time", over_time()), ("Nodes", nodes())],
    }
}

fn now() -> Vec<Panel> {
    let stat = |title, unit, expr: String| Panel::new(Kind::Stat, title, unit).query("", expr);
    vec![
        stat("GPUs", "none", sum("node:gpu_device_compute_fraction:sum")).told("GPUs that can be read."),
        stat("Held", "none", sum("node:gpu_namespace_allocation_seconds:rate15m"))
            .told("GPUs that containers hold by the kubelet's word, over 15 minutes; one that several share counts for each holder."),
        stat("Busy", "none", sum("node:gpu_namespace_sm_seconds:rate15m"))
            .told("SM time in GPUs, over 15 minutes: two at 50 % are one."),
        stat("Held, not used", "none", sum("node:gpu_namespace_idle_allocation_seconds:rate15m"))
            .told("GPUs that are held and known not to have worked for their holder, over 15 minutes.")
            .thresholds(1.0, 4.0),
        stat("Sessions", "none", sum("node:gpu_session_count:sum")).told("Processes on devices."),
        stat(
            "Users",
            "none",
            "count(user:gpu_device_compute_fraction:sum{cluster=~\"$cluster\"})".to_owned(),
        )
        .told("Known users who hold a device or have a session, on all nodes."),
        stat("Power", "watt", sum("node:gpu_device_energy_joules:rate15m"))
            .told("What the boards draw, over 15 minutes; GPUs that measure it."),
        stat("Sources down", "none", format!("sum({})", recent(&format!("1 - max by (cluster, node, source) (gpu_session_collector_source_up{OF})"))))
            .told("Sources that did not answer in the last sample of their node, as far as samples arrive.")
            .thresholds(1.0, 2.0),
    ]
}

fn over_time() -> Vec<Panel> {
    vec![
        Panel::new(Kind::Lines, "GPUs", "none")
            .told("All of them, those that are held, those held and not used, and those that work. One that several share counts for each holder.")
            .query("all", sum("node:gpu_device_compute_fraction:sum"))
            .query("held", sum("node:gpu_namespace_allocation_seconds:rate15m"))
            .query("held, not used", sum("node:gpu_namespace_idle_allocation_seconds:rate15m"))
            .query("busy", sum("node:gpu_namespace_sm_seconds:rate15m")),
        Panel::new(Kind::Lines, "Memory", "bytes")
            .told("Device memory in use, and all there is.")
            .query("used", sum("node:gpu_device_memory_used_bytes:sum"))
            .query("all", sum("node:gpu_device_memory_total_bytes:sum")),
        Panel::new(Kind::Stacked, "Busy GPUs by namespace", "none")
            .told("The 15 namespaces that use most, on all nodes; the empty one is use outside any that is known.")
            .query("{{namespace}}", top("namespace:gpu_namespace_sm_seconds:rate15m")),
        Panel::new(Kind::Stacked, "Busy GPUs by user", "none")
            .told("The 15 users who use most, on all nodes; the empty one is use whose user is not known.")
            .query("{{user}}", top("user:gpu_user_sm_seconds:rate15m")),
    ]
}

fn top(metric: &str) -> String {
    format!("topk(15, {metric}{{cluster=~\"$cluster\"}})")
}

fn nodes() -> Vec<Panel> {
    vec![
        Panel::new(Kind::Table, "Nodes", "none")
            .told("Each node now, and the age of its newest sample.")
            .query("GPUs", by_node("node:gpu_device_compute_fraction:sum"))
            .query("held", by_node("node:gpu_namespace_allocation_seconds:rate15m"))
            .query("held, not used", by_node("node:gpu_namespace_idle_allocation_seconds:rate15m"))
            .query("busy", by_node("node:gpu_namespace_sm_seconds:rate15m"))
            .query("sessions", by_node("node:gpu_session_count:sum"))
            .column(
                "memory",
                "percentunit",
                format!(
                    "{} / {}",
                    by_node("node:gpu_device_memory_used_bytes:sum"),
                    by_node("node:gpu_device_memory_total_bytes:sum")
                ),
            )
            .column("power", "watt", by_node("node:gpu_device_energy_joules:rate15m"))
            .column(
                "sample's age",
                "s",
                format!("time() - max by (cluster, node) (gpu_session_collector_last_sample_timestamp_seconds{OF})"),
            ),
        Panel::new(Kind::Table, "Held for nothing", "s")
            .told("The 30 devices that have been held longest without working for their holder.")
            .query(
                "idle for",
                format!(
                    "topk(30, {})",
                    recent(&format!("max by (cluster, node, gpu, namespace, pod, container, user) (gpu_allocation_idle_seconds{OF})"))
                ),
            ),
    ]
}
