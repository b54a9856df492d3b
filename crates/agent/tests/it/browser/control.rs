//! What a test in the browser asks of the node: a line of HTTP, answered when it is done.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

pub(super) struct Control(TcpListener);

impl Control {
    pub(super) fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.0.local_addr().unwrap())
    }

    /// Answers who asks, or waits a moment; `obey` does what the path says, and whether there is such a thing.
    pub(super) fn answer(&self, obey: impl FnOnce(&str) -> bool) {
        let Ok((stream, _)) = self.0.accept() else { return std::thread::sleep(Duration::from_millis(5)) };
        stream.set_nonblocking(false).unwrap();
        let path = asked(&stream);
        let (status, body) =
            if obey(&path) { ("200 OK", "done") } else { ("400 Bad Request", "no such thing") };
        let head =
            format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        (&stream).write_all((head + body).as_bytes()).unwrap();
    }
}

/// The path of a request, of which the head is read.
fn asked(stream: &TcpStream) -> String {
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap).take_while(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    lines.for_each(drop);
    first.split(' ').nth(1).unwrap_or_default().to_owned()
}
