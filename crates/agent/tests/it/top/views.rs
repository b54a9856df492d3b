//! Views to draw.

use super::SEEN;
use gpu_session_api::{Allocation, Device, Session, Source};
use gpu_session_monitor::view::{NodeView, View};
use serde_json::{Value, json};

const GIB: u64 = 1 << 30;

fn session(fields: &Value) -> Session {
    let mut all = json!({
        "session": "0000000000000000", "gpu": "0", "device_uuid": "GPU-0", "pid": 1, "command": "python3",
        "start_time": SEEN - 600.0,
    });
    all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    serde_json::from_value(all).unwrap()
}

fn device(fields: &Value) -> Device {
    let mut all = json!({ "model": "NVIDIA H100 80GB HBM3", "memory_total_bytes": 80 * GIB });
    all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    serde_json::from_value(all).unwrap()
}

pub(super) fn source(name: &str, errors: &[&str]) -> Source {
    let errors: Vec<String> = errors.iter().map(|&error| error.to_owned()).collect();
    Source { source: name.to_owned(), up: errors.is_empty(), duration_seconds: 0.01, errors }
}

fn node(name: &str) -> NodeView {
    NodeView {
        node: Some(name.to_owned()),
        timestamp: Some(SEEN),
        driver_version: Some("550.54.15".to_owned()),
        sources: vec![source("nvml", &[]), source("proc", &[])],
        ..NodeView::default()
    }
}

/// A node on which nobody is.
pub(super) fn nobody() -> View {
    let mut node = node("gpu-7");
    node.devices = (0..4)
        .map(|gpu| {
            device(&json!({
                "gpu": gpu.to_string(), "uuid": format!("GPU-{gpu}"), "memory_used_bytes": 0,
                "utilization_ratio": 0.0, "sessions": 0, "users": [], "unattributed": [], "allocations": 0,
            }))
        })
        .collect();
    View { nodes: vec![node] }
}

/// A node with five sessions, MIG instances, one of which is held idle, and a GPU that cannot be read.
pub(super) fn five() -> View {
    let mut node = node("gpu-7");
    node.devices = vec![
        device(&json!({
            "gpu": "0_1_0", "uuid": "MIG-1", "parent_uuid": "GPU-0", "mig_profile": "3g.40gb", "memory_total_bytes": 40 * GIB,
            "memory_used_bytes": 20 * GIB, "utilization_ratio": 0.28, "compute_fraction": 0.428,
            "sessions": 1, "users": [{ "user": "alice", "sessions": 1 }], "unattributed": [], "allocations": 1,
        })),
        device(&json!({
            "gpu": "0_9_0", "uuid": "MIG-9", "parent_uuid": "GPU-0", "mig_profile": "1g.10gb", "memory_total_bytes": 10 * GIB,
            "memory_used_bytes": 0, "utilization_ratio": 0.0, "sessions": 0, "users": [], "unattributed": [], "allocations": 1,
        })),
        device(&json!({
            "gpu": "1", "uuid": "GPU-1", "memory_used_bytes": 50 * GIB, "utilization_ratio": 0.43, "pci_bus_id": "00000000:43:00.0",
            "energy_joules": 7.2e6, "sessions": 4, "allocations": 0,
            "users": [{ "user": "alice", "sessions": 2 }, { "user": "bob", "sessions": 1 }],
            "unattributed": [{ "reason": "container_uid", "sessions": 1 }],
        })),
        device(&json!({ "gpu": "2", "uuid": "GPU-2" })),
    ];
    node.sessions = vec![
        session(&json!({
            "session": "a000000000000001", "gpu": "0_1_0", "device_uuid": "MIG-1", "mig_profile": "3g.40gb", "pid": 21010,
            "command": "tritonserver", "user": "alice", "user_rule": "annotation:creator-user-name", "namespace": "team-vision",
            "pod": "alice-serving", "container": "server", "attributed_by": "kubernetes", "memory_used_bytes": 20 * GIB,
        })),
        session(&json!({
            "session": "a000000000000002", "gpu": "1", "device_uuid": "GPU-1", "pid": 31001, "command": "python", "uid": 1001,
            "user": "alice", "user_rule": "unix_user", "place": "unit:session-12.scope", "attributed_by": "cgroup",
            "memory_used_bytes": 12 * GIB, "sm_utilization_ratio": 0.0, "measured_since_time": SEEN - 500.0,
            "last_active_time": SEEN - 310.0, "start_time": SEEN - 90_000.0,
        })),
        session(&json!({
            "session": "a000000000000003", "gpu": "1", "device_uuid": "GPU-1", "pid": 9077, "command": "blender", "uid": 1002,
            "user": "bob", "user_rule": "unix_user", "place": "unit:blender.scope", "attributed_by": "cgroup",
            "memory_used_bytes": 5 * GIB, "sm_utilization_ratio": 0.18, "memory_busy_ratio": 0.06,
            "encoder_utilization_ratio": 0.03, "decoder_utilization_ratio": 0.0, "measured_since_time": SEEN - 500.0,
            "last_active_time": SEEN, "sm_seconds": 1.8, "memory_byte_seconds": 5.0 * 3600.0 * GIB as f64,
            "allocated": false,
        })),
        session(&json!({
            "session": "a000000000000004", "gpu": "1", "device_uuid": "GPU-1", "pid": 32500, "command": "ray::train",
            "user": "alice", "user_rule": "unix_user", "memory_used_bytes": 30 * GIB, "sm_utilization_ratio": 0.25,
            "measured_since_time": SEEN - 500.0, "last_active_time": SEEN, "start_time": SEEN - 60.0,
        })),
        session(&json!({
            "session": "a000000000000005", "gpu": "1", "device_uuid": "GPU-1", "pid": 32600, "command": null, "uid": 7,
            "sm_utilization_ratio": 0.001, "measured_since_time": SEEN - 5.0, "start_time": SEEN - 5.0,
        })),
    ];
    node.allocations = vec![
        allocation(
            &json!({ "gpu": "0_1_0", "device_uuid": "MIG-1", "pod": "alice-serving", "container": "server", "sessions": 1 }),
        ),
        allocation(
            &json!({ "gpu": "0_9_0", "device_uuid": "MIG-9", "user": "dave", "sessions": 0, "idle_seconds": 7800.0 }),
        ),
    ];
    View { nodes: vec![node] }
}

