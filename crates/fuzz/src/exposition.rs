//! The text format of Prometheus and OpenMetrics, read by their grammar and not by the code that writes it.

use std::collections::{BTreeMap, BTreeSet};

/// A series: its name and its labels.
pub type Key = (String, BTreeMap<String, String>);

/// Metric families by name, and the values of all series.
#[derive(Debug, Default)]
pub struct Exposition {
    /// Types by the families' names.
    pub types: BTreeMap<String, String>,
    /// Values by series.
    pub series: BTreeMap<Key, f64>,
    /// The series as they were written.
    pub order: Vec<Key>,
}

/// Reads an answer.
///
/// # Errors
///
/// Where it is not in the format, or says the same series or family twice.
pub fn read(text: &str, is_open: bool) -> Result<Exposition, String> {
    let mut found = Exposition::default();
    let mut helped = BTreeSet::new();
    let mut family = String::new();
    let body = text.strip_suffix('\n').ok_or("no end of the last line")?;
    let body = match (is_open, body.strip_suffix("# EOF")) {
        (true, Some(body)) => body.strip_suffix('\n').ok_or("nothing before the end")?,
        (true, None) => return Err("no # EOF".to_owned()),
        (false, _) => body,
    };
    for line in body.split('\n') {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, _) = help.split_once(' ').ok_or_else(|| format!("no help: {line}"))?;
            if !helped.insert(name.to_owned()) {
                return Err(format!("twice: {line}"));
            }
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').ok_or_else(|| format!("no type: {line}"))?;
            let known = ["counter", "gauge", "histogram"].contains(&kind);
            if !known || !is_name(name) || found.types.insert(name.to_owned(), kind.to_owned()).is_some() {
                return Err(format!("not a type, or twice: {line}"));
            }
            name.clone_into(&mut family);
        } else {
            let (key, value) = series(line)?;
            if !belongs(&key.0, &family, &found.types[&family], is_open) {
                return Err(format!("not of the family {family}: {line}"));
            }
            found.order.push(key.clone());
            if found.series.insert(key, value).is_some() {
                return Err(format!("twice: {line}"));
            }
        }
    }
    Ok(found)
}

/// Whether a series may stand below its family.
fn belongs(name: &str, family: &str, kind: &str, is_open: bool) -> bool {
    let Some(rest) = name.strip_prefix(family) else { return false };
    match kind {
        "histogram" => ["_bucket", "_sum", "_count"].contains(&rest),
        "counter" if is_open => rest == "_total",
        _ => rest.is_empty(),
    }
}

fn is_name(name: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphabetic() || matches!(c, '_' | ':');
    name.starts_with(letter) && name.chars().all(|c| letter(c) || c.is_ascii_digit())
}

fn series(line: &str) -> Result<(Key, f64), String> {
    let bad = |what: &str| format!("{what}: {line}");
    let end = line.find(['{', ' ']).ok_or_else(|| bad("no value"))?;
    let (name, rest) = line.split_at(end);
    if !is_name(name) {
        return Err(bad("no name"));
    }
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest).map_err(bad)?,
        None => (BTreeMap::new(), rest),
    };
    let value = rest.strip_prefix(' ').ok_or_else(|| bad("no blank before the value"))?;
    let plain = value.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'.'));
    let value = value.parse().ok().filter(|_| plain).ok_or_else(|| bad("no finite number"))?;
    Ok(((name.to_owned(), labels), value))
}

/// Labels up to the closing brace, and what follows it.
fn labels(text: &str) -> Result<(BTreeMap<String, String>, &str), &'static str> {
    let mut found = BTreeMap::new();
    let mut rest = text;
    loop {
        let (name, after) = rest.split_once("=\"").ok_or("no label")?;
        if !is_name(name) || name.contains(':') {
            return Err("no name of a label");
        }
        let (mut value, mut chars) = (String::new(), after.char_indices());
        let end = loop {
            match chars.next().ok_or("a value without end")? {
                (at, '"') => break at,
                (_, '\\') => value.push(match chars.next() {
                    Some((_, 'n')) => '\n',
                    Some((_, c @ ('\\' | '"'))) => c,
                    _ => return Err("no escape of the format"),
                }),
                (_, c) => value.push(c),
            }
        };
        if found.insert(name.to_owned(), value).is_some() {
            return Err("a label twice");
        }
        let after = &after[end + 1..];
        match after.strip_prefix('}') {
            Some(after) => return Ok((found, after)),
            None => rest = after.strip_prefix(',').ok_or("no comma")?,
        }
    }
}
