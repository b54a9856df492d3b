#!/usr/bin/env bash
# Measures on this machine; prints ratios of runs side by side, asserts nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
. scripts/peers.sh

need_rust
install_peers
say "building"
cargo build --quiet --release -p nvml-sim
# The program as it is shipped: without the demo.
cargo bench -p gpu-session-monitor --no-default-features --bench collect --bench serve
