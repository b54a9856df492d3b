# Runs containerd for as long as standard input is open, then removes all that it and its pods have made:
# sh supervisor.sh FOLDER LOCK PREFIX ROOT
#
# A process of its own, so that this is done as well when the tests are killed. If it is itself killed, containerd
# ends with it, and the next one begins with what is left. FOLDER belongs to whoever holds LOCK. UIDs of the pods
# begin with PREFIX, or lie below ROOT, which tells them from those of a kubelet.
set -u
folder=$1 lock=$2 prefix=$3 root=$4

# Cgroups of the pods, the innermost first.
pods() {
    find /sys/fs/cgroup -depth -type d \( -path "*/kubepods/*pod$prefix*" -o -path "*$root" -o -path "*$root/*" \) 2>/dev/null
}

# Cgroups that pods lie in, of every hierarchy, the innermost first.
parents() {
    find /sys/fs/cgroup -maxdepth 3 -depth -type d \
        \( -path '*/kubepods' -o -path '*/kubepods/burstable' -o -path '*/kubepods/besteffort' \) 2>/dev/null
}

# A containerd of the folder, shims, which name its socket, and what runs a cluster. The pattern does not match itself.
daemons() { grep -laEs -- "$folder/[c](onfig.toml|ontainerd.sock|luster[0-9]*/)" /proc/[0-9]*/cmdline | cut -d / -f 3; }

clean() {
    kill -9 $(daemons) 2>/dev/null
    left=100
    while [ -n "$(pods)" ] && [ $left -gt 0 ]; do
        for cgroup in $(pods); do
            kill -9 $(cat "$cgroup/cgroup.procs" 2>/dev/null) 2>/dev/null
            rmdir "$cgroup" 2>/dev/null
        done
        left=$((left - 1))
        [ -z "$(pods)" ] || sleep 0.05
    done
    # Those that were there before are somebody else's.
    if [ -e "$folder/parents" ]; then
        for cgroup in $(parents); do
            grep -qx -- "$cgroup" "$folder/parents" || rmdir "$cgroup" 2>/dev/null
        done
    fi
    # That which was there before is somebody else's, even if it is empty.
    [ ! -e "$folder/run" ] || rmdir /run/containerd 2>/dev/null
    rm -rf --one-file-system "$folder"
}

# Whoever holds the lock removes its file: who has waited for one that is gone begins again with the one that is there.
while
    exec 9>"$lock"
    flock -w 900 9 || { echo "another run of the tests has held $lock for fifteen minutes: end that run" >&2; exit 1; }
    [ ! /proc/self/fd/9 -ef "$lock" ]
do :; done
trap 'rm -f "$lock"' EXIT
clean
mkdir -p "$folder/cni" || exit 1
parents >"$folder/parents"
# The snapshotter overlays where it can; else it copies, for a container of a build lacks that file system.
mkdir "$folder/lower" "$folder/upper" "$folder/work"
overlay="mount -t overlay overlay -o lowerdir=$folder/lower,upperdir=$folder/upper,workdir=$folder/work $folder/lower"
if unshare --mount sh -c "$overlay" 2>/dev/null; then snapshotter=overlayfs; else snapshotter=native; fi
cat >"$folder/config.toml" <<END
version = 2
root = "$folder/root"
state = "$folder/state"
[grpc]
  address = "$folder/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  disable_apparmor = true
  restrict_oom_score_adj = true
  sandbox_image = "localhost/pause:1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$folder/cni"
    conf_dir = "$folder/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "$snapshotter"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        Root = "$folder/runc"
        SystemdCgroup = false
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.nvidia]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.nvidia.options]
        Root = "$folder/runc"
        SystemdCgroup = false
END
mkdir /run/containerd 2>/dev/null && : >"$folder/run"
# Mounts of containers, and the sockets that shims have outside the folder, go with this namespace and its last process.
inside='mount -t tmpfs tmpfs /run/containerd && exec containerd --config "$1"'
setpriv --pdeathsig KILL unshare --mount sh -c "$inside" sh "$folder/config.toml" \
    </dev/null >"$folder/log" 2>&1 9>&- &
containerd=$!
until [ -S "$folder/containerd.sock" ]; do
    [ -e /proc/$containerd/exe ] || { echo "containerd has ended:" >&2; cat "$folder/log" >&2; clean; exit 1; }
    sleep 0.05
done
echo started
while read -r _; do :; done
kill -9 $containerd
wait $containerd 2>/dev/null
clean
