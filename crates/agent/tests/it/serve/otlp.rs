//! Metrics by OTLP, to receivers that speak the protocol.

use super::{Serve, node, wait_for};
use crate::node::{EPOCH, Node, Run};
use crate::receiver::{Protocol, Receiver, Reply};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{Metric, NumberDataPoint, number_data_point};
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use tonic::Code;

const WRITE_ERRORS: &str = "gpu_session_collector_write_errors_total";
const AGE: [&str; 2] = ["gpu_session_collector_snapshot_age_seconds", "gpu_session_collector_stale"];

/// `serve` that sends each second of the node's time.
fn sending(node: &Node, protocol: Protocol, url: &str, args: &[&str]) -> Serve {
    let all = ["--otlp-endpoint", url, "--otlp-protocol", protocol.name(), "--otlp-interval", "1s"];
    Serve::start(node, &[&all[..], args].concat())
}

/// Waits for so many requests.
fn requests(receiver: &Receiver, count: usize) {
    wait_for(&format!("request {count}"), || {
        let found = receiver.received().len();
        if found >= count { Ok(()) } else { Err(found.to_string()) }
    });
}

fn labels(attributes: &[KeyValue]) -> String {
    let mut out = String::new();
    for KeyValue { key, value, .. } in attributes {
        let Some(Value::StringValue(value)) = value.as_ref().and_then(|value| value.value.as_ref()) else {
            panic!("{key} is no text")
        };
        let value = value.replace('\\', "\\\\").replace('"', "\\\"");
        let _ = write!(out, "{key}=\"{value}\",");
    }
    out
}

fn line(name: &str, labels: &str, value: f64) -> String {
    let labels = labels.trim_end_matches(',');
    if labels.is_empty() { format!("{name} {value}") } else { format!("{name}{{{labels}}} {value}") }
}

/// The metric's data points of this time as the text format has them.
fn lines_of(metric: &Metric, time_ns: u64) -> Vec<String> {
    let number = |point: &NumberDataPoint| {
        let Some(number_data_point::Value::AsDouble(value)) = point.value else { panic!("no number") };
        (point.time_unix_nano == time_ns).then(|| line(&metric.name, &labels(&point.attributes), value))
    };
    match metric.data.as_ref().unwrap() {
        Data::Gauge(gauge) => gauge.data_points.iter().filter_map(number).collect(),
        Data::Sum(sum) => {
            assert!(sum.is_monotonic && metric.name.ends_with("_total"), "{}", metric.name);
            sum.data_points.iter().filter_map(number).collect()
        }
        Data::Histogram(histogram) => {
            let mut lines = Vec::new();
            for point in histogram.data_points.iter().filter(|point| point.time_unix_nano == time_ns) {
                let labels = labels(&point.attributes);
                let name = |suffix: &str| format!("{}{suffix}", metric.name);
                let mut count = 0;
                let bounds = point.explicit_bounds.iter().map(ToString::to_string).chain(["+Inf".into()]);
                for (bound, in_bucket) in bounds.zip(&point.bucket_counts) {
                    count += in_bucket;
                    let (own, further) = labels.split_at(labels.find(',').unwrap() + 1);
                    lines.push(line(
                        &name("_bucket"),
                        &format!("{own}le=\"{bound}\",{further}"),
                        count as f64,
                    ));
                }
                assert_eq!(count, point.count);
                lines.push(line(&name("_sum"), &labels, point.sum.unwrap()));
                lines.push(line(&name("_count"), &labels, count as f64));
            }
            lines
        }
        other => panic!("{other:?}"),
    }
}

/// What the receiver has of the sample of this second, with the age as of another.
fn arrived(receiver: &Receiver, sampled: u32, now: u32) -> BTreeSet<String> {
    let ns = |second: u32| (EPOCH.unsigned_abs() + u64::from(second)) * 1_000_000_000;
    let mut lines = BTreeSet::new();
    for received in receiver.received() {
        for of_resource in &received.request.resource_metrics {
            for metric in of_resource.scope_metrics.iter().flat_map(|scope| &scope.metrics) {
                assert!(metric.unit.is_empty() && !metric.description.is_empty(), "{metric:?}");
                let at = if AGE.contains(&&*metric.name) { now } else { sampled };
                lines.extend(lines_of(metric, ns(at)));
            }
        }
    }
    lines
}

