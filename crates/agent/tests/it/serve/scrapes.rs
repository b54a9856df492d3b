//! What `serve` said over time, for a Prometheus to be filled with.

use super::Serve;
use crate::node::EPOCH;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Series of all scrapes with their times, by metric, as OpenMetrics wants them.
#[derive(Default)]
pub(crate) struct Scrapes(BTreeMap<String, (String, String)>);

impl Scrapes {
    pub(crate) fn add(&mut self, serve: &Serve, at: u32) {
        let answer = serve.ask("GET", "/metrics", "application/openmetrics-text;version=1.0.0").unwrap();
        let mut family = String::new();
        for line in answer.split_once("\r\n\r\n").unwrap().1.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                rest.split(' ').next().unwrap().clone_into(&mut family);
                self.0.entry(family.clone()).or_insert_with(|| (format!("{line}\n"), String::new()));
            } else if !line.starts_with('#') {
                let (_, series) = self.0.get_mut(&family).unwrap();
                let _ = writeln!(series, "{line} {}", EPOCH + i64::from(at));
            }
        }
    }

    pub(crate) fn openmetrics(self) -> String {
        let families = self.0.into_values().map(|(head, series)| head + &series);
        families.collect::<Vec<_>>().concat() + "# EOF\n"
    }
}
