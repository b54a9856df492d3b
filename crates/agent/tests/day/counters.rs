//! Counters as readers saw them last, kept across kills: none may go down.

use gpu_session_core::snapshot::{CounterView, Snapshot};
use std::collections::BTreeMap;
use std::path::Path;

/// Counters by name and labels.
pub(crate) type Seen = BTreeMap<String, f64>;

/// What a reader of the snapshot sees.
pub(crate) fn of(snapshot: &Snapshot) -> Seen {
    let counters: &CounterView = &snapshot.counters;
    let mut seen = Seen::new();
    for (gpu, user, usage) in &counters.users {
        let figures = [
            ("sm", usage.sm_seconds),
            ("memory", usage.memory_byte_seconds),
            ("session", usage.session_seconds),
            ("measured", usage.measured_seconds),
            ("ended", usage.sessions_ended),
            ("sole", usage.energy_joules[0]),
            ("share", usage.energy_joules[1]),
        ];
        for (name, counter) in figures.into_iter().filter_map(|(name, counter)| Some((name, counter?))) {
            seen.insert(format!("{name} {gpu} {user}"), counter.value);
        }
    }
    for (gpu, totals) in &counters.gpus {
        for (name, counter) in
            [("unobserved", totals.unobserved), ("started", totals.started), ("ended-on", totals.ended)]
        {
            seen.extend(counter.map(|counter| (format!("{name} {gpu}"), counter.value)));
        }
    }
    seen
}

/// Holds what is seen now against what was seen last.
pub(crate) fn check(before: &Seen, now: &Seen) {
    for (name, value) in before {
        let after = now.get(name).unwrap_or_else(|| panic!("the counter {name:?} is gone"));
        assert!(after >= value, "the counter {name:?} went down: {value} {after}");
    }
}

/// Keeps what was seen, whole or not at all: names where there are new ones, values always.
pub(crate) fn keep(folder: &Path, before: &Seen, seen: &Seen) {
    let names = || seen.keys().cloned().collect::<Vec<_>>().join("\n");
    let values: Vec<u8> = seen.values().flat_map(|value| value.to_le_bytes()).collect();
    // No counter ever goes, so that their number tells which they are.
    if before.len() != seen.len() {
        replace(folder, &format!("names-{}", seen.len()), names().as_bytes());
    }
    replace(folder, "values", &[&(seen.len() as u64).to_le_bytes()[..], &values].concat());
}

fn replace(folder: &Path, name: &str, content: &[u8]) {
    let made = folder.join(format!("{name}.new"));
    std::fs::write(&made, content).unwrap();
    std::fs::rename(made, folder.join(name)).unwrap();
}

/// What was seen last.
pub(crate) fn last(folder: &Path) -> Seen {
    let Ok(kept) = std::fs::read(folder.join("values")) else { return Seen::new() };
    let numbers: Vec<[u8; 8]> = kept.chunks_exact(8).map(|chunk| chunk.try_into().unwrap()).collect();
    let names =
        std::fs::read_to_string(folder.join(format!("names-{}", u64::from_le_bytes(numbers[0])))).unwrap();
    let values = numbers[1..].iter().map(|bytes| f64::from_le_bytes(*bytes));
    names.lines().map(str::to_owned).zip(values).collect()
}

/// The sum over the labels that end so.
pub(crate) fn sum(seen: &Seen, name: &str, end: &str) -> f64 {
    let of_name = seen.iter().filter(|(key, _)| key.starts_with(&format!("{name} ")) && key.ends_with(end));
    of_name.map(|(_, value)| value).sum()
}
