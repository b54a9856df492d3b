//! Search, order and pages of a list. Rows stay where they are: their places are sorted.

use gpu_session_core::ids::GpuLabel;
use std::cmp::Ordering;

/// What is searched for: each word has to be somewhere in a row's names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words(Vec<String>);

impl Words {
    /// The words of a text, in whichever case.
    pub fn of(text: &str) -> Self {
        Self(text.split_whitespace().map(str::to_lowercase).collect())
    }

    /// Whether all are in names that [`searchable`] made ready.
    pub(super) fn are_in(&self, names: &str) -> bool {
        self.0.iter().all(|word| names.contains(word.as_str()))
    }
}

/// Names, ready to be searched. A word has no line end, so none is found across two names.
pub(super) fn searchable<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut text = String::new();
    for name in names.into_iter().filter(|name| !name.is_empty()) {
        text.push_str(&name.to_lowercase());
        text.push('\n');
    }
    text
}

/// What a row is sorted by.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Key<'a> {
    /// A number; `None` where it is not known.
    Number(Option<f64>),
    /// A text; `None` where it is not known.
    Text(Option<&'a str>),
    /// A device: 2 before 10.
    Device(GpuLabel),
}

impl Key<'_> {
    /// Of a count.
    pub(super) fn count(count: Option<u64>) -> Self {
        Self::Number(count.map(|count| count as f64))
    }

    /// Of a yes or no.
    pub(super) fn flag(flag: Option<bool>) -> Self {
        Self::Number(flag.map(|flag| f64::from(u8::from(flag))))
    }

    fn is_null(&self) -> bool {
        matches!(self, Self::Number(None) | Self::Text(None))
    }

    /// What is not known comes last, in either direction.
    fn compare(&self, other: &Self, descending: bool) -> Ordering {
        let known = match (self.is_null(), other.is_null()) {
            (false, false) => match (self, other) {
                (Self::Number(a), Self::Number(b)) => a.unwrap_or(0.0).total_cmp(&b.unwrap_or(0.0)),
                (Self::Text(a), Self::Text(b)) => a.cmp(b),
                (Self::Device(a), Self::Device(b)) => a.cmp(b),
                _ => Ordering::Equal,
            },
            (a, b) => return a.cmp(&b),
        };
        if descending { known.reverse() } else { known }
    }
}

/// The key of a row by one of its fields.
pub(super) type Field<R> = fn(&R) -> Key<'_>;

/// One field of an order.
pub(super) struct Sort<R> {
    field: Field<R>,
    descending: bool,
}

/// An order: by the first of these that tells two rows apart, and else by their places.
pub(super) struct Order<R>(Vec<Sort<R>>);

impl<R> Order<R> {
    /// By the places of the rows.
    pub(super) fn natural() -> Self {
        Self(Vec::new())
    }

    /// By a field, as it is written: `-` before it is for descending. The error has the fields that there are.
    pub(super) fn parse(written: &str, fields: &[(&str, Field<R>)]) -> Result<Self, String> {
        let (name, descending) = match written.strip_prefix('-') {
            Some(name) => (name, true),
            None => (written, false),
        };
        let Some((_, field)) = fields.iter().find(|(field, _)| *field == name) else {
            let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
            return Err(format!(
                "{written:?} is no field of this list: allowed are {}, with - before it for descending",
                names.join(", ")
            ));
        };
        Ok(Self(vec![Sort { field: *field, descending }]))
    }

    /// Descending by each of these in turn.
    pub(super) fn most(fields: impl IntoIterator<Item = Field<R>>) -> Self {
        Self(fields.into_iter().map(|field| Sort { field, descending: true }).collect())
    }

    fn compare(&self, rows: &[R], a: u32, b: u32) -> Ordering {
        let (row_a, row_b) = (&rows[a as usize], &rows[b as usize]);
        let told =
            self.0.iter().map(|sort| (sort.field)(row_a).compare(&(sort.field)(row_b), sort.descending));
        told.fold(Ordering::Equal, Ordering::then).then(a.cmp(&b))
    }
}

