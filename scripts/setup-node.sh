#!/usr/bin/env bash
# Puts Node.js packages where the tests find them, as a lock file has them: setup-node.sh TOOLS NAME FOLDER makes
# TOOLS/NAME/node_modules of FOLDER/package-lock.json. Node.js comes from PyPI where the machine has none.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

tools=$1 name=$2 folder=$3

oldest=18
# As the tests have it: what this machine has counts before.
PATH=$PATH:$tools/bin
if ! command -v node >/dev/null 2>&1 || ! command -v npm >/dev/null 2>&1; then
    say "fetching Node.js"
    "$tools/bin/python" -m pip install --quiet --disable-pip-version-check -r tests/node/requirements.txt ||
        die "Node.js is missing; install it: sudo apt-get install -y nodejs npm"
fi
version=$(node --version)
version=${version#v}
[ "${version%%.*}" -ge "$oldest" ] ||
    die "$(command -v node) is Node.js $version; the tests need $oldest or later: install a newer one, or take it out of PATH"

wanted=$(cat "$folder"/package{,-lock}.json)
if [ ! -e "$tools/$name/done" ] || [ "$(cat "$tools/$name"/package{,-lock}.json)" != "$wanted" ]; then
    say "fetching the packages of $folder"
    rm -rf "${tools:?}/$name" && mkdir -p "$tools/$name"
    cp "$folder"/package{,-lock}.json "$tools/$name/"
    # Nothing of a package runs at its installation.
    npm ci --silent --no-audit --no-fund --ignore-scripts --prefix "$tools/$name" || die "npm ci of $folder failed"
    touch "$tools/$name/done"
fi
