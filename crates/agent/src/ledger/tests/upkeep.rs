//! Merging, retention, size.

use super::super::upkeep;
use super::*;
use crate::report::By;

fn upkeep(ledger: &mut Ledger, keep: Retention, now_us: i64) -> u32 {
    let mut steps = 0;
    while upkeep::step(ledger.db.as_mut().unwrap(), keep, now_us).unwrap() {
        steps += 1;
        assert!(steps < 10_000, "it comes to an end");
    }
    steps
}

fn count(ledger: &Ledger, table: &str) -> u64 {
    one(db(ledger), &format!("SELECT count(*) FROM {table}")).parse().unwrap()
}

/// Two sessions and an allocation, written every five minutes for six hours.
fn six_hours(ledger: &mut Ledger, begin: i64) {
    for step in 1..=72 {
        let to = begin + step * HOUR / 12;
        let mut known = session(1, begin, to);
        known.session.memory_byte_seconds = counter(step as f64);
        let mut unknown = session(2, begin, to - 7 * SECOND);
        unknown.session.sm_seconds = None;
        let unknown = if step == 72 { ended(unknown) } else { unknown };
        let rows = Rows { sessions: vec![known, unknown], allocations: vec![allocation("a", begin, to)] };
        ledger.write(&rows, to).unwrap();
    }
}

#[test]
fn slices_of_before_yesterday_become_one_per_hour_and_sums_stay() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    six_hours(&mut ledger, NOW);
    assert_eq!((count(&ledger, "session_use"), count(&ledger, "allocation_use")), (144, 72));
    let sums =
        "SELECT id, sum(session_seconds), sum(measured_seconds), sum(sm_seconds), sum(memory_byte_seconds),
        sum(ended), min(from_us), max(to_us) FROM session_use GROUP BY id";
    let held =
        "SELECT id, sum(allocated_seconds), sum(idle_seconds), min(from_us), max(to_us) FROM allocation_use";
    let before = (rows_of(db(&ledger), sums), one(db(&ledger), held));
    let hours = |ledger: &Ledger| {
        let hour = |n| ledger.usage(NOW + n * HOUR, NOW + (n + 1) * HOUR, By::User).unwrap().remove(0);
        (0..6).map(|n| (hour(n).sm_hours, hour(n).allocated_hours)).collect::<Vec<_>>()
    };
    let by_hour = hours(&ledger);
    let slices = |ledger: &Ledger| (count(ledger, "session_use"), count(ledger, "allocation_use"));
    // The first hour has to have passed by two days as a whole.
    upkeep(&mut ledger, KEEP, NOW + 2 * DAY + HOUR - 1);
    assert_eq!(slices(&ledger), (144, 72));
    upkeep(&mut ledger, KEEP, NOW + 2 * DAY + HOUR);
    assert_eq!(slices(&ledger), (144 - 10 - 11, 72 - 10), "a slice that ends with an hour is the next one's");
    upkeep(&mut ledger, KEEP, NOW + 5 * DAY);
    assert_eq!(slices(&ledger), (7 + 6, 7));
    assert_eq!((rows_of(db(&ledger), sums), one(db(&ledger), held)), before);
    let unknown = "SELECT count(*), count(sm_seconds) FROM session_use WHERE id = 2";
    assert_eq!(one(db(&ledger), unknown), "6 0", "unknown stays unknown");
    for (merged, fine) in hours(&ledger).into_iter().zip(by_hour) {
        for (merged, fine) in [(merged.0, fine.0), (merged.1, fine.1)] {
            assert!((merged.unwrap() - fine.unwrap()).abs() < 1e-9, "{merged:?} {fine:?}");
        }
    }
}

