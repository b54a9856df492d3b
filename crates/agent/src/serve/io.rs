//! The thread that waits on sockets and signals.

use super::Event;
use crate::outputs::http::{self, Shared};
use crate::outputs::server::{self, Web};
use crate::say;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use tokio::signal::unix::{Signal, SignalKind, signal};

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// Takes over the signals of the process, and serves where there is a listener.
pub(super) fn start(
    serving: Option<(TcpListener, Arc<Web>)>,
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
    let serving = match serving {
        Some((listener, web)) => Some((tokio::net::TcpListener::from_std(listener)?, web)),
        None => None,
    };
    drop(guard);
    let run = move || {
        runtime.block_on(async {
            let web = serving.as_ref().map(|(_, web)| Arc::clone(web));
            tokio::join!(listen_to(signals, &events, web.as_deref()), serve(serving, shared));
        });
    };
    std::thread::Builder::new().name("io".to_owned()).spawn(run).map(drop)
}

async fn serve(serving: Option<(tokio::net::TcpListener, Arc<Web>)>, shared: Shared) {
    let Some((listener, web)) = serving else { return };
    let router = http::public(shared.clone()).merge(http::api::api(shared));
    server::serve(listener, router, web).await;
}

async fn listen_to(mut signals: Signals, events: &Sender<Event>, web: Option<&Web>) {
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
        let hangup = matches!(event, Event::Hangup);
        // The loop ends with the program.
        let _ = events.send(event);
        if let Some(web) = web.filter(|_| hangup) {
            web.reread_soon();
        }
    }
}
