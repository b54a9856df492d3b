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

if [ ! -e "$folder/done" ]; then
    [ "$(id -u)" = 0 ] || die "only root can make a Debian to test the package in: sudo make test"
    need debootstrap debootstrap
    say "making a clean $release (once; some minutes)"
    rm -rf "$folder" && mkdir -p "$folder"
    log=$folder/log
    debootstrap --variant=minbase --include=adduser "$release" "$folder/root" >"$log" 2>&1 ||
        die "debootstrap failed: $(tail -n 3 "$log")"
    # What a test copies and does not need.
    rm -rf "$folder"/root/var/cache/apt/* "$folder"/root/var/lib/apt/lists/*
    touch "$folder/done"
fi
ln -sfn "$folder/root" "$1/debian"
