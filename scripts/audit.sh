#!/usr/bin/env bash
# Known vulnerabilities of the dependencies. Needs the network: without a fetched database it fails.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

scripts/setup.sh
export PATH="$PATH:$PWD/target/test-tools/bin"
cargo deny fetch db || die "the advisory database could not be fetched: nothing is known, so this is no pass"
cargo deny check advisories
