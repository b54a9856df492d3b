//! `ps --watch`: the same again and again.

use super::{Page, problems};
use crate::exit::{Exit, Failure};
use crate::outputs::terminal;
use crate::view::{Looks, View};
use std::convert::Infallible;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

const LEAST: Duration = Duration::from_millis(100);

/// Shows it until a signal ends it, or until it fails at the first look.
pub(super) fn run(source: Box<dyn Looks + Send>, page: Page, interval: Duration) -> Result<Exit, Failure> {
    if interval < LEAST {
        return Err(Failure::usage(anyhow::anyhow!("--watch: at least 100ms")));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (failed, failure) = oneshot::channel();
    let ended: Result<Exit, Failure> = runtime.block_on(async {
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        // A look that hangs does not keep Ctrl-C from ending it: its thread ends with the program.
        std::thread::Builder::new().name("ps".to_owned()).spawn(move || {
            let Err(error) = watch(source, &page, interval);
            // Nobody waits where a signal came first.
            drop(failed.send(error));
        })?;
        tokio::select! {
            _ = interrupt.recv() => Ok(Exit::Ok),
            _ = terminate.recv() => Ok(Exit::Ok),
            // A thread that fell took the sender with it, and said why.
            ended = failure => Err(ended.unwrap_or_else(|_| {
                anyhow::anyhow!("the thread that looks fell, a defect of this program").into()
            })),
        }
    });
    ended
}

/// Goes on while there is somebody to read it.
fn watch(mut source: Box<dyn Looks + Send>, page: &Page, interval: Duration) -> Result<Infallible, Failure> {
    let mut screen = Screen::default();
    let mut last: Option<View> = None;
    loop {
        let error = match source.look() {
            Ok(view) => {
                last = Some(view);
                None
            }
            Err(error) if last.is_none() => return Err(error.into()),
            Err(error) => Some(format!("{error:#}")),
        };
        if let Some(view) = &last {
            screen.show(page, view, &source.warnings(), error)?;
        }
        std::thread::sleep(interval);
    }
}

/// Where the views go.
#[derive(Default)]
struct Screen {
    begun: bool,
}

impl Screen {
    fn show(
        &mut self,
        page: &Page,
        view: &View,
        warnings: &[String],
        error: Option<String>,
    ) -> Result<(), Failure> {
        if page.show.json {
            // A document that is not of now would look as if it were.
            return if let Some(error) = error {
                crate::say::warn(error);
                Ok(())
            } else {
                let shown = page.render(view.clone())?;
                if !std::mem::replace(&mut self.begun, true) {
                    shown.left.absent.iter().for_each(crate::say::warn);
                }
                write(&shown.text)
            };
        }
        let shown = page.render(view.clone())?;
        let seconds = SystemTime::UNIX_EPOCH + Duration::from_secs(page.now().max(0.0) as u64);
        let mut text = format!("{}\n", humantime::format_rfc3339_seconds(seconds));
        let troubles = error.into_iter().chain(problems(view)).chain(warnings.iter().cloned());
        for trouble in troubles.chain(shown.left.absent) {
            let _ = writeln!(text, "{}", gpu_session_core::text::clean_value(&trouble));
        }
        text += "\n";
        text += &shown.text;
        let Some(size) = terminal::size() else { return write(&format!("{text}\n")) };
        let clear = if std::mem::replace(&mut self.begun, true) { "" } else { terminal::CLEAR };
        write(&format!("{clear}{}", terminal::redraw(&text, size)))
    }
}

/// A reader that has read enough ends it.
fn write(text: &str) -> Result<(), Failure> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(Exit::Ok.into()),
        Err(e) => Err(e.into()),
        Ok(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ShowArgs;
    use crate::view::filter::Filter;
    use gpu_session_sources::clock::Clock;

    /// What fails as no source should.
    struct Falls;

    impl Looks for Falls {
        fn look(&mut self) -> anyhow::Result<View> {
            panic!("a wrong turn")
        }
    }

    #[test]
    fn a_thread_that_falls_ends_it() {
        let page =
            Page { show: ShowArgs::default(), filter: Filter::default(), clock: Clock::Real, local: false };
        let failure = run(Box::new(Falls), page, LEAST).unwrap_err();
        assert!(failure.exit == Exit::Failed && failure.error.to_string().contains("defect"), "{failure:?}");
    }
}
