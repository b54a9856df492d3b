//! Answers about credentials, for a while. Credentials themselves are not kept: entries are found by a keyed hash, whose
//! key is this process's alone.

use ring::hmac;
use ring::rand::SystemRandom;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What credentials are found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Fingerprint([u8; 32]);

/// Makes fingerprints.
pub(super) struct Fingerprints(hmac::Key);

impl Fingerprints {
    /// With a new key; fails where the system gives no random bytes.
    pub(super) fn new() -> anyhow::Result<Self> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        key.map(Self).map_err(|_| anyhow::anyhow!("the system gives no random bytes"))
    }

    /// Of these parts, in this order.
    pub(super) fn of(&self, parts: &[&[u8]]) -> Fingerprint {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            // So that no two lists are one text.
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(context.sign().as_ref());
        Fingerprint(fingerprint)
    }
}

/// A bounded number of answers, each of which ends.
pub(super) struct Cache<V> {
    entries: Mutex<HashMap<Fingerprint, (V, Instant)>>,
    most: usize,
}

impl<V: Copy> Cache<V> {
    /// For so many.
    pub(super) fn new(most: usize) -> Self {
        Self { entries: Mutex::default(), most }
    }

    /// The answer, if it still holds.
    pub(super) fn get(&self, of: &Fingerprint, now: Instant) -> Option<V> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.get(of).filter(|(_, until)| now < *until).map(|(value, _)| *value)
    }

    /// Keeps an answer; where there is no room for it that which ends first goes.
    pub(super) fn put(&self, of: Fingerprint, value: V, now: Instant, life: Duration) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= self.most && !entries.contains_key(&of) {
            entries.retain(|_, (_, until)| now < *until);
            let first = entries.iter().min_by_key(|(_, (_, until))| *until).map(|(of, _)| *of);
            if let Some(first) = first.filter(|_| entries.len() >= self.most) {
                entries.remove(&first);
            }
        }
        entries.insert(of, (value, now + life));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_end_and_are_bounded() {
        let (fingerprints, cache) = (Fingerprints::new().unwrap(), Cache::new(3));
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let of = |n: u8| fingerprints.of(&[&[n]]);
        for n in 0..5 {
            cache.put(of(n), n, now, second * u32::from(10 + n));
        }
        let known = |at| (0..5).filter_map(|n| cache.get(&of(n), at)).collect::<Vec<u8>>();
        assert_eq!(known(now), [2, 3, 4], "the next to end go first");
        assert_eq!(known(now + second * 13), [4]);
    }

    #[test]
    fn a_fingerprint_is_of_its_parts_and_its_process() {
        let one = Fingerprints::new().unwrap();
        assert_eq!(one.of(&[b"a", b"b"]), one.of(&[b"a", b"b"]));
        assert_ne!(one.of(&[b"a", b"b"]), one.of(&[b"ab", b""]));
        assert_ne!(one.of(&[b"a"]), Fingerprints::new().unwrap().of(&[b"a"]));
    }
}
