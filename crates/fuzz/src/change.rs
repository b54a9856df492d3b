//! Changed inputs, by proptest: it makes the same ones for the same seed, and makes one that fails smaller.

use crate::Target;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::fmt;
use std::sync::Arc;

/// Longest part that one change puts in or takes out, bytes.
const LONGEST: usize = 64;

/// An input as it is shown where it fails.
#[derive(Clone)]
struct Input(Vec<u8>);

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

/// One change.
#[derive(Clone, Debug)]
enum Change {
    /// Puts bytes in.
    Put(Index, Vec<u8>),
    /// Takes bytes out.
    Take(Index, usize),
    /// Puts another byte there.
    Byte(Index, u8),
    /// Flips a bit.
    Bit(Index, u8),
    /// Puts a part of some kept input in.
    Graft(Index, Index, Index, usize),
    /// Repeats a part.
    Repeat(Index, usize, usize),
    /// Puts another number in the place of the next one that is written in digits.
    Number(Index, String),
    /// Ends it there.
    End(Index),
}

/// Runs a target over all that is kept and over its number of changed inputs.
///
/// # Panics
///
/// Where the target does, with the input.
pub fn run(target: &Target) {
    let kept = Arc::new(crate::corpus::of(target));
    for input in kept.iter() {
        (target.run)(input);
    }
    let config = Config { cases: target.cases, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let result = runner.run(&inputs(target, &kept), |Input(bytes)| {
        (target.run)(&bytes);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{}: {error}", target.name);
    }
}

fn inputs(target: &Target, kept: &Arc<Vec<Vec<u8>>>) -> impl Strategy<Value = Input> + use<> {
    let changes = prop::collection::vec(change(target.words), 0..8);
    let kept = Arc::clone(kept);
    (any::<Index>(), changes).prop_map(move |(which, changes)| {
        let mut bytes = which.get(&kept).clone();
        for change in changes {
            apply(&mut bytes, change, &kept);
        }
        Input(bytes)
    })
}

fn change(words: &'static [&'static str]) -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    let words: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).chain([Vec::new()]).collect();
    let bytes = prop::collection::vec(any::<u8>(), 0..4);
    let text = "\\PC{0,4}".prop_map(String::into_bytes);
    let number = prop_oneof![
        select(vec![
            "0",
            "-1",
            "4294967296",
            "9223372036854775807",
            "-9223372036854775808",
            "18446744073709551615",
            "1e308",
            "0.5",
            "99999999999999999999999999",
        ])
        .prop_map(str::to_owned),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<i16>().prop_map(|n| n.to_string()),
    ];
    prop_oneof![
        (at(), prop_oneof![4 => select(words), 1 => bytes, 1 => text])
            .prop_map(|(at, put)| Change::Put(at, put)),
        (at(), 1..LONGEST).prop_map(|(at, length)| Change::Take(at, length)),
        (at(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        (at(), 0..8_u8).prop_map(|(at, bit)| Change::Bit(at, bit)),
        (at(), at(), at(), 1..LONGEST).prop_map(|(at, of, from, length)| Change::Graft(at, of, from, length)),
        (at(), 1..LONGEST, 1..4_usize).prop_map(|(at, length, times)| Change::Repeat(at, length, times)),
        (at(), number).prop_map(|(at, number)| Change::Number(at, number)),
        at().prop_map(Change::End),
    ]
}

fn apply(bytes: &mut Vec<u8>, change: Change, kept: &[Vec<u8>]) {
    let place = |at: Index, bytes: &[u8]| at.index(bytes.len() + 1);
    match change {
        Change::Put(at, put) => {
            let at = place(at, bytes);
            bytes.splice(at..at, put);
        }
        Change::Take(at, length) => {
            let at = place(at, bytes);
            let end = (at + length).min(bytes.len());
            bytes.drain(at..end);
        }
        Change::Byte(at, byte) => {
            let at = place(at, bytes);
            bytes.get_mut(at).into_iter().for_each(|there| *there = byte);
        }
        Change::Bit(at, bit) => {
            let at = place(at, bytes);
            bytes.get_mut(at).into_iter().for_each(|there| *there ^= 1 << bit);
        }
        Change::Graft(at, of, from, length) => {
            let part = of.get(kept);
            let from = place(from, part);
            let part = part[from..(from + length).min(part.len())].to_vec();
            let at = place(at, bytes);
            bytes.splice(at..at, part);
        }
        Change::Repeat(at, length, times) => {
            let at = place(at, bytes);
            let part = bytes[at..(at + length).min(bytes.len())].repeat(times);
            bytes.splice(at..at, part);
        }
        Change::Number(at, number) => {
            let at = place(at, bytes);
            let Some(begin) = bytes[at..].iter().position(u8::is_ascii_digit).map(|digits| at + digits)
            else {
                return;
            };
            let end = begin + bytes[begin..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            bytes.splice(begin..end, number.into_bytes());
        }
        Change::End(at) => bytes.truncate(place(at, bytes)),
    }
}
