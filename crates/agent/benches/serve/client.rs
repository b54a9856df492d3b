//! A scraper: plain requests, each with a connection of its own.

use anyhow::{Context as _, ensure};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// Requests are made by this many threads in turn, so that one slow answer does not hold the next request up.
const THREADS: u32 = 5;
const PATIENCE: Duration = Duration::from_secs(20);

/// An address that was free a moment ago.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// The body of /metrics.
pub(crate) fn get(port: u16) -> anyhow::Result<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP")?;
    ensure!(head.lines().next().is_some_and(|line| line.contains(" 200")), "{head}");
    Ok(body.to_owned())
}

/// How long answers took, in order.
pub(crate) struct Latencies {
    sorted: Vec<Duration>,
    pub(crate) failed: usize,
}

impl Latencies {
    /// Milliseconds that `percent` of the answers came within.
    pub(crate) fn percentile(&self, percent: usize) -> Option<f64> {
        let rank = (self.sorted.len() * percent).div_ceil(100);
        self.sorted.get(rank.checked_sub(1)?).map(|time| time.as_secs_f64() * 1e3)
    }

    pub(crate) fn answered(&self) -> usize {
        self.sorted.len()
    }
}

/// Asks at an even pace.
pub(crate) fn load(port: u16, per_second: u32, time: Duration) -> Latencies {
    let begin = Instant::now();
    let workers: Vec<_> = (0..THREADS)
        .map(|thread| {
            let first = begin + Duration::from_secs(1) * thread / per_second;
            let pace = Duration::from_secs(1) * THREADS / per_second;
            thread::spawn(move || paced(port, first, pace, begin + time))
        })
        .collect();
    let mut all = Latencies { sorted: Vec::new(), failed: 0 };
    for worker in workers {
        match worker.join() {
            Ok((mut times, failed)) => {
                all.sorted.append(&mut times);
                all.failed += failed;
            }
            Err(_) => all.failed += 1,
        }
    }
    all.sorted.sort_unstable();
    all
}

/// One thread's requests. One that could not start in time counts from when it was due: who answers slowly must not
/// look better for being asked less.
fn paced(port: u16, first: Instant, pace: Duration, end: Instant) -> (Vec<Duration>, usize) {
    let (mut times, mut failed, mut due) = (Vec::new(), 0, first);
    while due < end && Instant::now() < end {
        let wait = due.saturating_duration_since(Instant::now());
        thread::sleep(wait);
        let begin = if wait.is_zero() { due } else { Instant::now() };
        match get(port) {
            Ok(_) => times.push(begin.elapsed()),
            Err(_) => failed += 1,
        }
        due += pace;
    }
    (times, failed)
}
