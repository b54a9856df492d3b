//! Fuzz targets: what everything that reads others' bytes promises for any bytes.
//!
//! A target is a function of bytes that panics where a promise is broken. `tests/short.rs` runs all of them over the kept
//! corpus and over seeded changes of it, the same ones each time; `make fuzz` runs one after the other under libFuzzer
//! for as long as one likes (docs/fuzzing.md).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a promise that is broken is a panic: the engines look for nothing else"
)]

pub mod change;
pub mod corpus;
pub mod exposition;
pub mod servers;
pub mod targets;

/// What is fuzzed.
#[derive(Debug)]
pub struct Target {
    /// Its name, and that of its folder of the corpus.
    pub name: &'static str,
    /// Changed inputs of the short form; so many that it takes a few seconds without optimisation.
    pub cases: u32,
    /// Words of the format, to be put anywhere.
    pub words: &'static [&'static str],
    /// Inputs that are made from the repository's test data; those in the corpus' folder come on top.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Reads the bytes; panics where a promise is broken.
    pub run: fn(&[u8]),
}
