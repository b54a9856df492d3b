//! What one `collect` costs beside what it cannot do without: the driver calls and the reads of /proc.
//!
//! `cargo bench -p gpu-session-monitor --bench collect`, after `cargo build --release -p nvml-sim`. It prints
//! figures side by side, all of one run and one machine, and judges none of them. The bare loops are this program
//! run anew with a word of its own, so that they pay for a process as `collect` does.

#![allow(clippy::print_stdout, reason = "the report is the output")]

#[path = "collect/attribution.rs"]
mod attribution;
#[path = "collect/cases.rs"]
mod cases;
#[path = "collect/child.rs"]
mod child;
#[path = "collect/cluster.rs"]
mod cluster;
#[path = "collect/driver.rs"]
mod driver;
#[path = "collect/inside.rs"]
mod inside;
#[path = "collect/measure.rs"]
mod measure;
#[path = "collect/pods.rs"]
mod pods;
#[path = "collect/report.rs"]
mod report;

use anyhow::Context as _;
use std::time::Instant;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("empty") => Ok(()),
        Some("driver") => driver::run(&args[1..]),
        Some("proc") => inside::read_processes(&args[1..]),
        Some("inside") => inside::run(&args[1..]),
        Some("collect") => inside::collect(&args),
        Some("attribution") => attribution::run(&args[1..]),
        Some("launch") => child::launch(&args[1..]),
        Some("cluster") => cluster::bench(),
        _ if args.iter().any(|arg| arg == "--bench") => bench(),
        // `cargo test --all-targets` runs this too.
        _ => {
            println!("run it with cargo bench");
            Ok(())
        }
    }
}

fn bench() -> anyhow::Result<()> {
    let begin = Instant::now();
    let mut results = Vec::new();
    for case in cases::all()? {
        let name = case.name;
        let stage = cases::Stage::make(&case).with_context(|| format!("{name}: stage"))?;
        results.push(measure::measure(case, &stage).with_context(|| format!("{name}: measuring"))?);
    }
    report::print(&results);
    attribution::bench()?;
    cluster::bench()?;
    println!("\nthe whole took {:.0} s", begin.elapsed().as_secs_f64());
    Ok(())
}
