//! Whether a process list can be believed.

use super::api::{ProcessInfo, WideProcessInfo};

/// Largest pid of any Linux (`PID_MAX_LIMIT`).
const MAX_PID: u32 = 4_194_304;

/// No GPU has this much memory.
const MAX_MEMORY: u64 = 1 << 50;

/// Instance ids are small, or all ones where there are none.
const MAX_INSTANCE: u32 = 1024;

/// The list as the driver meant it, or `None` if no way of reading it makes sense.
///
/// Early R535 drivers (535.43.02 to before 535.98) wrote 8 bytes more per entry without saying so: read by the
/// header, every entry but the first is scrambled. The first way in which all entries make sense is taken.
pub(super) fn believable(plain: &[ProcessInfo], wide: &[WideProcessInfo]) -> Option<Vec<ProcessInfo>> {
    if plain.iter().all(makes_sense) {
        return Some(plain.to_vec());
    }
    let narrowed = || wide.iter().map(|entry| entry.info);
    (wide.len() == plain.len() && narrowed().all(|entry| makes_sense(&entry))).then(|| narrowed().collect())
}

fn makes_sense(entry: &ProcessInfo) -> bool {
    let memory = entry.usedGpuMemory == u64::MAX || entry.usedGpuMemory <= MAX_MEMORY;
    let instance = |id: u32| id == u32::MAX || id < MAX_INSTANCE;
    (1..=MAX_PID).contains(&entry.pid)
        && memory
        && instance(entry.gpuInstanceId)
        && instance(entry.computeInstanceId)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(pid: u32) -> ProcessInfo {
        ProcessInfo { pid, usedGpuMemory: 1 << 30, gpuInstanceId: u32::MAX, computeInstanceId: u32::MAX }
    }

    fn pids(list: Option<Vec<ProcessInfo>>) -> Option<Vec<u32>> {
        list.map(|list| list.iter().map(|entry| entry.pid).collect())
    }

    #[test]
    fn a_good_list_is_taken_as_it_is() {
        let plain = [entry(1), entry(MAX_PID)];
        assert_eq!(pids(believable(&plain, &[])), Some(vec![1, MAX_PID]));
        assert_eq!(pids(believable(&[], &[])), Some(vec![]));
    }

    #[test]
    fn longer_records_are_known_by_the_nonsense_they_make() {
        let wide = [10, 20, 30].map(|pid| WideProcessInfo { info: entry(pid), protected_memory: 0 });
        // What the header's record makes of the second: the protected memory of the first for a pid.
        let scrambled = [entry(10), ProcessInfo { pid: 0, ..entry(0) }, entry(7)];
        assert_eq!(pids(believable(&scrambled, &wide)), Some(vec![10, 20, 30]));
        let nonsense = [WideProcessInfo { info: entry(0), protected_memory: 0 }; 3];
        assert_eq!(pids(believable(&scrambled, &nonsense)), None);
    }
}
