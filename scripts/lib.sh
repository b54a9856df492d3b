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
