//! What a write does.

use super::*;
use gpu_session_core::attribution::Attribution;
use gpu_session_core::cgroup::{Kind, Place};
use gpu_session_core::state::{End, Seen};

fn at(seconds: i64) -> i64 {
    NOW + seconds * SECOND
}

#[test]
fn a_row_has_all_that_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    let mut row = past(0xab, at(0), at(10));
    row.device.gpu.instance = Some((1, 0));
    row.device.mig_profile = Some("1g.10gb".into());
    row.device.compute_fraction = Some(0.125);
    let known = &mut row.session;
    known.command = Some("python3".into());
    known.uid = Some(1000);
    known.place = Some(Place {
        kind: Kind::Slurm,
        pod_uid: Some("pod-uid".into()),
        container_id: Some("c0ffee".into()),
        name: Some("42".into()),
        uid: None,
    });
    known.attribution = Attribution {
        user: Some("alice".into()),
        user_rule: Some("label".into()),
        namespace: Some("team".into()),
        pod: Some("train-0".into()),
        container: Some("main".into()),
        attributed_by: Some("kubelet".into()),
        ..Attribution::default()
    };
    known.process_start_us = Some(at(-5));
    known.seen = Seen::Accounting;
    known.end = Some(End::Exited(Some(9)));
    known.memory_byte_seconds = counter(4000.0);
    known.memory_peak_bytes = Some(u64::MAX);
    known.energy_joules = [counter(100.0), counter(25.0)];
    known.measured_seconds = 8.0;
    ledger.write(&sessions([row]), at(10)).unwrap();
    let whole = one(db(&ledger), "SELECT * FROM session");
    assert_eq!(
        whole,
        format!(
            "1 00000000000000ab {0} 3_1_0 GPU-3 1g.10gb 0.125 7 {1} python3 1000 alice label team train-0 main \
             pod-uid c0ffee slurm:42 kubelet accounting {0} {2} 1 signal:9 10 8 5 4000 100 25 {3} 400",
            at(0),
            at(-5),
            at(10),
            i64::MAX
        )
    );
    let slice = one(db(&ledger), "SELECT * FROM session_use");
    assert_eq!(slice, format!("1 {} {} 1 10 8 5 4000 100 25", at(0), at(10)));
}

#[test]
fn what_is_not_known_is_null_and_known_from_when_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    let unmeasured = |to: i64| {
        let mut row = session(1, at(0), at(to));
        row.device.compute_fraction = None;
        row.session.sm_seconds = None;
        row
    };
    ledger.write(&sessions([unmeasured(10)]), at(10)).unwrap();
    let null = "SELECT command, uid, user, namespace, place, compute_fraction, ended_how, sm_seconds,
        memory_byte_seconds, memory_peak_bytes, memory_mean_bytes, energy_sole_joules FROM session";
    assert_eq!(one(db(&ledger), null), ["-"; 12].join(" "));
    assert_eq!(slices(db(&ledger)), ["0 10 0 10 -"]);
    // Known to be nothing is known.
    let mut zero = unmeasured(10);
    zero.session.sm_seconds = counter(0.0);
    ledger.write(&sessions([zero]), at(10)).unwrap();
    assert_eq!(slices(db(&ledger)), ["0 10 0 10 0"]);
    ledger.write(&sessions([session(1, at(0), at(20))]), at(20)).unwrap();
    assert_eq!(slices(db(&ledger)), ["0 10 0 10 0", "10 20 0 10 10"]);
    // And stays known.
    ledger.write(&sessions([unmeasured(30)]), at(30)).unwrap();
    assert_eq!(slices(db(&ledger))[2..], ["20 30 0 10 -"]);
    assert_eq!(one(db(&ledger), "SELECT sm_seconds FROM session"), "10");
}

#[test]
fn a_repeated_write_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    let first = Rows {
        sessions: vec![session(1, at(0), at(10)), past(2, at(3), at(9)), past(3, at(5), at(5))],
        allocations: vec![allocation("a", at(0), at(10))],
    };
    ledger.write(&first, at(10)).unwrap();
    let before = all(db(&ledger));
    ledger.write(&first, at(11)).unwrap();
    ledger.write(&first, at(700)).unwrap();
    assert_eq!(all(db(&ledger)), before);
    assert_eq!(before.len(), 3 + 3 + 1 + 1);
    drop(ledger);
    let mut ledger = open(folder.path());
    ledger.write(&first, at(12)).unwrap();
    assert_eq!(all(db(&ledger)), before);
}

#[test]
fn each_write_adds_what_was_used_since_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    for row in [session(1, at(0), at(10)), session(1, at(0), at(30)), past(1, at(0), at(32))] {
        ledger.write(&sessions([row]), at(32)).unwrap();
    }
    assert_eq!(slices(db(&ledger)), ["0 10 0 10 5", "10 30 0 20 10", "30 32 1 2 1"]);
    assert_eq!(one(db(&ledger), "SELECT session_seconds, sm_seconds, ended FROM session"), "32 16 1");
    // What the driver tells later of the same time goes to the same slice.
    let mut late = past(1, at(0), at(32));
    late.session.sm_seconds = counter(17.0);
    ledger.write(&sessions([late]), at(40)).unwrap();
    assert_eq!(slices(db(&ledger))[2], "30 32 1 2 2");
}

