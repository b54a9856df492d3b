//! Answers that were worked out a moment ago.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The last few answers by question, each for a while.
pub(super) struct Cache<K, V> {
    entries: Mutex<VecDeque<(K, Instant, Arc<V>)>>,
    most: usize,
    lasts: Duration,
}

impl<K: PartialEq, V> Cache<K, V> {
    /// Keeps at most so many, each for so long.
    pub(super) fn new(most: usize, lasts: Duration) -> Self {
        Self { entries: Mutex::default(), most, lasts }
    }

    /// The answer, where it is not too old `now`.
    pub(super) fn get(&self, key: &K, now: Instant) -> Option<Arc<V>> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = |at: Instant| now.saturating_duration_since(at) < self.lasts;
        entries
            .iter()
            .find(|(known, at, _)| known == key && fresh(*at))
            .map(|(_, _, value)| Arc::clone(value))
    }

    /// Keeps an answer of `now`; the oldest goes where there are too many.
    pub(super) fn put(&self, key: K, now: Instant, value: Arc<V>) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|(known, at, _)| *known != key && now.saturating_duration_since(*at) < self.lasts);
        entries.push_back((key, now, value));
        while entries.len() > self.most {
            entries.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_lasts_for_a_while_and_the_oldest_makes_room() {
        let cache = Cache::new(2, Duration::from_secs(60));
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        cache.put("a", after(0), Arc::new(1));
        cache.put("b", after(10), Arc::new(2));
        assert_eq!(cache.get(&"a", after(59)).as_deref(), Some(&1));
        assert_eq!(cache.get(&"a", after(60)), None);
        cache.put("a", after(20), Arc::new(3));
        cache.put("c", after(30), Arc::new(4));
        assert_eq!(cache.get(&"b", after(30)), None, "the oldest made room");
        assert_eq!(cache.get(&"a", after(30)).as_deref(), Some(&3));
    }
}
