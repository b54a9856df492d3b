#!/usr/bin/env bash
# Measures on this machine; prints ratios of runs side by side, asserts nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

# Others that export who uses which GPU, to measure beside. One that cannot be had is left out, and the report says why.
tools=target/bench-tools
# The last one that the Rust toolchain of this project builds; what is newer asks for 1.96.
all_smi=0.22.0

nvitop() {
    [ ! -x "$tools/venv/bin/nvitop-exporter" ] || return 0
    say "installing nvitop-exporter"
    python3 -m venv "$tools/venv" &&
        "$tools/venv/bin/pip" install --quiet --disable-pip-version-check -r tools/bench/requirements.txt
}

all_smi() {
    [ ! -x "$tools/bin/all-smi" ] || return 0
    # One of its dependencies compiles a protocol when it is built. What dies in here ends this function only.
    (need protoc protobuf-compiler libprotobuf-dev libdrm-dev) || return
    say "building all-smi $all_smi (once; at most 20 minutes)"
    CARGO_TARGET_DIR="$tools/build" timeout 1200 \
        cargo install --quiet --locked --root "$tools" --version "$all_smi" all-smi
}

# peer NAME FUNCTION WHY
peer() {
    rm -f "$tools/$1.absent"
    "$2" || printf '%s\n' "$3" >"$tools/$1.absent"
}

need_rust
mkdir -p "$tools"
peer nvitop-exporter nvitop "it could not be installed from PyPI"
peer all-smi all_smi "version $all_smi could not be built from crates.io within 20 minutes (it needs Debian's protobuf-compiler, libprotobuf-dev and libdrm-dev)"
say "building"
cargo build --quiet --release -p nvml-sim
# The program as it is shipped: without the demo.
cargo bench -p gpu-session-monitor --no-default-features --bench collect --bench serve
