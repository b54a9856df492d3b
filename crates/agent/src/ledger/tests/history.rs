//! Who was where.

use super::super::{Asked, Place, Trouble};
use super::*;
use std::time::Instant;

fn asked(since_us: i64, until_us: i64) -> Asked {
    Asked { since_us, until_us, limit: 100, ..Asked::default() }
}

fn found(ledger: &Ledger, asked: &Asked) -> Vec<String> {
    let found = ledger.sessions(asked).unwrap();
    found.into_iter().map(|(_, record)| record.session.trim_start_matches('0').to_owned()).collect()
}

#[test]
fn a_session_is_of_a_period_that_it_touches() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    let rows = [
        past(1, NOW, NOW + HOUR),
        past(2, NOW + HOUR, NOW + 2 * HOUR),
        past(3, NOW + 3 * HOUR, NOW + 4 * HOUR),
    ];
    ledger.write(&sessions(rows), NOW + 4 * HOUR).unwrap();
    for (since, until, wanted) in
        [(0, 5, &["3", "2", "1"][..]), (0, 1, &["1"]), (1, 3, &["2", "1"]), (4, 5, &["3"]), (5, 6, &[])]
    {
        assert_eq!(
            found(&ledger, &asked(NOW + since * HOUR, NOW + until * HOUR)),
            wanted,
            "{since} to {until}"
        );
    }
}

#[test]
fn what_goes_on_is_there_until_it_is_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    ledger.write(&sessions([session(1, NOW, NOW + HOUR), past(2, NOW, NOW + HOUR)]), NOW + HOUR).unwrap();
    let after = |seconds| asked(NOW + HOUR + seconds * SECOND, NOW + 2 * HOUR);
    assert_eq!(found(&ledger, &after(599)), ["1"]);
    assert!(found(&ledger, &after(601)).is_empty(), "whoever was to write it did not");
}

#[test]
fn places_go_on_where_the_last_one_stood() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    // Some begin at the same moment.
    let rows = (1..=9).map(|n| past(n, NOW + (n as i64 / 3) * SECOND, NOW + HOUR));
    ledger.write(&sessions(rows), NOW + HOUR).unwrap();
    let (mut after, mut seen): (Option<Place>, Vec<Place>) = (None, Vec::new());
    loop {
        let page = ledger.sessions(&Asked { after, limit: 2, ..asked(NOW, NOW + HOUR) }).unwrap();
        let Some((last, _)) = page.last() else { break };
        after = Some(*last);
        seen.extend(page.iter().map(|(place, _)| *place));
    }
    assert_eq!(seen.len(), 9);
    assert!(seen.windows(2).all(|two| two[0] > two[1]), "{seen:?}");
}

#[test]
fn names_are_bound_and_not_read_as_words_of_a_query() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    let mut row = past(1, NOW, NOW + HOUR);
    let name = "x' OR 1=1 --%_\0";
    row.session.attribution.user = Some(name.into());
    ledger.write(&sessions([row, past(2, NOW, NOW + HOUR)]), NOW + HOUR).unwrap();
    let by = |user: &str| Asked { texts: vec![("user", user.to_owned())], ..asked(NOW, NOW + HOUR) };
    assert_eq!(found(&ledger, &by(name)), ["1"]);
    assert_eq!(found(&ledger, &by("")), ["2"]);
    assert!(found(&ledger, &by("x")).is_empty());
}

#[test]
fn a_reader_whose_time_is_over_gives_up_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = open(folder.path());
    ledger.write(&sessions((1..=3000).map(|n| past(n, NOW, NOW + HOUR))), NOW + HOUR).unwrap();
    let hurried = Ledger::read_until(folder.path(), Instant::now()).unwrap();
    let error = hurried.sessions(&asked(NOW, NOW + HOUR)).unwrap_err();
    assert_eq!(Trouble::of(&error), Trouble::TooLong, "{error:#}");
    let error = hurried.usage(NOW, NOW + HOUR, crate::report::By::User).unwrap_err();
    assert_eq!(Trouble::of(&error), Trouble::TooLong, "{error:#}");
    let patient = Ledger::read_until(folder.path(), Instant::now() + Duration::from_secs(600)).unwrap();
    assert_eq!(found(&patient, &asked(NOW, NOW + HOUR)).len(), 100);
    let elsewhere = tempfile::tempdir().unwrap();
    let error = Ledger::read_until(elsewhere.path(), Instant::now()).map(drop).unwrap_err();
    assert_eq!(Trouble::of(&error), Trouble::Missing, "{error:#}");
}
