//! Values that cannot be meant: each is refused by a message that names its key.

use super::template;

fn refused(set: &str) -> String {
    match template(&["--set-json", set]) {
        Ok(text) => panic!("{set} is taken:\n{text}"),
        Err(said) => said,
    }
}

#[test]
fn the_schema_names_the_key_and_what_is_allowed() {
    for (set, wanted) in [
        (r#"collection.mode="cron""#, &["/collection/mode", "'cronjob', 'daemonset'"][..]),
        ("gpu.cont=3", &["/gpu", "'cont' not allowed"]),
        ("gpu.count=-1", &["/gpu/count", "minimum"]),
        (r#"gpu.devices="0,1""#, &["/gpu/devices", "want array"]),
        ("gpu.devices=[0.5]", &["/gpu/devices/0"]),
        (r#"gpu.devices=["0,1"]"#, &["/gpu/devices/0", "does not match pattern"]),
        (r#"collection.schedule="every minute""#, &["/collection/schedule", "does not match pattern"]),
        (r#"collection.window="20""#, &["/collection/window", "does not match pattern"]),
        ("collection.interval=5", &["/collection/interval", "want string"]),
        (r#"textfile.hostPath="textfiles""#, &["/textfile/hostPath", "does not match pattern"]),
        (r#"textfile.hostPath="x y""#, &["/textfile/hostPath"]),
        (r#"mig={"nodeSelector":{"nvidia.com/mig.capable":null}}"#, &["/mig/nodeSelector", "minProperties"]),
        ("mig.completions=-1", &["/mig/completions", "minimum"]),
        (r#"rbac.readers=["prometheus"]"#, &["/rbac/readers/0", "want object"]),
        (r#"rbac.readers=[{"kind":"Pod","name":"a"}]"#, &["/rbac/readers/0/kind", "'ServiceAccount'"]),
        (r#"rbac.readers=[{"kind":"User"}]"#, &["/rbac/readers/0", "name"]),
        ("removal.activeDeadlineSeconds=0", &["/removal/activeDeadlineSeconds", "minimum"]),
        (r#"processEvents="on""#, &["/processEvents", "want boolean"]),
        ("prometheusRule.enable=true", &["/prometheusRule", "'enable' not allowed"]),
        ("dashboards.labels={\"a\":1}", &["/dashboards/labels/a", "want string"]),
        ("prometheusRule.sampleMinutes=1", &["/prometheusRule/sampleMinutes", "minimum"]),
        (
            r#"prometheusRule.keepFiringFor="soon""#,
            &["/prometheusRule/keepFiringFor", "does not match pattern"],
        ),
        (r#"dcgm.url="https://dcgm:9400/metrics""#, &["/dcgm/url"]),
        (r#"metrics.scrape="always""#, &["/metrics/scrape", "'podMonitor', 'serviceMonitor', 'none'"]),
        ("metrics.port=0", &["/metrics/port"]),
        ("rights.uid=0", &["/rights/uid", "minimum"]),
        (r#"nodeSelector={"nvidia.com/gpu.present":true}"#, &["/nodeSelector", "want string"]),
        (r#"extraArgs=["serve"]"#, &["/extraArgs/0"]),
        (r#"enabled="no""#, &["/enabled", "want boolean"]),
        (r#"gpu-session-monitoring={"enable":true}"#, &["/gpu-session-monitoring", "'enable' not allowed"]),
    ] {
        let said = refused(set);
        assert!(wanted.iter().all(|words| said.contains(words)), "{set}: {said}");
    }
}

#[test]
fn values_that_do_not_go_together_are_refused_with_the_remedy() {
    for (set, wanted) in [
        ("mig.monitor=true,rights.root=false", "mig.monitor: true makes the container privileged"),
        (r#"resources.limits={"nvidia.com/gpu":1}"#, "resources.limits: nvidia.com/gpu would take a GPU"),
        (r#"resources.requests={"nvidia.com/mig-1g.10gb":1}"#, "resources.requests: nvidia.com/mig-1g.10gb"),
        (r#"state.hostPath="""#, "state.hostPath: with collection.mode cronjob"),
        (
            r#"collection.mode="daemonset",config={"textfile":"/x.prom"}"#,
            "config.textfile: with collection.mode daemonset",
        ),
        (r#"textfile.hostPath="""#, "textfile.hostPath: with collection.mode cronjob"),
        (
            r#"mig.monitor=true,nodeSelector={"nvidia.com/mig.capable":"false"}"#,
            "mig.nodeSelector: nvidia.com/mig.capable=true chooses no node with GPUs",
        ),
        ("mig.monitor=true,collection.completions=3", "mig.completions: with mig.monitor"),
        ("mig.monitor=true,mig.completions=3", "give both, or neither"),
        ("processEvents=true", "processEvents: a run of collection.mode cronjob"),
        (
            r#"processEvents=true,collection.mode="daemonset",rights.root=false"#,
            "processEvents: true needs a capability",
        ),
        ("removal.activeDeadlineSeconds=100", "removal.activeDeadlineSeconds: 100 ends the removal"),
        ("collection.activeDeadlineSeconds=60", "must be less than the 60 s between two runs"),
        (r#"collection.schedule="* * * * *",collection.activeDeadlineSeconds=90"#, "less than the 60 s"),
        (r#"collection.schedule="*/5 * * * *",collection.activeDeadlineSeconds=300"#, "less than the 300 s"),
        (r#"collection.window="45s""#, "at least 55 is needed"),
        (
            r#"collection.schedule="*/10 * * * *",prometheusRule.enabled=true"#,
            "prometheusRule.sampleMinutes: 10 is too few for runs every 10 minutes",
        ),
    ] {
        let said = refused(set);
        assert!(said.contains(wanted), "{set}: {said}");
    }
}

#[test]
fn what_is_not_at_all_enabled_is_nothing_at_all() {
    for set in ["enabled=false", r#"gpu-session-monitoring={"enabled":false}"#] {
        let text = template(&["--set-json", set]).unwrap();
        assert!(super::manifests(&text).is_empty(), "{text}");
    }
}
