//! Damaged files, and a full disk.

use super::*;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::process::Command;

const PAGE: u64 = 4096;

/// A ledger that was closed, of some hundred pages.
fn filled(folder: &Path) -> Vec<u8> {
    let mut ledger = open(folder);
    ledger.write(&sessions((0..2000).map(|id| past(id, NOW, NOW + SECOND))), NOW).unwrap();
    drop(ledger);
    assert!(!folder.join("ledger.db-wal").exists(), "the log is in the file");
    std::fs::read(folder.join("ledger.db")).unwrap()
}

fn flip(file: &File, at: u64, count: usize) {
    let mut bytes = vec![0; count];
    file.read_exact_at(&mut bytes, at).unwrap();
    for byte in &mut bytes {
        *byte ^= 0xff;
    }
    file.write_all_at(&bytes, at).unwrap();
}

fn damage(folder: &Path, how: impl Fn(&File, u64)) {
    let file = File::options().read(true).write(true).open(folder.join("ledger.db")).unwrap();
    how(&file, file.metadata().unwrap().len());
}

/// Opens what is damaged: it is set aside, and the new one works.
fn assert_set_aside(folder: &Path, name: &str) {
    let before = std::fs::read(folder.join("ledger.db")).unwrap();
    let mut ledger = open(folder);
    assert_eq!(all(db(&ledger)), Vec::<String>::new(), "{name}");
    assert!(std::fs::read(folder.join("ledger.db.damaged")).unwrap() == before, "{name}: as it was");
    ledger.write(&sessions([past(1, NOW, NOW + SECOND)]), NOW).unwrap();
    drop(ledger);
    assert_eq!(slices(db(&open(folder))), ["0 1 1 1 0.5"]);
}

#[test]
fn a_damaged_file_is_set_aside_and_a_new_one_begun() {
    type How = fn(&File, u64);
    let kinds: [(&str, How); 9] = [
        ("a word", |file, _| {
            file.set_len(0).unwrap();
            file.write_all_at(b"x\n", 0).unwrap();
        }),
        ("text", |file, size| file.write_all_at(&b"no database ".repeat(size as usize / 12), 0).unwrap()),
        ("zeroes", |file, size| file.write_all_at(&vec![0; size as usize], 0).unwrap()),
        ("no header", |file, _| flip(file, 0, 16)),
        ("cut within the header", |file, _| file.set_len(100).unwrap()),
        ("cut in the middle", |file, size| file.set_len(size / 2 + 100).unwrap()),
        ("cut at the end", |file, size| file.set_len(size - PAGE).unwrap()),
        ("a page's head", |file, size| flip(file, size / PAGE / 2 * PAGE, 8)),
        ("bytes all over", |file, size| (1..size / PAGE).for_each(|page| flip(file, page * PAGE + 8, 32))),
    ];
    for (name, how) in kinds {
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path());
        damage(folder.path(), how);
        assert_set_aside(folder.path(), name);
    }
}

#[test]
fn a_file_without_all_its_tables_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path());
    let other = Connection::open(folder.path().join("ledger.db")).unwrap();
    other.execute_batch("DROP TABLE session_use").unwrap();
    drop(other);
    assert_set_aside(folder.path(), "");
}

#[test]
fn the_last_damaged_one_is_kept_with_its_log_and_no_earlier_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    filled(folder.path());
    damage(folder.path(), |file, _| flip(file, 0, 16));
    std::fs::write(file("ledger.db-wal"), "first log").unwrap();
    assert_set_aside(folder.path(), "");
    assert_eq!(std::fs::read(file("ledger.db.damaged-wal")).unwrap(), b"first log");
    damage(folder.path(), |file, _| flip(file, 0, 8));
    let second = std::fs::read(file("ledger.db")).unwrap();
    assert_set_aside(folder.path(), "");
    assert!(std::fs::read(file("ledger.db.damaged")).unwrap() == second);
    assert!(!file("ledger.db.damaged-wal").exists(), "it was the first one's");
}

#[test]
fn a_log_of_rubbish_does_not_harm_the_file() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path());
    std::fs::write(folder.path().join("ledger.db-wal"), "rubbish ".repeat(10_000)).unwrap();
    let ledger = open(folder.path());
    assert_eq!(one(db(&ledger), "SELECT count(*) FROM session"), "2000");
    assert!(!folder.path().join("ledger.db.damaged").exists());
}

#[test]
fn a_file_that_is_damaged_while_it_is_open_is_set_aside_and_the_rows_go_to_a_new_one() {
    type How = fn(&File, u64);
    let kinds: [(&str, How); 4] = [
        ("text", |file, size| file.write_all_at(&b"no database ".repeat(size as usize / 12), 0).unwrap()),
        ("zeroes", |file, size| file.write_all_at(&vec![0; size as usize], 0).unwrap()),
        ("cut", |file, _| file.set_len(3 * PAGE).unwrap()),
        ("heads", |file, size| (1..size / PAGE).for_each(|page| flip(file, page * PAGE, 8))),
    ];
    for (name, how) in kinds {
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path());
        let mut ledger = open(folder.path());
        damage(folder.path(), how);
        // Over all of it, so that it is not only in memory.
        let rows = sessions((0..200).map(|id| past(id * 10, NOW, NOW + 2 * SECOND)));
        ledger.write(&rows, NOW).unwrap_or_else(|e| panic!("{name}: {e:#}"));
        assert_eq!(one(db(&ledger), "SELECT count(*), sum(session_seconds) FROM session"), "200 400");
        assert!(folder.path().join("ledger.db.damaged").exists(), "{name}");
        drop(ledger);
        assert_eq!(one(db(&open(folder.path())), "SELECT count(*) FROM session"), "200");
    }
}

