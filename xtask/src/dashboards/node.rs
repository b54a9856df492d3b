//! Devices, and the sessions on them.

use super::model::{Dashboard, Kind, Panel, Variable};
use super::{CLUSTER, NODE, recent};

const OF_NODE: &str = r#"{cluster=~"$cluster", node=~"$node"}"#;
const OF_DEVICE: &str = r#"{cluster=~"$cluster", node=~"$node", gpu=~"$gpu"}"#;
const OF_SESSION: &str =
    r#"{cluster=~"$cluster", node=~"$node", gpu=~"$gpu", user=~"$user", namespace=~"$namespace"}"#;

/// Who has sessions, and who holds a device without any.
const OF_SOMEBODY: &str =
    r#"{__name__=~"gpu_session_info|gpu_allocation_sessions", cluster=~"$cluster", node=~"$node"}"#;

pub(super) fn dashboard() -> Dashboard {
    let of_node = |label, of| Variable { label, of, all: true };
    Dashboard {
        uid: "gpu-sessions-node",
        title: "GPU sessions: node and device",
        description: "The devices of nodes, who is on them, and how the collector does.",
        variables: vec![
            CLUSTER,
            // The series of all nodes of a large cluster are too many to draw.
            Variable { all: false, ..NODE },
            of_node("gpu", "gpu_device_info{cluster=~\"$cluster\", node=~\"$node\"}"),
            of_node("user", OF_SOMEBODY),
            of_node("namespace", OF_SOMEBODY),
        ],
        rows: vec![("Devices", devices()), ("Sessions", sessions()), ("Collector", collector())],
    }
}

fn by_device(metric: &str) -> String {
    recent(&format!("max by (cluster, node, gpu) ({metric}{OF_DEVICE})"))
}

fn devices() -> Vec<Panel> {
    let lines = |title, unit, metric: &str| {
        Panel::new(Kind::Lines, title, unit).query("{{node}} {{gpu}}", by_device(metric))
    };
    vec![
        Panel::new(Kind::Table, "Devices", "none")
            .told("Each GPU and MIG instance now.")
            .query("", recent(&format!("max by (cluster, node, gpu, model, mig_profile, uuid) (gpu_device_info{OF_DEVICE})")))
            .column("utilisation", "percentunit", by_device("gpu_device_utilization_ratio"))
            .column("memory used", "bytes", by_device("gpu_device_memory_used_bytes"))
            .column("memory", "bytes", by_device("gpu_device_memory_total_bytes"))
            .query("sessions", by_device("gpu_session_count"))
            .query("users", by_device("gpu_session_users"))
            .query("held by", by_device("gpu_device_allocations")),
        lines("Utilisation", "percentunit", "gpu_device_utilization_ratio")
            .told("Share of the time in which any kernel ran."),
        lines("Memory used", "bytes", "gpu_device_memory_used_bytes").told("Memory in use on the device."),
        lines("Sessions", "none", "gpu_session_count").told("Processes on the device."),
        lines("Users", "none", "gpu_session_users").told("Known users on the device."),
        Panel::new(Kind::Stacked, "Power", "watt")
            .told("What each board draws; a MIG instance's is not measured.")
            .query(
                "{{node}} {{gpu}}",
                recent(&format!("sum by (cluster, node, gpu) (rate(gpu_device_energy_joules_total{OF_DEVICE}[$__rate_interval]))")),
            ),
        Panel::new(Kind::Lines, "Sessions that began and ended", "none")
            .told("How many of them in each step, of 5 minutes or more.")
            .query("began", format!("sum(increase(gpu_sessions_started_total{OF_DEVICE}[$__interval]))"))
            .query("ended", format!("sum(increase(gpu_sessions_ended_total{OF_DEVICE}[$__interval]))")),
    ]
}

fn by_session(metric: &str) -> String {
    recent(&format!("max by (cluster, node, gpu, session) ({metric}{OF_SESSION})"))
}

fn sessions() -> Vec<Panel> {
    let lines = |title, unit, metric: &str| {
        Panel::new(Kind::Lines, title, unit).query(
            "{{gpu}} {{user}} {{pod}} {{session}}",
            format!(
                "topk(30, max by (gpu, user, pod, session) ({}))",
                recent(&format!("{metric}{OF_SESSION}"))
            ),
        )
    };
    vec![
        Panel::new(Kind::Table, "Sessions", "none")
            .told("Each session now; not used for: since it last used an engine, empty where it never did.")
            .query("",
                recent(&format!("max by (cluster, node, gpu, session, user, namespace, pod, container, pid, command) (gpu_session_info{OF_SESSION})")),
            )
            .column("SM", "percentunit", by_session("gpu_session_sm_utilization_ratio"))
            .column("memory", "bytes", by_session("gpu_session_memory_used_bytes"))
            .column("age", "s", format!("time() - {}", by_session("gpu_session_start_time_seconds")))
            .column("not used for", "s", format!("time() - {}", by_session("gpu_session_last_active_time_seconds"))),
        lines("SM utilisation", "percentunit", "gpu_session_sm_utilization_ratio")
            .told("Share of the time in which the session's kernels ran; the 30 highest."),
        lines("Memory", "bytes", "gpu_session_memory_used_bytes")
            .told("Device memory that the session holds; the 30 largest."),
        Panel::new(Kind::Table, "Held devices", "none")
            .told("Containers that hold a device, their sessions on it, and for how long it has not worked for them.")
            .query("sessions", held("gpu_allocation_sessions"))
            .column("idle for", "s", held("gpu_allocation_idle_seconds")),
    ]
}

fn held(metric: &str) -> String {
    recent(&format!("max by (cluster, node, gpu, namespace, pod, container, user) ({metric}{OF_SESSION})"))
}

fn by_source(metric: &str) -> String {
    format!("max by (node, source) ({})", recent(&format!("{metric}{OF_NODE}")))
}

fn collector() -> Vec<Panel> {
    vec![
        Panel::new(Kind::States, "Sources", "none")
            .told("Which sources answered all that they were asked.")
            .query("{{node}} {{source}}", by_source("gpu_session_collector_source_up")),
        Panel::new(Kind::Lines, "Time to read a source", "s")
            .told("Of the last sample.")
            .query("{{node}} {{source}}", by_source("gpu_session_collector_source_duration_seconds")),
        Panel::new(Kind::Lines, "Unmeasured time", "percentunit")
            .told("Share of the time of a device whose use by process could not be measured.")
            .query(
                "{{node}} {{gpu}}",
                format!(
                    "sum by (node, gpu) ({})",
                    recent(&format!(
                        "rate(gpu_session_collector_unobserved_seconds_total{OF_DEVICE}[$__rate_interval])"
                    ))
                ),
            ),
        Panel::new(Kind::Lines, "Sessions without a user", "none")
            .told("By the reason why nobody is named (metrics.md).")
            .query(
                "{{reason}}",
                format!("sum by (reason) ({})", recent(&format!("gpu_sessions_unattributed{OF_DEVICE}"))),
            ),
    ]
}
