#!/usr/bin/env bash
# Measures on this machine; prints ratios of runs side by side, asserts nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

need_rust
say "building"
cargo build --quiet --release -p gpu-session-monitor -p nvml-sim
cargo bench -p gpu-session-monitor --bench collect
