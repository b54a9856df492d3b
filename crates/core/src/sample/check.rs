//! Whether a sample that somebody wrote can be one.

use super::{Activity, Device, Process, Sample};

/// Far in the future, and far from where sums of times overflow.
const MAX_US: i64 = 1 << 60;

impl Sample {
    /// Says what of it can be in no sample: a time before 1970 or too far off to be counted with, a negative share.
    pub fn check(&self) -> Result<(), &'static str> {
        if !self.times().all(|at| (0..MAX_US).contains(&at))
            || !self.starts().all(|start| self.can_start(start))
        {
            return Err("a time in it is none");
        }
        let shares = self.devices().flat_map(|device| {
            [device.utilization.map(|used| used.ratio), device.facts.compute_fraction].into_iter().flatten()
        });
        if shares.into_iter().all(|share| share >= 0.0) { Ok(()) } else { Err("a share in it is negative") }
    }

    fn devices(&self) -> impl Iterator<Item = &Device> {
        self.driver.iter().flat_map(|driver| &driver.devices)
    }

    /// Every time and length of time in it, microseconds.
    fn times(&self) -> impl Iterator<Item = i64> {
        let pods = self.pods.iter().flat_map(|list| {
            let starts = list.pods.values().filter_map(|pod| pod.start_us);
            starts.chain([list.as_of_us])
        });
        let past = self.past.values().flatten().filter_map(|past| past.ended_us);
        let own = [Some(self.time_us), Some(self.monotonic_us), self.boot_us];
        own.into_iter().flatten().chain(self.devices().flat_map(times)).chain(pods).chain(past)
    }

    /// Starts of all processes, in ticks.
    fn starts(&self) -> impl Iterator<Item = u64> {
        let past = self.past.values().flatten().map(|past| &past.process);
        let processes = self.processes.iter().flat_map(|processes| processes.values()).chain(past);
        processes.filter_map(|process: &Process| process.start_ticks)
    }

    fn can_start(&self, ticks: u64) -> bool {
        let hz = u128::from(self.ticks_per_second.max(1));
        u128::from(ticks) * 1_000_000 / hz < u128::from(MAX_US.unsigned_abs())
    }
}

fn times(device: &Device) -> impl Iterator<Item = i64> {
    let activity = match &device.activity {
        Activity::Entries { since_us, entries } => Some((*since_us, entries)),
        Activity::Unsupported | Activity::Failed => None,
    };
    let activity = activity
        .into_iter()
        .flat_map(|(since_us, entries)| entries.iter().map(|entry| entry.time_us).chain([since_us]));
    let ended = device.accounting.iter().flat_map(|accounting| &accounting.ended);
    let ended = ended.flat_map(|record| [record.start_us, record.duration_us]);
    activity.chain(ended).chain(device.utilization.and_then(|used| used.measured_us))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_counted_with_is_refused() {
        let good = Sample { time_us: 5, monotonic_us: 5, ticks_per_second: 100, ..Sample::default() };
        assert_eq!(good.check(), Ok(()));
        for bad in [i64::MIN, -1, 1 << 60, i64::MAX] {
            assert!(Sample { time_us: bad, ..good.clone() }.check().is_err(), "{bad}");
            assert!(Sample { boot_us: Some(bad), ..good.clone() }.check().is_err(), "{bad}");
        }
        let process = Process { start_ticks: Some(u64::MAX), ..Process::default() };
        assert!(Sample { processes: Some([(1, process)].into()), ..good }.check().is_err());
    }
}
