#!/usr/bin/env bash
# Builds Kubernetes' own servers and helmfile from their Go modules, and links them into a folder of tools:
# setup-cluster.sh TOOLS
#
# That takes some ten minutes on two cores, so what is built stays outside the checkout, for the next one.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

tools=$1
cache=${XDG_CACHE_HOME:-$HOME/.cache}/gpu-session-monitoring

# A Go that is new enough, which PyPI has where the machine has none.
need_go() {
    local wanted found
    wanted=$(sed -n 's/^go //p' tests/cluster/helmfile/go.mod)
    found=$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null | sed 's/^go//') || found=
    [ -n "$found" ] && [ "$(printf '%s\n' "$wanted" "$found" | sort -V | head -n 1)" = "$wanted" ] && return
    say "fetching Go"
    "$tools/bin/python" -m pip install --quiet --disable-pip-version-check -r tests/cluster/requirements.txt ||
        die "Go $wanted or later is missing; install it from https://go.dev/dl"
    PATH=$tools/bin:$PATH
}

# Builds the tools of a module, with these flags of the linker: built MODULE LDFLAGS
built() {
    local module=tests/cluster/$1 folder
    folder=$cache/$1-$(cat "$module/go.mod" "$module/go.sum" | sha256sum | head -c 16)
    # Two checkouts may be set up at once.
    mkdir -p "$cache"
    exec 9>"$folder.lock"
    flock 9
    if [ ! -e "$folder/done" ]; then
        need_go
        say "building $1 (once; some minutes)"
        rm -rf "$folder" && mkdir -p "$folder"
        (cd "$module" && CGO_ENABLED=0 GOFLAGS=-mod=readonly GOTOOLCHAIN=local \
            go build -trimpath -ldflags "-s -w $2" -o "$folder/" tool) || die "building $1 failed"
        touch "$folder/done"
    fi
    find "$folder" -type f -perm -u+x -exec ln -sfn -t "$tools/bin" {} +
}

# The version of a module in a go.mod: version_of MODULE FILE
version_of() { awk -v module="$1" '$1 == module && $2 ~ /^v/ { print $2 }' "$2"; }

version=$(version_of k8s.io/kubernetes tests/cluster/kubernetes/go.mod)
minor=${version#v1.}
of=k8s.io/component-base/version
built kubernetes "-X $of.gitVersion=$version -X $of.gitMajor=1 -X $of.gitMinor=${minor%%.*}"
version=$(version_of github.com/helmfile/helmfile tests/cluster/helmfile/go.mod)
built helmfile "-X go.szostok.io/version.version=${version#v}"
