#!/usr/bin/env bash
# Holds the collector against a real card: docs/gpu-check.md. Options go to tools/gpu-check/check.py (--help).
# Exit 0: all within the tolerances. 1: not. 2: there is no GPU.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

command -v python3 >/dev/null 2>&1 || die "python3 is missing; install it"

build=yes
for argument in "$@"; do
    case $argument in
        -h | --help) exec python3 tools/gpu-check/check.py --help ;;
        --program | --program=*) build=no ;;
    esac
done

# Without a GPU there is nothing to build for: this ends here.
python3 tools/gpu-check/check.py --have-gpu "$@"
if [ "$build" = yes ] && command -v cargo >/dev/null 2>&1; then
    say "building"
    cargo build --quiet --release -p gpu-session-monitor
fi
exec python3 tools/gpu-check/check.py "$@"
