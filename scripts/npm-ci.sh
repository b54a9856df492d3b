#!/usr/bin/env bash
# Puts the packages of a folder's lock file into another folder, unless they are there: npm-ci.sh FOLDER TARGET
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

folder=$1 target=$2
need_node
wanted=$(cat "$folder"/package{,-lock}.json)
if [ ! -e "$target/done" ] || [ "$(cat "$target"/package{,-lock}.json)" != "$wanted" ]; then
    say "fetching the packages of $folder"
    rm -rf "${target:?}" && mkdir -p "$target"
    cp "$folder"/package{,-lock}.json "$target/"
    # Nothing of a package runs at its installation.
    npm ci --ignore-scripts --prefer-offline --no-audit --no-fund --loglevel=error --prefix "$target" >/dev/null ||
        die "npm ci of $folder failed"
    touch "$target/done"
fi
