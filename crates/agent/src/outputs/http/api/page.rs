//! Pages: a cursor is the place of the last one in the order, so it stays right while the list changes.

use super::problem::Refusal;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error as _};
use utoipa::ToSchema;

const DEFAULT: usize = 100;
const MOST: usize = 1000;

/// How many at most.
#[derive(Clone, Copy, Debug, ToSchema)]
#[schema(value_type = u16, minimum = 1, maximum = 1000)]
pub(in crate::outputs::http) struct Limit(usize);

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let number = text.parse().ok().filter(|number| digits && (1..=MOST).contains(number));
        number.map(Self).ok_or_else(|| {
            D::Error::custom(format_args!("{text:?} is not allowed: a number from 1 to {MOST}"))
        })
    }
}

/// The number that is asked for.
pub(in crate::outputs::http) fn limit(asked: Option<Limit>) -> usize {
    asked.map_or(DEFAULT, |limit| limit.0)
}

/// A place in an order as a cursor.
pub(in crate::outputs::http) fn cursor<K: Serialize>(place: &K) -> Option<String> {
    serde_json::to_vec(place).ok().map(|json| BASE64_URL_SAFE_NO_PAD.encode(json))
}

/// The place that a cursor is of.
pub(in crate::outputs::http) fn place<K: DeserializeOwned>(
    cursor: Option<&String>,
) -> Result<Option<K>, Refusal> {
    let Some(text) = cursor else { return Ok(None) };
    let json = BASE64_URL_SAFE_NO_PAD.decode(text).ok();
    let place = json.and_then(|json| serde_json::from_slice(&json).ok());
    place.map(Some).ok_or_else(|| {
        Refusal::bad("cursor", "it is none of this list: give next_cursor of an answer to the same question")
    })
}

/// The part of a list after a place, and the place of its last where there are more.
pub(in crate::outputs::http) fn page<T, K: Ord>(
    list: Vec<T>,
    limit: usize,
    after: Option<&K>,
    key: impl Fn(&T) -> K,
) -> (Vec<T>, Option<K>) {
    let mut keyed: Vec<(K, T)> = list
        .into_iter()
        .map(|item| (key(&item), item))
        .filter(|(key, _)| after.is_none_or(|after| key > after))
        .collect();
    keyed.sort_by(|(a, _), (b, _)| a.cmp(b));
    let more = keyed.len() > limit;
    keyed.truncate(limit);
    let (mut last, mut items) = (None, Vec::with_capacity(keyed.len()));
    for (key, item) in keyed {
        last = Some(key);
        items.push(item);
    }
    (items, last.filter(|_| more))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_each_once_also_while_the_list_changes() {
        let mut list: Vec<u32> = (0..100).map(|n| n * 2).collect();
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let (items, next) = page(list.clone(), 7, after.as_ref(), |n| *n);
            seen.extend(items);
            let Some(next) = next else { break };
            // What was seen goes, and others come, before and after.
            list.retain(|n| *n != next);
            list.extend([next - 1, 199]);
            list.dedup();
            after = place(cursor(&next).as_ref()).unwrap();
        }
        let mut once = seen.clone();
        once.dedup();
        let mut evens = once.clone();
        evens.retain(|n| n % 2 == 0);
        assert_eq!(evens, (0..100).map(|n| n * 2).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_no_cursor_is_refused() {
        for text in ["", "x", "====", "bnVsbA", "W10"] {
            assert!(place::<(u32, String)>(Some(&text.to_owned())).is_err(), "{text}");
        }
    }
}
