//! The ledger's file, damaged.

use super::capture::{monitor, recorded, replayed};
use super::is_message;
use crate::Target;
use gpu_session_core::ledger::{Rows, rows};
use gpu_session_monitor::ledger::{Asked, Ledger, Retention};
use gpu_session_monitor::report::By;
use gpu_session_sources::capture::Capture;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

pub(super) const TARGET: Target =
    Target { name: "ledger", cases: 40, words: &["\u{0}", "SQLite format 3\u{0}"], seeds, run };

const KEEP: Retention = Retention { age: Duration::from_secs(365 * 86_400), bytes: 64 << 20 };
const NOW_US: i64 = 1_800_000_000_000_000;

/// Rows of a capture, and a closed ledger that has them.
static WHOLE: LazyLock<(Rows, Vec<u8>)> = LazyLock::new(|| {
    let capture = Capture::parse(&recorded("h100-550-demo")).unwrap();
    let (state, _) = replayed(&monitor(true), &capture).unwrap();
    let rows = rows(&state, true);
    assert!(!rows.is_empty());
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(folder.path(), KEEP).unwrap();
    ledger.write(&rows, NOW_US).unwrap();
    drop(ledger);
    let file = std::fs::read(folder.path().join("ledger.db")).unwrap();
    (rows, file)
});

fn seeds() -> Vec<Vec<u8>> {
    // Nothing; the version of the tables; heads of pages; a length in a cell; and the schema's text.
    let change = |at: u32, bytes: &[u8]| {
        [&at.to_be_bytes()[1..], &[u8::try_from(bytes.len()).unwrap()], bytes].concat()
    };
    vec![
        Vec::new(),
        change(60, &[0, 0, 0, 2]),
        change(68, &[0]),
        [change(4096, &[0x0d, 0, 0, 0, 9]), change(8192, &[2])].concat(),
        change(12_288 + 4000, &[0xff; 16]),
        change(3_000, b"CREATE TRIGGER"),
        change(28, &[0, 0, 0, 1]),
    ]
}

/// Changes: three bytes the place, one the length, and the bytes that stand there instead.
fn changed(mut changes: &[u8]) -> Vec<u8> {
    let mut file = WHOLE.1.clone();
    while let Some(([high, middle, low, length], rest)) = changes.split_first_chunk() {
        let (bytes, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        let at = u32::from_be_bytes([0, *high, *middle, *low]) as usize % file.len();
        let end = (at + bytes.len()).min(file.len());
        file[at..end].copy_from_slice(&bytes[..end - at]);
        changes = rest;
    }
    file
}

fn run(bytes: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let file = changed(bytes);
    std::fs::write(&path, &file).unwrap();
    read_only(folder.path());
    assert!(std::fs::read(&path).unwrap() == file, "a reader changes nothing");
    match Ledger::open(folder.path(), KEEP) {
        Ok(mut ledger) => {
            let aside = folder.path().join("ledger.db.damaged");
            assert!(!aside.exists() || std::fs::read(aside).unwrap() == file, "as it was");
            questions(&ledger);
            // Damage that only a write meets sets the file aside, and the rows go to a new one.
            if let Err(problem) = ledger.write(&WHOLE.0, NOW_US) {
                told(&problem, folder.path());
            }
            questions(&ledger);
        }
        Err(problem) => {
            told(&problem, folder.path());
            assert!(std::fs::read(&path).unwrap() == file, "what is not ours is left alone");
        }
    }
}

fn read_only(folder: &Path) {
    match Ledger::read(folder) {
        Ok(ledger) => questions(&ledger),
        Err(problem) => told(&problem, folder),
    }
}

/// What is asked of it: answers or errors.
fn questions(ledger: &Ledger) {
    let asked = Asked { until_us: i64::MAX, limit: 100, ..Asked::default() };
    let sessions = ledger.sessions(&asked).map(|found| found.len());
    let allocations = ledger.allocations(&asked).map(|found| found.len());
    let sums =
        [By::User, By::Device, By::Pod].map(|by| ledger.usage(0, i64::MAX, by).map(|lines| lines.len()));
    for answer in [sessions, allocations].into_iter().chain(sums) {
        match answer {
            Ok(count) => assert!(count <= 10_000),
            Err(problem) => assert!(is_message(&format!("{problem:#}")), "{problem:#}"),
        }
    }
}

fn told(problem: &impl std::fmt::Display, folder: &Path) {
    let problem = format!("{problem:#}");
    let folder = folder.canonicalize().unwrap();
    assert!(problem.contains(&*folder.join("ledger.db").to_string_lossy()), "{problem}");
}
