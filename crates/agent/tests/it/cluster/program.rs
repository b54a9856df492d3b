//! The program's image for the cluster's nodes, made of the program that the tests run.

use crate::containers::{Containerd, image};
use crate::node::{driver, program, workspace};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The image's repository; the chart adds its version as the tag.
pub(crate) const REPOSITORY: &str = "localhost/gpu-session-monitor";

/// Makes the image, and gives it to the nodes: the program and the libraries that it needs, nothing else.
pub(super) fn import(containerd: &Containerd, folder: &Path) {
    let root = tempfile::tempdir_in(folder).unwrap();
    let bin = root.path().join("usr/bin");
    std::fs::create_dir_all(&bin).unwrap();
    let stripped = bin.join("gpu-session-monitor");
    let strip = Command::new("strip").arg("-o").arg(&stripped).arg(program()).output();
    let strip = strip.unwrap_or_else(|e| panic!("strip: {e}; install binutils"));
    assert!(strip.status.success(), "strip: {}", String::from_utf8_lossy(&strip.stderr));
    // Those of the driver, too: it comes into the container without them.
    let libraries: BTreeSet<PathBuf> = [stripped, driver()].iter().flat_map(|file| libraries(file)).collect();
    for library in libraries {
        let inside = root.path().join(library.strip_prefix("/").unwrap());
        std::fs::create_dir_all(inside.parent().unwrap()).unwrap();
        std::fs::copy(&library, inside).unwrap_or_else(|e| panic!("{}: {e}", library.display()));
    }
    let archive = folder.join("program.tar");
    let tag = format!("{REPOSITORY}:{}", version());
    image::pack(&archive, root.path(), &json!({ "Entrypoint": ["/usr/bin/gpu-session-monitor"] }), &[&tag]);
    containerd.import_archive(&archive, &[&tag]);
    std::fs::remove_file(archive).unwrap();
}

/// The version of the program that the chart installs.
fn version() -> String {
    let file = workspace().join("charts/gpu-session-monitoring/Chart.yaml");
    let chart: Value = serde_saphyr::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    chart["appVersion"].as_str().unwrap().to_owned()
}

/// The files of the libraries that a program or library is linked with.
fn libraries(file: &Path) -> Vec<PathBuf> {
    let said = Command::new("ldd").arg(file).output().unwrap_or_else(|e| panic!("ldd: {e}"));
    let said = String::from_utf8(said.stdout).unwrap();
    // `libc.so.6 => /lib/libc.so.6 (0x…)`, and the loader: `/lib64/ld-linux-x86-64.so.2 (0x…)`.
    let words = said.split_whitespace().filter(|word| word.starts_with('/'));
    words.map(PathBuf::from).collect()
}
