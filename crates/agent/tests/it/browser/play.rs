//! A file of tests, played in the browser.

use super::control::Control;
use crate::node::workspace;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// What is behind a page.
pub(super) trait Scene {
    /// Where the page is.
    fn url(&self) -> String;
    /// Does what the test in the browser asks for; whether there is such a thing.
    fn obey(&mut self, path: &str) -> bool;
    /// What the server said.
    fn log(&self) -> String;
}

/// Playwright, which ends with the test.
struct Playing(Child);

impl Playing {
    fn start(folder: &Path, file: &str, page: &str, control: &str) -> Self {
        let web = workspace().join("web");
        let command = web.join("node_modules/@playwright/test/cli.js");
        assert!(command.exists(), "{} is missing: scripts/page.sh fetches it", command.display());
        let out = std::fs::File::create(folder.join("log")).unwrap();
        let child = Command::new("node")
            .arg(command)
            // Each play has a folder of its own: several go on at once.
            .args(["test", &format!("/{file}"), "--output"])
            .arg(folder.join("results"))
            .current_dir(web)
            .envs([("PAGE_URL", page), ("PAGE_CONTROL", control)])
            .stdin(Stdio::null())
            .stderr(out.try_clone().unwrap())
            .stdout(out)
            .spawn();
        Self(child.unwrap_or_else(|e| panic!("node: {e}; `make test` installs it (scripts/setup.sh)")))
    }
}

impl Drop for Playing {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Plays a file of `web/tests/browser`; each of its tests has to pass.
pub(super) fn play(mut scene: impl Scene, file: &str) {
    let folder = tempfile::tempdir().unwrap();
    let control = Control::listen();
    let mut playing = Playing::start(folder.path(), file, &scene.url(), &control.url());
    let passed = loop {
        if let Some(status) = playing.0.try_wait().unwrap() {
            break status.success();
        }
        control.answer(|path| scene.obey(path));
    };
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
    assert!(passed && log.contains(" passed"), "{file}: {log}\n{}", scene.log());
}
