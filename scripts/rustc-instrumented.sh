#!/usr/bin/env bash
# rustc, with the coverage that libFuzzer is led by, for crates of this workspace (RUSTC_WORKSPACE_WRAPPER): RUSTC ARGUMENT…
# All options are of the stable compiler.
set -euo pipefail

case " $* " in
*" --crate-name build_script_"*) exec "$@" ;;
esac
exec "$@" -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares
