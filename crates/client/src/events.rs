//! Events from a stream.

use crate::Error;
use gpu_session_api::Event;
use std::io::{BufRead as _, BufReader, Read};

/// Longest line, in bytes: some hundred times the largest event.
const MAX_LINE: usize = 1 << 20;

/// The events of a stream, one at a time; ends where the server ends it, and after an error.
pub struct Events {
    base: String,
    lines: BufReader<Box<dyn Read + Send>>,
    ended: bool,
}

impl Events {
    pub(crate) fn new(base: String, body: impl Read + Send + 'static) -> Self {
        Self { base, lines: BufReader::new(Box::new(body)), ended: false }
    }

    /// The next line without its end; `None` at the end of the stream.
    fn line(&mut self) -> Result<Option<String>, Error> {
        let mut line = Vec::new();
        let limited = (&mut self.lines).take(MAX_LINE as u64);
        let read = { limited }.read_until(b'\n', &mut line).map_err(|e| Error::io(&self.base, &e))?;
        if read == 0 {
            return Ok(None);
        }
        if line.pop() != Some(b'\n') {
            let what = if read == MAX_LINE { "a line is too long" } else { "the stream ends within a line" };
            return Err(Error::answer(&self.base, what));
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        String::from_utf8(line).map(Some).map_err(|e| Error::answer(&self.base, &e))
    }

    fn read(&mut self) -> Result<Option<Event>, Error> {
        let (mut name, mut data) = (String::new(), String::new());
        while let Some(line) = self.line()? {
            if line.is_empty() {
                match parse(&name, &data) {
                    Ok(None) => {}
                    Ok(event) => return Ok(event),
                    Err(e) => return Err(Error::answer(&self.base, &e)),
                }
                (name, data) = (String::new(), String::new());
            } else if let Some((field, value)) = line.split_once(':') {
                let value = value.strip_prefix(' ').unwrap_or(value);
                match field {
                    "event" => value.clone_into(&mut name),
                    "data" if data.len() + value.len() <= MAX_LINE => data.push_str(value),
                    "data" => return Err(Error::answer(&self.base, "an event is too long")),
                    _ => {}
                }
            }
        }
        Ok(None)
    }
}

/// An event by its name; one that this release does not know is none.
fn parse(name: &str, data: &str) -> serde_json::Result<Option<Event>> {
    Ok(Some(match name {
        Event::SESSION => Event::Session(serde_json::from_str(data)?),
        Event::DEVICE => Event::Device(serde_json::from_str(data)?),
        Event::SESSION_ENDED => Event::SessionEnded(serde_json::from_str(data)?),
        Event::DEVICE_GONE => Event::DeviceGone(serde_json::from_str(data)?),
        Event::SAMPLE => Event::Sample(serde_json::from_str(data)?),
        _ => return Ok(None),
    }))
}

impl Iterator for Events {
    type Item = Result<Event, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let event = self.read().transpose();
        self.ended = !matches!(event, Some(Ok(_)));
        event
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gpu_session_api::SessionEnded;

    fn events(text: impl Into<Vec<u8>>) -> Vec<Result<Event, Error>> {
        Events::new("http://h".to_owned(), std::io::Cursor::new(text.into())).collect()
    }

    #[test]
    fn comments_and_unknown_events_are_passed_over() {
        let told = "event: session_ended\ndata: {\"session\":\"a\",\"gpu\":\"0\"}\n\n";
        let all = format!(":\n\nid: 1\nevent: later\ndata: {{}}\n\n{told}{}", told.replace('\n', "\r\n"));
        let wanted = Event::SessionEnded(SessionEnded { session: "a".to_owned(), gpu: "0".to_owned() });
        let found: Vec<Event> = events(all).into_iter().map(Result::unwrap).collect();
        assert_eq!(found, [wanted.clone(), wanted]);
    }

    #[test]
    fn what_is_no_stream_is_an_error_and_the_end() {
        for text in [
            &b"event: sample\ndata: {}\n\n"[..],
            b"event: sample\ndata: x",
            b"event: \xff\n\n",
            &vec![b'x'; MAX_LINE + 1],
        ] {
            let found = events([text, b"\n\n:\n\n"].concat());
            assert!(matches!(&found[..], [Err(_)]), "{found:?}");
        }
    }
}
