//! What a connection is doing, and how long it may.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// For the TLS handshake, and for the headers of a request from their first byte on.
const HANDSHAKE_AND_HEAD: Duration = Duration::from_secs(10);
/// Between two requests.
const IDLE: Duration = Duration::from_secs(120);
/// A client that takes nothing while there is something for it.
const STALLED: Duration = Duration::from_secs(30);

/// An answer whose length is known, until the client has it.
const ANSWER: Duration = Duration::from_secs(120);
/// A connection that has not asked yet is given this time to do so before it gives way to idle ones.
const NEWCOMER: Duration = Duration::from_secs(2);

/// Of one connection; its stream, its requests and its task share it.
#[derive(Debug)]
pub(super) struct Activity {
    born: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// Of the phase; while it answers: when the client last took something.
    since: Instant,
    /// Since when there has been something to write that is not taken.
    stalled: Option<Instant>,
    /// Whether the client has said anything: one that means it does so at once.
    spoke: bool,
    /// Whether a request was answered that not everybody may ask.
    served: bool,
    /// Whether a request came.
    asked: bool,
    /// When the answer is to be over.
    limit: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// TLS, or the headers of a request, are coming.
    Opening,
    /// Nothing has come since the last answer.
    Idle,
    /// A request is being answered.
    Answering,
}

/// Who goes first where there is no room: the least is closed, and of those which are alike the one that has been so
/// longest.
pub(super) type Worth = (Rank, Instant);

/// From the least to the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Silent,
    /// Said something, and was answered nothing of worth.
    Speaking,
    /// Was answered before.
    Served,
    /// May still be shaking hands.
    Newcomer,
    /// Is being answered, and takes it.
    Answering,
}

impl Activity {
    pub(super) fn new(now: Instant) -> Self {
        let state = State {
            phase: Phase::Opening,
            since: now,
            stalled: None,
            spoke: false,
            served: false,
            asked: false,
            limit: None,
        };
        Self { born: now, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, phase: Phase, now: Instant) {
        let mut state = self.state();
        (state.phase, state.since) = (phase, now);
    }

    /// The handshake is over; a request may come.
    pub(super) fn opened(&self, now: Instant) {
        self.enter(Phase::Opening, now);
    }

    /// Bytes came.
    pub(super) fn read(&self, now: Instant) {
        let mut state = self.state();
        state.spoke = true;
        if state.phase == Phase::Idle {
            (state.phase, state.since) = (Phase::Opening, now);
        }
    }

    /// Bytes were taken by the client, or all were.
    pub(super) fn wrote(&self, now: Instant) {
        let mut state = self.state();
        state.stalled = None;
        if state.phase == Phase::Answering {
            state.since = now;
        }
    }

    /// The client takes nothing now.
    pub(super) fn stalls(&self, now: Instant) {
        self.state().stalled.get_or_insert(now);
    }

    /// A request is here.
    pub(super) fn asked(&self, now: Instant) {
        self.enter(Phase::Answering, now);
        self.state().asked = true;
    }

    /// The answer begins: whether it is what not everybody may ask, and whether its length is known.
    pub(super) fn answers(&self, served: bool, is_bounded: bool, now: Instant) {
        let mut state = self.state();
        state.served |= served;
        state.limit = is_bounded.then(|| now + ANSWER);
    }

    /// The answer is over.
    pub(super) fn answered(&self, now: Instant) {
        self.enter(Phase::Idle, now);
        // Some of it may still be on its way to the client, and counts as idle.
        self.state().limit = None;
    }

    /// When it is closed unless something happens; `None` where nothing is waited for but an answer of ours.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let state = self.state();
        let phase = match state.phase {
            Phase::Opening => Some(state.since + HANDSHAKE_AND_HEAD),
            Phase::Idle => Some(state.since + IDLE),
            Phase::Answering => state.limit,
        };
        let stalled = state.stalled.map(|since| since + STALLED);
        // Taking a little now and then prolongs neither.
        stalled.into_iter().chain(phase).min()
    }

    /// Since when it has been there, where it is new and has asked nothing.
    pub(super) fn newcomer(&self, now: Instant) -> Option<Instant> {
        let is_new = !self.state().asked && now.saturating_duration_since(self.born) < NEWCOMER;
        is_new.then_some(self.born)
    }

    /// How much it is worth to go on; `protected` is a newcomer that is given its time.
    pub(super) fn worth(&self, protected: bool) -> Worth {
        let state = self.state();
        let rank = if state.phase == Phase::Answering && state.stalled.is_none() {
            Rank::Answering
        } else if protected {
            Rank::Newcomer
        } else if state.served {
            Rank::Served
        } else if state.spoke {
            Rank::Speaking
        } else {
            Rank::Silent
        };
        (rank, state.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_phase_has_its_time_and_answers_have_what_the_client_takes() {
        let begin = Instant::now();
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        let activity = Activity::new(begin);
        let left = || activity.deadline().map(|deadline| (deadline - begin).as_secs());
        assert_eq!(left(), Some(10));
        activity.opened(at(2));
        // A byte now and then is no more time.
        activity.read(at(9));
        assert_eq!(left(), Some(12));
        activity.asked(at(10));
        assert_eq!(left(), None);
        activity.stalls(at(20));
        activity.stalls(at(25));
        assert_eq!(left(), Some(50));
        activity.wrote(at(40));
        assert_eq!(left(), None, "a stream may be long");
        activity.answered(at(100));
        assert_eq!(left(), Some(220));
        activity.read(at(200));
        assert_eq!(left(), Some(210));
        activity.asked(at(205));
        activity.answers(true, true, at(205));
        assert_eq!(left(), Some(325), "an answer of a known length has an end");
        activity.stalls(at(300));
        assert_eq!(left(), Some(325));
        activity.answered(at(310));
        activity.wrote(at(428));
        activity.stalls(at(429));
        assert_eq!(left(), Some(430), "who takes a little now and then has no more than the idle time");
    }

    #[test]
    fn who_was_answered_is_worth_more_and_who_is_being_answered_most() {
        let begin = Instant::now();
        let later = begin + Duration::from_secs(1);
        let of = |at| Activity::new(at);
        let (silent, speaking, answered, answering) = (of(later), of(begin), of(begin), of(begin));
        speaking.read(begin);
        answered.asked(begin);
        answered.answers(true, true, begin);
        answered.answered(begin);
        answering.asked(begin);
        let worth = |activity: &Activity| activity.worth(false);
        assert!(worth(&silent) < worth(&speaking) && worth(&speaking) < worth(&answered));
        assert!(worth(&answered) < worth(&answering));
        assert!(worth(&answered) < silent.worth(true) && silent.worth(true) < worth(&answering));
        answering.stalls(later);
        assert!(worth(&answering) < worth(&answered), "who takes nothing is not being answered");
        let probed = of(begin);
        probed.asked(begin);
        probed.answers(false, true, begin);
        probed.answered(later);
        assert!(worth(&probed) < worth(&answered) && worth(&probed) < silent.worth(true));
        assert_eq!((probed.newcomer(begin), silent.newcomer(later)), (None, Some(later)));
        assert_eq!(silent.newcomer(later + NEWCOMER), None);
    }
}
