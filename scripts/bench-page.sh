#!/usr/bin/env bash
# Measures the page that is built, in Chromium. Prints; judges nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

need chromium chromium
need_node
cd web
[ -d node_modules ] || npm ci --ignore-scripts --prefer-offline --no-audit --no-fund --loglevel=error
exec node bench.mjs