#[test]
fn a_receiver_has_what_metrics_shows() {
    for protocol in Protocol::ALL {
        let receiver = Receiver::start(protocol);
        let process = "  - { pid: 10, name: 'q\"\\x', uid: 1000, end: 62s, devices: [{ gpu: 0, memory: 1GiB, sm: 50 }] }\n  - { pid: 11, name: b, uid: 1001, devices: [{ gpu: 1, memory: 2GiB, sm: 20 }] }\n";
        let mut node = Node::new(&crate::node::plain(2, process));
        node.at(10.0);
        let args = ["--node", "n7", "--label", "rack=r 1", "--scrape-interval", "15s"];
        let serve = sending(&node, protocol, &receiver.url(), &args);
        serve.said("OTLP to http://127.0.0.1:");
        serve.samples(&mut node, (10..=80).step_by(5));
        node.at(81.0);
        let now = serve.shows("an age of 1 s", |metrics| metrics.get(AGE[0], &[]) == Some(1.0));
        assert!(now.sum("gpu_user_sm_seconds_total", &[("user", "alice")]) > 20.0);
        assert!(now.sum("gpu_session_duration_seconds_count", &[]) > 0.0);
        let answer = serve.ask("GET", "/metrics", "*/*").unwrap();
        let text = answer.split_once("\r\n\r\n").unwrap().1;
        let shown: BTreeSet<String> =
            text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
        assert!(shown.len() > 80, "{shown:?}");
        wait_for("the same series", || {
            let arrived = arrived(&receiver, 80, 81);
            let difference: Vec<_> = arrived.symmetric_difference(&shown).collect();
            if difference.is_empty() { Ok(()) } else { Err(format!("{difference:?}")) }
        });
        let of_resource = receiver.received()[0].request.resource_metrics[0].clone();
        let resource = labels(&of_resource.resource.unwrap().attributes);
        assert!(
            resource.starts_with("service.name=\"gpu-session-monitor\",service.version=\""),
            "{resource}"
        );
        assert!(resource.ends_with("service.instance.id=\"n7\",host.name=\"n7\","), "{resource}");
        assert_eq!(serve.metrics().get(WRITE_ERRORS, &[]), None);
    }
}

#[test]
fn tls_is_held_against_the_authority_and_headers_are_sent() {
    for protocol in Protocol::ALL {
        let receiver = Receiver::with_tls(protocol);
        let mut node = node("");
        let [authority, headers, state] =
            ["ca.pem", "headers", "other"].map(|name| node.path(name).to_str().unwrap().to_owned());
        std::fs::write(&authority, receiver.authority.as_ref().unwrap()).unwrap();
        std::fs::write(&headers, "# a token\nAuthorization: Bearer hunter2\nx-tenant: t\n").unwrap();
        let args = ["--otlp-ca-file", &authority, "--otlp-headers-file", &headers];
        let serve = sending(&node, protocol, &receiver.url(), &args);
        requests(&receiver, 1);
        let sent = receiver.received()[0].headers.clone();
        assert_eq!(
            (&sent["authorization"], &sent["x-tenant"]),
            (&"Bearer hunter2".parse().unwrap(), &"t".parse().unwrap())
        );
        // A token that was exchanged meanwhile, without a start.
        std::fs::write(&headers, "authorization: Bearer hunter3\n").unwrap();
        let many = receiver.received().len();
        serve.samples(&mut node, [15]);
        node.at(16.0);
        requests(&receiver, many + 1);
        assert_eq!(receiver.received().last().unwrap().headers["authorization"], "Bearer hunter3");

        // Without its authority nobody is believed, and nothing sent.
        let stranger = Receiver::with_tls(protocol);
        let other = sending(&node, protocol, &stranger.url(), &["--state-dir", &state]);
        let log = other.said("warning: OTLP receiver at https://127.0.0.1:");
        assert!(log.contains("certificate") && log.contains("otlp.ca_file"), "{log}");
        assert!(stranger.received().is_empty());
    }
}

/// The node's clock goes on and the samples with it; how many sendings failed by then.
fn goes_on(serve: &Serve, node: &mut Node, seconds: u32) -> u32 {
    let begin = node.now() as u32;
    let metrics = serve.samples(node, (begin + 5..=begin + seconds).step_by(5));
    metrics.get(WRITE_ERRORS, &[("target", "otlp")]).map_or(0, |failed| failed as u32)
}

