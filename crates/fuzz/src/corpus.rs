//! The inputs that every run begins with.

use crate::Target;
use std::path::{Path, PathBuf};

/// A folder of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join(path)
}

/// A file of the repository.
pub fn file(path: &str) -> Vec<u8> {
    let path = repository(path);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Names of the captures in the test data, in order.
pub fn captures() -> Vec<String> {
    names(&repository("testdata/captures"))
}

/// What is kept for a target: its seeds, then the files of its folder, by name.
pub fn of(target: &Target) -> Vec<Vec<u8>> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus")).join(target.name);
    let mut inputs = (target.seeds)();
    if folder.is_dir() {
        inputs.extend(names(&folder).iter().map(|name| std::fs::read(folder.join(name)).unwrap()));
    }
    assert!(!inputs.is_empty(), "{}: nothing to begin with", target.name);
    inputs
}

/// Writes what is kept for a target to a folder, for libFuzzer.
pub fn write(target: &Target, folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    of(target)
        .iter()
        .enumerate()
        .try_for_each(|(n, input)| std::fs::write(folder.join(format!("kept-{n:03}")), input))
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
