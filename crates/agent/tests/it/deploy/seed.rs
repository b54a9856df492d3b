//! The seed's commands, in its order, as the README has them, in a real cluster with a real Prometheus.

use super::Checkout;
use crate::chain::{Prometheus, start};
use crate::cluster::Cluster;
use crate::cluster::program::REPOSITORY;
use crate::node::{Node, Run, plain, workspace};
use std::process::Command;

const READMES: [(&str, &str); 2] = [("README.md", "## On Kubernetes"), ("README.ko.md", "## Kubernetes에서")];

/// Commands of the chapter, a line each.
fn commands(readme: &str, chapter: &str) -> Vec<String> {
    let text = std::fs::read_to_string(workspace().join(readme)).unwrap();
    let after = text.split_once(&format!("\n{chapter}\n")).unwrap_or_else(|| panic!("{readme}: {chapter}")).1;
    let chapter = after.split("\n## ").next().unwrap();
    let blocks = chapter.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap());
    blocks.flat_map(str::lines).map(str::to_owned).collect()
}

/// The seed's own lines.
const SEED: [&str; 8] = [
    "./deploy_astrago.sh sync",
    "./deploy_astrago.sh sync gpu-session-monitoring",
    "curl \"http://prometheus-url:30090/api/v1/query?query=gpu_session_count\"",
    "curl \"http://prometheus-url:30090/api/v1/query?query=gpu_process_info\"",
    "kubectl get cronjobs -n gpu-operator",
    "kubectl get jobs -n gpu-operator",
    "kubectl logs -l job-name=gpu-session-metrics-collector -n gpu-operator",
    "./deploy_astrago.sh destroy gpu-session-monitoring",
];

#[test]
fn both_readmes_have_the_seeds_commands() {
    let [english, korean] = READMES.map(|(readme, chapter)| commands(readme, chapter));
    assert_eq!(english, korean);
    for line in SEED {
        assert!(english.iter().any(|command| command == line), "{line}");
    }
}

#[test]
fn the_seeds_commands_do_what_they_say() {
    let cluster = Cluster::shared();
    let _turn = cluster.turn();
    let process = "  - { pid: 1, name: python3, uid: 0, devices: [{ gpu: 1, memory: 1GiB, sm: 75 }] }\n";
    let gpu = [("nvidia.com/gpu.present", "true")];
    let nodes = ["s0", "s1"].map(|name| cluster.node(name, &gpu, &plain(2, process)));
    let _other = cluster.node("s2", &[], &plain(1, ""));

    let checkout = Checkout::new();
    let values = format!(
        "kube-prometheus-stack: {{existing: true}}\ngpu-operator: {{existing: true}}\n\
         gpu-session-monitoring: {{image: {{repository: {REPOSITORY}}}, collection: {{window: 3s}}}}\n"
    );
    checkout.environment("astrago", &values);
    // What the stack that is there already would do: node-exporter on a node, and Prometheus, which asks it.
    let folder = nodes[0].path("/var/lib/node_exporter/textfile_collector");
    std::fs::create_dir_all(&folder).unwrap();
    let place = Node::new(&plain(1, ""));
    let exporter = format!("{}:9100", nodes[0].ip());
    let _exporter = start(
        "prometheus-node-exporter",
        &[
            "--collector.disable-defaults".to_owned(),
            "--collector.textfile".to_owned(),
            format!("--collector.textfile.directory={}", folder.display()),
            format!("--web.listen-address={exporter}"),
        ],
        &place.path("exporter.log"),
    );
    let prometheus = Prometheus::scraping(&place, &exporter);
    let home = tempfile::tempdir().unwrap();
    let there = prometheus.url().replace("http://", "");
    let redirect = format!("silent\nfail\nconnect-to = \"prometheus-url:30090:{there}\"\n");
    std::fs::write(home.path().join(".curlrc"), redirect).unwrap();

    let run = |line: &str| {
        let mut command: Command = cluster.command("sh");
        command.args(["-c", line]).current_dir(checkout.path("")).env("HOME", home.path());
        let run = Run::of(command.output().unwrap());
        assert_eq!(run.code, 0, "{line}: {}{}\n{}", run.stdout, run.stderr, cluster.events());
        run.stdout
    };
    for line in commands(READMES[0].0, READMES[0].1) {
        let said = run(&line);
        let has = |words: &[&str]| {
            for word in words {
                assert!(said.contains(word), "{line} does not say {word}: {said}");
            }
        };
        match line.as_str() {
            "./deploy_astrago.sh sync" => {
                // The sample has been taken when it ends, and is scraped within a second or two.
                for node in &nodes {
                    let file = node.path("/var/lib/node_exporter/textfile_collector/gpu_sessions.prom");
                    let text =
                        std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
                    assert!(
                        text.contains(&format!(
                            "gpu_session_count{{gpu=\"1\",node=\"{}\"}} 1\n",
                            node.name()
                        )),
                        "{text}"
                    );
                }
                prometheus.query("gpu_process_info");
            }
            "./deploy_astrago.sh sync gpu-session-monitoring" => has(&["gpu-session-monitoring: no change"]),
            line if line.ends_with("query=gpu_session_count\"") => has(&["\"gpu\":\"1\"", "\"success\""]),
            line if line.ends_with("query=gpu_process_info\"") => {
                has(&["\"pid\":\"gpu1_1\"", "\"status\":\"active\""]);
            }
            "kubectl get cronjobs -n gpu-operator" => has(&["gpu-session-metrics-collector", "*/1 * * * *"]),
            "kubectl get jobs -n gpu-operator" => has(&["gpu-session-metrics-collector", "Complete", "2/2"]),
            "kubectl logs -l job-name=gpu-session-metrics-collector -n gpu-operator" => {
                has(&["clock", "shows /host/textfile/gpu_sessions.prom", "failed: 0; warning: "]);
            }
            line if line.contains("--prefix") => has(&["pod/gpu-session-metrics-collector"]),
            "./deploy_astrago.sh doctor" => {
                let shows =
                    format!("ok       node_exporter        http://{exporter}/metrics shows /host/textfile/");
                has(&["--- s0", "--- s1", "API rights", &shows]);
            }
            "./deploy_astrago.sh destroy gpu-session-monitoring" => {
                has(&["left on the nodes: counters and ledger"]);
            }
            other => panic!("{other} is new: say here what it answers"),
        }
    }
    for node in &nodes {
        assert!(!node.path("/var/lib/node_exporter/textfile_collector/gpu_sessions.prom").exists());
        assert!(node.path("/var/lib/gpu-session-monitor").join("state.json").exists());
    }
}
