#!/usr/bin/env bash
# Fuzzes every target under libFuzzer, one after the other: FUZZ_SECONDS each (600), FUZZ_TARGET for one alone. What is
# found stays in target/fuzz: inputs that reach something new, and in TARGET.found those that break a promise.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

need_rust
need g++ g++

seconds=${FUZZ_SECONDS:-600}
[[ $seconds =~ ^[1-9][0-9]*$ ]] || die "FUZZ_SECONDS=$seconds: a number of seconds is needed, as in FUZZ_SECONDS=600"
target=${CARGO_TARGET_DIR:-$PWD/target}
folder=$target/fuzz

# A Rust program does not end where nobody reads its socket, but libFuzzer's main is none of Rust's.
trap '' PIPE

# What an error was made of is not asked for.
export RUST_LIB_BACKTRACE=0

# As the tests are built, with every check that they have; only our own crates are made anew.
say "build"
RUSTC_WORKSPACE_WRAPPER=$PWD/scripts/rustc-instrumented.sh \
    cargo build --quiet --locked --package gpu-session-fuzz --features libfuzzer --bin fuzz
program=$target/debug/fuzz

names=$(sed -n '/^short! {/,/^}/s/.*"\(.*\)"$/\1/p' crates/fuzz/tests/short.rs)
if [ -n "${FUZZ_TARGET:-}" ]; then
    grep -qx -- "$FUZZ_TARGET" <<<"$names" || die "FUZZ_TARGET=$FUZZ_TARGET is no target: $(xargs <<<"$names")"
    names=$FUZZ_TARGET
fi

failed=()
for name in $names; do
    say "$name: $seconds s"
    mkdir -p "$folder/$name" "$folder/$name.found"
    # What the code under test warns of is not shown. Memory and time of one input are bounded.
    FUZZ_TARGET=$name FUZZ_SEEDS=$folder/$name nice "$program" "$folder/$name" -max_total_time="$seconds" \
        -artifact_prefix="$folder/$name.found/" -rss_limit_mb=2048 -timeout=60 -max_len=65536 -close_fd_mask=2 \
        -print_final_stats=1 >"$folder/$name.log" 2>&1 || failed+=("$name")
    grep -E '^(stat::number_of_executed_units|stat::new_units_added|SUMMARY|#[0-9]+.*DONE)' "$folder/$name.log" || true
done

[ ${#failed[@]} = 0 ] || die "broken: ${failed[*]}; inputs and logs are in $folder (docs/fuzzing.md says what to do with them)"
say "nothing found"
