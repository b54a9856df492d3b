//! The file: how it is made, versions, other programs.

use super::super::fault::Fault;
use super::super::{file, schema};
use super::*;
use std::os::unix::fs::{PermissionsExt as _, symlink};

fn error(folder: &Path) -> String {
    format!("{:#}", Ledger::open(folder, KEEP).err().unwrap())
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_new_one_is_ours_alone_and_set_up() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    ledger.write(&sessions([past(1, NOW, NOW)]), NOW).unwrap();
    for name in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
        assert_eq!(mode(&folder.path().join(name)), 0o600, "{name}");
    }
    let pragmas = [
        ("application_id", "1198552396"),
        ("user_version", "1"),
        ("page_size", "4096"),
        ("auto_vacuum", "2"),
        ("journal_mode", "wal"),
        ("synchronous", "2"),
        ("wal_autocheckpoint", "256"),
        ("journal_size_limit", "1048576"),
        ("cache_size", "-256"),
        ("mmap_size", "0"),
        ("busy_timeout", "1000"),
        ("trusted_schema", "0"),
        ("temp_store", "2"),
    ];
    for (name, value) in pragmas {
        assert_eq!(one(db(&ledger), &format!("PRAGMA {name}")), value, "{name}");
    }
    drop(ledger);
    // One that others could read no longer can be.
    let path = folder.path().join("ledger.db");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    drop(open(folder.path()));
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn a_folder_behind_a_link_is_no_matter() {
    let folder = tempfile::tempdir().unwrap();
    let real = folder.path().join("real");
    std::fs::create_dir(&real).unwrap();
    symlink(&real, folder.path().join("link")).unwrap();
    drop(open(&folder.path().join("link")));
    assert!(real.join("ledger.db").is_file());
    Ledger::read(&folder.path().join("link")).unwrap();
}

#[test]
fn what_is_no_regular_file_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (path, victim) = (folder.path().join("ledger.db"), folder.path().join("victim"));
    symlink(&victim, &path).unwrap();
    assert!(error(folder.path()).contains("ledger.db: it is no regular file"), "{}", error(folder.path()));
    assert!(!victim.exists(), "a link is not followed");
    std::fs::write(&victim, "precious").unwrap();
    assert!(error(folder.path()).contains("no regular file"));
    assert!(format!("{:#}", Ledger::read(folder.path()).err().unwrap()).contains("no regular file"));
    assert_eq!(std::fs::read(&victim).unwrap(), b"precious");
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert!(error(folder.path()).contains("no regular file"));
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let text = error(Path::new("/nonexistent/state"));
    assert!(text.contains("ledger /nonexistent/state/ledger.db") && text.contains("No such file"), "{text}");
}

/// All files of the folder and what is in them, but for the index of the log, which readers make.
fn contents(folder: &Path) -> Vec<(std::ffi::OsString, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let files = entries.map(|entry| (entry.file_name(), std::fs::read(entry.path()).unwrap()));
    let mut files: Vec<_> = files
        .filter(|(name, bytes)| !name.to_string_lossy().ends_with("-shm") && !bytes.is_empty())
        .collect();
    files.sort();
    files
}

#[test]
fn one_of_a_later_version_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    ledger.write(&sessions([past(1, NOW, NOW)]), NOW).unwrap();
    db(&ledger).pragma_update(None, "user_version", 2).unwrap();
    // With its log, as a kill leaves it.
    let copy = tempfile::tempdir().unwrap();
    for (name, bytes) in contents(folder.path()) {
        std::fs::write(copy.path().join(name), bytes).unwrap();
    }
    for folder in [folder.path(), copy.path()] {
        let before = contents(folder);
        assert_eq!(before.len(), 2, "a file and its log");
        let text = error(folder);
        assert!(
            text.contains("ledger.db: it is of a later release (version 2 of its tables; this one knows 1)"),
            "{text}"
        );
        assert!(text.contains("move the file away"), "{text}");
        assert!(format!("{:#}", Ledger::read(folder).err().unwrap()).contains("later release"));
        assert_eq!(contents(folder), before);
    }
}

#[test]
fn another_programs_is_left_as_it_is() {
    for id in [0, 42] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        let other = Connection::open(&path).unwrap();
        other.pragma_update(None, "application_id", id).unwrap();
        other.execute_batch("CREATE TABLE precious (a); INSERT INTO precious VALUES (1)").unwrap();
        drop(other);
        let before = contents(folder.path());
        let text = error(folder.path());
        assert!(text.contains("another program's") && text.contains("--state-dir"), "{text}");
        assert!(format!("{:#}", Ledger::read(folder.path()).err().unwrap()).contains("another program's"));
        assert_eq!(contents(folder.path()), before);
    }
}