#[test]
fn merging_twice_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    six_hours(&mut ledger, NOW);
    upkeep(&mut ledger, KEEP, NOW + 5 * DAY);
    let merged = all(db(&ledger));
    // A clock that was set back has the same hours looked at again.
    upkeep(&mut ledger, KEEP, NOW);
    assert_eq!(one(db(&ledger), "SELECT compacted_us FROM upkeep"), (NOW - 2 * DAY).to_string());
    upkeep(&mut ledger, KEEP, NOW + 5 * DAY);
    assert_eq!(all(db(&ledger)), merged);
    assert_eq!(one(db(&ledger), "SELECT compacted_us FROM upkeep"), (NOW + 3 * DAY).to_string());
}

#[test]
fn what_ended_longer_ago_goes_with_its_slices() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    let mut over = allocation("over", NOW, NOW + HOUR);
    over.allocation.ended_us = Some(NOW + HOUR);
    let rows = Rows {
        sessions: vec![
            past(1, NOW, NOW + HOUR),
            past(2, NOW, NOW + HOUR + 1),
            // The agent was away when it ended.
            session(3, NOW, NOW + HOUR),
            session(4, NOW, NOW + HOUR + 1),
        ],
        allocations: vec![over, allocation("lost", NOW, NOW + HOUR), allocation("new", NOW, NOW + HOUR + 1)],
    };
    ledger.write(&rows, NOW + HOUR).unwrap();
    upkeep(&mut ledger, KEEP, NOW + HOUR + 90 * DAY);
    assert_eq!(all(db(&ledger)).len(), 14, "just not too old");
    upkeep(&mut ledger, KEEP, NOW + HOUR + 90 * DAY + 1);
    let left = "SELECT group_concat(substr(session, 16)) FROM session";
    assert_eq!(one(db(&ledger), left), "2,4");
    assert_eq!(one(db(&ledger), "SELECT group_concat(pod) FROM allocation"), "new");
    assert_eq!((count(&ledger, "session_use"), count(&ledger, "allocation_use")), (2, 1));
    upkeep(&mut ledger, KEEP, NOW + HOUR + 90 * DAY + 2);
    assert_eq!(all(db(&ledger)), Vec::<String>::new());
}

/// What the files take on the disk.
fn on_disk(folder: &Path) -> u64 {
    let size = |name| std::fs::metadata(folder.join(name)).map_or(0, |metadata| metadata.len());
    size("ledger.db") + size("ledger.db-wal")
}

#[test]
fn a_full_ledger_loses_the_oldest_and_stays_within_its_size() {
    const SMALL: Retention = Retention { age: KEEP.age, bytes: 3 << 20 };
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(folder.path(), SMALL).unwrap();
    let mut sizes = Vec::new();
    // 12 000 sessions of a minute, allocations as well, and one that goes on: several times what has room.
    for hour in 0..60_i64 {
        let begin = NOW + hour * HOUR;
        let ended = (0..200).map(|n| {
            let mut row = past((hour * 200 + n) as u64, begin + n * SECOND, begin + n * SECOND + 60 * SECOND);
            row.session.attribution.pod = Some(format!("a-pod-with-a-name-of-usual-length-{n}").into());
            row
        });
        let held = (0..20).map(|n| {
            let mut row = allocation(&format!("pod-{n}"), begin, begin + HOUR);
            row.allocation.ended_us = Some(begin + HOUR);
            row
        });
        let mut rows = Rows { sessions: ended.collect(), allocations: held.collect() };
        rows.sessions.push(session(999_999, NOW, begin + HOUR));
        ledger.write(&rows, begin + HOUR).unwrap();
        sizes.push((used(&ledger), on_disk(folder.path())));
    }
    let (used, disk) = sizes.iter().fold((0, 0), |max, size| (max.0.max(size.0), max.1.max(size.1)));
    assert!(used > 1 << 20 && used <= 2 << 20, "used {used}: {sizes:?}");
    assert!(disk <= 4 << 20, "on disk {disk}: {sizes:?}");
    let left: u64 = count(&ledger, "session");
    assert!(left > 1000 && left < 12_000, "{left}");
    // The newest are all there, without a gap; so is what goes on, though it began first.
    let first: i64 = one(db(&ledger), "SELECT min(end_us) FROM session").parse().unwrap();
    let newer = (0..60_i64).flat_map(|hour| (0..200).map(move |n| NOW + hour * HOUR + (n + 60) * SECOND));
    assert_eq!(left, newer.filter(|end| *end >= first).count() as u64 + 1);
    assert_eq!(
        one(db(&ledger), "SELECT session_seconds FROM session WHERE ended = 0"),
        (60 * 3600).to_string()
    );
    let first_held: i64 = one(db(&ledger), "SELECT min(end_us) FROM allocation").parse().unwrap();
    assert!((first - first_held).abs() <= 2 * HOUR, "both kinds reach back as far");
    // Slices of those that went went too.
    for kind in ["session", "allocation"] {
        let orphans = format!("SELECT count(*) FROM {kind}_use WHERE id NOT IN (SELECT id FROM {kind})");
        assert_eq!(one(db(&ledger), &orphans), "0");
    }
    assert_eq!(one(db(&ledger), "PRAGMA integrity_check"), "ok");
}

