//! The terminal that standard output goes to, if it goes to one.

use std::fmt::Write as _;
use std::io::IsTerminal as _;

/// Columns and rows; `None` where standard output is no terminal, or one that does not say.
pub fn size() -> Option<(usize, usize)> {
    let out = std::io::stdout();
    let size = out.is_terminal().then(|| rustix::termios::tcgetwinsize(&out).ok()).flatten()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col.into(), size.ws_row.into()))
}

/// What puts this text on the screen in the place of what is there, line by line, so that nothing flickers: the screen is
/// never empty. What is below its last row is told by a line; the terminal cuts what is too wide.
pub fn redraw(text: &str, rows: usize) -> String {
    const HOME: &str = "\x1b[H";
    const NO_WRAP: &str = "\x1b[?7l";
    const WRAP: &str = "\x1b[?7h";
    const CLEAR_LINE: &str = "\x1b[K";
    const CLEAR_BELOW: &str = "\x1b[J";
    let lines: Vec<&str> = text.lines().collect();
    let fits = lines.len() < rows;
    let shown = if fits { lines.len() } else { rows.saturating_sub(2) };
    let mut out = format!("{NO_WRAP}{HOME}");
    for line in &lines[..shown.min(lines.len())] {
        let _ = write!(out, "{line}{CLEAR_LINE}\r\n");
    }
    if !fits {
        let _ = write!(out, "… {} more lines{CLEAR_LINE}\r\n", lines.len() - shown);
    }
    out + CLEAR_BELOW + WRAP
}

/// What empties the screen, once, before the first drawing.
pub const CLEAR: &str = "\x1b[2J";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_is_never_scrolled() {
        for rows in 3..12 {
            let text = redraw("1\n2\n3\n4\n5\n", rows);
            assert!(text.matches("\r\n").count() < rows, "{rows}: {text:?}");
            assert!(text.contains("\x1b[H1\x1b[K\r\n") && text.ends_with("\x1b[J\x1b[?7h"));
            assert_eq!(text.contains("more lines"), rows <= 5, "{rows}: {text:?}");
        }
        assert!(redraw("1\n2\n3\n4\n5\n", 5).contains("… 2 more lines"));
    }
}
