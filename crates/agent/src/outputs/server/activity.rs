//! What a connection is doing, and how long it may.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// For the TLS handshake, and for the headers of a request from their first byte on.
const HANDSHAKE_AND_HEAD: Duration = Duration::from_secs(10);
/// Between two requests.
const IDLE: Duration = Duration::from_secs(120);
/// A client that takes nothing while there is something for it.
const STALLED: Duration = Duration::from_secs(30);

/// Of one connection; its stream, its requests and its task share it.
#[derive(Debug)]
pub(super) struct Activity(Mutex<State>);

#[derive(Debug)]
struct State {
    phase: Phase,
    /// Of the phase; while it answers: when the client last took something.
    since: Instant,
    /// Since when there has been something to write that is not taken.
    stalled: Option<Instant>,
    /// Whether the client has said anything: one that means it does so at once.
    spoke: bool,
    /// Whether a request was answered as it was asked.
    served: bool,
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

/// Who goes first where there is no room: the least is closed. That is one that is not being answered, never was and said
/// nothing, and of those which are alike the one that has been so longest.
pub(super) type Worth = (bool, bool, bool, Instant);

impl Activity {
    pub(super) fn new(now: Instant) -> Self {
        Self(Mutex::new(State {
            phase: Phase::Opening,
            since: now,
            stalled: None,
            spoke: false,
            served: false,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
    }

    /// The answer begins.
    pub(super) fn answers(&self, success: bool) {
        self.state().served |= success;
    }

    /// The answer is over.
    pub(super) fn answered(&self, now: Instant) {
        self.enter(Phase::Idle, now);
    }

    /// When it is closed unless something happens; `None` where nothing is waited for but an answer of ours.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let state = self.state();
        let phase = match state.phase {
            Phase::Opening => Some(state.since + HANDSHAKE_AND_HEAD),
            Phase::Idle => Some(state.since + IDLE),
            Phase::Answering => None,
        };
        let stalled = state.stalled.map(|since| since + STALLED);
        // What is still to be taken of the last answer counts before the idle time.
        stalled.or(phase)
    }

    /// How much it is worth to go on.
    pub(super) fn worth(&self) -> Worth {
        let state = self.state();
        (state.phase == Phase::Answering, state.served, state.spoke, state.since)
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
    }

    #[test]
    fn who_was_answered_is_worth_more_and_who_is_being_answered_most() {
        let begin = Instant::now();
        let later = begin + Duration::from_secs(1);
        let of = |at| Activity::new(at);
        let (silent, speaking, answered, answering) = (of(later), of(begin), of(begin), of(begin));
        speaking.read(begin);
        answered.asked(begin);
        answered.answers(true);
        answered.answered(begin);
        answering.asked(begin);
        assert!(silent.worth() < speaking.worth() && speaking.worth() < answered.worth());
        assert!(answered.worth() < answering.worth());
    }
}
