//! The textfile for node_exporter.

use crate::files;
use anyhow::Context as _;
use gpu_session_core::metrics::{Metric, TABLE};
use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Of other textfiles no more than this is looked at.
const MAX_FOREIGN_BYTES: u64 = 8 << 20;

/// Checks that the folder of the textfile is there.
pub fn check_folder(textfile: &Path) -> anyhow::Result<()> {
    let folder = folder(textfile);
    if folder.is_dir() {
        return Ok(());
    }
    anyhow::bail!(
        "the textfile folder {0} is not there; make it with: mkdir -p {0} (node_exporter reads it with --collector.textfile.directory={0})",
        folder.display()
    )
}

/// Writes the textfile whole or not at all.
pub fn write(textfile: &Path, text: &str) -> anyhow::Result<()> {
    files::write_atomically(textfile, text.as_bytes(), 0o644)
        .with_context(|| format!("{}: not written, the file of before stays", textfile.display()))
}

/// Other `.prom` files in the folder that define metrics of our names: node_exporter would serve one of the
/// two and say nothing.
pub fn foreign(textfile: &Path) -> Vec<PathBuf> {
    let names: BTreeSet<Vec<u8>> =
        TABLE.iter().flat_map(Metric::series_names).map(String::into_bytes).collect();
    let Ok(entries) = std::fs::read_dir(folder(textfile)) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.file_name() != textfile.file_name() && path.extension().is_some_and(|e| e == "prom")
        })
        .filter(|path| path.is_file() && defines(path, &names))
        .collect();
    found.sort();
    found
}

/// What is said of such a file.
pub fn foreign_warning(other: &Path) -> String {
    format!(
        "{} defines metrics of the same names: node_exporter serves one of the two; remove it",
        other.display()
    )
}

/// The folder of the textfile.
pub fn folder(textfile: &Path) -> &Path {
    textfile.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn defines(path: &Path, names: &BTreeSet<Vec<u8>>) -> bool {
    let mut text = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(MAX_FOREIGN_BYTES).read_to_end(&mut text));
    read.is_ok() && text.split(|b| *b == b'\n').any(|line| names.contains(series_name(line)))
}

/// The metric's name on a line of samples; nothing on a comment.
fn series_name(line: &[u8]) -> &[u8] {
    let end = line.iter().position(|b| matches!(b, b'{' | b' ' | b'\t')).unwrap_or(line.len());
    &line[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_that_define_our_names_are_foreign() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("gpu_sessions.prom", "gpu_session_count{gpu=\"0\"} 1\n");
        write("old.prom", "# HELP gpu_session_count x\ngpu_session_count{gpu=\"0\"} 1\n");
        write("bare.prom", "gpu_total_sessions 3\n");
        write("other.prom", "gpu_session_counter 1\n# gpu_session_count\nnode_x 1\n");
        write("notes.txt", "gpu_session_count 1\n");
        let found = foreign(&dir.path().join("gpu_sessions.prom"));
        let names: Vec<_> = found.iter().filter_map(|path| path.file_name()?.to_str()).collect();
        assert_eq!(names, ["bare.prom", "old.prom"]);
    }

    #[test]
    fn a_missing_folder_is_named_with_its_remedy() {
        let error = check_folder(Path::new("/nonexistent/x/gpu.prom")).unwrap_err().to_string();
        assert!(error.contains("mkdir -p /nonexistent/x"), "{error}");
    }
}
