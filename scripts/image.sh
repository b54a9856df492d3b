#!/usr/bin/env bash
# Makes the container image from nothing but the program and the libraries that it needs, without a registry:
# image.sh PROGRAM ARCHIVE
#
# ARCHIVE is an OCI archive, which `ctr images import`, `podman load`, `docker load` (25 or later) and `skopeo copy oci-archive:` take.
# The same program and libraries make the same bytes.
set -euo pipefail
program=$(realpath "$1")
mkdir -p "$(dirname "$2")"
archive=$(realpath -m "$2")
cd "$(dirname "$0")/.."
. scripts/lib.sh

PATH=$PATH:$(deb_path "$PWD/target/test-tools/deb")
need umoci umoci
need python3 python3
need_rust
authorities=/usr/share/ca-certificates/mozilla
[ -d "$authorities" ] || need update-ca-certificates ca-certificates
# Whoever makes it: the same modes.
umask 022

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
revision=${GPU_SESSION_MONITOR_REVISION:-$(git rev-parse HEAD 2>/dev/null || echo unknown)}
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
name=localhost/gpu-session-monitor
created=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
case $(uname -m) in
x86_64) architecture=amd64 ;;
aarch64) architecture=arm64 ;;
*) die "no image is made on $(uname -m)" ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The file and its licence go where the package has them: library FILE
library() {
    local file=$1 package
    install -D -m 0755 "$(realpath "$file")" "$work/base$(realpath "$(dirname "$file")")/$(basename "$file")"
    # dpkg knows it below /lib or below /usr/lib.
    package=$({ dpkg-query --search "$file" "$(realpath "$file")" 2>/dev/null || true; } | head -n 1 | cut -d : -f 1)
    [ -z "$package" ] || install -D -m 0644 "/usr/share/doc/$package/copyright" "$work/base/usr/share/doc/$package/copyright"
}

base() {
    local needed libc file
    needed=$(ldd "$program" | grep -o '/[^ ]*')
    libc=$(dirname "$(grep '/libc\.so' <<<"$needed")")
    for file in $needed; do
        library "$file"
    done
    # What NVIDIA's library needs: it is loaded into the program, and comes from the node.
    for file in libpthread.so.0 libdl.so.2 librt.so.1 libm.so.6; do
        library "$libc/$file"
    done
    mkdir -p "$work/base/etc/ssl/certs" "$work/base/usr/"{lib,lib64} "$work/base/"{dev,proc,sys,run,tmp,var/lib}
    chmod 1777 "$work/base/tmp"
    ln -s usr/lib "$work/base/lib"
    ln -s usr/lib64 "$work/base/lib64"
    # Mozilla's, and none that this machine trusts beside them.
    LC_ALL=C cat "$authorities"/*.crt >"$work/base/etc/ssl/certs/ca-certificates.crt"
    printf 'root:x:0:0:root:/:/nonexistent\nnonroot:x:65532:65532:nonroot:/:/nonexistent\n' >"$work/base/etc/passwd"
    printf 'root:x:0:\nnonroot:x:65532:\n' >"$work/base/etc/group"
    printf 'passwd: files\ngroup: files\nhosts: files dns\n' >"$work/base/etc/nsswitch.conf"
}

program() {
    install -D -m 0755 "$program" "$work/program/usr/bin/gpu-session-monitor"
    install -D -m 0644 LICENSE "$work/program/usr/share/doc/gpu-session-monitor/LICENSE"
    python3 scripts/third-party.py "$work/program/usr/share/doc/gpu-session-monitor/THIRD-PARTY"
}

# A folder as a layer that says nothing of when, where and by whom it was made: layer NAME
layer() {
    tar --create --file "$work/$1.tar" --directory "$work/$1" --sort=name --mtime="@$SOURCE_DATE_EPOCH" \
        --owner=0 --group=0 --numeric-owner --format=gnu .
    umoci raw add-layer --image "$work/image:$version" --history.created "$created" \
        --history.created_by "scripts/image.sh: $1" "$work/$1.tar"
}

base
program
umoci init --layout "$work/image"
umoci new --image "$work/image:$version"
# What changes seldom is fetched seldom.
layer base
layer program
label=org.opencontainers.image
umoci config --no-history --image "$work/image:$version" \
    --created "$created" --os linux --architecture "$architecture" \
    --config.entrypoint /usr/bin/gpu-session-monitor --config.user 65532:65532 --config.workingdir / \
    --config.label "$label.title=gpu-session-monitor" \
    --config.label "$label.description=Who uses which GPU and MIG instance, measured, for Prometheus" \
    --config.label "$label.version=$version" --config.label "$label.revision=$revision" \
    --config.label "$label.licenses=Apache-2.0" \
    --config.label "$label.source=https://github.com/gpu-session-monitoring/gpu-session-monitoring"
umoci gc --layout "$work/image"
# The name under which containerd keeps it.
sed -i "s|\"$label.ref.name\":|\"io.containerd.image.name\":\"$name:$version\",&|" "$work/image/index.json"
tar --create --file "$archive" --directory "$work/image" --sort=name --mtime="@$SOURCE_DATE_EPOCH" \
    --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX --format=gnu .
say "made $archive: $name:$version, $(du --apparent-size -h "$archive" | cut -f 1), sha256 $(sha256sum "$archive" | head -c 64)"
