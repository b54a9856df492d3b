//! The page in a browser: Playwright plays a file of `web/tests/browser` in Chromium, against a real `serve` on the
//! simulated node, and moves the node by a control that this answers.

mod control;

use crate::node::{Node, plain, scenario_file, workspace};
use crate::serve::Serve;
use control::Control;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A node with a `serve` that goes away and comes back on the same port.
struct Stage {
    node: Node,
    port: u16,
    serve: Option<Serve>,
}

impl Stage {
    /// Watches the node each minute up to this one.
    fn set(node: Node, minutes: u32) -> Self {
        let mut stage = Self { node, port: crate::chain::free_port(), serve: None };
        stage.node.at(60.0);
        stage.start();
        for minute in 2..=minutes {
            stage.at(f64::from(60 * minute));
        }
        stage
    }

    fn start(&mut self) {
        let listen = format!("127.0.0.1:{}", self.port);
        let args = ["serve", "--listen", &listen, "--node", "gpu-7"];
        let serve = Serve::run(self.node.command(&args).env_remove("GPU_SESSION_MONITOR_TEXTFILE"));
        serve.sampled(&self.node);
        self.serve = Some(serve);
    }

    fn at(&mut self, seconds: f64) {
        self.node.at(seconds);
        if let Some(serve) = &self.serve {
            serve.sampled(&self.node);
        }
    }

    /// Does what the test in the browser asks for; whether there is such a thing.
    fn obey(&mut self, path: &str) -> bool {
        match path {
            "/stop" => self.serve = None,
            "/start" => self.start(),
            _ => match path.strip_prefix("/at/").and_then(|seconds| seconds.parse().ok()) {
                Some(seconds) => self.at(seconds),
                None => return false,
            },
        }
        true
    }

    /// Plays a file in the browser at the page of the node.
    fn play(mut self, file: &str) {
        let url = format!("http://127.0.0.1:{}", self.port);
        let control = Control::listen();
        let mut playing = Playing::start(&self.node.path("browser.log"), file, &url, &control.url());
        let passed = loop {
            if let Some(status) = playing.0.try_wait().unwrap() {
                break status.success();
            }
            control.answer(|path| self.obey(path));
        };
        let log = std::fs::read_to_string(self.node.path("browser.log")).unwrap();
        let served = self.serve.map(|serve| serve.log()).unwrap_or_default();
        assert!(passed && log.contains(" passed"), "{file}: {log}\n{served}");
    }
}

/// Playwright, which ends with the test.
struct Playing(Child);

impl Playing {
    fn start(log: &PathBuf, file: &str, page: &str, control: &str) -> Self {
        let web = workspace().join("web");
        let command = web.join("node_modules/@playwright/test/cli.js");
        assert!(command.exists(), "{} is missing: scripts/page.sh fetches it", command.display());
        let out = std::fs::File::create(log).unwrap();
        // Each play has a folder of its own: several go on at once.
        let results = log.with_file_name("browser");
        let child = Command::new("node")
            .arg(command)
            .args(["test", &format!("/{file}"), "--output"])
            .arg(results)
            .current_dir(web)
            .env("PAGE_URL", page)
            .env("PAGE_CONTROL", control)
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

fn demo() -> Node {
    Node::in_cluster(&scenario_file("demo.yaml"))
}

/// A node on which every name is markup or a formula.
fn marked_up() -> Node {
    let script = "\"<script>alert(1)</script>\"";
    let processes = "  - { pid: 10, name: \"<img src=x onerror=alert(1)>\", uid: 1001, devices: [{ gpu: 0, memory: 1GiB, sm: 20 }] }
  - { pid: 11, name: \"=1+1\", uid: 1001, devices: [{ gpu: 0, memory: 1GiB }] }
  - { pid: 12, name: \"@SUM(A1)\", uid: 1001, devices: [{ gpu: 1, memory: 1GiB }] }
  - { pid: 13, name: \"a\\u202Eb\", uid: 1000, devices: [{ gpu: 0, memory: 1GiB }] }
";
    let held = format!(
        "pods:
  - uid: d0e1a000-0000-4000-8000-000000000a01
    namespace: team
    name: holder
    annotations: {{ creator-user-name: {script} }}
    start: -1h
    containers:
      - {{ name: c, id: d0e10a0100000000000000000000000000000000000000000000000000000000, resource: nvidia.com/gpu, devices: [GPU-d0e1a000-0000-4000-8000-000000000001] }}
"
    );
    let scenario = plain(2, processes).replace("name: alice", &format!("name: {script}"));
    let marked = scenario.replacen(
        "NVIDIA L40S, memory: 48GiB }\n",
        "NVIDIA L40S, memory: 48GiB, uuid: GPU-d0e1a000-0000-4000-8000-000000000001 }\n",
        1,
    );
    Node::in_cluster(&(marked + &held))
}

#[test]
fn the_page_follows_a_node() {
    Stage::set(demo(), 1).play("live.spec.ts");
}

#[test]
fn every_view_is_for_everybody() {
    Stage::set(demo(), 1).play("views.spec.ts");
}

#[test]
fn names_that_are_markup_stay_text() {
    Stage::set(marked_up(), 7).play("names.spec.ts");
}

#[test]
fn an_agent_that_goes_away_is_told_with_since_when() {
    Stage::set(demo(), 1).play("away.spec.ts");
}
