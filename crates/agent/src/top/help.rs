//! What the keys do and the words mean, page by page where the screen is low.

use super::draw::{BOLD, Rows};
use ratatui::style::Style;

/// No line is wider than the smallest screen.
const KEYS: [(&str, &str); 13] = [
    ("q  Ctrl-C", "leave; so does Esc where nothing is open"),
    ("Up Down  j k", "select; PgUp, PgDn, Home, End go further"),
    ("Tab", "from the sessions to the devices and back"),
    ("Enter", "all that is known of what is selected"),
    ("/", "only what has these words: names, pods, GPUs"),
    ("< >", "sort by the column beside; Left, Right too"),
    ("r", "turn the order round"),
    ("g", "group by user, by pod, by device, not at all"),
    ("Space", "look no more, and look again"),
    (",  .", "pause; sample before (recordings) or after"),
    ("Ctrl-Z", "stop; fg of the shell goes on"),
    ("Esc", "close the detail, end the filter"),
    ("?  h", "this; Down turns its page, others go back"),
];

const WORDS: [(&str, &str); 12] = [
    ("-", "not known, which is not 0"),
    ("active", "used the device in the last seconds"),
    ("IDLE", "uses nothing, for this long at least"),
    ("HELD IDLE", "a container holds the device, with no session"),
    ("free", "no container holds the device, nobody is on it"),
    ("NOT READ", "a device, or the last look, was not read"),
    ("at least", "something was not read: there may be more"),
    ("OLD", "what is shown is older than two minutes"),
    ("NO ANSWER", "a look takes long; what is shown is older"),
    ("DOWN", "a source without answer; its part is missing"),
    ("WARNING", "who was asked says that parts may be missing"),
    ("PAUSED", "nothing is looked at until Space or ."),
];

pub(super) fn draw(rows: &mut Rows<'_, '_>, turned: usize) {
    let keys = KEYS.iter().map(|(key, meaning)| (format!("  {key:<14}{meaning}"), Style::new()));
    let words = WORDS.iter().map(|(word, meaning)| (format!("  {word:<11}{meaning}"), Style::new()));
    let title = |text: &str| std::iter::once((text.to_owned(), BOLD));
    let lines: Vec<_> =
        title("Keys").chain(keys).chain(title("")).chain(title("Words")).chain(words).collect();
    let room = usize::from(rows.left());
    if lines.len() <= room {
        return lines.iter().for_each(|(line, style)| rows.text(line, *style));
    }
    // The last row says that there is more.
    let pages: Vec<_> = lines.chunks(room.saturating_sub(1).max(1)).collect();
    let page = turned % pages.len();
    pages[page].iter().for_each(|(line, style)| rows.text(line, *style));
    while rows.left() > 1 {
        rows.text("", Style::new());
    }
    rows.text(&format!("page {} of {}: Down turns it, any other key goes back", page + 1, pages.len()), BOLD);
}
