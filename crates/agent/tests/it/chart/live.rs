//! Rules and dashboards on a real Prometheus that has hours of a simulated node; and an alert that reaches Alertmanager.

use super::dashboards::{dashboards, panels};
use super::rules::{blocks, rules, rules_of, runbooks};
use super::{of_kind, template};
use crate::chain::{Server, await_answer, free_port, start};
use crate::node::{EPOCH, Node, program, scenario_file};
use crate::serve::Serve;
use crate::serve::scrapes::Scrapes;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Seconds between two scrapes, and of all.
const SCRAPE: u32 = 60;
const LENGTH: u32 = 3 * 3_600;
const BEGIN: i64 = EPOCH;
const END: i64 = EPOCH + LENGTH as i64;

/// A Prometheus with what nodes said, and with what the rules record of it.
pub(super) struct Hours {
    dir: tempfile::TempDir,
    _server: Server,
    port: u16,
    log: PathBuf,
    end: i64,
}

impl Hours {
    /// From `input.om` in the folder, which is OpenMetrics until `end`.
    pub(super) fn filled(dir: tempfile::TempDir, end: i64) -> Self {
        rules(dir.path());
        std::fs::write(dir.path().join("prometheus.yml"), "global: {}\n").unwrap();
        backfill(dir.path(), &["openmetrics", "input.om", "tsdb"]);
        let (server, port, _) = prometheus(dir.path());
        let (url, from, until) = (format!("http://127.0.0.1:{port}"), BEGIN.to_string(), end.to_string());
        let period = ["--start", &from, "--end", &until, "--url", &url];
        backfill(dir.path(), &[&["rules", "--output-dir", "tsdb"], &period[..], &["rules.yaml"]].concat());
        // It looks for new blocks when it starts.
        drop(server);
        let (server, port, log) = prometheus(dir.path());
        Self { dir, _server: server, port, log, end }
    }

    pub(super) fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// The result of a query, at the end or in steps until then; or what Prometheus says against it.
    pub(super) fn ask(&self, query: &str, step: Option<u32>) -> Result<Vec<Value>, String> {
        let path = query_path(query, step, self.end);
        let answer = await_answer(self.port, &path, |text| text.contains("\"status\""), &self.log);
        let document: Value = serde_json::from_str(&answer).unwrap();
        match document["data"]["result"].as_array() {
            Some(result) => Ok(result.clone()),
            None => Err(answer),
        }
    }
}

/// Where a query is asked, at the end or in steps of seconds until then.
pub(super) fn query_path(query: &str, step: Option<u32>, end: i64) -> String {
    let mut parameters = form_urlencoded::Serializer::new(String::new());
    parameters.append_pair("query", query);
    let path = if let Some(step) = step {
        parameters.append_pair("start", &(BEGIN + 1_800).to_string());
        parameters.append_pair("end", &end.to_string()).append_pair("step", &step.to_string());
        "query_range"
    } else {
        parameters.append_pair("time", &end.to_string());
        "query"
    };
    format!("/api/v1/{path}?{}", parameters.finish())
}

