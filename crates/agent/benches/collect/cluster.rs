//! What `web` takes to answer for 1 000 nodes of 8 devices with 20 000 sessions, in this process and without a socket.

use anyhow::Context as _;
use gpu_session_api::{Device, Session};
use gpu_session_monitor::cluster::{Filter, Index, Page, Words};
use gpu_session_monitor::view::{NodeView, View};
use serde_json::json;
use std::time::{Duration, Instant};

const NODES: u32 = 1_000;
const DEVICES: u32 = 8;
const SESSIONS: u32 = 20_000;
const NOW: f64 = 1_748_736_000.0;
/// Of so many runs the median is told.
const RUNS: usize = 21;

pub(crate) fn bench() -> anyhow::Result<()> {
    println!("\nthe page of a cluster: {NODES} nodes of {DEVICES} devices, {SESSIONS} sessions");
    let view = view()?;
    let begin = Instant::now();
    let index = Index::of(view, NOW, Vec::new());
    println!("{:>9.2} ms  a look made ready, once for all who ask", millis(begin.elapsed()));
    let page = Page { offset: 0, limit: 100 };
    for sort in ["node", "-memory_used_bytes", "user", "-start_time", "gpu"] {
        let took = median(|| index.sessions(&Filter::default(), Some(sort), page).map(drop))?;
        println!("{:>9.2} ms  100 sessions by {sort}", millis(took));
    }
    let search = Filter { words: Words::of("user-42 gpu-00"), ..Filter::default() };
    let took = median(|| index.sessions(&search, Some("-start_time"), page).map(drop))?;
    println!("{:>9.2} ms  a search for two words, sorted", millis(took));
    let took = median(|| index.nodes(&Words::of("user-42"), None, None, Some("-sessions"), page).map(drop))?;
    println!("{:>9.2} ms  100 nodes with a user on them", millis(took));
    Ok(())
}

fn view() -> anyhow::Result<View> {
    let mut view = View::default();
    for n in 0..NODES {
        let mut node =
            NodeView { node: Some(format!("gpu-{n:04}")), timestamp: Some(NOW), ..NodeView::default() };
        for gpu in 0..DEVICES {
            let text = json!({ "gpu": gpu.to_string(), "uuid": format!("GPU-{n}-{gpu}"), "model": "NVIDIA H100",
                "sessions": SESSIONS / NODES / DEVICES, "users": [] });
            node.devices.push(serde_json::from_value::<Device>(text)?);
        }
        view.nodes.push(node);
    }
    for pid in 0..SESSIONS {
        let gpu = pid / NODES % DEVICES;
        let text = json!({ "session": format!("{pid:016x}"), "gpu": gpu.to_string(),
            "device_uuid": format!("GPU-{}-{gpu}", pid % NODES), "pid": pid, "start_time": NOW - f64::from(pid % 86_400),
            "user": format!("user-{}", pid % 500), "namespace": "team", "pod": format!("train-{pid}"),
            "command": "python3", "memory_used_bytes": u64::from(pid.wrapping_mul(2_654_435_761)) });
        let node = view.nodes.get_mut((pid % NODES) as usize).context("a node")?;
        node.sessions.push(serde_json::from_value::<Session>(text)?);
    }
    Ok(view)
}

fn median(run: impl Fn() -> Result<(), String>) -> anyhow::Result<Duration> {
    let mut all = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let begin = Instant::now();
        run().map_err(anyhow::Error::msg)?;
        all.push(begin.elapsed());
    }
    all.sort();
    all.get(RUNS / 2).copied().context("a run")
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
