//! What is missed, invented and miscounted, case by case, against the truth: by this program, and by others on the same
//! simulated driver.
//!
//! `cargo bench --profile dev -p gpu-session-monitor --bench accuracy`, after `cargo build --workspace`
//! (`scripts/accuracy.sh` does it). Nothing of it depends on how fast a build is. Writes docs/accuracy.md anew, but for
//! its last chapter, which is somebody's words. It needs root, for the processes that others look for.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what fails here ends the measurement"
)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the report is the output")]

#[allow(dead_code, reason = "load is another measurement's")]
#[path = "serve/client.rs"]
mod client;
#[path = "../tests/it/accuracy/corpus.rs"]
mod corpus;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../tests/it/kubernetes.rs"]
mod kubernetes;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../tests/it/node.rs"]
mod node;
#[path = "accuracy/peers.rs"]
mod peers;
#[path = "../tests/it/accuracy/play.rs"]
mod play;
#[path = "accuracy/report.rs"]
mod report;
#[path = "../tests/it/accuracy/truth.rs"]
mod truth;
#[path = "../tests/it/accuracy/verdict.rs"]
mod verdict;

use corpus::Kind;
use play::Way;
use report::Measured;

/// Where the chapter begins that is not written by this program.
const SAID: &str = "## What it says";

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match &args[..] {
        [first, kind] if first == "inside" => peers::inside(kind),
        args if args.iter().any(|arg| arg == "--bench") => measure(),
        // `cargo test --all-targets` runs this too.
        _ => println!("run it with cargo bench"),
    }
}

fn measure() {
    let ours = || {
        let play = |case| {
            let verdicts = Way::ALL.map(|way| verdict::verdict(&case, &play::play(&case, way)));
            eprintln!("{}", case.name());
            (case, verdicts.into())
        };
        corpus::all().into_iter().map(play).collect()
    };
    let others = || {
        let play = |kind: Kind| {
            let verdicts = peers::play(kind);
            eprintln!("{}, to other tools", kind.name());
            (kind, verdicts)
        };
        Kind::ALL.into_iter().map(play).collect()
    };
    // Others wait for their own clocks most of the time.
    let measured = std::thread::scope(|scope| {
        let peers = scope.spawn(others);
        Measured { ours: ours(), peers: peers.join().unwrap() }
    });
    let file = node::workspace().join("docs/accuracy.md");
    let before = std::fs::read_to_string(&file).unwrap_or_default();
    let said = before.find(SAID).map_or_else(|| format!("{SAID}\n"), |at| before[at..].to_owned());
    let text = report::document(&measured, &said);
    std::fs::write(&file, &text).unwrap();
    println!("{text}");
    eprintln!("{} simulated minutes; written to {}", report::simulated_minutes(&measured), file.display());
}
