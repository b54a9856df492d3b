//! A thread with its own runtime.

use std::future::Future;
use std::io;
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// Runs a future until it is dropped; all tasks that the future started end with it.
#[derive(Debug)]
pub(crate) struct Background {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Starts a thread; `make` is called in its runtime.
    pub(crate) fn start<F: Future<Output = ()>>(
        name: &str,
        make: impl FnOnce() -> io::Result<F> + Send + 'static,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let (ready, started) = std::sync::mpsc::channel();
        let run = move || {
            let main = async {
                let future = match make() {
                    Ok(future) => future,
                    Err(error) => return drop(ready.send(Err(error))),
                };
                drop(ready.send(Ok(())));
                tokio::select! {
                    () = future => {}
                    _ = stopped => {}
                }
            };
            runtime.block_on(main);
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run)?;
        started.recv().map_err(|_| io::Error::other(format!("the thread {name} ended at once")))??;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in it has been printed; a drop must not add another.
            drop(thread.join());
        }
    }
}
