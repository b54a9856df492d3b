//! The arguments and settings in the manifests are the program's: it is run with each of them.

use super::{all_values, containers, list, of_kind, pods, removes, rendered};
use crate::node::{Run, program, workspace};
use crate::serve::Serve;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// A folder of ours in the place of the container's files.
struct Root(tempfile::TempDir);

impl Root {
    /// What the container finds: its mounts, with the ConfigMap and a web configuration.
    fn of(container: &Value, text: &str) -> Self {
        let root = Self(tempfile::tempdir().unwrap());
        for mount in list(container, "volumeMounts") {
            let path = root.0.path().join(mount["mountPath"].as_str().unwrap().trim_start_matches('/'));
            match mount["name"].as_str().unwrap() {
                "passwd" => write(&path, "root:x:0:0::/root:/bin/sh\n"),
                "config" => {
                    let map = of_kind(text, "ConfigMap").remove(0);
                    write(&path.join("config.yaml"), map["data"]["config.yaml"].as_str().unwrap());
                }
                "web" => write(&path.join("web.yaml"), "http_server_config: { http2: false }\n"),
                _ => std::fs::create_dir_all(&path).unwrap(),
            }
        }
        root
    }

    /// A value as the container's program gets it, with files of ours.
    fn own(&self, container: &Value, value: &str) -> String {
        let value = value.replace("$(NODE_NAME)", "gpu-7").replace("$(HOST_IP)", "127.0.0.1");
        assert!(!value.contains("$("), "{value}");
        match value.strip_prefix('/') {
            Some(path) => {
                let mut mounts =
                    list(container, "volumeMounts").iter().map(|mount| mount["mountPath"].as_str());
                assert!(
                    mounts.any(|mount| Path::new(&value).starts_with(mount.unwrap())),
                    "{value} is not mounted"
                );
                self.0.path().join(path).display().to_string()
            }
            // Another port than the container's, which may be taken here.
            None if value.starts_with("0.0.0.0:") => "127.0.0.1:0".to_owned(),
            None => value,
        }
    }

    fn arguments(&self, container: &Value) -> Vec<String> {
        let own = |argument: &Value| match argument.as_str().unwrap().split_once('=') {
            Some(("--stay", _)) => "--stay=1ms".to_owned(),
            Some((flag, value)) => format!("{flag}={}", self.own(container, value)),
            None => argument.as_str().unwrap().to_owned(),
        };
        list(container, "args").iter().map(own).collect()
    }

    /// The settings in its environment.
    fn settings(&self, container: &Value) -> Vec<(String, String)> {
        let ours = list(container, "env").iter().filter_map(|variable| {
            let name = variable["name"].as_str().unwrap();
            name.starts_with("GPU_SESSION_MONITOR_").then_some((name.to_owned(), variable["value"].as_str()?))
        });
        ours.map(|(name, value)| (name, self.own(container, value))).collect()
    }

    /// The program as the container runs it, in what looks like a pod, without a driver.
    fn command(&self, container: &Value, arguments: &[String]) -> Command {
        let mut command = Command::new(program());
        command.args(arguments).env_clear().envs(self.settings(container));
        command.env("GPU_SESSION_MONITOR_NVML_LIBRARY", self.0.path().join("none"));
        command.env("KUBERNETES_SERVICE_HOST", "127.0.0.1").env("KUBERNETES_SERVICE_PORT", "1");
        command
    }
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[test]
fn the_program_takes_every_argument_of_every_container() {
    let mut commands = std::collections::BTreeSet::new();
    for (name, _) in all_values() {
        let text = rendered(&name);
        for (maker, pod) in pods(&text) {
            for container in containers(&pod) {
                let root = Root::of(container, &text);
                let arguments = root.arguments(container);
                let mut command = root.command(container, &arguments);
                let what = format!("{name} {maker} {arguments:?} {:?}", root.settings(container));
                if arguments[0] == "serve" {
                    let mut serve = Serve::run(&mut command);
                    assert_eq!(serve.terminate().code(), Some(0), "{what}: {}", serve.log());
                } else {
                    // Without a driver: a failure, but not of the arguments, and none where none is needed.
                    let run = Run::of(command.output().unwrap());
                    assert_eq!(run.code, i32::from(!removes(container)), "{what}: {}", run.stderr);
                }
                commands.insert(arguments[0].clone());
            }
        }
    }
    assert_eq!(commands.into_iter().collect::<Vec<_>>(), ["collect", "doctor", "serve"]);
}

#[test]
fn an_argument_that_it_does_not_know_would_be_found() {
    let text = rendered("defaults");
    let (_, pod) = pods(&text).remove(0);
    let container = containers(&pod).next().unwrap();
    let root = Root::of(container, &text);
    let arguments = [root.arguments(container), vec!["--nodes=1".to_owned()]].concat();
    assert_eq!(root.command(container, &arguments).output().unwrap().status.code(), Some(2));
}

#[test]
fn every_setting_in_the_environment_is_one_of_the_program() {
    let page = std::fs::read_to_string(workspace().join("docs/configuration.md")).unwrap();
    for (name, _) in all_values() {
        let text = rendered(&name);
        for (maker, pod) in pods(&text) {
            for container in containers(&pod).filter(|container| !removes(container)) {
                let settings = Root::of(container, &text).settings(container);
                assert!(settings.len() >= 4, "{name} {maker}: {settings:?}");
                for (setting, _) in settings {
                    assert!(page.contains(&format!("| `{setting}` |")), "{name} {maker}: {setting}");
                }
            }
        }
    }
}
