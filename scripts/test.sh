#!/usr/bin/env bash
# Every test: set-up, formatting, lints, dependencies, then the test suite. Ends with a count.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

took=

# Runs a stage and says how long it took.
stage() {
    local name=$1 begin=$SECONDS
    shift
    say "$name"
    "$@" || die "$name failed ($took$name: $((SECONDS - begin)) s)"
    say "$name: $((SECONDS - begin)) s"
    took+="$name: $((SECONDS - begin)) s, "
}

# A test that hangs is a failure with a name: the log's last lines tell which.
tests() {
    timeout --foreground --kill-after=10s 50m cargo test --workspace --no-fail-fast 2>&1 | tee target/test-tools/tests.log
}

# The page, as it is committed and as it is built anew; its tests are counted too.
page() {
    scripts/page-check.sh 2>&1 | tee target/test-tools/page.log
}

stage "set-up" scripts/setup.sh
need_node
PATH=$PATH:$(deb_path "$PWD/target/test-tools/deb"):$PWD/target/test-tools/bin
export PATH
stage "fetch" cargo fetch --quiet --locked
stage "formatting" cargo fmt --all --check
stage "scripts" shellcheck --external-sources ./*.sh deploy/*.sh scripts/*.sh .ci/run packaging/debian/*.{postinst,prerm,postrm}
stage "lints" cargo clippy --quiet --workspace --all-targets -- -D warnings
stage "dependencies" cargo deny --offline --log-level error check bans licenses sources
stage "page" page
# The tests run the program and the simulated driver as files: both must be there first.
stage "build" cargo build --workspace
stage "tests" tests

say "${took%, }"
awk '/^test result:/ { passed += $4; failed += $6; ignored += $8 }
     /^# pass / { passed += $3 }
     /^# (fail|cancelled) / { failed += $3 }
     /^# (skipped|todo) / { ignored += $3 }
     END {
        if (ignored) { print ignored " tests are ignored: none may be"; exit 1 }
        printf "%d passed, %d failed\n", passed, failed
        exit failed > 0 || passed == 0
     }' target/test-tools/page.log target/test-tools/tests.log
