//! Which form of an answer the client takes (RFC 9110, section 12). What it writes is believed as far as it can be read.

use gpu_session_core::metrics::Format;

/// The format by the Accept header: OpenMetrics where it is asked for by name and not less than the text.
pub(super) fn format(accept: &str) -> Format {
    let open_metrics = best(accept, |range| match range.name {
        "application/openmetrics-text" => range.version_is("1.0.0").then_some(2),
        "application/*" => Some(1),
        "*/*" => Some(0),
        _ => None,
    });
    let text = best(accept, |range| match range.name {
        "text/plain" => range.version_is("0.0.4").then_some(2),
        "text/*" => Some(1),
        "*/*" => Some(0),
        _ => None,
    });
    let ahead = match (open_metrics, text) {
        // Of two that are asked for by name alike, the newer.
        (Some((2, open_metrics)), Some((2, text))) => open_metrics >= text,
        (Some((how, open_metrics)), Some((text_how, text))) => {
            open_metrics > text || (open_metrics == text && how > text_how)
        }
        (Some((_, open_metrics)), None) => open_metrics > 0,
        (None, _) => false,
    };
    if ahead && open_metrics.is_some_and(|(_, quality)| quality > 0) {
        Format::OpenMetrics
    } else {
        Format::Text
    }
}

/// Whether HTML is asked for by name: curl and scrapers take everything, and are not to be given a page.
pub(super) fn html(accept: &str) -> bool {
    best(accept, |range| (range.name == "text/html").then_some(0)).is_some_and(|(_, quality)| quality > 0)
}

/// Whether the answer may be in gzip, and the client would not rather have it plain.
pub(super) fn gzip(accept_encoding: &str) -> bool {
    let of = |names: &'static [&'static str]| {
        best(accept_encoding, |range| match range.name {
            "*" => Some(0),
            name => names.contains(&name).then_some(1),
        })
    };
    let gzip = of(&["gzip", "x-gzip"]).map_or(0, |(_, quality)| quality);
    // What is not named is allowed, and less than what is.
    let plain = of(&["identity"]).filter(|(how, _)| *how == 1).map_or(0, |(_, quality)| quality);
    gzip > 0 && gzip >= plain
}

/// One element of such a header.
struct Range<'a> {
    name: &'a str,
    parameters: &'a str,
}

impl Range<'_> {
    /// Whether it asks for this version or for none.
    fn version_is(&self, wanted: &str) -> bool {
        let version = parameters(self.parameters).find(|(name, _)| name.eq_ignore_ascii_case("version"));
        version.is_none_or(|(_, version)| version == wanted)
    }
}

/// How exactly and how much it is wanted, in thousandths; the most exact element decides.
fn best(header: &str, how: impl Fn(&Range<'_>) -> Option<u8>) -> Option<(u8, u16)> {
    let of_element = |element: &str| {
        let (name, parameters) = element.split_once(';').unwrap_or((element, ""));
        let name = name.trim().to_ascii_lowercase();
        let how = how(&Range { name: &name, parameters })?;
        Some((how, quality(parameters)?))
    };
    header.split(',').filter_map(of_element).max()
}

/// Of `q`, in thousandths; `None` where it cannot be read.
fn quality(text: &str) -> Option<u16> {
    let Some((_, written)) = parameters(text).find(|(name, _)| name.eq_ignore_ascii_case("q")) else {
        return Some(1000);
    };
    let quality: f64 = written.parse().ok()?;
    (0.0..=1.0).contains(&quality).then(|| (quality * 1000.0).round() as u16)
}

fn parameters(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split(';').filter_map(|one| {
        let (name, value) = one.split_once('=')?;
        Some((name.trim(), value.trim().trim_matches('"')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_names_html_gets_html() {
        for accept in ["text/html", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", "*/*, Text/HTML;q=0.1"]
        {
            assert!(html(accept), "{accept}");
        }
        for accept in ["", "*/*", "text/*", "text/plain", "text/html;q=0", "application/xhtml+xml,text/htmlx"]
        {
            assert!(!html(accept), "{accept}");
        }
    }

    #[test]
    fn the_format_is_what_is_wanted_most() {
        use Format::{OpenMetrics, Text};
        for (accept, wanted) in [
            ("", Text),
            ("*/*", Text),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Text),
            ("application/openmetrics-text", OpenMetrics),
            ("Application/OpenMetrics-Text; Version=\"1.0.0\"", OpenMetrics),
            ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4", OpenMetrics),
            ("application/openmetrics-text;q=0.5,text/plain", Text),
            ("application/openmetrics-text;q=0,*/*", Text),
            ("application/openmetrics-text;q=0", Text),
            ("application/openmetrics-text;version=0.0.1,*/*;q=0.1", Text),
            ("application/openmetrics-text, */*", OpenMetrics),
            ("application/*, text/plain;q=0.5", OpenMetrics),
            ("application/json", Text),
            ("application/openmetrics-text;q=high", Text),
            ("application/openmetrics-text;q=2", Text),
            // Prometheus 2.42, and 3.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                OpenMetrics,
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
                OpenMetrics,
            ),
        ] {
            assert_eq!(format(accept), wanted, "{accept}");
        }
    }

    #[test]
    fn gzip_is_taken_where_it_is_allowed() {
        for yes in [
            "gzip",
            "deflate, gzip, br",
            "x-gzip",
            "*",
            "gzip;q=0.5, identity;q=0.2",
            "GZIP ; q=1.0",
            "*;q=0.1",
        ] {
            assert!(gzip(yes), "{yes}");
        }
        for no in [
            "",
            "identity",
            "deflate",
            "gzip;q=0",
            "*, gzip;q=0",
            "gzip;q=0.000",
            "gzip;q=0.5, identity",
            "gzip;q=x",
        ] {
            assert!(!gzip(no), "{no}");
        }
    }
}
