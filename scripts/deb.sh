#!/usr/bin/env bash
# Makes the Debian package of a program that is built, with debhelper: deb.sh PROGRAM GENERATED FOLDER [VERSION]
#
# GENERATED is what `cargo xtask dist` wrote. VERSION is that of packaging/debian/changelog unless it is given.
set -euo pipefail
program=$(realpath "$1") generated=$(realpath "$2")
mkdir -p "$3"
folder=$(realpath "$3")
cd "$(dirname "$0")/.."
. scripts/lib.sh

need dh debhelper
need dpkg-shlibdeps dpkg-dev
need strip binutils
need python3 python3

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/tree
mkdir "$tree"
cp -r packaging/debian "$tree/debian"
cp -r README.md docs "$generated/man" "$generated/completions" "$tree"
cp "$program" "$tree/gpu-session-monitor"
python3 scripts/third-party.py "$tree/THIRD-PARTY"
cp packaging/systemd/gpu-session-monitor.service "$tree/debian"
# Named as debhelper looks for those that are not named as the package is.
for unit in packaging/systemd/gpu-session-monitor-collect.*; do
    cp "$unit" "$tree/debian/gpu-session-monitor.$(basename "$unit")"
done

version=${4:-}
if [ -z "$version" ]; then
    built=$("$program" --version | awk '{ print $2 }')
    version=$(sed -n '1s/.*(\(.*\)).*/\1/p' packaging/debian/changelog)
    [ "${version%-*}" = "$built" ] ||
        die "packaging/debian/changelog begins with $version, the program is $built: add an entry to the changelog"
fi
sed -i "1s/(.*)/($version)/" "$tree/debian/changelog"

# debhelper would ask for root where nobody says that it needs none.
export DEB_RULES_REQUIRES_ROOT=no
(cd "$tree" && debian/rules binary) >"$work/log" 2>&1 || { cat "$work/log" >&2; die "the package could not be made"; }
mv "$work"/*.deb "$folder"
