//! The selected line of a pane.

use super::lines::{Key, Line};

/// Stays with what it is on, wherever that goes.
#[derive(Clone, Debug, Default)]
pub(super) struct Cursor {
    key: Option<Key>,
    at: usize,
}

impl Cursor {
    /// Index of the selected line; `None` where there is nothing to select.
    pub(super) fn at(&self) -> Option<usize> {
        self.key.is_some().then_some(self.at)
    }

    /// The lines have changed: finds what was selected, or takes what is nearest to where it was.
    pub(super) fn settle<T>(&mut self, lines: &[Line<T>]) {
        let same = |line: &Line<T>| self.key.is_some() && line.key() == self.key.as_ref();
        let at = lines.iter().position(same).or_else(|| nearest(lines, self.at));
        self.put(lines, at);
    }

    /// Goes this many items down, or up where it is negative; no further than there are any.
    pub(super) fn step<T>(&mut self, lines: &[Line<T>], by: isize) {
        let items: Vec<usize> = (0..lines.len()).filter(|at| lines[*at].key().is_some()).collect();
        let now = items.iter().position(|at| *at == self.at).unwrap_or(0);
        let last = items.len().saturating_sub(1);
        self.put(lines, items.get(now.saturating_add_signed(by).min(last)).copied());
    }

    fn put<T>(&mut self, lines: &[Line<T>], at: Option<usize>) {
        self.at = at.unwrap_or(0);
        self.key = at.and_then(|at| lines[at].key().cloned());
    }
}

/// The item at a line, or the one next to it.
fn nearest<T>(lines: &[Line<T>], at: usize) -> Option<usize> {
    let items = (0..lines.len()).filter(|index| lines[*index].key().is_some());
    items.min_by_key(|index| index.abs_diff(at))
}
