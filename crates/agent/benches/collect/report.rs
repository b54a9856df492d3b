//! The report.

use crate::cases;
use crate::measure::{self, Calls, Inside, Measured};
use std::fmt::Write as _;

/// Functions whose calls are counted apart: they grow with the layout, not with what runs on it.
const LAYOUT: [&str; 6] = [
    "nvmlDeviceGetMigMode",
    "nvmlDeviceGetMaxMigDeviceCount",
    "nvmlDeviceGetMigDeviceHandleByIndex",
    "nvmlDeviceGetGpuInstanceId",
    "nvmlDeviceGetComputeInstanceId",
    "nvmlDeviceGetAttributes_v2",
];

/// Prints all.
pub(crate) fn print(results: &[Measured]) {
    conditions();
    driver_calls(results);
    processes(results);
    inside(results);
    memory(results);
    linear(results);
}

fn conditions() {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    println!(
        "CPU {} ({cpus} of them), Linux {}",
        model.map_or("unknown", |m| m.1),
        read("/proc/sys/kernel/osrelease").trim()
    );
    println!(
        "Simulated driver, /proc and state below {}; the state is {} s old. Times are medians, memory is the largest.",
        cases::base().display(),
        cases::GAP_US / 1_000_000
    );
    println!(
        "Runs of each process, in turn, after one that is not counted: {}, with GPM {}; rounds within a process: {}.",
        cases::RUNS,
        cases::GPM_RUNS,
        measure::ROUNDS
    );
}

fn driver_calls(results: &[Measured]) {
    println!(
        "\n(a) Driver calls of one collect with state, beside the necessary ones (a bare loop's); aim: within 1.10"
    );
    let mut rows =
        vec![row(&["case", "collect", "necessary", "ratio", "MIG layout", "necessary", "GPM", "necessary"])];
    for result in results {
        let [own, layout, gpm] = split(&result.collect_calls);
        let [least, least_layout, least_gpm] = split(&result.necessary_calls);
        let mut cells = row(&[result.case.name]);
        cells.extend([own.to_string(), least.to_string(), format!("{:.2}", own as f64 / least as f64)]);
        cells.extend([layout, least_layout, gpm, least_gpm].map(|count| count.to_string()));
        rows.push(cells);
    }
    table(&rows);
    for result in results {
        println!("  {}: {}", result.case.name, differences(&result.collect_calls, &result.necessary_calls));
    }
}

/// Calls in general, of the MIG layout, of GPM.
fn split(calls: &Calls) -> [u64; 3] {
    let mut sums = [0; 3];
    for (name, count) in calls {
        let group =
            if LAYOUT.contains(&name.as_str()) { 1 } else { 2 * usize::from(name.starts_with("nvmlGpm")) };
        sums[group] += count;
    }
    sums
}

