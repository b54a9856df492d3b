#!/usr/bin/env bash
# Builds the program and the simulated driver, and runs the demo.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

need_rust
say "building (a first build takes a few minutes)"
cargo build -p gpu-session-monitor -p nvml-sim
exec target/debug/gpu-session-monitor demo
