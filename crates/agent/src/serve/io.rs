//! The thread that waits on sockets and signals.

use super::Event;
use crate::outputs::http::{self, Shared};
use crate::outputs::limited::Limited;
use crate::say;
use std::net::TcpListener;
use std::sync::mpsc::Sender;
use tokio::signal::unix::{Signal, SignalKind, signal};

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// Takes over the signals of the process, and serves where there is a listener.
pub(super) fn start(
    listener: Option<TcpListener>,
    shared: Shared,
    events: Sender<Event>,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Here, so that a signal that comes now is not lost and what goes wrong is told to the caller.
    let guard = runtime.enter();
    let signals = Signals {
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
        hangup: signal(SignalKind::hangup())?,
    };
    let listener = listener.map(tokio::net::TcpListener::from_std).transpose()?;
    drop(guard);
    let run = move || {
        runtime.block_on(async {
            tokio::join!(listen_to(signals, &events), serve(listener, shared, &events));
        });
    };
    std::thread::Builder::new().name("io".to_owned()).spawn(run).map(drop)
}

async fn serve(listener: Option<tokio::net::TcpListener>, shared: Shared, events: &Sender<Event>) {
    let Some(listener) = listener else { return };
    let routes = http::public(shared.clone()).merge(http::api::api(shared));
    let why = match axum::serve(Limited::new(listener), routes).await {
        Ok(()) => "it has ended".to_owned(),
        Err(e) => e.to_string(),
    };
    let _ = events.send(Event::HttpEnded(why));
}

async fn listen_to(mut signals: Signals, events: &Sender<Event>) {
    let mut terminated = false;
    loop {
        let event = tokio::select! {
            _ = signals.terminate.recv() => Event::Terminate,
            _ = signals.interrupt.recv() => Event::Terminate,
            _ = signals.hangup.recv() => Event::Hangup,
        };
        if matches!(event, Event::Terminate) {
            if terminated {
                say::error(
                    "a second signal: ended at once, what was used since the state was last saved is counted by the next run",
                );
                std::process::exit(1);
            }
            terminated = true;
        }
        // The loop ends with the program.
        let _ = events.send(event);
    }
}
