//! Power and energy, in integers, so that a counter is what an exact calculation gives.

use super::{Context, Engine};
use crate::scenario::{Gpu, Report};

/// Loads are counted in millionths of a percent.
const FULL: i128 = 100_000_000;
/// Milliwatts times microseconds in a millijoule.
const MILLIJOULE: i128 = 1_000_000;

/// The load of a GPU over time, and what it draws.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// Milliwatts.
    idle: i128,
    /// Milliwatts between idle and busy.
    range: i128,
    /// What a load is when all of the GPU is loaded.
    full: i128,
    points: Vec<Point>,
}

/// From a moment on.
#[derive(Debug)]
struct Point {
    at: i64,
    load: i128,
    /// Load times microseconds before it.
    before: i128,
}

impl Meter {
    /// Nothing is kept for a GPU without the sensors.
    pub(super) fn new(gpu: &Gpu, contexts: &[Context]) -> Self {
        let power = gpu.power;
        if power.report == Report::None {
            return Self::default();
        }
        let mut changes: Vec<(i64, i128)> = Vec::new();
        for context in contexts {
            let weight = i128::from(slices(gpu, context)) * i128::from(context.count());
            for (part, segment) in context.segments_within(i64::MIN, i64::MAX) {
                let load = (segment.load.sm * 1e6).round() as i128 * weight;
                changes.extend([(part.start, load), (part.end, -load)]);
            }
        }
        changes.sort_unstable();
        let full = FULL * i128::from(gpu.slices);
        let mut points: Vec<Point> = Vec::new();
        let mut sum = 0;
        for (at, change) in changes {
            sum += change;
            let load = sum.clamp(0, full);
            match points.last_mut() {
                Some(last) if last.at == at => last.load = load,
                last => {
                    let before = last.map_or(0, |last| last.until(at));
                    points.push(Point { at, load, before });
                }
            }
        }
        let idle = i128::from(power.idle.0);
        Self { idle, range: i128::from(power.busy.0) - idle, full, points }
    }

    /// Milliwatts times microseconds between two moments, times `full`.
    fn work(&self, from: i64, to: i64) -> i128 {
        let time = i128::from(to) - i128::from(from);
        self.idle * self.full * time + self.range * (self.load_until(to) - self.load_until(from))
    }

    /// Load times microseconds before a moment.
    fn load_until(&self, at: i64) -> i128 {
        self.point(at).map_or(0, |point| point.until(at))
    }

    fn point(&self, at: i64) -> Option<&Point> {
        let after = self.points.partition_point(|point| point.at <= at);
        self.points.get(after.checked_sub(1)?)
    }
}

impl Point {
    fn until(&self, at: i64) -> i128 {
        self.before + self.load * (i128::from(at) - i128::from(self.at))
    }
}

/// How much of the GPU a context has, of `gpu.slices`: a load in a MIG device is a share of that device.
fn slices(gpu: &Gpu, context: &Context) -> u32 {
    let Some(instance) = context.instance else { return gpu.slices };
    let at = crate::units::Micros(context.from);
    let found = super::find_instance(gpu, instance, at).and_then(|position| gpu.mig.as_ref()?.get(position));
    found.map_or(0, |mig| mig.compute_slices)
}

impl Engine {
    /// Millijoules that a GPU has used since its driver was loaded, which is since the anchor at first. The GPU must
    /// have the sensor.
    pub fn energy(&self, gpu: usize, at: i64) -> u64 {
        let Some(meter) = self.meters.get(gpu) else { return 0 };
        let from = self.driver_at(at).since.unwrap_or(0);
        let used = meter.work(from, at.max(from)) / (meter.full.max(1) * MILLIJOULE);
        u64::try_from(used).unwrap_or(u64::MAX)
    }

    /// Milliwatts that a GPU draws on average between two moments, or at one; rounded. The GPU must have the sensor.
    pub fn power(&self, gpu: usize, from: i64, to: i64) -> u32 {
        let Some(meter) = self.meters.get(gpu) else { return 0 };
        let (work, time) = if from < to {
            (meter.work(from, to), i128::from(to - from))
        } else {
            let load = meter.point(to).map_or(0, |point| point.load);
            (meter.idle * meter.full + meter.range * load, 1)
        };
        let unit = meter.full.max(1) * time;
        u32::try_from((work + unit / 2) / unit).unwrap_or(u32::MAX)
    }
}
