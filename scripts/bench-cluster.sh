#!/usr/bin/env bash
# Times every panel's and recipe's query on Prometheus and VictoriaMetrics, which hold six hours of CLUSTER_NODES (1 000) simulated
# nodes. It takes minutes, and for 1 000 nodes some 6 GB of the temporary folder.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

scripts/setup.sh
PATH=$PATH:$(deb_path "$PWD/target/test-tools/deb"):$PWD/target/test-tools/bin
export PATH CLUSTER_NODES="${CLUSTER_NODES:-1000}"
cargo build --quiet --workspace
cargo test --quiet -p gpu-session-monitor --test it -- --nocapture every_panel_and_recipe_is_answered_for_a_cluster_of_many_nodes
