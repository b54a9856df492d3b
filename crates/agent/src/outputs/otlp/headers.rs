//! Headers that the operator adds, such as a token. They are secret: no error shows one.

use anyhow::{Context as _, bail};
use std::io::Read as _;
use std::path::Path;
use ureq::http::{HeaderMap, HeaderName, HeaderValue};

/// Largest file that is read.
const MOST_BYTES: u64 = 64 << 10;

/// Set by the protocol itself.
const OURS: [&str; 7] =
    ["connection", "content-encoding", "content-length", "content-type", "host", "te", "transfer-encoding"];

/// Reads the file; nothing where there is none.
pub(super) fn read(path: Option<&Path>) -> anyhow::Result<HeaderMap> {
    let Some(path) = path else { return Ok(HeaderMap::new()) };
    let name = || format!("otlp.headers_file: {}", path.display());
    let mut text = String::new();
    let file = std::fs::File::open(path).with_context(name)?;
    let length = file.take(MOST_BYTES + 1).read_to_string(&mut text).with_context(name)?;
    if length as u64 > MOST_BYTES {
        bail!("{}: it is larger than {} KiB", name(), MOST_BYTES >> 10);
    }
    parse(&text).with_context(name)
}

fn parse(text: &str) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    for (at, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let Some((name, value)) = header(line) else {
            bail!(
                "line {at}: it is no header; write `name: value`, as in `authorization: Bearer …`, of printable ASCII"
            );
        };
        if OURS.contains(&name.as_str()) || name.as_str().starts_with("grpc-") {
            bail!("line {at}: the protocol sets {name} itself; remove it");
        }
        headers.append(name, value);
    }
    Ok(headers)
}

fn header(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(':')?;
    let name = HeaderName::from_bytes(name.trim_end().as_bytes()).ok()?;
    let value = value.trim();
    let printable = !value.is_empty() && value.bytes().all(|b| (b' '..=b'~').contains(&b));
    let mut value = HeaderValue::from_str(value).ok().filter(|_| printable)?;
    value.set_sensitive(true);
    Some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_headers_and_no_error_shows_them() {
        let headers = parse("# for the gateway\n\nAuthorization: Bearer a:b\r\nx-tenant:  t 1 \n").unwrap();
        assert_eq!((&headers["authorization"], headers.len()), (&HeaderValue::from_static("Bearer a:b"), 2));
        assert_eq!(headers["x-tenant"], "t 1");
        assert!(headers.values().all(HeaderValue::is_sensitive));
        for bad in [
            "x: y\nhunter2\n",
            "x: y\nhunter2 hunter2: z\n",
            "x: y\nx: hunter2\u{7f}\n",
            "x: y\nx: hunter2é\n",
            "x: y\nx:\n",
            "x: y\ncontent-type: hunter2\n",
            "x: y\ngrpc-timeout: hunter2\n",
        ] {
            let error = format!("{:#}", parse(bad).unwrap_err());
            assert!(error.contains("line 2") && !error.contains("hunter2"), "{bad}: {error}");
        }
    }
}
