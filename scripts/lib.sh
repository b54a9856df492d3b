# shellcheck shell=bash
# Shared by the scripts: needs and their remedies.

say() { printf '==> %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# Installs Debian packages whose command is missing: need COMMAND PACKAGE…
need() {
    local command=$1
    shift
    command -v "$command" >/dev/null 2>&1 && return
    command -v apt-get >/dev/null 2>&1 || die "$command is missing; install it (Debian: $*)"
    [ "$(id -u)" = 0 ] || die "$command is missing; install it: sudo apt-get install -y $*"
    say "installing $*"
    { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@"; } \
        >/dev/null || die "apt-get install $* failed"
    command -v "$command" >/dev/null 2>&1 || die "$command is still missing after apt-get install $*"
}

need_rust() {
    command -v cargo >/dev/null 2>&1 || die "cargo is missing; install Rust from https://rustup.rs"
    need cc gcc libc6-dev
}

# PATH of the commands of Debian packages that are unpacked in a folder: deb_path FOLDER
deb_path() { printf '%s' "$1/usr/bin:$1/usr/sbin:$1/bin:$1/sbin"; }

# Unpacks a Debian package into $tools/deb unless the command is there already: unpacked COMMAND PACKAGE
unpacked() {
    command -v "$1" >/dev/null 2>&1 || unpack "$1" "$2"
}

unpack() {
    command -v apt-get >/dev/null 2>&1 || die "$1 is missing; install it"
    say "fetching $2"
    local folder
    folder=$(mktemp -d)
    if ! (cd "$folder" && apt-get -qq download "$2" 2>/dev/null); then
        [ "$(id -u)" = 0 ] || die "$1 is missing and no package list is here; run: sudo apt-get update"
        apt-get -qq update >/dev/null
        (cd "$folder" && apt-get -qq -o APT::Sandbox::User=root download "$2" 2>/dev/null) || die "apt-get download $2 failed"
    fi
    dpkg-deb -x "$folder"/*.deb "${tools:?}/deb"
    rm -rf "$folder"
    command -v "$1" >/dev/null 2>&1 || die "the package $2 has no $1"
    runs "$1"
}

# Dies if a library is missing that the command needs: its package comes without those it depends on.
runs() {
    local missing
    # ldd fails on what needs no library at all.
    missing=$({ ldd "$(command -v "$1")" 2>/dev/null || true; } | awk '/not found/ { print $1 }' | xargs)
    [ -z "$missing" ] || die "$1 needs $missing; install the package that has it (Debian, for runc: libseccomp2)"
}

# Node.js of the page's tools: the machine's where it is new enough, else the one that is unpacked into target/test-tools.
need_node() {
    PATH=$PWD/target/test-tools/node/bin:$PATH
    node_is_new && return
    need python3 python3
    say "fetching Node.js"
    rm -rf target/test-tools/node
    python3 scripts/fetch-node.py web/node.txt target/test-tools/node ||
        die "Node.js 20 or newer could not be fetched; install it (https://nodejs.org)"
    node_is_new || die "what was fetched is no Node.js 20: remove target/test-tools/node and try again"
}

node_is_new() {
    command -v npm >/dev/null 2>&1 && [ "$(node -p 'process.versions.node.split(".")[0]' 2>/dev/null)" -ge 20 ]
}
