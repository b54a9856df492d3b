//! Who shows metrics on the node: real node_exporter, our own `serve`, and the DCGM exporter.

use super::{Report, examine, idle, seed, server};
use crate::chain::{await_answer, free_port, start};
use crate::node::{Node, Run};
use crate::serve::Serve;
use std::path::Path;

/// A real node_exporter with these further flags; its metrics' address.
fn exporter(node: &Node, flags: &[String]) -> (crate::chain::Server, String) {
    let (port, log) = (free_port(), node.path("exporter.log"));
    let all = [
        &["--collector.disable-defaults".to_owned(), format!("--web.listen-address=127.0.0.1:{port}")][..],
        flags,
    ];
    let server = start("prometheus-node-exporter", &all.concat(), &log);
    await_answer(port, "/metrics", |text| text.contains("node_exporter_build_info"), &log);
    (server, format!("http://127.0.0.1:{port}/metrics"))
}

fn textfiles(folder: &Path) -> Vec<String> {
    vec!["--collector.textfile".to_owned(), format!("--collector.textfile.directory={}", folder.display())]
}

#[test]
fn node_exporter_shows_our_textfile() {
    let node = seed();
    let (_exporter, url) = exporter(&node, &textfiles(&node.path("textfiles")));
    let asked = ["--node-exporter", &*url];
    let well = examine(&node, &asked);
    well.assert("node_exporter", "ok", &["gpu_sessions.prom"]);
    well.assert("textfile folder", "ok", &["can be written"]);
    well.assert("other textfiles", "ok", &[]);
    assert_eq!(well.code, 0);

    let broken = node.path("textfiles/broken.prom");
    std::fs::write(&broken, "not a metric\n").unwrap();
    examine(&node, &asked).assert("node_exporter", "failed", &["node_textfile_scrape_error", "promtool"]);
    std::fs::remove_file(&broken).unwrap();

    let foreign = node.path("textfiles/old.prom");
    std::fs::write(&foreign, "gpu_total_sessions 3\n").unwrap();
    let report = examine(&node, &asked);
    report.assert("other textfiles", "failed", &["old.prom", "remove it"]);
    assert_eq!(report.code, 1);
    std::fs::remove_file(&foreign).unwrap();

    std::fs::remove_file(node.textfile()).unwrap();
    examine(&node, &asked).assert("node_exporter", "skipped", &["not written yet"]);
}

#[test]
fn node_exporter_with_another_folder_or_none_fails() {
    let node = seed();
    let other = node.path("other");
    std::fs::create_dir(&other).unwrap();
    let remedy = format!("--collector.textfile.directory={}", node.path("textfiles").display());
    let (elsewhere, url) = exporter(&node, &textfiles(&other));
    let asked = ["--node-exporter", &*url];
    examine(&node, &asked).assert("node_exporter", "failed", &["does not show", &remedy]);
    let copy = other.join("gpu_sessions.prom");
    std::fs::copy(node.textfile(), &copy).unwrap();
    let then = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    std::fs::File::options().write(true).open(&copy).unwrap().set_modified(then).unwrap();
    examine(&node, &asked).assert("node_exporter", "failed", &["apart", &remedy]);
    drop(elsewhere);
    let (_off, url) = exporter(&node, &["--collector.time".to_owned()]);
    let report = examine(&node, &["--node-exporter", &url]);
    report.assert("node_exporter", "failed", &["textfile collector is off", &remedy]);
    assert_eq!(report.code, 1);
}

#[test]
fn a_node_exporter_that_was_named_must_be_one() {
    let node = seed();
    examine(&node, &[]).assert("node_exporter", "skipped", &["not asked"]);
    let nobody = format!("http://127.0.0.1:{}/metrics", free_port());
    let report = examine(&node, &["--node-exporter", &nobody]);
    report.assert("node_exporter", "warning", &["see that node_exporter runs there"]);
    assert_eq!(report.code, 0);
    for (url, words) in [
        (server("404 Not Found", ""), "404"),
        (server("200 OK", "other_metric 1\n"), "no node_exporter"),
        (server("200 OK", "<html>\n"), "line 1"),
    ] {
        let report = examine(&node, &["--node-exporter", &url]);
        report.assert("node_exporter", "failed", &[words]);
        assert_eq!(report.code, 1);
    }
    for url in ["ftp://x", "http://u:hunter2@127.0.0.1/metrics", "nonsense"] {
        let run = node.run(&["doctor", "--node-exporter", url]);
        assert!(run.code == 2 && run.stderr.contains("--node-exporter"), "{}", run.stderr);
        assert!(!run.stderr.contains("hunter2"));
    }
}