#[test]
fn a_receiver_that_is_away_delays_nothing_and_has_the_newest_when_it_comes_back() {
    for protocol in Protocol::ALL {
        let address = {
            let gone = Receiver::start(protocol);
            gone.address
        };
        let mut node = node("");
        let serve = sending(&node, protocol, &format!("http://{address}"), &[]);
        serve.said("warning: OTLP receiver at http://127.0.0.1:");
        serve.said("see that it runs there");
        assert!(goes_on(&serve, &mut node, 60) >= 1, "{}", serve.log());
        let receiver = Receiver::at(protocol, address);
        serve.said("otlp: is written again");
        requests(&receiver, 1);
        let first = arrived(&receiver, 70, 70);
        assert!(first.iter().any(|line| line.starts_with("gpu_session_count{")), "{first:?}");
        assert!(arrived(&receiver, 15, 15).is_empty(), "what is old was kept");
        assert_eq!(serve.lines("OTLP receiver at"), 1, "{}", serve.log());
    }
}

#[test]
fn a_receiver_that_hangs_delays_neither_samples_nor_the_end() {
    for protocol in Protocol::ALL {
        let receiver = Receiver::start(protocol);
        receiver.reply([Reply::Hang]);
        let mut node = node("");
        let mut serve = sending(&node, protocol, &receiver.url(), &[]);
        requests(&receiver, 1);
        goes_on(&serve, &mut node, 60);
        assert_eq!(receiver.received().len(), 1, "nothing queues");
        assert!(serve.terminate().success());
    }
}

#[test]
fn a_receiver_that_says_when_is_not_asked_before() {
    // For good, unless it says when; for a while; by the two protocols.
    for (protocol, reply) in [
        (Protocol::Grpc, Reply::Refuse(Code::ResourceExhausted, 0, Some(3_000))),
        (Protocol::Grpc, Reply::Refuse(Code::Unavailable, 0, Some(3_000))),
        (Protocol::Http, Reply::Refuse(Code::Ok, 429, Some(3_000))),
        (Protocol::Http, Reply::Refuse(Code::Ok, 503, Some(3_000))),
    ] {
        let receiver = Receiver::start(protocol);
        receiver.reply([reply.clone()]);
        let mut node = node("");
        let serve = sending(&node, protocol, &receiver.url(), &[]);
        serve.said("it answered");
        assert_eq!(goes_on(&serve, &mut node, 60), 1, "{reply:?}");
        assert_eq!(receiver.received().len(), 1, "{reply:?}");
    }
}

#[test]
fn what_is_refused_for_a_while_comes_again_and_what_is_refused_for_good_at_the_next_time() {
    for (protocol, reply) in [
        (Protocol::Grpc, Reply::Refuse(Code::Unavailable, 0, Some(1))),
        (Protocol::Grpc, Reply::Refuse(Code::Aborted, 0, None)),
        (Protocol::Http, Reply::Refuse(Code::Ok, 429, Some(1))),
        (Protocol::Http, Reply::Refuse(Code::Ok, 502, None)),
    ] {
        let receiver = Receiver::start(protocol);
        receiver.reply([reply.clone()]);
        // The clock stands still, so this is out of turn.
        let node = node("");
        let serve = sending(&node, protocol, &receiver.url(), &[]);
        serve.said("otlp: is written again");
        let refused: Vec<bool> = receiver.received().iter().map(|received| received.refused).collect();
        assert_eq!(refused, [true, false], "{reply:?}");
    }
    for (protocol, reply) in [
        (Protocol::Grpc, Reply::Refuse(Code::InvalidArgument, 0, None)),
        (Protocol::Grpc, Reply::Refuse(Code::ResourceExhausted, 0, None)),
        (Protocol::Http, Reply::Refuse(Code::Ok, 400, None)),
    ] {
        let receiver = Receiver::start(protocol);
        receiver.reply([reply.clone()]);
        let mut node = node("");
        let serve = sending(&node, protocol, &receiver.url(), &[]);
        serve.said("it answered");
        serve.samples(&mut node, [15, 20]);
        serve.said("otlp: is written again");
        let told = serve.log();
        assert!(
            told.contains("InvalidArgument") || told.contains("ResourceExhausted") || told.contains("400"),
            "{told}"
        );
    }
}

#[test]
fn what_a_receiver_takes_in_part_is_told_once() {
    for protocol in Protocol::ALL {
        let receiver = Receiver::start(protocol);
        receiver.reply((0..4).map(|_| Reply::Partly(3, "too\nold".to_owned())));
        let mut node = node("");
        let serve = sending(&node, protocol, &receiver.url(), &[]);
        serve.said("refused 3 data points (too\u{fffd}old)");
        wait_for("the replies' end", || {
            goes_on(&serve, &mut node, 5);
            let found = receiver.received().len();
            if found > 4 { Ok(()) } else { Err(found.to_string()) }
        });
        serve.said("otlp: is written again");
        assert_eq!(goes_on(&serve, &mut node, 30), 4, "{}", serve.log());
        assert_eq!(serve.lines("refused 3 data points"), 1, "{}", serve.log());

        receiver.reply((0..50).map(|_| Reply::Partly(0, "a newer version is there".to_owned())));
        goes_on(&serve, &mut node, 25);
        serve.said("took everything (a newer version is there)");
        assert_eq!(serve.lines("a newer version"), 1, "{}", serve.log());
    }
}

