//! A cluster of three nodes, two hours of it, scraped each minute.
//!
//! `n1` names itself. `n2` is scraped as node_exporter's pod often is: the target has labels of its own, and ours are renamed.
//! `gone` was last scraped twenty minutes ago. A second replica of Prometheus has all of `n1` again, and a job that renames its
//! labels has its counters of users once more.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// 2025-06-01T00:00:00Z, Unix seconds.
pub(super) const NOW: i64 = 1_748_736_000;
const BEGIN: i64 = NOW - 7_200;
/// Name that is to stay within its quotes.
pub(super) const EVIL: &str = "a\"} or vector(1)#";

/// What is written of a series: name, labels, from when to when, and its values.
struct Line {
    name: &'static str,
    labels: String,
    scraped: std::ops::RangeInclusive<i64>,
    value: Box<dyn Fn(i64) -> f64>,
}

#[derive(Default)]
struct Lines(Vec<Line>);

impl Lines {
    fn add(
        &mut self,
        name: &'static str,
        labels: &str,
        scraped: std::ops::RangeInclusive<i64>,
        value: impl Fn(i64) -> f64 + 'static,
    ) {
        self.0.push(Line { name, labels: labels.to_owned(), scraped, value: Box::new(value) });
    }

    /// What stays as it is.
    fn fixed(
        &mut self,
        labels: &str,
        scraped: &std::ops::RangeInclusive<i64>,
        series: &[(&'static str, &str, f64)],
    ) {
        for (name, more, value) in series {
            let (labels, value) = (format!("{labels}{more}"), *value);
            self.add(name, &labels, scraped.clone(), move |_| value);
        }
    }

    fn openmetrics(&self) -> String {
        let mut by_name: BTreeMap<&str, String> = BTreeMap::new();
        for line in &self.0 {
            let text = by_name.entry(line.name).or_default();
            let first = line.scraped.start() + (60 - line.scraped.start().rem_euclid(60)) % 60;
            for at in (first..=*line.scraped.end()).step_by(60) {
                let _ = writeln!(text, "{}{{{}}} {} {at}", line.name, line.labels, (line.value)(at));
            }
        }
        let kind = |name: &str| if name.ends_with("_total") { "counter" } else { "gauge" };
        let metric = |(name, lines): (&str, String)| {
            format!("# TYPE {} {}\n{lines}", name.trim_end_matches("_total"), kind(name))
        };
        by_name.into_iter().map(metric).collect::<String>() + "# EOF\n"
    }
}

/// A session of `n1`: its name and labels, from when to when.
fn session(lines: &mut Lines, node: &str, labels: &str, more: &str, from: i64, to: i64) {
    lines.add("gpu_session_info", &format!("{node}{labels}{more}"), from..=to, |_| 1.0);
    lines.add("gpu_session_start_time_seconds", &format!("{node}{labels}"), from..=to, move |_| from as f64);
    lines.add("gpu_session_sm_utilization_ratio", &format!("{node}{labels}"), from..=to, |_| 0.25);
}

fn node_1(lines: &mut Lines, own: &str) {
    let all = BEGIN..=NOW;
    lines.add("gpu_session_collector_last_sample_timestamp_seconds", own, all.clone(), |at| (at - 5) as f64);
    lines.fixed(
        own,
        &all,
        &[
            ("gpu_device_info", ",gpu=\"0\",uuid=\"GPU-a\",model=\"NVIDIA L40S\"", 1.0),
            ("gpu_device_info", ",gpu=\"1\",uuid=\"GPU-b\",model=\"NVIDIA L40S\"", 1.0),
            ("gpu_device_utilization_ratio", ",gpu=\"0\"", 0.5),
            ("gpu_device_memory_total_bytes", ",gpu=\"0\"", 100.0),
            ("gpu_device_memory_used_bytes", ",gpu=\"0\"", 25.0),
            ("gpu_device_allocations", ",gpu=\"0\"", 0.0),
            ("gpu_device_allocations", ",gpu=\"1\"", 1.0),
            ("gpu_session_count", ",gpu=\"0\"", 2.0),
            ("gpu_session_count", ",gpu=\"1\"", 0.0),
            ("gpu_session_users", ",gpu=\"0\"", 2.0),
            ("gpu_session_users", ",gpu=\"1\"", 0.0),
            ("gpu_user_sessions", ",gpu=\"0\",user=\"alice\"", 1.0),
            ("gpu_user_sessions", ",gpu=\"0\",user=\"a\\\"} or vector(1)#\"", 1.0),
            ("gpu_session_collector_source_up", ",source=\"nvml\"", 1.0),
            ("gpu_session_collector_source_duration_seconds", ",source=\"nvml\"", 0.1),
            (
                "gpu_allocation_sessions",
                ",gpu=\"1\",namespace=\"ml\",pod=\"idle-0\",container=\"main\",user=\"carol\"",
                0.0,
            ),
            (
                "gpu_allocation_idle_seconds",
                ",gpu=\"1\",namespace=\"ml\",pod=\"idle-0\",container=\"main\",user=\"carol\"",
                5_400.0,
            ),
        ],
    );
    let alice = ",session=\"00000000000000a1\",gpu=\"0\",namespace=\"ml\",pod=\"train-0\",container=\"main\",user=\"alice\"";
    session(lines, own, alice, ",uuid=\"GPU-a\",pid=\"10\",command=\"python3\"", NOW - 3_600, NOW);
    lines.add("gpu_session_memory_used_bytes", &format!("{own}{alice}"), NOW - 3_600..=NOW, |_| 20.0);
    let evil = ",session=\"00000000000000e1\",gpu=\"0\",user=\"a\\\"} or vector(1)#\"";
    session(lines, own, evil, ",uuid=\"GPU-a\",pid=\"11\",command=\"sh\"", NOW - 600, NOW);
    // It ended, and its user was found out ten minutes after its begin.
    let (unknown, known) =
        (",session=\"00000000000000b1\",gpu=\"0\"", ",session=\"00000000000000b1\",gpu=\"0\",user=\"bob\"");
    let more = ",uuid=\"GPU-a\",pid=\"12\",command=\"train\"";
    lines.add("gpu_session_info", &format!("{own}{unknown}{more}"), NOW - 6_000..=NOW - 5_460, |_| 1.0);
    lines.add("gpu_session_info", &format!("{own}{known}{more}"), NOW - 5_400..=NOW - 4_800, |_| 1.0);
    lines.add("gpu_session_start_time_seconds", &format!("{own}{known}"), NOW - 5_400..=NOW - 4_800, |_| {
        (NOW - 6_000) as f64
    });
    counters(lines, &format!("{own},gpu=\"0\""));
}

/// Half a GPU for alice all the time, of which she held a whole one.
fn counters(lines: &mut Lines, own: &str) {
    let all = BEGIN..=NOW;
    for (name, a_second) in [
        ("gpu_user_sm_seconds_total", 0.5),
        ("gpu_user_session_seconds_total", 1.0),
        ("gpu_user_allocation_seconds_total", 1.0),
        ("gpu_user_idle_allocation_seconds_total", 0.25),
    ] {
        let count = move |at: i64| a_second * (at - BEGIN) as f64;
        lines.add(name, &format!("{own},user=\"alice\""), all.clone(), count);
    }
    lines.add("gpu_user_session_seconds_total", &format!("{own},user=\"\""), all, |at| (at - BEGIN) as f64);
}

/// Scraped with labels of the target's own.
fn node_2(lines: &mut Lines) {
    let all = BEGIN..=NOW;
    let own = "node=\"w\",exported_node=\"n2\",namespace=\"monitoring\",pod=\"exporter-x\",container=\"e\"";
    lines.add("gpu_session_collector_last_sample_timestamp_seconds", own, all.clone(), |at| (at - 5) as f64);
    lines.fixed(
        own,
        &all,
        &[
            (
                "gpu_device_info",
                ",gpu=\"0_1_0\",uuid=\"MIG-a\",parent_uuid=\"GPU-c\",mig_profile=\"1g.5gb\"",
                1.0,
            ),
            ("gpu_session_count", ",gpu=\"0_1_0\"", 1.0),
            ("gpu_session_users", ",gpu=\"0_1_0\"", 0.0),
            ("gpu_sessions_unattributed", ",gpu=\"0_1_0\",reason=\"no_pod\"", 1.0),
            ("gpu_session_collector_source_up", ",source=\"nvml\"", 0.0),
            ("gpu_session_collector_source_duration_seconds", ",source=\"nvml\"", 0.1),
        ],
    );
    let stray = ",session=\"00000000000000c1\",gpu=\"0_1_0\"";
    session(lines, own, stray, ",uuid=\"MIG-a\",pid=\"20\",command=\"stray\"", NOW - 1_800, NOW);
}

fn gone(lines: &mut Lines) {
    let all = BEGIN..=NOW - 1_200;
    let own = "node=\"gone\"";
    lines.add("gpu_session_collector_last_sample_timestamp_seconds", own, all.clone(), |at| at as f64);
    lines.fixed(own, &all, &[("gpu_device_info", ",gpu=\"0\",uuid=\"GPU-d\"", 1.0)]);
    let labels = ",session=\"00000000000000d1\",gpu=\"0\",user=\"dave\"";
    session(lines, own, labels, ",uuid=\"GPU-d\",pid=\"30\",command=\"lost\"", BEGIN + 600, NOW - 1_200);
}

/// All of it, in OpenMetrics.
pub(super) fn openmetrics() -> String {
    let mut lines = Lines::default();
    node_1(&mut lines, "node=\"n1\"");
    node_1(&mut lines, "node=\"n1\",replica=\"b\"");
    counters(&mut lines, "node=\"w\",exported_node=\"n1\",job=\"pods\",gpu=\"host\",exported_gpu=\"0\"");
    node_2(&mut lines);
    gone(&mut lines);
    lines.openmetrics()
}
