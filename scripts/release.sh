#!/usr/bin/env bash
# Makes everything of a release, with checksums, in dist/: the program with its man pages and completions, the container
# image, the Debian package, the chart, and the list of dependencies (SBOM) that is in the program. Where RELEASE_URL names
# where the archives will be put (https://host/path), also the manifest of the kubectl plugin for krew, with a platform for
# each architecture whose archive of this version is in dist/.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

tools=$PWD/target/test-tools
need python3 python3
command -v helm >/dev/null 2>&1 || PATH=$PATH:$tools/bin
command -v helm >/dev/null 2>&1 || die "helm is missing; install it: https://helm.sh/docs/intro/install"

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
for file in charts/gpu-session-monitoring/Chart.yaml:"version: $version" \
    charts/gpu-session-monitoring/Chart.yaml:"appVersion: \"$version\"" packaging/debian/changelog:"($version-"; do
    grep -qF -- "${file#*:}" "${file%%:*}" || die "${file%%:*} is not of version $version; mend it"
done
grep -qF "## [$version]" CHANGELOG.md || die "CHANGELOG.md has no chapter of $version; write it"
changed=$(git status --porcelain)
[ -z "$changed" ] || die "the release would be named after a commit that it is not: commit or put aside $(wc -l <<<"$changed") changed files"
architecture=$(dpkg --print-architecture)
name=gpu-session-monitor-$version-linux-$architecture
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH

scripts/build.sh
program=${CARGO_TARGET_DIR:-target}/release/gpu-session-monitor
generated=target/package
cargo xtask dist "$generated"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
dist=$work/dist
mkdir "$dist" "$work/$name"
cp -r "$program" "$generated/man" "$generated/completions" LICENSE README.md README.ko.md CHANGELOG.md "$work/$name"
python3 scripts/third-party.py "$work/$name/THIRD-PARTY"
cp packaging/debian/config.yaml "$work/$name/config.yaml"
cp -r packaging/systemd "$work/$name"
tar --create --directory "$work" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
    --mode=u=rwX,go=rX "$name" | gzip -n >"$dist/$name.tar.gz"

objcopy --dump-section .dep-v0="$work/sbom" "$program" /dev/null
python3 -c 'import json, sys, zlib; print(json.dumps(json.loads(zlib.decompress(open(sys.argv[1], "rb").read())), indent=1))' \
    "$work/sbom" >"$dist/gpu-session-monitor-$version.sbom.json"
scripts/image.sh "$program" "$dist/gpu-session-monitor-$version-$architecture.tar"
scripts/deb.sh "$program" "$generated" "$dist"
helm package charts/gpu-session-monitoring --destination "$dist" >/dev/null
size=$(stat -c %s "$dist/gpu-session-monitor-$version-$architecture.tar")
((size < 40 << 20)) || die "the image has $((size >> 20)) MiB; 40 are allowed: see what has come into it"
if [ -n "${RELEASE_URL:-}" ]; then
    # The archive of another architecture, where it was put beside the last release, makes a platform of its own.
    for other in dist/gpu-session-monitor-"$version"-linux-*.tar.gz; do
        [ ! -e "$other" ] || [ -e "$dist/${other##*/}" ] || cp "$other" "$dist"
    done
    scripts/krew.sh "$RELEASE_URL" "$dist"/gpu-session-monitor-"$version"-linux-*.tar.gz >"$dist/gpu-sessions.yaml"
else
    say "no manifest for krew: RELEASE_URL says where the archives will be put"
fi
(cd "$dist" && sha256sum -- * >SHA256SUMS)
# The last release stays until this one is whole.
rm -rf dist
mv "$dist" dist
say "dist:"
cat dist/SHA256SUMS
