//! What the keys do.

use super::draw::{BOLD, Rows};
use ratatui::style::Style;

const KEYS: [(&str, &str); 12] = [
    ("q  Ctrl-C", "leave; so does Esc where nothing is open"),
    ("Up Down  j k", "select; PgUp, PgDn, Home and End go further"),
    ("Tab", "from the sessions to the devices and back"),
    ("Enter", "all that is known of what is selected, and its history"),
    ("/", "list only what has these words: names, pods, labels, states"),
    ("< >", "sort by the column before or after; so do Left and Right"),
    ("r", "turn the order round"),
    ("g", "group by user, by pod, by device, not at all"),
    ("Space", "look no more, and look again"),
    (",  .", "pause, and go to the sample before (recordings) or after"),
    ("Esc", "close the detail, end the filter"),
    ("?  h", "this; any key goes back"),
];

const WORDS: [&str; 6] = [
    "-          not known, which is not 0",
    "active     used the device in the last seconds",
    "IDLE       uses nothing, for this long at least",
    "HELD IDLE  a container holds the device and has no session on it",
    "OLD        what is shown is older than two minutes",
    "DOWN       a source that does not answer: what it would say is missing",
];

pub(super) fn draw(rows: &mut Rows<'_, '_>) {
    rows.text("Keys", BOLD);
    for (key, meaning) in KEYS {
        rows.text(&format!("  {key:<14}{meaning}"), Style::new());
    }
    rows.text("", BOLD);
    rows.text("Words", BOLD);
    for word in WORDS {
        rows.text(&format!("  {word}"), Style::new());
    }
}