#[test]
fn settings_that_cannot_work_are_named_without_their_secrets() {
    let node = node("");
    let file = |name: &str, text: &str| {
        std::fs::write(node.path(name), text).unwrap();
        node.path(name).to_str().unwrap().to_owned()
    };
    let (bad, empty) = (file("bad", "authorization Bearer hunter2\n"), file("empty.pem", "hunter2\n"));
    let missing = node.path("missing").to_str().unwrap().to_owned();
    let with = |args: &[&str]| node.run(&[&["serve", "--listen", "off"], args].concat());
    for (args, code, wanted) in [
        (&["--otlp-endpoint", "http://u:hunter2@h:4317"][..], 2, "otlp.endpoint"),
        (&["--otlp-endpoint", "collector:4317"], 2, "http(s)://"),
        (&["--otlp-endpoint", "http://h/v1"], 2, "no path"),
        (&["--otlp-endpoint", "http://h", "--otlp-interval", "2h"], 2, "otlp.interval"),
        (&["--otlp-endpoint", "http://h", "--otlp-protocol", "http/json"], 2, "http/protobuf"),
        (&["--otlp-endpoint", "http://h", "--otlp-ca-file", &empty], 2, "https://"),
        (&["--otlp-endpoint", "https://h", "--otlp-ca-file", &empty], 1, "no certificate"),
        (&["--otlp-endpoint", "http://h", "--otlp-headers-file", &bad], 1, "line 1"),
        (&["--otlp-endpoint", "http://h", "--otlp-headers-file", &missing], 1, "otlp.headers_file"),
    ] {
        let Run { code: found, stdout, stderr } = with(args);
        assert_eq!(found, code, "{args:?}: {stderr}");
        assert!(stderr.contains(wanted) && !(stdout + &stderr).contains("hunter2"), "{args:?}: {stderr}");
    }
}

#[test]
fn a_configuration_read_anew_sends_elsewhere_or_no_more() {
    let (first, second) = (Receiver::start(Protocol::Grpc), Receiver::start(Protocol::Http));
    let mut node = node("");
    let config = node.path("config.yaml");
    let to = |receiver: &Receiver, protocol: &str| {
        format!("otlp: {{ endpoint: \"{}\", protocol: {protocol}, interval: 1s }}\n", receiver.url())
    };
    std::fs::write(&config, to(&first, "grpc")).unwrap();
    let serve = Serve::start(&node, &["--config", config.to_str().unwrap()]);
    requests(&first, 1);
    std::fs::write(&config, to(&second, "http/protobuf")).unwrap();
    serve.signal(Signal::HUP);
    requests(&second, 1);
    std::fs::write(&config, "node: n\n").unwrap();
    serve.signal(Signal::HUP);
    serve.shows("the node", |metrics| !metrics.values(AGE[1], &[("node", "n")]).is_empty());
    let sent = (first.received().len(), second.received().len());
    serve.samples(&mut node, [15, 20, 25, 30]);
    assert_eq!((first.received().len(), second.received().len()), sent);
}

#[test]
fn what_one_request_is_refused_for_the_others_are_not() {
    for protocol in Protocol::ALL {
        let receiver = Receiver::start(protocol);
        receiver.reply([Reply::Partly(1, "too old".to_owned())]);
        // More than one request can take.
        let process = |n: u32| {
            format!("  - {{ pid: {n}, name: a, uid: 1000, devices: [{{ gpu: 0, memory: 1MiB }}] }}\n")
        };
        let mut node = Node::new(&crate::node::plain(1, &(100..400).map(process).collect::<String>()));
        node.at(10.0);
        let serve = sending(&node, protocol, &receiver.url(), &[]);
        serve.said("refused 1 data points");
        wait_for("the age, which comes last", || {
            let names =
                receiver.received().into_iter().flat_map(|received| received.request.resource_metrics);
            let names =
                names.flat_map(|of_resource| of_resource.scope_metrics).flat_map(|scope| scope.metrics);
            if names.map(|metric| metric.name).any(|name| name == AGE[0]) {
                Ok(())
            } else {
                Err(String::new())
            }
        });
        assert!(receiver.received().len() > 1);
    }
}
