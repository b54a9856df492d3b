//! Other exporters, where `scripts/bench.sh` has installed them.

use crate::client;
use crate::exporter::{Exporter, INTERVAL};
use anyhow::Context as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Another exporter, or why it is not measured.
pub(crate) enum Peer {
    There(Exporter),
    Absent(String),
}

/// All that are known here.
pub(crate) fn all() -> anyhow::Result<Vec<Peer>> {
    Ok(vec![nvitop()?, all_smi()?])
}

fn tools() -> anyhow::Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bench-tools");
    std::fs::create_dir_all(&root)?;
    Ok(root.canonicalize()?)
}

fn nvitop() -> anyhow::Result<Peer> {
    let program = tools()?.join("venv/bin/nvitop-exporter");
    let interval = INTERVAL.as_secs().to_string();
    let args = |port: u16| {
        ["--bind-address", "127.0.0.1", "--port", &port.to_string(), "--interval", &interval]
            .map(str::to_owned)
            .to_vec()
    };
    peer(&program, "nvitop-exporter", args, "process_info_info{")
}

fn all_smi() -> anyhow::Result<Peer> {
    let program = tools()?.join("bin/all-smi");
    let interval = INTERVAL.as_secs().to_string();
    let args = |port: u16| {
        ["api", "--port", &port.to_string(), "--interval", &interval, "--processes"]
            .map(str::to_owned)
            .to_vec()
    };
    peer(&program, "all-smi", args, "all_smi_process_memory_used_bytes{")
}

fn peer(
    program: &Path,
    name: &str,
    args: impl Fn(u16) -> Vec<String>,
    session: &'static str,
) -> anyhow::Result<Peer> {
    if !program.exists() {
        let why = std::fs::read_to_string(tools()?.join(format!("{name}.absent")));
        let why = why.unwrap_or_else(|_| format!("{} is not there", program.display()));
        return Ok(Peer::Absent(format!("{name}: not measured: {}", why.trim())));
    }
    let version = Command::new(program).arg("--version").output().context("--version")?;
    let version = String::from_utf8_lossy(&version.stdout);
    let version = version.split_whitespace().nth(1).unwrap_or("of unknown version").to_owned();
    let port = client::free_port()?;
    let args = [vec![program.display().to_string()], args(port)].concat();
    Ok(Peer::There(Exporter { name: format!("{name} {version}"), args, port, session }))
}
