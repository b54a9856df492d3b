//! The agent's own memory through its last life, which is a quarter of the day: sessions come and go, it must not grow.

use std::fmt::Write as _;
use std::path::Path;

/// Samples between two looks.
const EVERY: u32 = 12;
/// How much more the second half may have at most than the first, KiB: what allocators keep varies with how many are
/// there at once. Some 5 000 sessions end in the last life of a whole day: half a KiB left of each would be more.
const MORE_KIB: u64 = 2048;

/// What one life used, as a file that the next life writes anew.
#[derive(Default)]
pub(crate) struct Watched {
    samples: u32,
    text: String,
}

impl Watched {
    /// Takes note of what this process has now.
    pub(crate) fn look(&mut self, folder: &Path) {
        if self.samples.is_multiple_of(EVERY) {
            let _ = writeln!(self.text, "{}", own_kib());
            std::fs::write(folder.join("memory"), &self.text).unwrap();
        }
        self.samples += 1;
    }
}

/// Resident memory that is no file's, KiB.
fn own_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("RssAnon");
    line.trim().strip_suffix(" kB").expect("kB").parse().unwrap()
}

/// Holds the second half of the last life against the first, of which the first third is not counted: what is kept for
/// a while, such as processes seen lately, fills up in it.
pub(crate) fn is_flat(folder: &Path) {
    let text = std::fs::read_to_string(folder.join("memory")).unwrap();
    let all: Vec<u64> = text.lines().map(|line| line.parse().unwrap()).collect();
    assert!(all.len() >= 12, "the last life is too short to tell: {} looks", all.len());
    let most = |range: &[u64]| range.iter().copied().max().unwrap_or(0);
    let first = most(&all[all.len() / 6..all.len() / 2]);
    let second = most(&all[all.len() / 2..]);
    println!(
        "the last life's own memory in {} looks: {first} KiB at most in its first half, {second} KiB in its second",
        all.len()
    );
    assert!(second <= first + MORE_KIB, "memory grows: {all:?}");
}
