//! What was shown, held against the truth.

use super::corpus::Case;
use super::play::{Played, Row};
use super::truth::Session;

/// How far a start may lie outside the session: the driver's sample period, and start times to the second.
const SLACK_MS: i64 = 1_500;

/// Sessions of one length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) of: usize,
    pub(crate) missed: usize,
    /// Of the missed ones those that the driver told of.
    pub(crate) told: usize,
}

/// The verdict on a case.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Verdict {
    /// Of 1 s or more, and shorter.
    pub(crate) long: Tally,
    pub(crate) short: Tally,
    pub(crate) invented: usize,
    pub(crate) users_wrong: usize,
    /// Sessions that were found, are somebody's, and have no user.
    pub(crate) users_unknown: usize,
    /// What was counted beyond the truth, as a part of it.
    pub(crate) sm: Option<f64>,
    pub(crate) memory: Option<f64>,
}

pub(crate) fn verdict(case: &Case, played: &Played) -> Verdict {
    let sessions = &case.sessions;
    let found = matched(sessions, &played.rows);
    let missed = |long: bool| {
        let mut missed = Tally::default();
        for (number, session) in sessions.iter().enumerate().filter(|(_, session)| session.is_long() == long)
        {
            missed.of += 1;
            if found[number].is_none() {
                missed.missed += 1;
                let told = session.is_told(sessions, &played.readings_ms, case.style, case.accounting);
                missed.told += usize::from(told);
            }
        }
        missed
    };
    let pairs = || sessions.iter().zip(&found).filter_map(|(session, row)| Some((session, (*row)?)));
    let error = |counted: Option<f64>, truth: f64| counted.map(|counted| counted / truth - 1.0);
    Verdict {
        long: missed(true),
        short: missed(false),
        invented: played.rows.len() - found.iter().flatten().count(),
        users_wrong: pairs().filter(|(session, row)| row.user.is_some() && row.user != session.user).count(),
        users_unknown: pairs().filter(|(session, row)| row.user.is_none() && session.user.is_some()).count(),
        sm: error(played.sm_seconds, sessions.iter().map(Session::sm_seconds).sum()),
        memory: error(played.memory_byte_seconds, sessions.iter().map(Session::memory_byte_seconds).sum()),
    }
}

/// For each session the row that is its, one at most; each row is of one session at most.
fn matched<'a>(sessions: &[Session], rows: &'a [Row]) -> Vec<Option<&'a Row>> {
    let mut found = vec![None; sessions.len()];
    let mut free: Vec<&Row> = rows.iter().collect();
    free.sort_by_key(|row| row.start_ms);
    // Those that begin within a session first, for a pid is used again soon.
    for slack in [0, SLACK_MS] {
        free.retain(|row| {
            let fits = |(number, session): &(usize, &Session)| {
                let within = (session.from_ms - slack..=session.until_ms + slack).contains(&row.start_ms);
                found[*number].is_none() && session.pid == row.pid && session.label() == row.gpu && within
            };
            let session = sessions.iter().enumerate().filter(fits).min_by_key(|(_, session)| session.from_ms);
            if let Some((number, _)) = session {
                found[number] = Some(*row);
            }
            session.is_none()
        });
    }
    found
}
