#!/usr/bin/env bash
# Builds the web page from web/ into crates/agent/assets/page, or into the folder that is named, and says how large it is.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

folder=$(realpath -m "${1:-crates/agent/assets/page}")
need_node
cd web
# Scripts of packages are not run; what npm fetched before is taken from its cache.
npm ci --ignore-scripts --prefer-offline --no-audit --no-fund --loglevel=error
npx tsc
node build.mjs "$folder"
