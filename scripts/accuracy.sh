#!/usr/bin/env bash
# Plays cases whose truth is known through the program and through others, and writes docs/accuracy.md. Time is simulated
# for ours; others take some 15 minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
. scripts/peers.sh

[ "$(id -u)" = 0 ] || die "this needs root, for processes of other users; run: sudo make accuracy"
need_rust
install_peers
say "building"
cargo build --quiet --workspace
cargo bench --quiet --profile dev -p gpu-session-monitor --bench accuracy
