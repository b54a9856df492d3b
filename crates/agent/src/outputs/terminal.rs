//! The terminal that standard output goes to, if it goes to one.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use unicode_width::UnicodeWidthChar as _;

/// Columns and rows; `None` where standard output is no terminal, or one that does not say.
pub fn size() -> Option<(usize, usize)> {
    let out = std::io::stdout();
    let size = out.is_terminal().then(|| rustix::termios::tcgetwinsize(&out).ok()).flatten()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col.into(), size.ws_row.into()))
}

/// Stands for what was cut off.
const CUT: char = '…';

/// The text in this many columns of a terminal. What paints it takes up none, and is ended where it is cut.
pub(super) fn shortened(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let (mut out, mut used, mut painted) = (String::new(), 1, false);
    for piece in pieces(text) {
        used += columns(piece);
        if used > width {
            break;
        }
        painted |= piece.starts_with('\x1b');
        out.push_str(piece);
    }
    out.push(CUT);
    if painted {
        out.push_str("\x1b[0m");
    }
    out
}

/// Columns that the text takes up.
fn columns(text: &str) -> usize {
    let plain = pieces(text).filter(|piece| !piece.starts_with('\x1b'));
    plain.flat_map(str::chars).map(|c| c.width().unwrap_or(0)).sum()
}

/// Characters, and whole escape sequences (`ESC [ … letter`).
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let escape =
            rest.starts_with("\x1b[").then(|| rest.find(|c: char| c.is_ascii_alphabetic())).flatten();
        let (piece, after) = rest.split_at(escape.map_or(first.len_utf8(), |end| end + 1));
        rest = after;
        Some(piece)
    })
}

/// What puts this text on the screen in the place of what is there, line by line, so that nothing flickers: the screen is
/// never empty. What is below its last row is told by a line, and what is too wide is cut: no mode of the terminal is
/// changed, so a program that ends in the middle leaves it as it was.
pub fn redraw(text: &str, (width, rows): (usize, usize)) -> String {
    const HOME: &str = "\x1b[H";
    const CLEAR_LINE: &str = "\x1b[K";
    const CLEAR_BELOW: &str = "\x1b[J";
    let lines: Vec<&str> = text.lines().collect();
    let fits = lines.len() < rows;
    let shown = if fits { lines.len() } else { rows.saturating_sub(2) };
    let mut out = HOME.to_owned();
    let mut put = |line: &str| {
        let line = shortened(line, width);
        // At the last column it would take the last character.
        let clear = if columns(&line) < width { CLEAR_LINE } else { "" };
        let _ = write!(out, "{line}{clear}\r\n");
    };
    lines.iter().take(shown).for_each(|line| put(line));
    if !fits {
        put(&format!("… {} more lines", lines.len() - shown));
    }
    out + CLEAR_BELOW
}

/// What empties the screen, once, before the first drawing.
pub const CLEAR: &str = "\x1b[2J";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_is_never_scrolled() {
        for rows in 3..12 {
            let text = redraw("1\n2\n3\n4\n5\n", (80, rows));
            assert!(text.matches("\r\n").count() < rows, "{rows}: {text:?}");
            assert!(text.contains("\x1b[H1\x1b[K\r\n") && text.ends_with("\x1b[J"));
            assert_eq!(text.contains("more lines"), rows <= 5, "{rows}: {text:?}");
        }
        assert!(redraw("1\n2\n3\n4\n5\n", (80, 5)).contains("… 2 more lines"));
    }

    #[test]
    fn what_is_too_wide_is_cut_and_no_mode_is_changed() {
        let text = redraw("\x1b[1mtitle\x1b[0m\n12345\n123456\n", (5, 24));
        let wanted = "\x1b[H\x1b[1mtitle\x1b[0m\r\n12345\r\n1234…\r\n\x1b[J";
        assert_eq!(text, wanted);
        assert_eq!(shortened("\x1b[1mtitle\x1b[0m", 3), "\x1b[1mti…\x1b[0m");
    }

    #[test]
    fn wide_characters_count_double() {
        assert_eq!(shortened("김철수", 6), "김철수");
        assert_eq!(shortened("김철수", 5), "김철…");
        assert_eq!(shortened("김철수", 4), "김…");
        assert_eq!(shortened("e\u{301}e\u{301}e", 2), "e\u{301}…");
    }
}
