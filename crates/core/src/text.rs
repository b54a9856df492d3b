//! Text that a workload controls, made harmless once, where it enters.

/// Longest label value in bytes; longer ones are cut on a character boundary.
pub const MAX_LABEL_BYTES: usize = 128;

/// Replaces what could break a line, a terminal or the reading direction of a table: control characters
/// and Unicode's bidirectional overrides become U+FFFD.
fn is_hostile(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Cleans text from outside (process name, label, device name) for use in every output.
pub fn clean(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len().min(MAX_LABEL_BYTES));
    for c in raw.chars() {
        let c = if is_hostile(c) { '\u{fffd}' } else { c };
        if out.len() + c.len_utf8() > MAX_LABEL_BYTES {
            break;
        }
        out.push(c);
    }
    out
}

/// As [`clean`], for bytes that need not be UTF-8.
pub fn clean_bytes(raw: &[u8]) -> String {
    // One more character than fits is enough to know where to cut.
    let head = &raw[..raw.len().min(MAX_LABEL_BYTES + 4)];
    clean(&String::from_utf8_lossy(head))
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
    fn long_text_is_cut_on_a_character_boundary() {
        let long = "é".repeat(5_000);
        let cut = clean(&long);
        assert_eq!(cut.len(), MAX_LABEL_BYTES);
        assert!(cut.chars().all(|c| c == 'é'));
        assert_eq!(clean_bytes(format!("x{long}").as_bytes()).len(), MAX_LABEL_BYTES - 1);
    }
}