const FIRST: &str = "CREATE TABLE session (a INTEGER) STRICT; INSERT INTO session VALUES (1), (2);";
const SECOND_STEP: &str = "ALTER TABLE session ADD COLUMN b TEXT; UPDATE session SET b = 'b' || a;";
const THIRD: &str = "CREATE TABLE more (c); INSERT INTO more SELECT b FROM session;";

#[test]
fn an_older_one_takes_the_steps_that_it_lacks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let mut older = Connection::open(&path).unwrap();
    schema::migrate(&mut older, &[FIRST]).unwrap();
    assert_eq!(schema::version(&older, &[FIRST]).unwrap(), 1);
    let steps = [FIRST, SECOND_STEP, THIRD];
    // A step that fails leaves what it was, and so does one that is killed: each is one transaction.
    let fault = schema::migrate(&mut older, &[FIRST, SECOND_STEP, "CREATE TABLE more (c); SELECT nothing;"]);
    assert!(matches!(fault, Err(Fault::Sql(_))));
    assert_eq!(schema::version(&older, &steps).unwrap(), 2);
    assert_eq!(rows_of(&older, "SELECT name FROM sqlite_schema"), ["session"]);
    schema::migrate(&mut older, &steps).unwrap();
    assert_eq!(schema::version(&older, &steps).unwrap(), 3);
    assert_eq!(rows_of(&older, "SELECT a, b FROM session"), ["1 b1", "2 b2"]);
    assert_eq!(rows_of(&older, "SELECT c FROM more"), ["b1", "b2"]);
    // All taken, none is taken again; and the program of before refuses it.
    schema::migrate(&mut older, &steps).unwrap();
    assert_eq!(rows_of(&older, "SELECT c FROM more"), ["b1", "b2"]);
    let refused = schema::migrate(&mut older, &[FIRST, SECOND_STEP]);
    assert!(matches!(refused, Err(Fault::Newer { version: 3, known: 2 })));
}

#[test]
fn the_ledger_of_a_release_before_is_brought_up_to_this_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    ledger.write(&sessions([past(1, NOW, NOW + SECOND)]), NOW).unwrap();
    drop(ledger);
    // As the next release will: its steps are this one's and one more.
    let next: Vec<&str> =
        schema::STEPS.iter().copied().chain(["ALTER TABLE session ADD COLUMN next TEXT;"]).collect();
    let upgraded = file::open(&file::path(folder.path()), &next).unwrap();
    assert_eq!(rows_of(&upgraded, "SELECT session_seconds, next FROM session"), ["1 -"]);
    assert_eq!(one(&upgraded, "PRAGMA user_version"), next.len().to_string());
}

#[test]
fn nobody_reads_what_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let text = || format!("{:#}", Ledger::read(folder.path()).err().unwrap());
    assert!(text().contains("ledger.db: there is none; `serve` keeps one"), "{}", text());
    std::fs::write(folder.path().join("ledger.db"), "").unwrap();
    assert!(text().contains("there is none"), "a run that was killed while it made it");
    open(folder.path());
    Ledger::read(folder.path()).unwrap();
}

#[test]
fn a_reader_cannot_write() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    let mut reader = Ledger::read(folder.path()).unwrap();
    assert!(reader.write(&sessions([past(1, NOW, NOW)]), NOW).is_err());
    assert!(db(&reader).execute("DELETE FROM session", []).is_err());
}

#[test]
fn a_file_that_was_removed_or_replaced_while_it_was_open_is_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    ledger.write(&sessions([past(1, NOW, NOW)]), NOW).unwrap();
    for name in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
        std::fs::remove_file(folder.path().join(name)).unwrap();
    }
    ledger.write(&sessions([past(2, NOW, NOW)]), NOW).unwrap();
    drop(ledger);
    let reader = Ledger::read(folder.path()).unwrap();
    assert_eq!(one(db(&reader), "SELECT group_concat(session) FROM session"), "0000000000000002");
}

#[test]
fn another_program_that_writes_is_waited_for_briefly_and_then_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    let other = Connection::open(folder.path().join("ledger.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let text = format!("{:#}", ledger.write(&sessions([past(1, NOW, NOW)]), NOW).unwrap_err());
    assert!(text.contains("another program writes to it"), "{text}");
    other.execute_batch("COMMIT").unwrap();
    ledger.write(&sessions([past(1, NOW, NOW)]), NOW).unwrap();
    assert_eq!(one(db(&ledger), "SELECT count(*) FROM session"), "1");
}
