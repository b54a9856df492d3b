#!/usr/bin/env bash
# Builds the program for use, without the demo, with the list of its dependencies in it (cargo auditable), and without
# the names of folders of this machine. The same sources, compiler and folder make the same file; in another folder the linker orders it anew.
# It is target/release/gpu-session-monitor.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

need_rust
tools=$PWD/target/release-tools
[ -x "$tools/bin/cargo-auditable" ] || {
    say "building cargo-auditable (once)"
    cargo install --quiet --locked --root "$tools" cargo-auditable --version 0.7.7
}
PATH=$tools/bin:$PATH
registry=${CARGO_HOME:-$HOME/.cargo}
RUSTFLAGS="${RUSTFLAGS:-} --remap-path-prefix=$PWD=/source --remap-path-prefix=$registry=/cargo" \
    cargo auditable build --release --locked -p gpu-session-monitor --no-default-features "$@"
