//! Connections: few, each for what it does, and the idle ones give way. Whoever can reach the address can open them, and
//! each takes a file descriptor, of which the program needs some for the state.

use super::Web;
use super::access::Admitted;
use super::activity::Activity;
use super::live::Loaded;
use super::stream::{Answer, End, Watched};
use super::tls::{Policy, Tls};
use super::turns::network;
use crate::say;
use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

/// Connections at once, where the limit of open files allows twice as many.
const MOST: usize = 512;
/// A connection takes no further request after this time: a scraper that keeps it open makes another.
const LONGEST: Duration = Duration::from_secs(300);
/// A task looks this often whether its connection is over its time.
const LOOK: Duration = Duration::from_secs(5);
/// Bytes of a request's line and headers together, and headers.
const HEAD: usize = 16 << 10;
const HEADERS: usize = 64;
/// Newcomers of one network that are given their time: so many may come at once without one pushing out another.
const NEWCOMERS: usize = 64;
/// A stream ends after this time, so that whoever has lost his right to it reads on for no longer.
const STREAM: Duration = Duration::from_secs(300);
/// Where no connection can be accepted, as when there are no descriptors left.
const PAUSE: Duration = Duration::from_millis(100);
const TELL_AGAIN: Duration = Duration::from_secs(600);

/// Whose request it is, and what his connection has proved.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) address: IpAddr,
    /// What it was accepted with: that of now may be another one. `None` is without TLS.
    policy: Option<Arc<Policy>>,
    /// Whether the handshake verified a certificate of the client's.
    certificate: bool,
}

impl Peer {
    /// Whether the connection would be accepted now as it was.
    pub(super) fn is_current(&self, loaded: &Loaded) -> bool {
        self.policy.as_ref() == loaded.policy()
    }

    /// Whether he has the certificate that is required now.
    pub(super) fn has_certificate(&self, loaded: &Loaded) -> bool {
        loaded.requires_certificate() && self.certificate && self.is_current(loaded)
    }
}

