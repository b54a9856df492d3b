//! The image that all containers run: a static busybox, made here, so that nothing is fetched.

use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The sandboxes' image: it does nothing until it is killed. Named in containerd's configuration too.
pub(crate) const PAUSE: &str = "localhost/pause:1";
/// The containers' image: a shell and its tools.
pub(crate) const TOOLS: &str = "localhost/tools:1";

/// The tools that a container has, as links to busybox: what a process runs as is its name.
const LINKS: [&str; 9] = ["cat", "id", "ls", "mkdir", "rmdir", "sed", "sh", "sleep", "tail"];

/// Writes the image, in docker's archive format, to a file.
pub(super) fn write(archive: &Path) {
    let root = tempfile::tempdir().unwrap();
    let bin = root.path().join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::copy(busybox(), bin.join("busybox")).unwrap();
    for link in LINKS {
        std::os::unix::fs::symlink("busybox", bin.join(link)).unwrap();
    }
    let config = json!({ "Entrypoint": ["/bin/sleep", "2147483647"], "Env": ["PATH=/bin"] });
    pack(archive, root.path(), &config, &[PAUSE, TOOLS]);
}

/// Writes an image, in docker's archive format, of what lies in the folder `root`; `config` is what its containers run.
pub(crate) fn pack(archive: &Path, root: &Path, config: &serde_json::Value, tags: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let layer = folder.path().join("layer.tar");
    tar(&layer, root, &["."]);
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": config,
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", digest(&layer))] },
    });
    let manifest = json!([{ "Config": "config.json", "RepoTags": tags, "Layers": ["layer.tar"] }]);
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    std::fs::write(folder.path().join("manifest.json"), manifest.to_string()).unwrap();
    tar(archive, folder.path(), &["manifest.json", "config.json", "layer.tar"]);
}

/// A busybox that needs no library.
fn busybox() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|folder| folder.join("busybox")).find(|file| is_static(file));
    found.expect("no static busybox in PATH; `make test` fetches it (scripts/setup.sh)")
}

fn is_static(file: &Path) -> bool {
    if !file.exists() {
        return false;
    }
    let said = Command::new("ldd").arg(file).output().unwrap_or_else(|e| panic!("ldd: {e}"));
    let said = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
    said.contains("not a dynamic executable") || said.contains("statically linked")
}

fn tar(archive: &Path, folder: &Path, names: &[&str]) {
    let mut command = Command::new("tar");
    command.arg("-cf").arg(archive).arg("--owner=0").arg("--group=0").arg("-C").arg(folder).args(names);
    let run = command.output().unwrap_or_else(|e| panic!("tar: {e}; install it"));
    assert!(run.status.success(), "tar: {}", String::from_utf8_lossy(&run.stderr));
}

/// SHA-256 of a file, in hex digits.
fn digest(file: &Path) -> String {
    let run = Command::new("sha256sum").arg(file).output().unwrap_or_else(|e| panic!("sha256sum: {e}"));
    let text = String::from_utf8(run.stdout).unwrap();
    text.split_whitespace().next().expect("sha256sum answers").to_owned()
}
