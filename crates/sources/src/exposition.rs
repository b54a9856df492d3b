//! The Prometheus text format, read strictly: one line that is not in it makes the whole answer unusable, as it
//! does to Prometheus. A line costs no memory.

use std::borrow::Cow;

/// One series of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Series<'a> {
    /// Its metric.
    pub name: &'a str,
    /// What stands between the braces, checked.
    labels: &'a str,
    /// Its value.
    pub value: f64,
    /// Unix milliseconds, where the line has them.
    pub time_ms: Option<i64>,
}

/// A line that is not in the format. It is not quoted: an answer can hold anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct Malformed {
    line: usize,
    what: &'static str,
}

/// A label that is there twice, with different values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ambiguous;

/// All series of an answer, in its order.
pub fn series(body: &[u8]) -> Result<impl Iterator<Item = Result<Series<'_>, Malformed>>, Malformed> {
    let line_of = |offset: usize| body[..offset].split(|byte| *byte == b'\n').count();
    let text = std::str::from_utf8(body)
        .map_err(|e| Malformed { line: line_of(e.valid_up_to()), what: "not UTF-8" })?;
    if !text.is_empty() && !text.ends_with('\n') {
        return Err(Malformed { line: line_of(text.len()), what: "cut off: the last line has no end" });
    }
    let numbered = text.split('\n').zip(1..);
    Ok(numbered.filter_map(|(text, line)| parse(text).map_err(|what| Malformed { line, what }).transpose()))
}

/// A line; `None` for a comment or an empty one.
fn parse(line: &str) -> Result<Option<Series<'_>>, &'static str> {
    let mut rest = Cursor(line);
    rest.skip_blanks();
    if rest.0.is_empty() || rest.0.starts_with('#') {
        return Ok(None);
    }
    let name = rest.name(":").ok_or("no metric name where one should be")?;
    let ended = rest.0.is_empty() || rest.0.starts_with(BLANKS);
    rest.skip_blanks();
    let labels = if rest.take('{') {
        let labels = rest.0;
        while rest.label()?.is_some() {}
        // The closing brace is the last byte that was read.
        &labels[..labels.len() - rest.0.len() - 1]
    } else if ended {
        ""
    } else {
        return Err("a character in a metric name that may not be there");
    };
    let mut fields = rest.0.split(BLANKS).filter(|field| !field.is_empty());
    let value = fields.next().ok_or("no value")?.parse().map_err(|_| "a value that is no number")?;
    let time_ms = fields.next().map(str::parse).transpose().map_err(|_| "a timestamp that is no number")?;
    if fields.next().is_some() {
        return Err("more than a value and a timestamp");
    }
    Ok(Some(Series { name, labels, value, time_ms }))
}

impl<'a> Series<'a> {
    /// The value of a label by its name in any case; an empty value is as good as none.
    pub fn label(&self, name: &str) -> Result<Option<Cow<'a, str>>, Ambiguous> {
        let mut rest = Cursor(self.labels);
        let mut found: Option<Cow<'a, str>> = None;
        while let Ok(Some((own, raw))) = rest.label() {
            if !own.eq_ignore_ascii_case(name) {
                continue;
            }
            let value = unescaped(raw);
            if found.as_ref().is_some_and(|other| *other != value) {
                return Err(Ambiguous);
            }
            found = Some(value);
        }
        Ok(found.filter(|value| !value.is_empty()))
    }
}

const BLANKS: [char; 2] = [' ', '\t'];

/// What is left of a line.
struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    fn skip_blanks(&mut self) {
        self.0 = self.0.trim_start_matches(BLANKS);
    }

    fn take(&mut self, wanted: char) -> bool {
        match self.0.strip_prefix(wanted) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    /// A name of letters, digits, underscores and what else may be in it; not one that begins with a digit.
    fn name(&mut self, more: &str) -> Option<&'a str> {
        let belongs = |c: char| c.is_ascii_alphanumeric() || c == '_' || more.contains(c);
        let end = self.0.find(|c| !belongs(c)).unwrap_or(self.0.len());
        let (name, rest) = self.0.split_at(end);
        self.0 = rest;
        (!name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit())).then_some(name)
    }

    /// The next label with its value as written, and the comma after it; `None` at the closing brace, which it
    /// takes, or at the end of labels that were checked before.
    fn label(&mut self) -> Result<Option<(&'a str, &'a str)>, &'static str> {
        self.skip_blanks();
        if self.take('}') {
            return Ok(None);
        }
        let name = self.name("").ok_or("no label name where one should be")?;
        self.skip_blanks();
        if !self.take('=') {
            return Err("a label without =");
        }
        self.skip_blanks();
        if !self.take('"') {
            return Err("a label value without quotes");
        }
        let value = self.quoted()?;
        self.skip_blanks();
        if !self.take(',') && !self.0.starts_with('}') && !self.0.is_empty() {
            return Err("no comma between two labels");
        }
        Ok(Some((name, value)))
    }

    /// Up to the closing quote, which it takes.
    fn quoted(&mut self) -> Result<&'a str, &'static str> {
        let bytes = self.0.as_bytes();
        let mut at = 0;
        loop {
            match bytes.get(at) {
                Some(b'"') => break,
                Some(b'\\') if !matches!(bytes.get(at + 1), Some(b'\\' | b'"' | b'n')) => {
                    return Err("an escape that is none of \\\\, \\\" and \\n");
                }
                Some(b'\\') => at += 2,
                Some(_) => at += 1,
                None => return Err("a label value without end"),
            }
        }
        let value = &self.0[..at];
        self.0 = &self.0[at + 1..];
        Ok(value)
    }
}

