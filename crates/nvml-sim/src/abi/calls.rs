//! How often each function was called.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// An exported function's name and count.
pub(super) struct Function {
    name: &'static str,
    calls: AtomicU64,
    listed: AtomicBool,
}

/// Those that were called.
static CALLED: Mutex<Vec<&'static Function>> = Mutex::new(Vec::new());

impl Function {
    pub(super) const fn new(name: &'static str) -> Self {
        Self { name, calls: AtomicU64::new(0), listed: AtomicBool::new(false) }
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn count(&'static self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if !self.listed.load(Ordering::Relaxed) && !self.listed.swap(true, Ordering::Relaxed) {
            CALLED.lock().unwrap_or_else(PoisonError::into_inner).push(self);
        }
    }
}

/// Writes `<function> <count>` lines, sorted, and a total.
pub(super) fn write(path: &Path) -> std::io::Result<()> {
    let called = CALLED.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut counts: Vec<_> =
        called.iter().map(|function| (function.name, function.calls.load(Ordering::Relaxed))).collect();
    counts.sort_unstable();
    let mut text = String::new();
    for (name, count) in &counts {
        let _ = writeln!(text, "{name} {count}");
    }
    let total: u64 = counts.iter().map(|(_, count)| count).sum();
    let _ = writeln!(text, "total {total}");
    std::fs::write(path, text)
}
