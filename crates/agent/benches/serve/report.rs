//! The report: Markdown tables, ours first, every figure beside its ratio to ours.

use crate::exporter::{ASKED, INTERVAL, PER_SECOND, QUIET, Row};
use crate::node::PROCESSES;

/// Says what was measured on and how.
pub(crate) fn conditions() {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    println!(
        "CPU {} ({} of them), Linux {}, load {}",
        model.map_or("unknown", |m| m.1),
        std::thread::available_parallelism().map_or(0, usize::from),
        read("/proc/sys/kernel/osrelease").trim(),
        read("/proc/loadavg").split_whitespace().next().unwrap_or("unknown")
    );
    println!(
        "{PROCESSES} real processes on the simulated driver; each exporter in turn, at an interval of {} s: {} s without \
         a request, then {PER_SECOND} requests a second for {} s.",
        INTERVAL.as_secs(),
        QUIET.as_secs(),
        ASKED.as_secs()
    );
    println!(
        "Aims for serve: CPU below 2 ms a sample, resident below 12 MiB (20 with Kubernetes sources), p99 below 2 ms."
    );
    println!(
        "In brackets: how many times ours. The simulated driver lies in every process, in its memory and CPU."
    );
}

/// One layout's table.
pub(crate) fn print(title: &str, rows: &[Row], absent: &[String]) {
    println!("\n{title}:\n");
    println!("| exporter | {} |", rows.iter().map(|row| row.name.as_str()).collect::<Vec<_>>().join(" | "));
    println!("|---|{}", "---:|".repeat(rows.len()));
    line(rows, "sessions shown", 0, |row| Some(row.sessions as f64), false);
    line(rows, "CPU a sample, ms", 2, |row| Some(row.sample_ms), true);
    line(rows, "driver calls a sample", 0, |row| row.calls, false);
    line(rows, "resident, MiB", 1, |row| Some(row.memory.now), true);
    line(rows, "resident at most, MiB", 1, |row| Some(row.memory.peak), true);
    line(rows, "of it the simulated driver's file", 1, |row| Some(row.memory.driver), false);
    line(rows, "/metrics, KiB", 0, |row| Some(row.body_bytes as f64 / 1024.0), false);
    line(rows, "CPU an answer, ms", 2, |row| Some(row.answer_ms), true);
    line(rows, "answer p50, ms", 2, |row| row.latencies.percentile(50), true);
    line(rows, "answer p99, ms", 2, |row| row.latencies.percentile(99), true);
    line(
        rows,
        "answers a second",
        0,
        |row| Some(row.latencies.answered() as f64 / ASKED.as_secs_f64()),
        false,
    );
    line(rows, "requests that failed", 0, |row| Some(row.latencies.failed as f64), false);
    if !absent.is_empty() {
        println!();
    }
    for why in absent {
        println!("{why}");
    }
}

fn line(rows: &[Row], what: &str, digits: usize, figure: impl Fn(&Row) -> Option<f64>, ratio: bool) {
    let ours = rows.first().and_then(&figure);
    let cell = |(number, row): (usize, &Row)| match (figure(row), ours) {
        (Some(value), Some(ours)) if ratio && number > 0 && ours > 0.0 => {
            format!("{value:.digits$} ({:.1})", value / ours)
        }
        (Some(value), _) => format!("{value:.digits$}"),
        (None, _) => "not known".to_owned(),
    };
    let cells: Vec<String> = rows.iter().enumerate().map(cell).collect();
    println!("| {what} | {} |", cells.join(" | "));
}

/// What the simulated driver has of each memory, MiB.
pub(crate) fn driver(mib: f64) {
    println!(
        "\nThe simulated driver alone, in a bare loop of its calls: {mib:.1} MiB of each resident memory."
    );
}

/// `serve` with Kubernetes sources.
pub(crate) fn kubernetes(row: Row) {
    print(
        &format!("{PROCESSES} sessions in {} pods, with the API and the kubelet", PROCESSES / 8),
        &[row],
        &[],
    );
}
