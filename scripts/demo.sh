#!/usr/bin/env bash
# Builds the program and the simulated driver, and runs the demo; beside it a Prometheus with the rules, where there is
# one or Debian's package can be fetched. DEMO_PROGRAM is a program that is built already.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

tools=$PWD/target/test-tools
PATH=$PATH:$(deb_path "$tools/deb")

# The first port from this one on at which nobody answers.
free_port() {
    local port=$1
    while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
    echo "$port"
}

# Begins to scrape the port, in the folder.
start_prometheus() {
    local target=$1 port
    # An hour of the rules is 15 seconds here, so that an alert is soon there to be seen.
    sed -E 's/3600 \*/15 */; s/^( *)for: .*/\1for: 0s/' deploy/prometheus/gpu-session-monitoring.rules.yaml >"$folder/rules.yaml"
    cat >"$folder/prometheus.yml" <<END
global: { scrape_interval: 5s, evaluation_interval: 5s }
rule_files: [rules.yaml]
scrape_configs:
  - job_name: gpu-session-monitor
    honor_labels: true
    static_configs: [{ targets: ["127.0.0.1:$target"] }]
END
    port=$(free_port 9090)
    prometheus --config.file="$folder/prometheus.yml" --storage.tsdb.path="$folder/tsdb" \
        --web.listen-address="127.0.0.1:$port" --log.level=error &
    prometheus=$!
    say "Prometheus: http://127.0.0.1:$port/graph?g0.expr=gpu_session_users&g0.tab=1"
    say "its alerts, for which an hour is 15 seconds here: http://127.0.0.1:$port/alerts"
    start_page "$port"
}

# Begins to serve the page of all nodes that the Prometheus knows.
start_page() {
    local listen
    listen=127.0.0.1:$(free_port 9837)
    "$DEMO_PROGRAM" web --prometheus "http://127.0.0.1:$1" --listen "$listen" 2>/dev/null &
    page=$!
    say "the page of a cluster, which has one node here: http://$listen/"
}

# shellcheck disable=SC2317  # at the end
clean_up() {
    local one
    for one in $page $prometheus; do
        kill "$one" 2>/dev/null || true
        wait "$one" 2>/dev/null || true
    done
    rm -rf "$folder"
}

if [ -z "${DEMO_PROGRAM:-}" ]; then
    need_rust
    say "building (a first build takes a few minutes)"
    cargo build -p gpu-session-monitor -p nvml-sim
    DEMO_PROGRAM=${CARGO_TARGET_DIR:-target}/debug/gpu-session-monitor
fi
folder=$(mktemp -d) prometheus='' page=''
trap clean_up EXIT
listen=$(free_port 9836)
if (mkdir -p "$tools/deb" && unpacked prometheus prometheus); then
    start_prometheus "$listen"
else
    say "there is no Prometheus, so the demo runs without: install one, and run it again"
fi
# Not in the foreground, where the shell would let a signal wait until it has ended.
"$DEMO_PROGRAM" demo --listen "127.0.0.1:$listen" &
demo=$!
# Ctrl-C reaches the demo by itself; a second signal would end it at once.
trap : INT
trap 'kill "$demo" 2>/dev/null || true' TERM
code=0
wait "$demo" || code=$?
# A signal ends the waiting, not the demo; 127: it has been waited for.
while [ "$code" -gt 128 ]; do
    ended=0
    wait "$demo" 2>/dev/null || ended=$?
    [ "$ended" != 127 ] || break
    code=$ended
done
exit "$code"