#[test]
fn a_textfile_that_nobody_names_is_not_missed_where_serve_runs() {
    let node = idle("");
    let url = server("200 OK", "gpu_session_collector_build_info 1\n");
    let address = url.strip_prefix("http://").unwrap().strip_suffix("/metrics").unwrap();
    let mut command = node.command(&["doctor", "--json", "--listen", address]);
    command.env_remove("GPU_SESSION_MONITOR_TEXTFILE");
    let report = Report::of(&Run::of(command.output().unwrap()));
    for folder in ["/var/lib/node_exporter/textfile_collector", "/var/lib/prometheus/node-exporter"] {
        assert!(!Path::new(folder).exists(), "{folder} is a default, of this machine");
    }
    report.assert("textfile folder", "skipped", &["serve shows the metrics"]);
}

#[test]
fn a_textfile_folder_must_be_there() {
    let report = examine(&seed(), &["--textfile", "/nonexistent/x.prom"]);
    report.assert("textfile folder", "failed", &["mkdir -p /nonexistent"]);
    assert_eq!(report.code, 1);
}

#[test]
fn serve_is_asked_for_its_last_sample_and_scraped_alone() {
    let mut node = crate::serve::node("");
    examine(&node, &[]).assert("serve", "skipped", &["listen is off"]);
    let closed = format!("127.0.0.1:{}", free_port());
    examine(&node, &["--listen", &closed]).assert("serve", "skipped", &["no serve answers"]);
    let serve = Serve::start(&node, &["--ledger-enabled", "false"]);
    serve.sampled(&node);
    serve.samples(&mut node, [15, 20]);
    let address = serve.address();
    let asked = ["--listen", &*address];
    let well = examine(&node, &asked);
    well.assert("serve", "ok", &["measured 0s ago"]);
    well.assert("one way of scraping", "ok", &["serve alone"]);
    well.assert("state folder", "ok", &["can be written"]);
    // The CronJob beside it, with a state of its own.
    let state = node.path("other-state");
    assert_eq!(node.run(&["collect", "--state-dir", state.to_str().unwrap()]).code, 0);
    let both = examine(&node, &asked);
    both.assert("one way of scraping", "warning", &["count twice", "textfile.counters: false"]);
    assert_eq!(both.code, 0);
    drop(serve);
    examine(&node, &[]).assert("one way of scraping", "ok", &["textfile alone"]);
}

#[test]
fn a_serve_that_measures_no_more_fails_and_others_are_no_matter() {
    let node = idle("");
    // The node stands 10 s after the anchor.
    let at = |seconds: i64| {
        let time = crate::node::EPOCH + seconds;
        server("200 OK", &format!("gpu_session_collector_last_sample_timestamp_seconds {time}\n"))
    };
    let asked = |url: &str| {
        let address = url.strip_prefix("http://").unwrap().strip_suffix("/metrics").unwrap().to_owned();
        examine(&node, &["--listen", &address])
    };
    let old = asked(&at(-600));
    old.assert("serve", "failed", &["measured 10m 10s ago", "see its log"]);
    assert_eq!(old.code, 1);
    asked(&at(600)).assert("serve", "warning", &["in the future", "set the clock"]);
    asked(&server("200 OK", "gpu_session_collector_build_info 1\n")).assert(
        "serve",
        "warning",
        &["nothing so far"],
    );
    asked(&server("", "")).assert("serve", "skipped", &["cannot be read"]);
    asked(&server("401 Unauthorized", "")).assert("serve", "skipped", &["401"]);
    asked(&server("200 OK", "up 1\n")).assert("serve", "skipped", &["another program"]);
}

#[test]
fn the_dcgm_exporter_is_asked_whether_or_not_something_is_missing() {
    let node = idle("");
    let body = "DCGM_FI_DEV_GPU_UTIL{gpu=\"0\",UUID=\"GPU-x\"} 7\n";
    let well = examine(&node, &["--dcgm-url", &server("200 OK", body)]);
    well.assert("DCGM exporter", "ok", &["its series: 1"]);
    for (url, words) in [
        (server("200 OK", "up 1\n"), "DCGM_"),
        (server("500 Oops", ""), "500"),
        (server("200 OK", "<html>\n"), "line 1"),
        (format!("http://127.0.0.1:{}/metrics", free_port()), "dcgm.url"),
    ] {
        let report = examine(&node, &["--dcgm-url", &url]);
        report.assert("DCGM exporter", "failed", &[words, "see that the DCGM exporter runs"]);
        assert_eq!(report.code, 1);
    }
}