/// Serves for ever.
pub(super) async fn serve(listener: TcpListener, router: Router, web: Arc<Web>) {
    let open = Arc::new(Open { most: most(), connections: Mutex::default() });
    let mut told: Option<Instant> = None;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                open.make_room();
                open.start(stream, peer, router.clone(), Arc::clone(&web));
                // Those who are accepted are to be heard before others push them out.
                tokio::task::yield_now().await;
            }
            Err(e) if is_of_the_client(&e) => {}
            Err(e) => {
                if told.is_none_or(|told| told.elapsed() > TELL_AGAIN) {
                    told = Some(Instant::now());
                    say::warn(format_args!(
                        "listen: no connection can be accepted ({e}); idle ones are closed: see this program's limit of open files"
                    ));
                }
                open.close_least();
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// The rest of the files is for the sources, of which the processes that are held take another quarter, and the state.
fn most() -> usize {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    files.map_or(MOST, |files| usize::try_from(files / 4).unwrap_or(MOST).clamp(1, MOST))
}

/// It has gone before it was accepted.
fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// The open connections.
struct Open {
    most: usize,
    connections: Mutex<Connections>,
}

#[derive(Default)]
struct Connections {
    by_number: HashMap<u64, Connection>,
    next: u64,
}

struct Connection {
    /// Whose it is: who has many addresses is one.
    peer: IpAddr,
    activity: Arc<Activity>,
    task: AbortHandle,
}

impl Connections {
    /// Of whoever has most connections the one that is worth least.
    fn least(&self, now: Instant) -> Option<u64> {
        let mut held: HashMap<IpAddr, usize> = HashMap::new();
        for connection in self.by_number.values() {
            *held.entry(connection.peer).or_default() += 1;
        }
        let most = held.values().max().copied().unwrap_or_default();
        let theirs = || self.by_number.iter().filter(|(_, connection)| held[&connection.peer] == most);
        let newcomers = theirs().filter_map(|(number, connection)| {
            Some((connection.peer, connection.activity.newcomer(now)?, *number))
        });
        let protected = first_of_each(newcomers.collect());
        let worth = theirs()
            .map(|(number, connection)| (connection.activity.worth(protected.contains(number)), *number));
        worth.min().map(|(_, number)| number)
    }
}

/// The newcomers that are given their time: the first of each network.
fn first_of_each(mut newcomers: Vec<(IpAddr, Instant, u64)>) -> HashSet<u64> {
    newcomers.sort_unstable();
    let networks = newcomers.chunk_by(|one, next| one.0 == next.0);
    networks.flat_map(|network| network.iter().take(NEWCOMERS)).map(|(_, _, number)| *number).collect()
}

impl Open {
    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make_room(&self) {
        // Held for the call alone.
        let held = self.connections().by_number.len();
        if held >= self.most {
            self.close_least();
        }
    }

    fn close_least(&self) {
        let mut connections = self.connections();
        let least =
            connections.least(Instant::now()).and_then(|number| connections.by_number.remove(&number));
        if let Some(Connection { task, .. }) = least {
            task.abort();
        }
    }

    fn start(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr, router: Router, web: Arc<Web>) {
        let activity = Arc::new(Activity::new(Instant::now()));
        let mut connections = self.connections();
        let number = connections.next;
        connections.next += 1;
        let done = Done { open: Arc::clone(self), number };
        let own = Arc::clone(&activity);
        let task = tokio::spawn(async move {
            let _done = done;
            connection(stream, peer.ip(), router, &web, own).await;
        });
        let connection = Connection { peer: network(peer.ip()), activity, task: task.abort_handle() };
        connections.by_number.insert(number, connection);
    }
}

/// Takes a connection off the list, however its task ends.
struct Done {
    open: Arc<Open>,
    number: u64,
}

impl Drop for Done {
    fn drop(&mut self) {
        self.open.connections().by_number.remove(&self.number);
    }
}

/// Serves one connection. What goes wrong is the client's business: it has gone, distrusts the certificate, speaks no HTTP.
async fn connection(stream: TcpStream, address: IpAddr, router: Router, web: &Web, activity: Arc<Activity>) {
    let _ = stream.set_nodelay(true);
    let stream = Watched::new(stream, Arc::clone(&activity));
    let Some(Tls { config, policy }) = web.tls() else {
        let peer = Peer { address, policy: None, certificate: false };
        return requests(stream, peer, router, web, activity).await;
    };
    let handshake = TlsAcceptor::from(config).accept(stream);
    let deadline = activity.deadline().unwrap_or_else(Instant::now);
    let Ok(Ok(stream)) = tokio::time::timeout_at(deadline.into(), handshake).await else { return };
    activity.opened(Instant::now());
    // What is there was verified: no other certificates are taken.
    let certificate = stream.get_ref().1.peer_certificates().is_some_and(|chain| !chain.is_empty());
    let peer = Peer { address, policy: Some(policy), certificate };
    requests(stream, peer, router, web, activity).await;
}

async fn requests<S>(stream: S, peer: Peer, router: Router, web: &Web, activity: Arc<Activity>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let own = Arc::clone(&activity);
    let (mut admission, own_peer) = (web.live.admission(), peer.clone());
    let of_streams = admission.clone();
    let service = service_fn(move |request| {
        answer(request, own_peer.clone(), router.clone(), Arc::clone(&own), of_streams.clone())
    });
    let mut builder = http1::Builder::new();
    // Its own time for headers would run between requests, too.
    builder.header_read_timeout(None).max_headers(HEADERS).max_header_size(HEAD).max_buf_size(HEAD);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let end = Instant::now() + LONGEST;
    let mut ending = false;
    loop {
        let now = Instant::now();
        let look = activity.deadline().map_or(now + LOOK, |deadline| deadline.min(now + LOOK));
        tokio::select! {
            _ = &mut connection => return,
            _ = admission.changed() => {}
            () = tokio::time::sleep_until(look.into()) => {}
        }
        let now = Instant::now();
        if activity.deadline().is_some_and(|deadline| deadline <= now) {
            return;
        }
        if !ending && (now >= end || !peer.is_current(&web.live.now())) {
            ending = true;
            connection.as_mut().graceful_shutdown();
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    peer: Peer,
    router: Router,
    activity: Arc<Activity>,
    mut admission: watch::Receiver<()>,
) -> Result<Response<Answer>, Infallible> {
    activity.asked(Instant::now());
    // From before the credentials are checked on.
    admission.mark_unchanged();
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(peer);
    let response = router.oneshot(request).await?;
    let served = response.status().is_success() && response.extensions().get::<Admitted>().is_some();
    let is_bounded = response.body().size_hint().exact().is_some();
    activity.answers(served, is_bounded, Instant::now());
    let end = (!is_bounded).then(|| stream_end(admission));
    Ok(response.map(|body| Answer::new(body, activity, end)))
}

/// When a stream is over at the latest: others may get in than when it began, or it has been long enough.
fn stream_end(mut admission: watch::Receiver<()>) -> End {
    Box::pin(async move {
        tokio::select! {
            _ = admission.changed() => {}
            () = tokio::time::sleep(STREAM) => {}
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_has_most_gives_way_and_his_idlest_first() {
        let (begin, mut connections) = (Instant::now(), Connections::default());
        let of = |number: u64, peer: &str, age: u64| {
            let activity = Arc::new(Activity::new(begin + Duration::from_secs(100 - age)));
            let task = tokio::spawn(async {}).abort_handle();
            (number, Connection { peer: peer.parse().unwrap(), activity, task })
        };
        let all =
            [of(1, "10.0.0.1", 90), of(2, "10.0.0.2", 10), of(3, "10.0.0.2", 20), of(4, "10.0.0.2", 15)];
        connections.by_number.extend(all);
        let mut closed = Vec::new();
        while let Some(number) = connections.least(begin + Duration::from_secs(200)) {
            connections.by_number.remove(&number);
            closed.push(number);
        }
        assert_eq!(closed, [3, 4, 1, 2], "then those of whom all have as many");
    }

    #[tokio::test]
    async fn who_shakes_hands_stays_while_others_are_idle() {
        let (begin, mut connections) = (Instant::now(), Connections::default());
        let now = begin + Duration::from_secs(10);
        for number in 0..100 {
            let activity = Arc::new(Activity::new(begin));
            activity.asked(begin);
            activity.answers(number % 2 == 0, true, begin);
            activity.answered(begin + Duration::from_millis(number));
            let task = tokio::spawn(async {}).abort_handle();
            connections
                .by_number
                .insert(number, Connection { peer: network([127, 0, 0, 1].into()), activity, task });
        }
        for number in 100..200 {
            let activity = Arc::new(Activity::new(now));
            let peer = network([127, 0, 0, number as u8].into());
            let task = tokio::spawn(async {}).abort_handle();
            connections.by_number.insert(number, Connection { peer, activity, task });
        }
        let mut closed = Vec::new();
        while closed.len() < 136 {
            let number = connections.least(now).unwrap();
            connections.by_number.remove(&number);
            closed.push(number);
        }
        closed.sort_unstable();
        assert_eq!(closed[..100], (0..100).collect::<Vec<_>>(), "all that are idle");
        assert_eq!(
            closed[100..],
            (164..200).collect::<Vec<_>>(),
            "and newcomers beyond the first of a network"
        );
    }
}
