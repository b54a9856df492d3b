//! Clients that mean harm: samples and scrapes of others go on.

use super::client::{Client, read};
use super::{Authority, PASSWORD, TLS, WRONG, keeps_secrets, serve, users};
use crate::node::{Metrics, Node};
use crate::serve::{Serve, node, wait_for};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// More than a server ever accepts at once, and than it has file descriptors for.
const IDLE: u64 = 10_000;
/// More than are accepted at once.
const SLOW: usize = 600;

/// `serve` on the machine's own clock, with a sample a second, by the web configuration that is there.
fn real_time(node: &Node) -> std::process::Command {
    let file = node.path("web.yaml");
    let web = ["--web-config-file", file.to_str().unwrap()];
    let args = [&["serve", "--listen", "127.0.0.1:0", "--interval", "1s"][..], &web].concat();
    let mut command = node.command(&args);
    for clock in ["GPU_SESSION_MONITOR_CLOCK", "NVML_SIM_CLOCK", "GPU_SESSION_MONITOR_TEXTFILE"] {
        command.env_remove(clock);
    }
    command
}

fn in_real_time(node: &Node, web: &str) -> Serve {
    std::fs::write(node.path("web.yaml"), web).unwrap();
    Serve::run(&mut real_time(node))
}

fn first_sample(client: &Client) {
    wait_for("the first sample", || {
        let answer = client.get("/metrics").map_err(|e| e.to_string())?;
        let has = answer.body.contains("\ngpu_session_collector_last_sample_timestamp_seconds");
        if has { Ok(()) } else { Err(answer.body) }
    });
}

/// As many files as this process may have; returns how many connections that allows, with some room for others.
fn raise_the_limit() -> u64 {
    let hard = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: hard, maximum: hard }).unwrap();
    hard.unwrap_or(u64::MAX).saturating_sub(1_000).min(IDLE)
}

fn unix_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// What a scraper with the right password sees while others attack.
#[derive(Debug, Default)]
struct Seen {
    scrapes: usize,
    failed: Vec<String>,
    slowest: Duration,
    /// Of the last sample, seconds.
    oldest: f64,
    samples: Vec<f64>,
}

impl Seen {
    fn scrape(&mut self, client: &Client) {
        let begin = Instant::now();
        self.scrapes += 1;
        match client.get("/metrics") {
            Ok(answer) if answer.status == 200 => {
                self.slowest = self.slowest.max(begin.elapsed());
                let metrics = Metrics::parse(&answer.body);
                let at = metrics.get("gpu_session_collector_last_sample_timestamp_seconds", &[]).unwrap();
                self.oldest = self.oldest.max(unix_now() - at);
                if self.samples.last() != Some(&at) {
                    self.samples.push(at);
                }
            }
            Ok(answer) => self.failed.push(answer.status.to_string()),
            Err(e) => self.failed.push(e.to_string()),
        }
    }
}

/// Scrapes until the attack is over, and for some samples at least.
fn while_scraped(what: &str, client: &Client, attack: impl FnOnce() + Send) {
    let over = Arc::new(AtomicBool::new(false));
    let seen = std::thread::scope(|scope| {
        let ended = Arc::clone(&over);
        let scraper = scope.spawn(move || {
            let mut seen = Seen::default();
            while !ended.load(Relaxed) || seen.samples.len() < 3 {
                seen.scrape(client);
                std::thread::sleep(Duration::from_millis(20));
            }
            seen
        });
        attack();
        over.store(true, Relaxed);
        scraper.join().unwrap()
    });
    say(format_args!(
        "{what}: {} scrapes, the slowest {:?}; {} samples, the oldest shown {:.2} s old",
        seen.scrapes,
        seen.slowest,
        seen.samples.len(),
        seen.oldest
    ));
    assert!(seen.failed.is_empty(), "{what}: {:?}", seen.failed);
    // An interval is a second; machines that run tests are busy.
    assert!(seen.oldest < 15.0, "{what}: a sample was delayed: {seen:?}");
}

/// What was measured, whether or not the test goes well.
fn say(measured: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{measured}");
}

fn flood(client: &Client, head: &str) -> u16 {
    let mut stream = client.connect().unwrap();
    // It may be closed before all is written; the answer is there all the same, or the connection is cut.
    let _ = stream.write_all(head.as_bytes());
    read(&mut *stream).map_or(0, |answer| answer.status)
}

fn garbage(client: &Client) {
    let mut state = 1_u64;
    for _ in 0..200 {
        let bytes: Vec<u8> = (0..2_000)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            })
            .collect();
        let mut stream = TcpStream::connect(&client.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        // Ended by the server, or reset.
        let _ = stream.read_to_end(&mut Vec::new());
    }
}

#[test]
fn heads_and_bodies_are_bounded() {
    let node = node("");
    let serve = serve(&node, &users(&[("alice", PASSWORD)]), &[]);
    let client = Client::plain(&serve.address());
    let begin = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n";
    let many: Vec<String> = (0..1_000).map(|n| format!("x-{n}: {WRONG}\r\n")).collect();
    let many = many.concat();
    assert_eq!(flood(&client, &format!("{begin}{many}\r\n")), 431);
    assert_eq!(flood(&client, &format!("{begin}x: {}\r\n\r\n", "a".repeat(20_000))), 431);
    let endless = flood(&client, &format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(1 << 20)));
    assert!([0, 414, 431].contains(&endless), "{endless}");
    let post = "POST /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
    assert_eq!(flood(&client, &format!("{post}Content-Length: 5000\r\n\r\n{}", "a".repeat(5_000))), 413);
    assert_eq!(flood(&client, &format!("{post}Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n")), 413);
    assert_eq!(
        flood(
            &client,
            &format!("{begin}Connection: close\r\nAuthorization: Basic {}\r\n\r\n", "A".repeat(15_000))
        ),
        401
    );
    assert_eq!(client.user("alice", PASSWORD).status("/metrics"), 200);
    keeps_secrets(&serve, &[]);
}

