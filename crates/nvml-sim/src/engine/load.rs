//! Loads over time: piecewise constant, so that averages are exact.

use std::ops::Range;

use super::Context;
use crate::scenario::DeviceUse;
use crate::units::{Memory, Micros};

/// Percentages of a device's time, or (as an integral) percent times microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Kernels run.
    pub sm: f64,
    /// Memory is read or written.
    pub mem: f64,
    /// Encoder.
    pub enc: f64,
    /// Decoder.
    pub dec: f64,
}

impl Load {
    /// The sum.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.zip(other, |one, other| one + other)
    }

    /// A multiple.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        self.map(|value| value * factor)
    }

    /// At most 100 each.
    #[must_use]
    pub fn capped(self) -> Self {
        self.map(|value| value.min(100.0))
    }

    /// Whether nothing was used.
    pub fn is_zero(self) -> bool {
        self == Self::default()
    }

    /// The mean of an integral over a time; nothing over no time.
    #[must_use]
    pub fn mean_over(self, time: i64) -> Self {
        if time > 0 { self.map(|value| value / time as f64) } else { Self::default() }
    }

    /// SM, memory, encoder and decoder as the driver's integers.
    pub fn rounded(self) -> [u32; 4] {
        [self.sm, self.mem, self.enc, self.dec].map(|value| value.round() as u32)
    }

    fn map(self, f: impl Fn(f64) -> f64) -> Self {
        Self { sm: f(self.sm), mem: f(self.mem), enc: f(self.enc), dec: f(self.dec) }
    }

    fn zip(self, other: Self, f: impl Fn(f64, f64) -> f64) -> Self {
        Self {
            sm: f(self.sm, other.sm),
            mem: f(self.mem, other.mem),
            enc: f(self.enc, other.enc),
            dec: f(self.dec, other.dec),
        }
    }
}

/// What holds from a moment until the next segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) from: i64,
    pub(super) memory: Memory,
    pub(super) load: Load,
}

/// The steps of a use; there is at least one, and the first begins with the context.
pub(super) fn segments(from: Micros, usage: &DeviceUse) -> Vec<Segment> {
    let load = Load { sm: usage.sm, mem: usage.mem, enc: usage.enc, dec: usage.dec };
    let mut current = Segment { from: from.0, memory: usage.memory, load };
    let mut segments = vec![current];
    for step in &usage.steps {
        let before = current.load;
        current = Segment {
            from: step.at.0,
            memory: step.memory.unwrap_or(current.memory),
            load: Load {
                sm: step.sm.unwrap_or(before.sm),
                mem: step.mem.unwrap_or(before.mem),
                enc: step.enc.unwrap_or(before.enc),
                dec: step.dec.unwrap_or(before.dec),
            },
        };
        segments.push(current);
    }
    segments
}

/// The segment that holds at a moment; before the first, the first.
pub(super) fn segment_at(segments: &[Segment], at: i64) -> &Segment {
    &segments[index_at(segments, at)]
}

fn index_at(segments: &[Segment], at: i64) -> usize {
    segments.partition_point(|segment| segment.from <= at).saturating_sub(1)
}

impl Context {
    /// The segments of a time, each with the part of it that it holds for.
    pub(super) fn segments_within(&self, from: i64, to: i64) -> impl Iterator<Item = (Range<i64>, &Segment)> {
        let (from, to) = (from.max(self.from), to.min(self.until));
        let first = index_at(&self.segments, from);
        (first..self.segments.len()).map_while(move |index| {
            let segment = &self.segments[index];
            let begin = segment.from.max(from);
            let end = self.segments.get(index + 1).map_or(to, |next| next.from.min(to));
            (begin < end).then_some((begin..end, segment))
        })
    }

    /// Percent times microseconds that each process used between two moments.
    pub fn integral(&self, from: i64, to: i64) -> Load {
        let mut sum = Load::default();
        for (part, segment) in self.segments_within(from, to) {
            sum = sum.plus(segment.load.times((part.end - part.start) as f64));
        }
        sum
    }
}