#[test]
fn who_reads_a_damaged_one_is_told_so_and_leaves_it() {
    use crate::report::By;
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path());
    damage(folder.path(), |file, size| (2..size / PAGE).for_each(|page| flip(file, page * PAGE, 8)));
    let before = std::fs::read(folder.path().join("ledger.db")).unwrap();
    let reader = Ledger::read(folder.path()).unwrap();
    let text = format!("{:#}", reader.usage(NOW, NOW + DAY, By::User).unwrap_err());
    assert!(text.contains("ledger.db cannot be read: it is damaged: "), "{text}");
    assert!(text.contains("`serve` sets it aside"), "{text}");
    damage(folder.path(), |file, _| flip(file, 0, 16));
    let text = format!("{:#}", Ledger::read(folder.path()).err().unwrap());
    assert!(text.contains("damaged") && text.contains("`serve` sets it aside"), "{text}");
    damage(folder.path(), |file, _| flip(file, 0, 16));
    assert!(std::fs::read(folder.path().join("ledger.db")).unwrap() == before);
}

#[test]
fn a_write_that_has_no_room_changes_nothing_and_the_next_one_works() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    ledger.write(&sessions([session(1, NOW, NOW + SECOND)]), NOW).unwrap();
    let before = all(db(&ledger));
    let pages = one(db(&ledger), "PRAGMA page_count");
    rows_of(db(&ledger), &format!("PRAGMA max_page_count = {pages}"));
    let mut rows = sessions((2..500).map(|id| past(id, NOW, NOW + SECOND)));
    rows.sessions.insert(0, session(1, NOW, NOW + 2 * SECOND));
    let text = format!("{:#}", ledger.write(&rows, NOW).unwrap_err());
    assert!(
        text.contains("ledger.db cannot be written, so nothing was: ") && text.contains("full"),
        "{text}"
    );
    assert!(text.contains("free space"), "{text}");
    assert_eq!(all(db(&ledger)), before);
    rows_of(db(&ledger), "PRAGMA max_page_count = 1000000");
    ledger.write(&rows, NOW).unwrap();
    assert_eq!(one(db(&ledger), "SELECT count(*), sum(session_seconds) FROM session"), "499 500");
    assert_eq!(one(db(&ledger), "SELECT sum(session_seconds) FROM session_use"), "500");
}

#[test]
fn a_disk_that_is_full_loses_no_row_that_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=1m tmpfs \"$FOLDER\"; exec \"$PROGRAM\" \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--map-root-user", "sh", "-euc", script, "sh"]);
    command.args(["--exact", "ledger::tests::damage::on_a_small_disk", "--nocapture"]);
    command.env("PROGRAM", std::env::current_exe().unwrap()).env("FOLDER", folder.path());
    let output = command.env("ON_A_SMALL_DISK", "1").output().expect("unshare of util-linux");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.contains("all as it should be"), "{output:?}");
}

/// The child of the test above, with a disk of its own.
#[test]
fn on_a_small_disk() {
    let (Some(_), Some(folder)) = (std::env::var_os("ON_A_SMALL_DISK"), std::env::var_os("FOLDER")) else {
        return;
    };
    let folder = Path::new(&folder);
    let mut ledger = open(folder);
    let batch = |step: u64| sessions((0..50).map(move |n| past(step * 50 + n, NOW, NOW + SECOND)));
    let mut step = 0;
    let text = loop {
        match ledger.write(&batch(step), NOW) {
            Ok(()) => step += 1,
            Err(e) => break format!("{e:#}"),
        }
        assert!(step < 1000, "it is never full");
    };
    assert!(step > 2 && text.contains("ledger.db cannot be written, so nothing was"), "{step}: {text}");
    let written = (step * 50).to_string();
    let check = |ledger: &Ledger, rows: &str| {
        let sums = one(db(ledger), "SELECT count(*), sum(session_seconds) FROM session");
        assert_eq!(sums, format!("{rows} {rows}"));
        assert_eq!(one(db(ledger), "SELECT count(*), sum(ended) FROM session_use"), sums);
        assert_eq!(one(db(ledger), "PRAGMA integrity_check"), "ok");
    };
    check(&ledger, &written);
    assert!(ledger.write(&batch(step), NOW).is_err(), "still full");
    check(&ledger, &written);
    // Another process ends and gives room, or the disk is made larger.
    let larger = Command::new("mount").args(["-o", "remount,size=8m"]).arg(folder).status().unwrap();
    assert!(larger.success());
    ledger.write(&batch(step), NOW).unwrap();
    let written = (step * 50 + 50).to_string();
    check(&ledger, &written);
    drop(ledger);
    check(&open(folder), &written);
    std::io::stderr().write_all(b"all as it should be\n").unwrap();
}