/// `promtool tsdb create-blocks-from` in the folder.
fn backfill(folder: &Path, args: &[&str]) {
    let mut promtool = Command::new("promtool");
    promtool.args(["tsdb", "create-blocks-from"]).args(args).current_dir(folder);
    let output = promtool.output().expect("promtool; `make test` installs it (scripts/setup.sh)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// One on the folder's `prometheus.yml` and `tsdb`, when it is ready.
fn prometheus(folder: &Path) -> (Server, u16, PathBuf) {
    let (port, log) = (free_port(), folder.join("prometheus.log"));
    let args = [
        format!("--config.file={}", folder.join("prometheus.yml").display()),
        format!("--storage.tsdb.path={}", folder.join("tsdb").display()),
        "--storage.tsdb.retention.time=100y".to_owned(),
        format!("--web.listen-address=127.0.0.1:{port}"),
    ];
    let server = start("prometheus", &args, &log);
    await_answer(port, "/-/ready", |text| text.contains("Ready"), &log);
    (server, port, log)
}

/// Somebody who holds a device and has never had a session.
const HOLDER: &str = "pods:\n  - { uid: d0e1a000-0000-4000-8000-000000000b01, namespace: team-idle, name: grace, annotations: { creator-user-name: grace }, start: -1h, containers: [{ name: main, id: d0e10b0100000000000000000000000000000000000000000000000000000000, resource: nvidia.com/gpu, devices: [GPU-d0e1a000-0000-4000-8000-000000000001] }] }\n";
const HOLDERS: &str = "allocatable:\n  - GPU-d0e1a000-0000-4000-8000-000000000001\n";

/// From when on nobody writes the textfile of the node that is left.
const LEFT: i64 = END - 3_600;

/// The same of two more nodes: one of the same name in another cluster, and one that is left with what it was.
fn multiplied(text: &str) -> String {
    let (mut all, mut last) = (String::new(), String::new());
    for line in text.lines() {
        if line.starts_with('#') {
            all += &std::mem::take(&mut last);
            let _ = writeln!(all, "{line}");
            continue;
        }
        let (series, at) = line.rsplit_once(' ').unwrap();
        let left = series.replacen("node=\"gpu-7\"", "node=\"gpu-8\"", 1);
        let _ = writeln!(all, "{line}\n{}", line.replacen("cluster=\"lab\"", "cluster=\"annex\"", 1));
        let at: i64 = at.parse().unwrap();
        if at <= LEFT {
            let _ = writeln!(all, "{left} {at}");
        }
        if at == LEFT {
            for later in (LEFT..=END).step_by(SCRAPE as usize).skip(1) {
                let _ = writeln!(last, "{left} {later}");
            }
        }
    }
    all
}

/// Three hours of the demo's node, by a scrape a minute, as OpenMetrics, with what kube-state-metrics says of it; and of
/// two others.
fn hours() -> String {
    // What the demo lacks: GPUs that measure energy, a session that nobody can name, and a holder without one.
    let gpu = "    gpm: true\n";
    let stray = "processes:\n  - { pid: 40999, name: stray, start: 0s, cgroup: \"0::/docker/00000000000000000000000000000000000000000000000000000000000000ab\\n\", devices: [{ gpu: 3, memory: 1GiB, sm: 1 }] }\n";
    let measured = format!("{gpu}    power: {{ idle: 70W, busy: 700W, report: energy }}\n");
    let scenario = scenario_file("demo.yaml").replace(gpu, &measured).replacen("processes:\n", stray, 1);
    let scenario = scenario.replacen("pods:\n", HOLDER, 1).replacen("allocatable:\n", HOLDERS, 1);
    let mut node = Node::in_cluster(&scenario);
    let interval = format!("{SCRAPE}s");
    let labels = ["--node", "gpu-7", "--label", "cluster=lab"];
    let args = [&["--interval", &interval, "--scrape-interval", &interval], &labels[..]].concat();
    let mut serve = Serve::start(&node, &args);
    serve.sampled(&node);
    let mut scrapes = Scrapes::default();
    for at in (SCRAPE..=LENGTH).step_by(SCRAPE as usize) {
        serve.samples(&mut node, [at]);
        scrapes.add(&serve, at);
    }
    assert!(serve.terminate().success());
    let (mut text, job) = (multiplied(&scrapes.openmetrics()), "namespace=\"gpu-operator\",job_name=\"run\"");
    let end = text.strip_suffix("# EOF\n").unwrap().len();
    text.truncate(end);
    for (name, labels, value) in [
        ("kube_node_status_capacity", "node=\"gpu-7\",resource=\"nvidia_com_gpu\",unit=\"integer\"", 4),
        ("kube_job_spec_completions", job, 1),
        (
            "kube_job_owner",
            "namespace=\"gpu-operator\",job_name=\"run\",owner_kind=\"CronJob\",owner_name=\"gpu-session-metrics-collector\"",
            1,
        ),
    ] {
        let _ = writeln!(text, "# TYPE {name} gauge");
        for at in (BEGIN..=END).step_by(SCRAPE as usize) {
            let _ = writeln!(text, "{name}{{{labels}}} {value} {at}");
        }
    }
    text + "# EOF\n"
}

/// A panel's expression as Grafana sends it, with all of everything but this cluster and this node.
pub(super) fn chosen(expr: &str, (cluster, node): (&str, &str), rate_interval: &str, range: &str) -> String {
    let sent = expr.replace("$__rate_interval", rate_interval).replace("$__range", range);
    let sent = sent.replace("$__interval", rate_interval);
    let sent = sent.replace("$cluster", cluster).replace("$node", node);
    ["node", "gpu", "user", "namespace"]
        .iter()
        .fold(sent, |sent, name| sent.replace(&format!("${name}"), ".*"))
}

pub(super) fn is_number(series: &Value) -> bool {
    let values = series["values"].as_array().into_iter().flatten().chain(series.get("value"));
    values.into_iter().any(|value| value[1].as_str().is_some_and(|v| v.parse().is_ok_and(f64::is_finite)))
}

#[test]
fn no_panel_is_empty_and_every_query_of_the_pages_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("input.om"), hours()).unwrap();
    let prometheus = Hours::filled(folder, END);
    let (mut asked, mut wrong) = (0, Vec::new());
    let sent = |expr: &str, cluster: &str| chosen(expr, (cluster, ".*"), "4m", "3h");
    let mut of_now = 0;
    for (name, dashboard) in dashboards() {
        for panel in panels(&dashboard) {
            for target in super::list(panel, "targets") {
                let (expr, step) =
                    (target["expr"].as_str().unwrap(), (target["range"] == true).then_some(SCRAPE));
                let place = format!("{name}, {}: {expr}", panel["title"]);
                let all = prometheus.ask(&sent(expr, ".*"), step).unwrap_or_else(|e| panic!("{place}: {e}"));
                if !all.iter().any(is_number) {
                    wrong.push(format!("{place} is empty: {all:?}"));
                }
                if !prometheus.ask(&sent(expr, "elsewhere"), step).unwrap().is_empty() {
                    wrong.push(format!("{place} does not keep to the cluster that is chosen"));
                }
                asked += 1;
                // What is shown of now, or whether it is: nothing of a node that is left but how long it has been.
                let past = expr.contains("$__range") || expr.contains("last_sample_timestamp_seconds{");
                if step.is_none() && expr.contains("$node") && !past {
                    let left = prometheus.ask(&chosen(expr, (".*", "gpu-8"), "4m", "3h"), None).unwrap();
                    if !left.is_empty() {
                        wrong.push(format!("{place} takes what is left for what is: {left:?}"));
                    }
                    of_now += 1;
                }
            }
        }
        for variable in dashboard["templating"]["list"].as_array().unwrap() {
            let Some(query) = variable["query"]["query"].as_str() else { continue };
            let inner = query.strip_prefix("label_values(").and_then(|q| q.strip_suffix(')')).unwrap();
            let (of, label) = inner.rsplit_once(", ").unwrap();
            let values = prometheus.ask(&sent(&format!("group by ({label}) ({of})"), ".*"), None).unwrap();
            let wanted = match label {
                "user" => Some("grace"),
                "namespace" => Some("team-idle"),
                _ => None,
            };
            let has = |v: &Value| v["metric"][label].as_str().is_some_and(|v| wanted.is_none_or(|w| v == w));
            if !values.iter().any(has) {
                wrong.push(format!("{name}: {query} has not {wanted:?}: {values:?}"));
            }
        }
    }
    for (path, page) in runbooks() {
        for query in blocks(&page, "promql") {
            let all = prometheus.ask(&query, None).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            if !all.iter().any(is_number) {
                wrong.push(format!("{}: {query} is empty", path.display()));
            }
        }
    }
    let spec = rules(prometheus.folder());
    let expr = |rule: &Value| rule["expr"].as_str().unwrap().to_owned();
    let fires = |rule: &Value| {
        !prometheus.ask(&expr(rule), None).unwrap_or_else(|e| panic!("{rule}: {e}")).is_empty()
    };
    let alerts = rules_of(&spec).filter(|rule| rule["alert"].is_string());
    let firing: Vec<&str> =
        alerts.filter(|rule| fires(rule)).map(|rule| rule["alert"].as_str().unwrap()).collect();
    assert_eq!(
        firing,
        ["GpuAllocationIdle", "GpuUserOverQuota"],
        "of what the demo's node has after three hours"
    );
    // GpuSessionIdleHoldingMemory wants that nothing went unmeasured: so it is but where two share a MIG instance.
    let unmeasured = "sum by (gpu) (increase(gpu_session_collector_unobserved_seconds_total[2h])) > 0";
    let unmeasured = prometheus.ask(unmeasured, None).unwrap();
    let unmeasured: Vec<_> =
        unmeasured.iter().map(|device| device["metric"]["gpu"].as_str().unwrap()).collect();
    assert_eq!(unmeasured, ["0_1_0"]);
    assert!(of_now > 20, "{of_now}");
    assert!(wrong.is_empty() && asked > 50, "{asked} asked:\n{}", wrong.join("\n"));
}

