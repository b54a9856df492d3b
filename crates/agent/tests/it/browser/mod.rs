//! The page in a browser: Playwright plays a file of `web/tests/browser` in Chromium, against a real `serve` on the
//! simulated node or a real `web` on a Prometheus, and moves them by a control that this answers.

mod control;
mod play;

use crate::cluster_page::{Page, known};
use crate::node::{Node, plain, scenario_file, workspace};
use crate::report::truth::Known;
use crate::serve::Serve;
use play::{Scene, play};
use std::process::Command;

/// A node with a `serve` that goes away and comes back on the same port.
struct Stage {
    node: Node,
    port: u16,
    serve: Option<Serve>,
}

impl Stage {
    /// Watches the node, which stands at its first minute, each minute up to this one.
    fn set(node: Node, minutes: u32) -> Self {
        let mut stage = Self { node, port: crate::chain::free_port(), serve: None };
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
}

impl Scene for Stage {
    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

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

    fn log(&self) -> String {
        self.serve.as_ref().map(Serve::log).unwrap_or_default()
    }
}

/// A cluster whose Prometheus goes away and comes back.
struct ClusterStage {
    prometheus: Known,
    page: Page,
}

impl ClusterStage {
    fn set() -> Self {
        let prometheus = known();
        let page = Page::of(&prometheus.url, &["--refresh", "5s"]);
        Self { prometheus, page }
    }
}

impl Scene for ClusterStage {
    fn url(&self) -> String {
        format!("http://{}", self.page.serve.address())
    }

    fn obey(&mut self, path: &str) -> bool {
        match path {
            "/stop" => self.prometheus.end(),
            "/start" => self.prometheus.begin(),
            _ => match path.strip_prefix("/at/").and_then(|seconds| seconds.parse().ok()) {
                Some(seconds) => self.page.at(seconds),
                None => return false,
            },
        }
        true
    }

    fn log(&self) -> String {
        self.page.serve.log()
    }
}

/// Nothing: the file brings an invented cluster with it.
struct Alone;

impl Scene for Alone {
    fn url(&self) -> String {
        String::new()
    }

    fn obey(&mut self, _path: &str) -> bool {
        false
    }

    fn log(&self) -> String {
        String::new()
    }
}

fn demo() -> Node {
    let mut node = Node::in_cluster(&scenario_file("demo.yaml"));
    node.at(60.0);
    node
}

/// A node on which every name is markup or a formula.
fn marked_up() -> Node {
    let script = "\"<script>alert(1)</script>\"";
    let processes = "  - { pid: 10, name: img, uid: 1001, devices: [{ gpu: 0, memory: 1GiB, sm: 20 }] }
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
    let mut node = Node::in_cluster(&(marked + &held));
    node.at(60.0);
    // Longer than a kernel's names are.
    let stat = node.path("proc/10/stat");
    let text = std::fs::read_to_string(&stat).unwrap();
    assert!(text.contains("(img)"), "{text}");
    std::fs::write(&stat, text.replacen("(img)", "(<img src=x onerror=alert(1)>)", 1)).unwrap();
    node
}

#[test]
fn the_page_follows_a_node() {
    play(Stage::set(demo(), 1), "live.spec.ts");
}

#[test]
fn every_view_is_for_everybody() {
    play(Stage::set(demo(), 1), "views.spec.ts");
}

#[test]
fn names_that_are_markup_stay_text() {
    play(Stage::set(marked_up(), 7), "names.spec.ts");
}

#[test]
fn an_agent_that_goes_away_is_told_with_since_when() {
    play(Stage::set(demo(), 1), "away.spec.ts");
}

#[test]
fn the_page_of_a_cluster_searches_sorts_and_remembers() {
    play(ClusterStage::set(), "cluster.spec.ts");
}

#[test]
fn a_cluster_of_a_thousand_nodes_is_shown_by_what_is_seen() {
    play(Alone, "many.spec.ts");
}

#[test]
fn answers_that_do_not_come_or_change_are_told() {
    play(Alone, "faults.spec.ts");
}

#[test]
fn a_stream_is_as_old_as_its_sample_and_open_while_it_is_seen() {
    play(Alone, "stream.spec.ts");
}

/// The screens, for people to look at: they lie in target/page.
#[test]
fn the_screens_are_taken() {
    let stage = Stage::set(demo(), 7);
    let folder = workspace().join("target/page");
    let _ = std::fs::remove_dir_all(&folder);
    let mut node = Command::new("node");
    node.arg("screens.mjs").arg(&folder).arg(stage.url()).current_dir(workspace().join("web"));
    let run = node.output().expect("node runs; scripts/setup.sh sees to it");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let taken = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap());
    let sizes: Vec<_> = taken.map(|entry| (entry.file_name(), entry.metadata().unwrap().len())).collect();
    // One that shows nothing is a few kilobytes.
    assert!(sizes.len() == 20 && sizes.iter().all(|(_, size)| *size > 12_000), "{sizes:?}");
}
