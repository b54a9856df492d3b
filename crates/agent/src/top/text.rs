//! Text in columns: harmless, cut and padded by the width that it has on a terminal.

use gpu_session_core::text::{clean, clean_value};
use ratatui::style::Style;
use ratatui::text::Span;
use std::time::{Duration, UNIX_EPOCH};

/// Which end of a column text stands at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// Columns that text takes up, counted as the screen places it.
pub(super) fn width(text: &str) -> usize {
    let span = Span::raw(text);
    span.styled_graphemes(Style::new()).map(|grapheme| Span::raw(grapheme.symbol).width()).sum()
}

/// Cleaned text of this many columns at most, as long as a line may be; what was cut ends in `…`.
pub(super) fn cut(text: &str, columns: usize) -> String {
    let text = clean_value(text);
    if width(&text) <= columns {
        return text;
    }
    let mut out = String::new();
    let mut left = columns.saturating_sub(1);
    for grapheme in Span::raw(text.as_str()).styled_graphemes(Style::new()) {
        let taken = Span::raw(grapheme.symbol).width();
        if taken > left {
            break;
        }
        left -= taken;
        out.push_str(grapheme.symbol);
    }
    if columns > 0 {
        out.push('…');
    }
    out
}

/// A name, cleaned as one, in just this many columns.
pub(super) fn fit(name: &str, columns: usize, align: Align) -> String {
    pad(&clean(name), columns, align)
}

/// Cleaned text of just this many columns.
pub(super) fn pad(text: &str, columns: usize, align: Align) -> String {
    let text = cut(text, columns);
    let padding = " ".repeat(columns.saturating_sub(width(&text)));
    match align {
        Align::Left => text + &padding,
        Align::Right => padding + &text,
    }
}

/// A bar for a ratio, this many columns wide; blank where the ratio is not known.
pub(super) fn bar(ratio: Option<f64>, columns: usize) -> String {
    let inner = columns.saturating_sub(2);
    let Some(ratio) = ratio else { return " ".repeat(columns) };
    let full = ((ratio.clamp(0.0, 1.0) * inner as f64).round() as usize).min(inner);
    format!("[{}{}]", "|".repeat(full), " ".repeat(inner - full))
}

/// A point in time, in UTC.
pub(super) fn time(seconds: f64) -> Option<String> {
    let since = Duration::try_from_secs_f64(seconds).ok()?;
    let at = UNIX_EPOCH.checked_add(since)?;
    // Years beyond 9999 have no such form.
    (since.as_secs() < 253_402_300_800).then(|| humantime::format_rfc3339_seconds(at).to_string())
}

/// Seconds in the largest one or two units.
pub(super) fn seconds(seconds: f64) -> String {
    crate::outputs::table::duration(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_and_padded_by_what_it_takes_up() {
        assert_eq!(fit("abc", 5, Align::Left), "abc  ");
        assert_eq!(fit("abc", 5, Align::Right), "  abc");
        assert_eq!(fit("abcdef", 4, Align::Left), "abc…");
        // A wide character that does not fit leaves its column blank.
        assert_eq!(fit("모델훈련", 6, Align::Left), "모델… ");
        assert_eq!(fit("e\u{301}e\u{301}e\u{301}", 2, Align::Left), "e\u{301}…");
        assert_eq!(fit("a\x1b[31m\u{202e}", 9, Align::Left), "a\u{fffd}[31m\u{fffd}  ");
        assert_eq!((cut("abc", 0), cut("", 3)), (String::new(), String::new()));
    }

    #[test]
    fn a_bar_is_as_long_as_its_ratio_and_blank_where_there_is_none() {
        assert_eq!(bar(Some(0.5), 10), "[||||    ]");
        assert_eq!(bar(Some(7.0), 6), "[||||]");
        assert_eq!(bar(Some(f64::NAN), 6), "[    ]");
        assert_eq!(bar(None, 6), "      ");
    }

    #[test]
    fn a_time_is_in_utc() {
        assert_eq!(time(1_700_000_000.9).as_deref(), Some("2023-11-14T22:13:20Z"));
        assert_eq!((time(-1.0), time(1e300), time(1e15)), (None, None, None));
    }
}