fn allocation(fields: &Value) -> Allocation {
    let mut all = json!({ "namespace": "team-vision", "pod": "dave-eval", "container": "eval" });
    all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    serde_json::from_value(all).unwrap()
}

/// A node with this many sessions of twenty users on eight GPUs.
pub(super) fn many(count: u32) -> View {
    let mut node = node("gpu-8");
    node.sessions = (0..count)
        .map(|n| {
            let gpu = n % 8;
            session(&json!({
                "session": format!("b{n:015x}"), "gpu": gpu.to_string(), "device_uuid": format!("GPU-{gpu}"), "pid": 1000 + n,
                "command": format!("worker-{}", n % 7), "user": format!("user-{:02}", n % 20), "uid": n % 20,
                "namespace": format!("team-{}", n % 3), "pod": format!("job-{:03}", n / 2), "container": "main",
                "memory_used_bytes": u64::from(n % 11 + 1) * GIB / 10, "sm_utilization_ratio": f64::from(n % 5) / 50.0,
                "measured_since_time": SEEN - 300.0, "last_active_time": (n % 5 > 0).then_some(SEEN - 1.0),
                "start_time": SEEN - f64::from(n * 37 % 10_000),
            }))
        })
        .collect();
    node.devices = (0..8_u32)
        .map(|gpu| {
            let on: Vec<_> = node.sessions.iter().filter(|session| session.gpu == gpu.to_string()).collect();
            let mut users: Vec<_> = on.iter().filter_map(|session| session.user.clone()).collect();
            users.sort();
            users.dedup();
            let sessions = |user: &String| on.iter().filter(|session| session.user.as_ref() == Some(user)).count();
            let users: Vec<_> = users.iter().map(|user| json!({ "user": user, "sessions": sessions(user) })).collect();
            let memory: u64 = on.iter().filter_map(|session| session.memory_used_bytes).sum();
            device(&json!({
                "gpu": gpu.to_string(), "uuid": format!("GPU-{gpu}"), "memory_used_bytes": memory,
                "utilization_ratio": f64::from(gpu) / 7.0, "sessions": on.len(), "users": users, "unattributed": [],
            }))
        })
        .collect();
    View { nodes: vec![node] }
}

/// Names that are meant to break a screen.
pub(super) fn hostile() -> View {
    let names = [
        "\x1b[2J\x1b]0;x\x07",
        "line\nend\r",
        "\u{202e}gnp.exe",
        "모델훈련모델훈련모델훈련모델훈련",
        "e\u{301}\u{302}\u{303}\u{304}e\u{301}e\u{301}",
        "👩‍👩‍👧‍👦👩‍👩‍👧‍👦👩‍👩‍👧‍👦👩‍👩‍👧‍👦👩‍👩‍👧‍👦",
        "zero\u{200b}width\u{feff}",
        "x",
    ];
    let mut view = nobody();
    let node = &mut view.nodes[0];
    let long = "n".repeat(5000);
    for (n, name) in names.into_iter().chain([&*long]).enumerate() {
        node.sessions.push(session(&json!({
            "session": format!("c{n:015x}"), "pid": 100 + n, "command": name, "user": name, "namespace": name, "pod": name,
            "container": name, "user_rule": name, "memory_used_bytes": GIB, "sm_utilization_ratio": 0.5,
        })));
    }
    let users: Vec<_> = names.iter().map(|name| json!({ "user": name, "sessions": 1 })).collect();
    node.devices[0].users = Some(serde_json::from_value(json!(users)).unwrap());
    node.devices[0].model = Some(names.concat());
    node.devices[0].sessions = Some(9);
    node.node = Some(names[3].to_owned() + names[0]);
    node.sources.push(source("kubelet", &["\x1b[31mred\nline"]));
    view
}

/// Three nodes: one as above, one whose driver is down, one that nobody has heard of for long.
pub(super) fn three() -> View {
    let mut view = five();
    let mut down = node("gpu-8");
    down.driver_version = None;
    down.sources = vec![source("nvml", &["nvmlInit_v2: driver not loaded", "no answer for 10 s"])];
    let mut old = nobody().nodes.remove(0);
    old.node = Some("gpu-9".to_owned());
    old.timestamp = Some(SEEN - 3600.0);
    view.nodes.extend([down, old]);
    view
}
