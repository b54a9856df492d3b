//! What `serve` costs while it runs, beside others that export who uses which GPU, on one simulated driver.
//!
//! `cargo bench -p gpu-session-monitor --bench serve`, after `cargo build --release -p nvml-sim`. The others are
//! measured where they are installed (`scripts/bench.sh` does it). It prints figures side by side, all of one run and
//! one machine, and judges none of them.

#![allow(clippy::print_stdout, reason = "the report is the output")]

#[allow(dead_code, reason = "the cases of collect are its own")]
#[path = "collect/cases.rs"]
mod cases;
#[allow(dead_code, reason = "launchers of other measurements are not used")]
#[path = "collect/child.rs"]
mod child;
#[path = "serve/client.rs"]
mod client;
#[path = "collect/driver.rs"]
mod driver;
#[path = "serve/exporter.rs"]
mod exporter;
#[allow(dead_code, reason = "only its clock is used")]
#[path = "collect/inside.rs"]
mod inside;
#[path = "serve/node.rs"]
mod node;
#[path = "serve/peers.rs"]
mod peers;
#[path = "collect/pods.rs"]
mod pods;
#[path = "serve/report.rs"]
mod report;
#[path = "serve/usage.rs"]
mod usage;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("process") => node::idle(),
        Some("empty") => Ok(()),
        Some("driver") => driver::run(&args[1..]),
        Some("launch") => child::launch(&args[1..]),
        _ if args.iter().any(|arg| arg == "--bench") => bench(),
        // `cargo test --all-targets` runs this too.
        _ => {
            println!("run it with cargo bench");
            Ok(())
        }
    }
}

fn bench() -> anyhow::Result<()> {
    report::conditions();
    for layout in [node::Layout::Plain, node::Layout::Mig] {
        let node = node::Node::make(layout)?;
        let mut rows = vec![exporter::measure(&exporter::ours(&node)?, &node.stage)?];
        let mut absent = Vec::new();
        for peer in peers::all()? {
            match peer {
                peers::Peer::There(exporter) => rows.push(exporter::measure(&exporter, &node.stage)?),
                peers::Peer::Absent(why) => absent.push(why),
            }
        }
        report::print(layout.name(), &rows, &absent);
        report::driver(usage::driver_alone(&node.stage)?);
    }
    report::kubernetes(node::in_pods()?);
    Ok(())
}