/// The demo as it runs, on the real clock, and where it listens.
fn demo(folder: &Path) -> (Server, String) {
    crate::node::driver();
    let mut demo = Command::new(program());
    demo.args(["demo", "--listen", "127.0.0.1:0"]).env("DEMO_SECONDS", "600").env("TMPDIR", folder);
    let mut server = Server(demo.stdout(Stdio::piped()).spawn().unwrap());
    let (mut stdout, mut shown, mut buffer) = (server.0.stdout.take().unwrap(), String::new(), [0; 4_096]);
    while !shown.contains("Ctrl-C ends it") {
        let n = stdout.read(&mut buffer).unwrap();
        assert!(n > 0, "it ended: {shown}");
        shown.push_str(&String::from_utf8_lossy(&buffer[..n]));
    }
    let address = shown.split("http://").nth(1).and_then(|rest| rest.split('/').next()).unwrap();
    (server, address.to_owned())
}

/// Debian's, which looks for its templates in /usr/share, though it is unpacked elsewhere.
fn alertmanager(folder: &Path, port: u16, log: &Path) -> Server {
    let path = std::env::var_os("PATH").unwrap();
    let mut folders = std::env::split_paths(&path);
    let bin = folders.find(|folder| folder.join("prometheus-alertmanager").exists());
    let bin = bin.expect("prometheus-alertmanager; `make test` installs it (scripts/setup.sh)");
    let share = bin.with_file_name("share").display().to_string();
    let in_its_place = "mount --rbind \"$0\" /usr/share && exec prometheus-alertmanager \"$@\"";
    let unshare = ["--map-root-user", "--mount", "sh", "-c", in_its_place, &share].map(str::to_owned);
    let args = [
        format!("--config.file={}", folder.join("alertmanager.yml").display()),
        format!("--storage.path={}", folder.join("alertmanager").display()),
        format!("--web.listen-address=127.0.0.1:{port}"),
        "--cluster.listen-address=".to_owned(),
    ];
    start("unshare", &[&unshare[..], &args].concat(), log)
}

