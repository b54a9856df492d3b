#!/usr/bin/env bash
# Builds the page again, compares it with what is committed, and runs the tests that need no browser.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

built=$PWD/target/test-tools/page
scripts/page.sh "$built"
diff -r "$built" crates/agent/assets/page >/dev/null ||
    die "crates/agent/assets/page is not what web/ gives; run: make page"
need_node
cd web
node unit.mjs
