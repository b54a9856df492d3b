//! Text that a workload controls, made harmless once, where it enters.

use std::fmt::Write as _;

/// Longest label value in bytes; longer ones are cut on a character boundary.
pub const MAX_LABEL_BYTES: usize = 128;

/// Whether a character could break a line, a terminal or the reading direction of a table: control characters and
/// Unicode's bidirectional overrides. In what is cleaned they become U+FFFD.
pub fn is_hostile(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Longest value that patterns read, in bytes.
pub const MAX_VALUE_BYTES: usize = 4096;

/// Length of the mark of a text that was cut.
const MARK_BYTES: usize = 9;

/// Cleans text from outside (process name, label, device name) for use in every output. What is longer than a
/// label may be ends in `~` and eight digits of a hash of the whole, so that two do not become one.
pub fn clean(raw: &str) -> String {
    clean_to(raw, MAX_LABEL_BYTES)
}

/// As [`clean`], for a value out of which a pattern takes a part before that part is cleaned.
pub fn clean_value(raw: &str) -> String {
    clean_to(raw, MAX_VALUE_BYTES)
}

/// As [`clean`], for bytes that need not be UTF-8.
pub fn clean_bytes(raw: &[u8]) -> String {
    clean(&String::from_utf8_lossy(raw))
}

fn clean_to(raw: &str, limit: usize) -> String {
    let mut out = String::with_capacity(raw.len().min(limit));
    for c in raw.chars() {
        let c = if is_hostile(c) { '\u{fffd}' } else { c };
        if out.len() + c.len_utf8() > limit {
            out.truncate(floor_char_boundary(&out, limit - MARK_BYTES));
            let hash = crate::ids::fnv1a([raw.as_bytes()]);
            let _ = write!(out, "~{:08x}", hash & 0xffff_ffff);
            break;
        }
        out.push(c);
    }
    out
}

fn floor_char_boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_characters_are_replaced() {
        assert_eq!(clean("a\nb\x1b[31m\u{202e}c"), "a\u{fffd}b\u{fffd}[31m\u{fffd}c");
        assert_eq!(clean_bytes(b"ok\xff"), "ok\u{fffd}");
    }

    #[test]
    fn long_text_is_cut_on_a_character_boundary_and_stays_apart_from_others() {
        let long = "é".repeat(5_000);
        let cut = clean(&long);
        assert!(cut.len() <= MAX_LABEL_BYTES && cut.starts_with("éé") && cut.contains('~'), "{cut}");
        assert_ne!(cut, clean(&format!("{long}x")), "two names with one beginning");
        assert_eq!(clean(&cut), cut, "what was cleaned stays as it is");
        assert!(clean_bytes(format!("x{long}").as_bytes()).len() <= MAX_LABEL_BYTES);
        let fits = "k".repeat(MAX_LABEL_BYTES);
        assert_eq!(clean(&fits), fits);
        assert_eq!(clean_value(&long).len(), MAX_VALUE_BYTES - 1);
    }
}