/// Which part of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// So many come before it.
    pub offset: usize,
    /// So many at most.
    pub limit: usize,
}

/// The places of the rows of a page, and how many rows are taken on all pages.
pub(super) fn page<R>(
    rows: &[R],
    takes: impl Fn(&R) -> bool,
    order: &Order<R>,
    page: Page,
) -> (Vec<u32>, usize) {
    let mut places: Vec<u32> =
        (0..).zip(rows).filter(|(_, row)| takes(row)).map(|(place, _)| place).collect();
    let total = places.len();
    let begin = page.offset.min(total);
    let end = begin.saturating_add(page.limit).min(total);
    if !order.0.is_empty() {
        // What comes after the page need not be in order.
        if end < total {
            places.select_nth_unstable_by(end, |a, b| order.compare(rows, *a, *b));
        }
        places[..end].sort_unstable_by(|a, b| order.compare(rows, *a, *b));
    }
    places.truncate(end);
    places.drain(..begin);
    (places, total)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Row = (Option<f64>, &'static str);
    const FIELDS: [(&str, Field<Row>); 2] = [
        ("number", |row| Key::Number(row.0)),
        ("name", |row| Key::Text(Some(row.1).filter(|n| !n.is_empty()))),
    ];

    fn sorted(rows: &[Row], by: &str, offset: usize, limit: usize) -> Vec<u32> {
        page(rows, |_| true, &Order::parse(by, &FIELDS).unwrap(), Page { offset, limit }).0
    }

    #[test]
    fn what_is_not_known_is_last_in_both_directions_and_ties_keep_their_places() {
        let rows = [(Some(2.0), "b"), (None, "a"), (Some(1.0), ""), (Some(2.0), "B"), (None, "")];
        assert_eq!(sorted(&rows, "number", 0, 9), [2, 0, 3, 1, 4]);
        assert_eq!(sorted(&rows, "-number", 0, 9), [0, 3, 2, 1, 4]);
        assert_eq!(sorted(&rows, "name", 0, 9), [3, 1, 0, 2, 4]);
        assert_eq!(sorted(&rows, "-name", 0, 9), [0, 1, 3, 2, 4]);
    }

    #[test]
    fn pages_have_each_row_once_in_the_order_of_the_whole() {
        let rows: Vec<Row> = (0..1000_u32).map(|n| (Some(f64::from(n * 7919 % 10)), "x")).collect();
        for by in ["number", "-number", "name"] {
            let whole = sorted(&rows, by, 0, usize::MAX);
            let mut pages = Vec::new();
            for offset in (0..1_050).step_by(70) {
                pages.extend(sorted(&rows, by, offset, 70));
            }
            assert_eq!(pages, whole, "{by}");
            assert_eq!(whole.len(), rows.len());
        }
        assert_eq!(sorted(&rows, "number", usize::MAX, usize::MAX), Vec::<u32>::new());
    }

    #[test]
    fn every_word_is_to_be_somewhere_in_the_names() {
        let names = searchable(["Gpu-7", "", "Müller", "team nlp"]);
        for (text, found) in [
            ("", true),
            ("  ", true),
            ("gPU mÜL", true),
            ("nlp gpu", true),
            ("gpu absent", false),
            ("7müller", false),
            ("gpu-7\nmüller", true),
        ] {
            assert_eq!(Words::of(text).are_in(&names), found, "{text:?}");
        }
    }

    #[test]
    fn a_field_that_is_not_there_is_refused_with_those_that_are() {
        for wrong in ["", "-", "--name", "names", "name,number"] {
            let error = Order::parse(wrong, &FIELDS).err().unwrap();
            assert!(error.contains("number, name") && error.contains(wrong), "{error}");
        }
    }
}