fn differences(calls: &Calls, necessary: &Calls) -> String {
    let mut names: Vec<&String> = calls.keys().chain(necessary.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let mut text = String::new();
    for name in names {
        let count = |calls: &Calls| calls.get(name).copied().unwrap_or(0);
        let (made, least) = (count(calls), count(necessary));
        if made != least {
            let comma = if text.is_empty() { "" } else { ", " };
            let _ = write!(text, "{comma}{name} {made} for {least}");
        }
    }
    if text.is_empty() { "no difference".to_owned() } else { text }
}

fn processes(results: &[Measured]) {
    println!("\n(b) CPU of one process run, user and system, µs");
    let head =
        ["case", "collect", "driver loop", "proc loop", "empty", "own", "own/process", "collect/loops"];
    let mut rows = vec![row(&head)];
    for result in results {
        let used = [result.collect, result.driver, result.proc, result.empty].map(|usage| usage.cpu_us);
        let loops = result.driver.cpu_us + result.proc.cpu_us - result.empty.cpu_us;
        let mut cells = row(&[result.case.name]);
        cells.extend(used.map(|figure| format!("{figure:.0}")));
        cells.push(format!("{:.0}", result.own()));
        cells.push(format!("{:.2}", result.own() / f64::from(result.case.processes)));
        cells.push(format!("{:.2}", result.collect.cpu_us / loops));
        rows.push(cells);
    }
    table(&rows);
    println!(
        "  own = collect - driver loop - (proc loop - empty): the start of a bare process is taken off once."
    );
}

fn inside(results: &[Measured]) {
    println!(
        "\n    CPU of the same within a process that runs, µs: no start, no loading, no files of ours; aim: own below 5 per process"
    );
    let head = ["case", "state in", "sample", "render", "state out", "driver", "proc", "own", "own/process"];
    let mut rows = vec![row(&head)];
    for result in results {
        let Some(inside) = &result.inside else { continue };
        let Inside { load, sample, render, save, driver, proc } = inside;
        let mut cells = row(&[result.case.name]);
        cells.extend(
            [*load, *sample, *render, *save, *driver, *proc, inside.own()]
                .map(|figure| format!("{figure:.0}")),
        );
        cells.push(format!("{:.2}", inside.own() / f64::from(result.case.processes)));
        rows.push(cells);
    }
    table(&rows);
    println!(
        "  own = state in + sample + render + state out - driver - proc (bare loops of the same calls and reads)"
    );
}

fn memory(results: &[Measured]) {
    println!("\n(c) Peak resident memory, MiB; aim: collect below 10");
    let mut rows = vec![row(&["case", "collect", "driver loop", "empty", "collect - driver loop"])];
    for result in results {
        let peaks = [result.collect, result.driver, result.empty].map(|usage| usage.peak_kib / 1024.0);
        let mut cells = row(&[result.case.name]);
        cells
            .extend([peaks[0], peaks[1], peaks[2], peaks[0] - peaks[1]].map(|figure| format!("{figure:.1}")));
        rows.push(cells);
    }
    table(&rows);
    println!(
        "  The simulated driver and its scenario lie in the same process: in collect's figure, and in the driver loop's."
    );
}

fn linear(results: &[Measured]) {
    println!("\n(d) Linear in the number of processes, 1 GPU: CPU by process, µs");
    let mut rows = vec![row(&["processes", "collect", "own", "own within a process"])];
    let line: Vec<&Measured> = results.iter().filter(|result| result.case.linear).collect();
    for result in &line {
        let number = f64::from(result.case.processes);
        let inside = result.inside.as_ref().map_or(f64::NAN, Inside::own);
        let mut cells = vec![result.case.processes.to_string()];
        cells.extend(
            [result.collect.cpu_us, result.own(), inside].map(|figure| format!("{:.2}", figure / number)),
        );
        rows.push(cells);
    }
    table(&rows);
    let (Some(first), Some(last)) = (line.first(), line.last()) else { return };
    let fit = |figure: fn(&Measured) -> f64| {
        let few = f64::from(first.case.processes);
        let slope = (figure(last) - figure(first)) / (f64::from(last.case.processes) - few);
        format!("{:.0} + {slope:.2} per process", figure(first) - slope * few)
    };
    let within = |measured: &Measured| measured.inside.as_ref().map_or(f64::NAN, Inside::own);
    println!(
        "  between {} and {}: own {} µs; within a process {} µs",
        first.case.processes,
        last.case.processes,
        fit(Measured::own),
        fit(within)
    );
    println!(
        "  Beyond sessions.limit (1 000) sessions have no series of their own; the case with all of them stands above."
    );
}

fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(ToString::to_string).collect()
}

/// The first column to the left, figures to the right.
fn table(rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).filter_map(width).collect();
    for row in rows {
        let mut line = String::from(" ");
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let _ =
                if column == 0 { write!(line, " {cell:width$}") } else { write!(line, "  {cell:>width$}") };
        }
        println!("{}", line.trim_end());
    }
}