#[test]
fn an_alert_reaches_alertmanager() {
    let folder = tempfile::tempdir().unwrap();
    let (_demo, address) = demo(folder.path());
    let set = [
        "prometheusRule.enabled=true,prometheusRule.quotas.default=1",
        "prometheusRule.alerts.GpuUserOverQuota.for=0s",
        "prometheusRule.alerts.GpuAllocationIdle.for=0s",
    ];
    let [rule] = &of_kind(&template(&["--set", &set.join(",")]).unwrap(), "PrometheusRule")[..] else {
        panic!()
    };
    let mut spec = rule["spec"].clone();
    spec["groups"].as_array_mut().unwrap().push(inhibitor());
    // It runs for a moment, and is idle for that long.
    let text = spec.to_string().replace("> 3600 * 2", "> 0");
    let text = text.replace("\"interval\":\"1m\"", "\"interval\":\"1s\"");
    std::fs::write(folder.path().join("rules.yaml"), text).unwrap();
    let manager = free_port();
    let config = json!({
        "global": { "scrape_interval": "1s", "evaluation_interval": "1s" },
        "rule_files": ["rules.yaml"],
        "scrape_configs": [
            { "job_name": "gpu", "honor_labels": true, "static_configs": [{ "targets": [address] }] }
        ],
        "alerting": { "alertmanagers": [{ "static_configs": [{ "targets": [format!("127.0.0.1:{manager}")] }] }] },
    });
    std::fs::write(folder.path().join("prometheus.yml"), config.to_string()).unwrap();
    let config = json!({
        "route": { "receiver": "nobody" },
        "receivers": [{ "name": "nobody" }],
        "inhibit_rules": [{
            "source_matchers": ["alertname = InfoInhibitor"],
            "target_matchers": ["severity = info"],
            "equal": ["namespace"],
        }],
    });
    std::fs::write(folder.path().join("alertmanager.yml"), config.to_string()).unwrap();
    let log = folder.path().join("alertmanager.log");
    let _alertmanager = alertmanager(folder.path(), manager, &log);
    let _prometheus = prometheus(folder.path());
    let answer = await_answer(manager, "/api/v2/alerts", |text| text.contains("GpuUserOverQuota"), &log);
    let alerts: Vec<Value> = serde_json::from_str(&answer).unwrap();
    let alert = alerts.iter().find(|alert| alert["labels"]["alertname"] == "GpuUserOverQuota").unwrap();
    let user = alert["labels"]["user"].as_str().unwrap();
    let summary = alert["annotations"]["summary"].as_str().unwrap();
    assert!(summary.starts_with(&format!("User {user} has ")), "{alert}");
    assert!(alert["annotations"]["runbook_url"].as_str().unwrap().ends_with("/GpuUserOverQuota.md"));
    // kube-prometheus-stack keeps what is only information from everybody, where nothing else fires.
    let kept = "/api/v2/alerts?active=false";
    await_answer(manager, kept, |text| text.contains("\"alertname\":\"OnlyInformation\""), &log);
    let told = await_answer(
        manager,
        "/api/v2/alerts?inhibited=false",
        |text| text.contains("\"alertname\":\"GpuAllocationIdle\""),
        &log,
    );
    assert!(!told.contains("OnlyInformation"), "{told}");
}

/// What kube-prometheus-stack inhibits information by, wherever one of ours fires, and an alert that it keeps.
fn inhibitor() -> Value {
    let rule = |alert: &str, severity: &str| {
        json!({
            "alert": alert,
            "expr": "group by (namespace) (ALERTS{alertname=\"GpuAllocationIdle\", alertstate=\"firing\"})",
            "labels": { "severity": severity },
        })
    };
    json!({ "name": "inhibitor", "rules": [rule("InfoInhibitor", "none"), rule("OnlyInformation", "info")] })
}
