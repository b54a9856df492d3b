//! What the script says before it touches a cluster.

use super::Checkout;
use crate::node::Run;
use std::os::unix::fs::PermissionsExt;

#[test]
fn its_help_names_every_command_and_option() {
    let run = Checkout::new().run("lab", &["--help"]);
    assert_eq!(run.code, 0);
    for word in ["env", "sync", "diff", "template", "status", "doctor", "destroy", "--purge", "--force"] {
        assert!(run.stdout.lines().any(|line| line.trim_start().starts_with(word)), "{word}: {}", run.stdout);
    }
    assert!(run.stdout.contains("environments/lab/values.yaml"), "{}", run.stdout);
}

#[test]
fn wrong_usage_is_told_and_is_two() {
    let checkout = Checkout::new();
    for (args, wanted) in [
        (&["instal"][..], "unknown command instal"),
        (&["sync", "a", "b"], "one release at a time, not b too"),
        (&["sync", "--purge"], "--purge, --force and --timeout go with destroy"),
        (&["destroy", "--purge", "--force"], "--force does not wait for"),
        (&["destroy", "--timeout=soon"], "--timeout=soon is no duration"),
        (&["env", "x"], "env takes no release"),
        (&["sync", "--yes"], "unknown option --yes"),
    ] {
        let run = checkout.run("lab", args);
        assert!(run.code == 2 && run.stderr.contains(wanted), "{args:?}: {} {}", run.code, run.stderr);
    }
    assert_eq!(checkout.run("lab", &[]).code, 2);
}

#[test]
fn an_environment_is_made_once_and_stays() {
    let checkout = Checkout::new();
    let run = checkout.run("lab", &["env"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let example = std::fs::read_to_string(checkout.path("environments/example/values.yaml")).unwrap();
    assert_eq!(checkout.values("lab"), example);
    checkout.environment("lab", "gpu: {count: 2}\n");
    let run = checkout.run("lab", &["env"]);
    assert!(run.code == 0 && run.stdout.contains("stays as it is"), "{}", run.stdout);
    assert_eq!(checkout.values("lab"), "gpu: {count: 2}\n");
}

#[test]
fn on_a_terminal_it_asks() {
    let checkout = Checkout::new();
    let mut command = std::process::Command::new("script");
    let asked = format!("{} env", checkout.path("deploy_astrago.sh").display());
    command.args(["--quiet", "--return", "--command", &asked, "/dev/null"]);
    let answers = checkout.path("answers");
    std::fs::write(&answers, "registry.example.com/monitor\ny\n\n").unwrap();
    checkout.alone(&mut command).stdin(std::fs::File::open(answers).unwrap());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let values: serde_json::Value = serde_saphyr::from_str(&checkout.values("astrago")).unwrap();
    let existing = |release: &str| values[release]["existing"].as_bool().unwrap();
    assert_eq!(values["gpu-session-monitoring"]["image"]["repository"], "registry.example.com/monitor");
    assert!(existing("kube-prometheus-stack") && !existing("gpu-operator"));
}

#[test]
fn what_is_missing_is_told_with_its_remedy() {
    let checkout = Checkout::new();
    let told = |run: Run, wanted: &str| {
        assert!(run.code == 1 && run.stderr.contains(wanted), "{wanted}: {} {}", run.code, run.stderr);
    };
    let with = |program: &str, says: &str| {
        let bin = tempfile::tempdir().unwrap();
        let file = bin.path().join(program);
        std::fs::write(&file, format!("#!/bin/sh\necho {says}\n")).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
        let mut command = checkout.script("lab", &["sync"]);
        let path = command.get_envs().find(|(key, _)| *key == "PATH").unwrap().1.unwrap().to_owned();
        command.env("PATH", format!("{}:{}", bin.path().display(), path.display()));
        Run::of(command.output().unwrap())
    };
    let mut bare = checkout.script("lab", &["sync"]);
    let bare = Run::of(bare.env("PATH", "/usr/bin:/bin").output().unwrap());
    told(bare, "error: helm is missing; install it: https://");
    told(with("helm", "v3.12.3"), "helm v3.12.3 is too old; install 3.13 or later");
    told(with("helmfile", "0.171.0"), "helmfile 0.171.0 is too old; install 1.0 or later");
    told(checkout.run("lab", &["sync"]), "no cluster is chosen; set KUBECONFIG");
    told(checkout.run("../lab", &["template"]), "ASTRAGO_ENV=../lab is no name of an environment");

    let kubeconfig = checkout.path("kubeconfig");
    let config = "{\"apiVersion\": \"v1\", \"kind\": \"Config\", \"current-context\": \"far\", \"clusters\": [{\"name\": \"c\", \"cluster\": \
                  {\"server\": \"https://127.0.0.1:1\"}}], \"contexts\": [{\"name\": \"far\", \"context\": {\"cluster\": \"c\"}}]}";
    std::fs::write(&kubeconfig, config).unwrap();
    let silent = Run::of(checkout.script("lab", &["sync"]).env("KUBECONFIG", &kubeconfig).output().unwrap());
    told(silent, "the cluster of context far does not answer");
    assert!(!checkout.path("environments/lab").exists(), "nothing was made before the cluster answered");
}
