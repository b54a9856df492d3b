#!/usr/bin/env bash
# Writes the manifest of the kubectl plugin for krew to standard output: krew.sh URL ARCHIVE...
#
# URL is where the archives are put, https://host/path without their names; an archive of each architecture makes a platform.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

template=$(dirname "$0")/../packaging/krew/gpu-sessions.yaml
(($# > 1)) || die "usage: krew.sh URL ARCHIVE..., with the archives of one release"
url=${1%/}
shift
[[ $url =~ ^https://[A-Za-z0-9._~:/%-]+$ ]] || die "$url: krew fetches from an https:// URL of letters, digits and ._~:/%-"
version=
for archive; do
    name=$(basename "$archive")
    [[ $name =~ ^gpu-session-monitor-(.+)-linux-([a-z0-9]+)\.tar\.gz$ ]] ||
        die "$archive: not named gpu-session-monitor-VERSION-linux-ARCHITECTURE.tar.gz"
    [ "${version:=${BASH_REMATCH[1]}}" = "${BASH_REMATCH[1]}" ] || die "$archive: not of version $version, as the first is"
done
sed -e '/^  platforms:$/q' -e "s/@VERSION@/$version/" "$template" | grep -v '^#'
for archive; do
    architecture=$(basename "$archive" .tar.gz)
    sum=$(sha256sum "$archive" | cut -d' ' -f1)
    sed -e '1,/^  platforms:$/d' -e "s/@VERSION@/$version/g; s/@ARCHITECTURE@/${architecture##*-}/g; s/@SHA256@/$sum/g" \
        -e "s|@URL@|$url|g" "$template"
done
