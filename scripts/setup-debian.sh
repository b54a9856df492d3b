#!/usr/bin/env bash
# Makes a clean Debian for the tests of the package, of the same release as this machine, and links it into a folder of
# tools: setup-debian.sh TOOLS
#
# That takes minutes, so what is made stays outside the checkout, for the next one.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

release=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
[ -n "$release" ] || die "/etc/os-release names no release; the package is tested on Debian and Ubuntu"
folder=${XDG_CACHE_HOME:-$HOME/.cache}/gpu-session-monitoring/debian-$release-$(dpkg --print-architecture)

# Two checkouts may be set up at once.
mkdir -p "$(dirname "$folder")"
exec 9>"$folder.lock"
flock 9
if [ ! -e "$folder/done" ]; then
    [ "$(id -u)" = 0 ] || die "only root can make a Debian to test the package in: sudo make test"
    need debootstrap debootstrap
    say "making a clean $release (once; some minutes)"
    rm -rf --one-file-system "$folder" && mkdir -p "$folder"
    log=$folder/log
    # Where apt itself gets its packages, and by its proxy.
    # shellcheck disable=SC2016 # apt fills it in.
    mirror=$(apt-get indextargets --format '$(REPO_URI)' "Codename: $release" 2>/dev/null | head -n 1)
    eval "$(apt-config shell proxy Acquire::http::Proxy)"
    http_proxy=${proxy:-${http_proxy:-}} debootstrap --variant=minbase --include=adduser "$release" "$folder/root" \
        ${mirror:+"$mirror"} >"$log" 2>&1 ||
        die "debootstrap failed: $(tail -n 3 "$log")"
    # What a test copies and does not need.
    rm -rf "$folder"/root/var/cache/apt/* "$folder"/root/var/lib/apt/lists/*
    touch "$folder/done"
fi
ln -sfn "$folder/root" "$1/debian"