fn unescaped(raw: &str) -> Cow<'_, str> {
    if !raw.contains('\\') {
        return Cow::Borrowed(raw);
    }
    let mut out = String::with_capacity(raw.len());
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next().map(|c| if c == 'n' { '\n' } else { c })),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(line: &str) -> Series<'_> {
        parse(line).unwrap_or_else(|e| panic!("{line}: {e}")).unwrap_or_else(|| panic!("nothing: {line}"))
    }

    fn all(body: &[u8]) -> Result<usize, Malformed> {
        series(body)?.map(|series| series.map(|_| 1)).sum()
    }

    #[test]
    fn what_the_format_allows_is_read() {
        for (line, value, time_ms) in [
            ("a 1", 1.0, None),
            ("a{} 1.5", 1.5, None),
            ("a{x=\"}\"}2", 2.0, None),
            (" a\t{ x = \"1\" , y=\"2\", }  -3e2\t-5 ", -300.0, Some(-5)),
            ("a:b_9{x=\"\\\\ \\\" \\n é\"} +Inf 1700000000000", f64::INFINITY, Some(1_700_000_000_000)),
        ] {
            let series = one(line);
            assert_eq!((series.value, series.time_ms), (value, time_ms), "{line}");
        }
        assert!(one("a NaN").value.is_nan());
        assert_eq!(all(b"# HELP a b\n# TYPE a gauge\n\n  \na 1\na 2\n#\n"), Ok(2));
        assert_eq!(all(b""), Ok(0));
    }

    #[test]
    fn labels_are_found_in_any_case_and_two_values_are_none() {
        let series = one(r#"a{gpu="0",UUID="GPU-\"x\\",GPU_I_ID="",other="}, UUID=\"no\""} 1"#);
        assert_eq!(series.label("uuid"), Ok(Some("GPU-\"x\\".into())));
        assert_eq!(series.label("gpu_i_id"), Ok(None));
        assert_eq!(series.label("device"), Ok(None));
        assert_eq!(one(r#"a{uuid="x",UUID="x"} 1"#).label("UUID"), Ok(Some("x".into())));
        assert_eq!(one(r#"a{uuid="x",UUID="y"} 1"#).label("UUID"), Err(Ambiguous));
    }

    #[test]
    fn what_is_not_in_the_format_is_named_by_its_line() {
        for line in [
            "9a 1",
            "a-b 1",
            "{x=\"1\"} 1",
            "a",
            "a{}",
            "a{x=\"1\"}",
            "a{x=\"1\" 1",
            "a{x=\"1} 1",
            "a{x=1} 1",
            "a{x} 1",
            "a{x=\"1\"y=\"2\"} 1",
            "a{,} 1",
            "a{9=\"1\"} 1",
            "a{x=\"\\t\"} 1",
            "a{x=\"\\",
            "a{x=\"1\"",
            "a{x=\"1\",",
            "a{",
            "a one",
            "a 1 1.5",
            "a 1 99999999999999999999",
            "a 1 2 3",
            "a 1\r",
            "a{x=\"1\"}} 1",
            "<html>",
            "\u{0}\u{1}",
        ] {
            let body = format!("ok 1\n{line}\n");
            let error = all(body.as_bytes()).expect_err(line);
            assert_eq!(error.line, 2, "{line}: {error}");
        }
        assert_eq!(all(b"a 1\nb \xff\n").unwrap_err(), Malformed { line: 2, what: "not UTF-8" });
        assert_eq!(all(b"a 1\nb 0.2").unwrap_err().line, 2, "0.2 may be the beginning of 0.25");
    }

    #[test]
    fn a_huge_line_is_read_once() {
        let labels = "a=\"x\",".repeat(1 << 18);
        let body = format!("m{{{labels}UUID=\"{}\"}} 1\n", "\\n".repeat(1 << 20));
        assert_eq!(all(body.as_bytes()), Ok(1));
        assert_eq!(one(body.trim_end()).label("uuid").unwrap().map(|uuid| uuid.len()), Some(1 << 20));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = all(&body);
        }

        #[test]
        fn no_text_like_it_makes_it_panic(body in "[a{}=\",\\\\n 1é.#\t\n]{0,60}") {
            if let Ok(found) = series(body.as_bytes()) {
                for series in found.flatten() {
                    let _ = series.label("a");
                }
            }
        }

        #[test]
        fn every_label_value_comes_back(value in "\\PC{0,20}[\n\\\\\"]{0,3}") {
            let written = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let line = format!("m{{x=\"{written}\",y=\"\"}} 1");
            let found = one(&line).label("X");
            prop_assert_eq!(found, Ok(Some(Cow::Borrowed(value.as_str())).filter(|v| !v.is_empty())));
        }
    }
}
