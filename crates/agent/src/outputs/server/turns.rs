//! Whose turn it is: checks of credentials that are not known yet are dear, so few run at once, and nobody can fill the
//! line of those who wait alone.

use super::problem::Refusal;
use axum::http::StatusCode;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Checks of one peer that run or wait.
const MOST_EACH: usize = 4;

/// A number of turns at once, and a line before them.
pub(super) struct Turns {
    running: Arc<Semaphore>,
    pending: Mutex<Pending>,
    most: usize,
}

/// Who runs or waits.
#[derive(Default)]
struct Pending {
    by_number: BTreeMap<u64, Entry>,
    next: u64,
}

struct Entry {
    peer: IpAddr,
    /// Sends whoever waits away; `None` where it runs.
    displace: Option<oneshot::Sender<()>>,
}

impl Pending {
    fn of(&self, peer: IpAddr) -> usize {
        self.by_number.values().filter(|entry| entry.peer == peer).count()
    }

    /// Makes room for one more of `peer`: of whoever has most the last who waits goes, if he has more than `peer` will have.
    fn displace_for(&mut self, peer: IpAddr) -> bool {
        let waiting = self.by_number.iter().filter(|(_, entry)| entry.displace.is_some());
        let most = waiting.map(|(number, entry)| (self.of(entry.peer), *number)).max();
        let Some((_, number)) = most.filter(|(held, _)| *held > self.of(peer) + 1) else { return false };
        let displaced = self.by_number.remove(&number).and_then(|entry| entry.displace);
        displaced.is_some_and(|displace| displace.send(()).is_ok())
    }
}

/// A turn; it ends when this is dropped.
pub(super) struct Turn {
    _place: Place,
    _running: OwnedSemaphorePermit,
}

struct Place {
    turns: Arc<Turns>,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.turns.pending().by_number.remove(&self.number);
    }
}

impl Turns {
    /// So many at once; `most` may run or wait.
    pub(super) fn new(at_once: usize, most: usize) -> Arc<Self> {
        Arc::new(Self { running: Arc::new(Semaphore::new(at_once)), pending: Mutex::default(), most })
    }

    /// Waits for a turn; refused where too many wait already.
    pub(super) async fn next(self: &Arc<Self>, peer: IpAddr) -> Result<Turn, Refusal> {
        let (place, displaced) = self.place(network(peer))?;
        let running = tokio::select! {
            biased;
            // Never closed.
            running = Arc::clone(&self.running).acquire_owned() => running.map_err(|_| busy())?,
            _ = displaced => return Err(busy()),
        };
        if let Some(entry) = self.pending().by_number.get_mut(&place.number) {
            entry.displace = None;
        }
        Ok(Turn { _place: place, _running: running })
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(self: &Arc<Self>, peer: IpAddr) -> Result<(Place, oneshot::Receiver<()>), Refusal> {
        let mut pending = self.pending();
        if pending.of(peer) >= MOST_EACH {
            let detail = "too many credentials of your address are being checked; try again in a second";
            let refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, detail);
            return Err(refusal.retry_after(Duration::from_secs(1)));
        }
        if pending.by_number.len() >= self.most && !pending.displace_for(peer) {
            return Err(busy());
        }
        let (displace, displaced) = oneshot::channel();
        let number = pending.next;
        pending.next += 1;
        pending.by_number.insert(number, Entry { peer, displace: Some(displace) });
        Ok((Place { turns: Arc::clone(self), number }, displaced))
    }
}

fn busy() -> Refusal {
    let detail = "too many credentials are being checked; try again in a few seconds";
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(Duration::from_secs(5))
}

/// Who counts as one: whoever has an address of IPv6 has a whole network of them (a site has a /56 or more), and this
/// machine has all of 127/8.
pub(super) fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d & 0xff00, 0, 0, 0, 0).into()
        }
        IpAddr::V4(address) if address.is_loopback() => Ipv4Addr::LOCALHOST.into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_many_addresses_is_one() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("127.0.0.9"), of("::ffff:127.3.2.1"));
        assert_eq!(of("2001:db8:0:1::1"), of("2001:db8:0:ff::2"));
        assert_ne!(of("2001:db8:0:100::1"), of("2001:db8:0:ff::2"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }

    #[tokio::test]
    async fn one_peer_cannot_fill_the_line() {
        let turns = Turns::new(1, 6);
        let peer = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut held = Vec::new();
        for n in 1..=MOST_EACH {
            held.push(turns.place(network(peer(&format!("2001:db8::{n}")))).unwrap());
        }
        let refused =
            |text: &str| turns.place(network(peer(text))).err().map(|refusal| refusal.status.as_u16());
        assert_eq!(refused("2001:db8::99"), Some(429));
        held.push(turns.place(peer("10.0.0.1")).unwrap());
        held.push(turns.place(peer("10.0.0.2")).unwrap());
        for (n, sent_away) in [("10.0.0.3", 3), ("10.0.0.4", 2), ("10.0.0.5", 1)] {
            held.push(turns.place(peer(n)).unwrap());
            assert_eq!(held[sent_away].1.try_recv(), Ok(()), "the last of whoever has most makes room");
        }
        assert_eq!(refused("10.0.0.6"), Some(503), "nobody has more than his share");
        held.clear();
        assert!(turns.pending().by_number.is_empty());
        let first = turns.next(peer("10.0.0.1")).await.unwrap();
        let second = tokio::time::timeout(Duration::from_millis(10), turns.next(peer("10.0.0.2"))).await;
        assert!(second.is_err(), "one at a time");
        drop(first);
        assert!(turns.next(peer("10.0.0.2")).await.is_ok());
    }
}
