# shellcheck shell=bash
# Other tools that show who uses which GPU, to measure beside. One that cannot be had is left out, and the report says why.

tools=target/bench-tools
# The last one that the Rust toolchain of this project builds; what is newer asks for 1.96.
all_smi=0.22.0

from_pypi() {
    [ ! -x "$tools/venv/bin/$1" ] || return 0
    say "installing $1"
    python3 -m venv "$tools/venv" &&
        "$tools/venv/bin/pip" install --quiet --disable-pip-version-check -r tools/bench/requirements.txt
}

nvitop() { from_pypi nvitop-exporter; }

gpustat() { from_pypi gpustat; }

all_smi() {
    [ ! -x "$tools/bin/all-smi" ] || return 0
    # One of its dependencies compiles a protocol when it is built. What dies in here ends this function only.
    (need protoc protobuf-compiler libprotobuf-dev libdrm-dev) || return
    say "building all-smi $all_smi (once; at most 20 minutes)"
    CARGO_TARGET_DIR="$tools/build" timeout 1200 \
        cargo install --quiet --locked --root "$tools" --version "$all_smi" all-smi
}

# peer NAME FUNCTION WHY
peer() {
    rm -f "$tools/$1.absent"
    "$2" || printf '%s\n' "$3" >"$tools/$1.absent"
}

install_peers() {
    mkdir -p "$tools"
    peer nvitop-exporter nvitop "it could not be installed from PyPI"
    peer gpustat gpustat "it could not be installed from PyPI"
    peer all-smi all_smi "version $all_smi could not be built from crates.io within 20 minutes (it needs Debian's protobuf-compiler, libprotobuf-dev and libdrm-dev)"
}
