//! What went wrong, where, and the remedy.

use gpu_session_api::Problem;
use std::io::Read as _;
use ureq::http::{Response, StatusCode};

/// As much is read of a refusal.
const MAX_REFUSAL: u64 = 64 << 10;

const IS_IT: &str = "see that the URL is of a gpu-session-monitor that serves (`serve --listen`)";
const TRUST: &str = "where an authority of your own signed its certificate, name that authority's file in the environment \
                     variable SSL_CERT_FILE";

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{text}")]
pub struct Error {
    kind: Kind,
    text: String,
}

/// What kind of error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What was asked cannot be.
    Usage,
    /// The server did not answer, or not in time.
    Transport,
    /// The server refused, with this status.
    Refused(u16),
    /// What was answered is not what this client reads.
    Answer,
}

impl Error {
    /// What kind of error.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self { kind: Kind::Usage, text: text.into() }
    }

    fn at(kind: Kind, base: &str, text: impl std::fmt::Display) -> Self {
        Self { kind, text: format!("{base}: {text}") }
    }

    /// The answer is not as it is to be.
    pub(crate) fn answer(base: &str, what: impl std::fmt::Display) -> Self {
        Self::at(
            Kind::Answer,
            base,
            format_args!("the answer is not understood ({what}); {IS_IT}, of a release that fits"),
        )
    }

    /// No whole answer came.
    pub(crate) fn transport(base: &str, error: &ureq::Error) -> Self {
        let text = match error {
            ureq::Error::Timeout(_) => format!("no whole answer in time; {IS_IT}"),
            ureq::Error::BodyExceedsLimit(limit) => {
                format!("the answer is larger than {limit} bytes, not read; ask for less (limit)")
            }
            ureq::Error::Protocol(_) | ureq::Error::Http(_) => {
                format!("the answer is not HTTP ({error}); {IS_IT}")
            }
            ureq::Error::HostNotFound => format!("no such host; {IS_IT}"),
            ureq::Error::Rustls(e) => format!("TLS: {e}; {TRUST}"),
            ureq::Error::Io(e) => return Self::io(base, e),
            other => format!("{other}; {IS_IT}"),
        };
        Self::at(Kind::Transport, base, text)
    }

    /// The same, while it was read.
    pub(crate) fn io(base: &str, error: &std::io::Error) -> Self {
        let inner = error.get_ref();
        if let Some(inner) = inner.and_then(|inner| inner.downcast_ref::<ureq::Error>())
            && !matches!(inner, ureq::Error::Io(_))
        {
            return Self::transport(base, inner);
        }
        let of_tls = inner.is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>);
        let remedy = if of_tls { TRUST } else { IS_IT };
        Self::at(Kind::Transport, base, format_args!("{error}; {remedy}"))
    }

    /// The server said no; its problem document says why.
    pub(crate) fn refused(base: &str, answer: Response<ureq::Body>) -> Self {
        let status = answer.status();
        let mut body = Vec::new();
        // What came of it is enough for a message.
        let _ = answer.into_body().into_reader().take(MAX_REFUSAL).read_to_end(&mut body);
        let said = serde_json::from_slice::<Problem>(&body).ok().map(|problem| shown(&problem.detail));
        let remedy = match (status, &said) {
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => "; give credentials that may ask",
            (_, Some(_)) => "",
            (status, None) if status.is_redirection() => "; name the address that it redirects to",
            (_, None) => "; see that the URL is of a gpu-session-monitor",
        };
        let said = said.map(|said| format!(": {said}")).unwrap_or_default();
        Self::at(Kind::Refused(status.as_u16()), base, format_args!("it answered {status}{said}{remedy}"))
    }
}

/// Words of a server on one line of a terminal: neither control characters nor those that turn the reading direction.
fn shown(text: &str) -> String {
    let turns = |c| matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().take(1000).map(|c| if c.is_control() || turns(c) { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_server_stay_on_their_line() {
        assert_eq!(shown("a\nb\u{9b}c\u{202e}d"), "a\u{fffd}b\u{fffd}c\u{fffd}d");
    }
}