#[test]
fn a_smaller_limit_than_before_shrinks_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    ledger.write(&sessions((0..20_000).map(|n| past(n, NOW, NOW + n as i64))), NOW).unwrap();
    let before = used(&ledger);
    assert!(before > 4 << 20, "{before}");
    let small = Retention { bytes: 2 << 20, ..KEEP };
    let steps = upkeep(&mut ledger, small, NOW + HOUR);
    assert!(steps > 2, "a bit at a time: {steps}");
    drop(ledger);
    let file = std::fs::metadata(folder.path().join("ledger.db")).unwrap().len();
    assert!(file <= 1 << 20, "{file}");
}

#[test]
fn what_goes_on_and_fills_it_alone_keeps_its_totals() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    for step in 1..=300 {
        let rows = (0..60).map(|id| session(id, NOW, NOW + step * SECOND));
        ledger.write(&sessions(rows), NOW).unwrap();
    }
    let small = Retention { bytes: 2 << 20, ..KEEP };
    upkeep(&mut ledger, small, NOW + HOUR);
    assert!(upkeep::used_bytes(db(&ledger)).unwrap() <= 1 << 20);
    assert_eq!(one(db(&ledger), "SELECT count(*), sum(session_seconds) FROM session"), "60 18000");
    let newest = one(db(&ledger), "SELECT max(to_us) FROM session_use");
    assert_eq!(newest, (NOW + 300 * SECOND).to_string(), "the oldest slices went");
    let left = count(&ledger, "session_use");
    assert!(left > 1000 && left < 18_000, "{left}");
}

#[test]
fn it_is_looked_after_now_and_then_and_at_once_while_there_is_more() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    let old = |id| past(id, NOW - 100 * DAY, NOW - 100 * DAY);
    ledger.write(&sessions([past(1, NOW, NOW)]), NOW).unwrap();
    ledger.write(&sessions([old(2)]), NOW + 599 * SECOND).unwrap();
    assert_eq!(count(&ledger, "session"), 2);
    ledger.write(&Rows::default(), NOW + 600 * SECOND).unwrap();
    assert_eq!(count(&ledger, "session"), 1);
    // 12 000 rows are more than one call deletes.
    ledger.write(&sessions((10..6010).map(old)), NOW + 601 * SECOND).unwrap();
    let left = |ledger: &mut Ledger, seconds| {
        ledger.write(&Rows::default(), NOW + seconds * SECOND).unwrap();
        count(ledger, "session")
    };
    let lefts = [1199, 1200, 1201, 1202, 1203].map(|at| left(&mut ledger, at));
    assert_eq!(lefts, [6001, 3501, 1001, 1, 1]);
    // A clock that was set back by days does not put it off for days.
    ledger.write(&sessions([old(3)]), NOW - 5 * DAY).unwrap();
    assert_eq!(count(&ledger, "session"), 1);
}