#[test]
fn an_older_state_takes_nothing_away_and_adds_only_what_is_more() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    let mut high = session(1, at(0), at(100));
    high.session.memory_peak_bytes = Some(50);
    ledger.write(&sessions([high]), at(100)).unwrap();
    let before = slices(db(&ledger));
    let mut old = session(1, at(0), at(60));
    old.session.memory_peak_bytes = Some(20);
    ledger.write(&sessions([old.clone()]), at(60)).unwrap();
    let totals = "SELECT session_seconds, sm_seconds, memory_peak_bytes, end_us, ended FROM session";
    let unchanged = format!("100 50 50 {} 0", at(100));
    assert_eq!((slices(db(&ledger)), one(db(&ledger), totals)), (before, unchanged));
    // It ends by that state: its end counts, and once.
    let mut over = past(1, at(0), at(90));
    over.session.memory_peak_bytes = None;
    ledger.write(&sessions([over.clone()]), at(90)).unwrap();
    ledger.write(&sessions([over]), at(95)).unwrap();
    assert_eq!(slices(db(&ledger)), ["0 100 1 100 50"]);
    assert_eq!(one(db(&ledger), totals), format!("100 50 50 {} 1", at(100)));
    ledger.write(&sessions([past(1, at(0), at(130))]), at(130)).unwrap();
    assert_eq!(slices(db(&ledger)), ["0 100 1 100 50", "100 130 0 30 15"]);
}

#[test]
fn a_session_that_comes_back_ends_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    let mut released = past(1, at(0), at(10));
    released.session.end = Some(End::Released);
    for row in [released, session(1, at(0), at(40)), past(1, at(0), at(50))] {
        ledger.write(&sessions([row]), at(60)).unwrap();
    }
    assert_eq!(slices(db(&ledger)), ["0 10 1 10 5", "10 40 0 30 15", "40 50 0 10 5"]);
    assert_eq!(one(db(&ledger), "SELECT count(*), sum(ended), max(ended_how) FROM session"), "1 1 -");
    // The same process, back after long, is another row.
    let mut again = past(1, at(9000), at(9010));
    again.session.sm_seconds = None;
    ledger.write(&sessions([again]), at(9010)).unwrap();
    assert_eq!(one(db(&ledger), "SELECT count(*), count(DISTINCT session) FROM session"), "2 1");
    assert_eq!(slices(db(&ledger))[3], "9000 9010 1 10 -");
}

#[test]
fn the_end_of_a_session_that_used_nothing_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    let mut brief = past(1, at(5), at(5));
    brief.session.sm_seconds = None;
    ledger.write(&sessions([brief]), at(6)).unwrap();
    assert_eq!(slices(db(&ledger)), ["5 5 1 0 -"]);
}

#[test]
fn the_newest_attribution_counts() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    for (user, to) in [(None, 10), (Some("alice"), 20), (Some("bob"), 15)] {
        let mut row = session(1, at(0), at(to));
        row.session.attribution.user = user.map(Into::into);
        ledger.write(&sessions([row]), at(to)).unwrap();
    }
    assert_eq!(one(db(&ledger), "SELECT user, session_seconds FROM session"), "bob 20");
}

#[test]
fn a_clock_that_was_set_back_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    ledger.write(&sessions([session(1, at(1000), at(1100))]), at(1100)).unwrap();
    // By 600 s; the session is older by 30 s then.
    let mut row = session(1, at(400), at(530));
    row.opened_us = at(1000);
    ledger.write(&sessions([row]), at(530)).unwrap();
    assert_eq!(slices(db(&ledger)), ["500 530 0 30 15", "1000 1100 0 100 50"]);
    let times = format!("{} {} 130", at(400), at(530));
    assert_eq!(one(db(&ledger), "SELECT start_us, end_us, session_seconds FROM session"), times);
}

#[test]
fn allocations_are_kept_likewise() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    let mut row = allocation("train-0", at(0), at(100));
    // It was first seen a little after it began.
    row.allocation.opened_us = at(4);
    row.device.compute_fraction = Some(0.5);
    ledger.write(&allocations([row.clone()]), at(100)).unwrap();
    row.allocation.seen_us = at(200);
    // A gap of 20 s is not counted.
    row.allocation.allocated_seconds = 180.0;
    row.allocation.user = Some("alice".into());
    row.allocation.pod_uid = Some("uid".into());
    row.allocation.ended_us = Some(at(200));
    for _ in 0..2 {
        ledger.write(&allocations([row.clone()]), at(210)).unwrap();
    }
    assert_eq!(
        rows_of(db(&ledger), "SELECT * FROM allocation"),
        [format!("1 GPU-3 team train-0 main {} 3 0.5 uid alice {} {} 1 180 25", at(4), at(0), at(200))]
    );
    assert_eq!(
        rows_of(db(&ledger), "SELECT * FROM allocation_use"),
        [format!("1 {} {} 0 100 25", at(0), at(100)), format!("1 {} {} 1 80 0", at(100), at(200)),]
    );
    // A namesake of later is another.
    ledger.write(&allocations([allocation("train-0", at(900), at(901))]), at(901)).unwrap();
    assert_eq!(one(db(&ledger), "SELECT count(*) FROM allocation"), "2");
}

#[test]
fn the_size_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    let empty = used(&ledger);
    assert!(empty > 0 && empty < 100 << 10, "{empty}");
    ledger.write(&sessions((0..1000).map(|id| past(id, at(0), at(10)))), at(10)).unwrap();
    let full = used(&ledger);
    assert!(full > empty + 1000 * 100, "{full}");
    let pages: u64 = one(db(&ledger), "PRAGMA page_count").parse().unwrap();
    assert_eq!(full, pages * 4096, "nothing was deleted");
}
