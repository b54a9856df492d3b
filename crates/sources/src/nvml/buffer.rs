//! Kept memory for the driver's lists.

#![allow(unsafe_code, reason = "the driver writes into it")]

use super::code::{CallError, Code};
use std::ffi::c_uint;
use std::marker::PhantomData;

/// Entries that there is room for at first, so that a list costs one call. Memory that is not written to costs
/// nothing.
const FIRST_ROOM: usize = 4096;

/// Longest answer of a list: more is taken for a fault of the driver.
const MAX_ENTRIES: usize = 1 << 20;

/// A record of a C structure of integers: every pattern of bits is a value, none needs more than 8 bytes of
/// alignment.
///
/// # Safety
/// Only for `#[repr(C)]` structures without padding that is read, without pointers, references or enumerations.
pub(super) unsafe trait Record: Copy {}

/// Memory for records, all of it initialised always, a third larger than the driver is told: a driver that
/// writes longer records than its header says must not write past the end.
pub(super) struct Buffer<T> {
    words: Vec<u64>,
    count: usize,
    records: PhantomData<T>,
}

impl<T> Default for Buffer<T> {
    fn default() -> Self {
        Self { words: Vec::new(), count: 0, records: PhantomData }
    }
}

impl<T: Record> Buffer<T> {
    /// Calls a list function until its answer fits.
    pub(super) fn fill(
        &mut self,
        function: &'static str,
        mut call: impl FnMut(*mut c_uint, *mut T) -> c_uint,
    ) -> Result<(), CallError> {
        self.count = 0;
        self.make_room(FIRST_ROOM);
        loop {
            let room = self.room();
            let mut count = room as c_uint;
            match call(&raw mut count, self.words.as_mut_ptr().cast()) {
                0 => {
                    self.count = (count as usize).min(room);
                    return Ok(());
                }
                // The list can grow between two calls: take a quarter more than it asks for.
                code if Code(code) == Code::INSUFFICIENT_SIZE && room < MAX_ENTRIES => {
                    let wanted = (count as usize).max(room);
                    self.make_room((wanted + wanted / 4 + 64).min(MAX_ENTRIES));
                }
                code => return Err(CallError { function, code: Code(code) }),
            }
        }
    }

    /// Empties it.
    pub(super) fn clear(&mut self) {
        self.count = 0;
    }

    /// The records.
    pub(super) fn records(&self) -> &[T] {
        self.records_as()
    }

    /// The same memory read as as many records of another form; those that would lie beyond it are left out.
    pub(super) fn records_as<U: Record>(&self) -> &[U] {
        let fits = self.words.len() * size_of::<u64>() / size_of::<U>();
        // SAFETY: the words are initialised and aligned to 8, `fits` records lie within them, and a `Record` is
        // valid whatever its bits.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr().cast(), self.count.min(fits)) }
    }

    fn room(&self) -> usize {
        (self.words.len() * size_of::<u64>() / size_of::<T>() / 4 * 3).min(MAX_ENTRIES)
    }

    fn make_room(&mut self, entries: usize) {
        if self.room() < entries {
            let words = entries.div_ceil(3) * 4 * size_of::<T>().div_ceil(size_of::<u64>());
            // Zeroed memory fresh from the kernel is not touched until it is written to.
            self.words = vec![0; words + 4];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(C)]
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Pair(u32, u32);
    // SAFETY: two integers.
    unsafe impl Record for Pair {}
    // SAFETY: an integer.
    unsafe impl Record for u64 {}

    /// A driver's list of `n` pairs, with NVML's protocol of sizes.
    fn list(n: u32) -> impl FnMut(*mut c_uint, *mut Pair) -> c_uint {
        move |count, buffer| {
            // SAFETY: the buffer under test vouches for room for `count` pairs.
            unsafe {
                let room = std::mem::replace(&mut *count, n);
                if room < n {
                    return Code::INSUFFICIENT_SIZE.0;
                }
                (0..n).for_each(|i| buffer.add(i as usize).write(Pair(i, i + 1)));
            }
            0
        }
    }

    #[test]
    fn it_grows_to_what_the_driver_has_and_is_kept() {
        let mut buffer = Buffer::default();
        for n in [0, 1, 5_000, 3, 100_000] {
            buffer.fill("f", list(n)).unwrap();
            assert_eq!(buffer.records().len(), n as usize);
            assert_eq!(buffer.records().last().copied(), n.checked_sub(1).map(|i| Pair(i, i + 1)));
        }
        let mut calls = 0;
        let mut answer = list(100_000);
        buffer
            .fill("f", |count, memory| {
                calls += 1;
                answer(count, memory)
            })
            .unwrap();
        assert_eq!(calls, 1);
    }

    #[test]
    fn a_driver_without_end_and_other_errors_are_errors() {
        let mut buffer = Buffer::<Pair>::default();
        let endless = buffer.fill("f", list(u32::MAX)).unwrap_err();
        assert_eq!(endless.code, Code::INSUFFICIENT_SIZE);
        assert_eq!(buffer.fill("f", |_, _| 999).unwrap_err().code, Code::UNKNOWN);
        assert!(buffer.records().is_empty());
    }

    #[test]
    fn longer_records_fit_the_memory_that_the_driver_was_given() {
        let mut buffer = Buffer::<Pair>::default();
        buffer.fill("f", list(2)).unwrap();
        assert_eq!(buffer.records_as::<u64>().len(), 2);
        // Told of `room` entries, a driver may write a third more bytes than those take.
        assert!(buffer.room() * size_of::<Pair>() * 4 / 3 <= buffer.words.len() * 8);
    }
}