#[test]
fn slow_idle_and_senseless_clients_delay_nobody() {
    let connections = raise_the_limit();
    let node = node("");
    let authority = Authority::new("a");
    authority.install(&node);
    let serve = in_real_time(&node, &format!("{TLS}{}", users(&[("alice", PASSWORD)])));
    let client = Client::with_tls(&serve.address(), &authority.ca, None).user("alice", PASSWORD);
    first_sample(&client);
    let connect = || TcpStream::connect(&client.address).unwrap();

    while_scraped("garbage", &client, || garbage(&client));

    let mut slow: Vec<TcpStream> = Vec::new();
    while_scraped("a byte a second", &client, || {
        // The record of a handshake that never ends.
        let hello = [22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];
        slow = (0..SLOW).map(|_| connect()).collect();
        for byte in hello {
            for stream in &mut slow {
                let _ = stream.write_all(&[byte]);
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    });
    for stream in &mut slow {
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        // All are closed: no handshake takes that long.
        assert!(!matches!(stream.read(&mut [0]), Ok(1..)), "an answer");
        assert!(stream.take_error().is_ok());
    }

    let mut idle = Vec::new();
    while_scraped(&format!("{connections} idle connections"), &client, || {
        idle = (0..connections).map(|_| connect()).collect();
    });
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", serve.child.id())).unwrap().count();
    say(format_args!("the server has {descriptors} descriptors"));
    assert!(descriptors < 700, "{descriptors}");
    drop(idle);
    keeps_secrets(&serve, &[]);
}

#[test]
fn who_takes_no_answer_is_closed_and_who_guesses_waits() {
    let node = node("");
    let strong = bcrypt::hash(PASSWORD, 8).unwrap();
    let serve = in_real_time(&node, &format!("basic_auth_users: {{alice: {strong}}}\n"));
    let client = Client::plain(&serve.address());
    let alice = client.user("alice", PASSWORD);
    first_sample(&alice);

    let mut statuses = Vec::new();
    while_scraped("wrong passwords", &alice, || {
        let guess = |thread: usize| {
            let client = client.clone();
            let guess =
                move |n: usize| client.user("alice", &format!("{WRONG}{thread}-{n}")).status("/metrics");
            std::thread::spawn(move || (0..25).map(guess).collect::<Vec<u16>>())
        };
        let guessers: Vec<_> = (0..16).map(guess).collect();
        statuses = guessers.into_iter().flat_map(|guesser| guesser.join().unwrap()).collect();
    });
    assert!(statuses.iter().all(|status| [401, 429].contains(status)), "{statuses:?}");
    assert!(statuses.contains(&429), "so many are not checked at once");

    let slow: Vec<TcpStream> = (0..50).map(|_| never_reads(&alice)).collect();
    while_scraped("slow readers", &alice, || {
        for (n, stream) in slow.iter().enumerate() {
            wait_for("the end of a connection that takes nothing", || {
                // What is not read may be there, and after it the end: only an error says that it is closed.
                let mut stream = stream;
                match stream.write_all(b"G") {
                    Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => Err(format!("{n}: open")),
                    Ok(()) => Err(format!("{n}: open, and takes more")),
                    Err(_) => Ok(()),
                }
            });
        }
    });
    keeps_secrets(&serve, &[]);
}

#[test]
fn few_descriptors_are_not_all_for_connections() {
    let node = node("");
    std::fs::write(node.path("web.yaml"), users(&[("alice", PASSWORD)])).unwrap();
    let mut command = real_time(&node);
    let limited = format!("ulimit -n 100; exec {} \"$@\"", crate::node::program());
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &limited, "sh"]).args(command.get_args()).env_clear();
    shell.envs(command.get_envs().filter_map(|(name, value)| value.map(|value| (name, value))));
    command = shell;
    let serve = Serve::run(&mut command);
    let client = Client::plain(&serve.address()).user("alice", PASSWORD);
    first_sample(&client);
    let mut idle = Vec::new();
    while_scraped("300 idle connections with 100 descriptors", &client, || {
        idle = (0..300).map(|_| TcpStream::connect(&client.address).unwrap()).collect();
    });
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", serve.child.id())).unwrap().count();
    assert!((30..60).contains(&descriptors), "{descriptors}");
    assert_eq!(serve.lines("no connection can be accepted"), 0, "{}", serve.log());
    assert_eq!(serve.lines("os error 24"), 0, "{}", serve.log());
}

/// Asks for more than a connection holds, and reads none of it.
fn never_reads(client: &Client) -> TcpStream {
    use base64::Engine as _;
    let credentials = base64::engine::general_purpose::STANDARD.encode(format!("alice:{PASSWORD}"));
    let request =
        format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {credentials}\r\n\r\n");
    let mut stream = TcpStream::connect(&client.address).unwrap();
    stream.set_nonblocking(true).unwrap();
    let begin = Instant::now();
    loop {
        // Until the server takes no more, because it cannot answer what it took.
        match stream.write_all(request.as_bytes()) {
            Ok(()) => assert!(begin.elapsed() < Duration::from_secs(60), "it takes requests without end"),
            Err(_) => return stream,
        }
    }
}
