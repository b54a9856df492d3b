//! The configuration file, with the users' rules and their patterns.

use super::{is_clean, is_message};
use crate::Target;
use gpu_session_core::accounting::OTHER;
use gpu_session_core::rules::{HostUsers, Subject, Verdict};
use gpu_session_core::sample::Metadata;
use gpu_session_monitor::cli::CommonArgs;
use gpu_session_monitor::config::Config;
use gpu_session_monitor::settings::Settings;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(super) const TARGET: Target = Target {
    name: "config",
    cases: 6_000,
    words: &[
        "\n",
        "  ",
        ": ",
        "- ",
        "{",
        "}",
        "[",
        "]",
        "'",
        "\"",
        "#",
        "&a",
        "*a",
        "<<: *a",
        "!!binary ",
        "|\n",
        ">\n",
        "? ",
        "---\n",
        "~",
        "null",
        "users: {rules: [{from: namespace, pattern: '(a*)*b'}]}\n",
        "(",
        ")",
        "{1000}",
        "(?P<n>",
        "$1",
        "${n}",
        "$$",
        "gpu: {devices: [0, GPU-a, 0_1_0, 0000:1b:00.0]}\n",
        "window: 1s\n",
        "99999999999999999999s",
        "1e9",
    ],
    seeds,
    run,
};

fn seeds() -> Vec<Vec<u8>> {
    let docs = ["docs/configuration.md", "docs/attribution.md", "docs/serve.md", "docs/otlp.md"];
    let blocks = docs.iter().flat_map(|path| {
        let text = String::from_utf8(crate::corpus::file(path)).unwrap();
        let yaml: Vec<Vec<u8>> = text
            .split("```yaml\n")
            .skip(1)
            .filter_map(|block| Some(block.split_once("```")?.0.as_bytes().to_vec()))
            .collect();
        yaml
    });
    let all = "nvml: {library: /a, accounting: enable}\nproc: {root: /b}\nprocess_events: true\nusers: {passwd: /c, limit: 7, \
        rules: [{from: namespace, pattern: '^user-(?P<n>.+)$', rename: 'x-${n}'}, {from: label, key: owner}]}\ntextfile: /d\n\
        state: {dir: /e}\nwindow: 500ms\ntimeout: 2m\ngpu: {count: 4, devices: [0, \"1\", GPU-x, 0_1_0]}\nnode: n\n\
        labels: {rack: r1}\nsessions: {limit: 5}\ndcgm: {url: \"http://x:9400/metrics\"}\ninterval: 7s\nlisten: \"off\"\n\
        ledger: {enabled: false, age: 10d, size: 1MiB}\nkubernetes: {api: \"off\"}\n";
    blocks.chain([all.as_bytes().to_vec()]).collect()
}

fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let config = match Config::parse(text) {
        Ok(config) => config,
        Err(problem) => {
            return assert!(is_message(&problem) && problem.len() <= 4096 + 4 * text.len(), "{problem}");
        }
    };
    let settings = match Settings::over(&CommonArgs::default(), config) {
        Ok(settings) => settings,
        Err(problem) => {
            let problem = format!("{:#}", problem.error);
            return assert!(is_message(&problem) && problem.len() <= 4096 + 8 * text.len(), "{problem}");
        }
    };
    assert!(settings.labels.pairs().all(|(_, value)| is_clean(value)));
    matches(&settings);
}

/// Whoever a rule names can be shown.
fn matches(settings: &Settings) {
    let nobody = (BTreeMap::new(), BTreeSet::new());
    for value in ["user-alice", "alice@example.com", &"a".repeat(4096), "\u{202e}\n", "_other", ""] {
        let value: Arc<str> = value.into();
        let metadata = Metadata {
            labels: [("owner".into(), Arc::clone(&value))].into(),
            annotations: [("owner".into(), Arc::clone(&value))].into(),
        };
        let subject = Subject { namespace: Some(&value), pod: Some(&metadata), ..Subject::default() };
        let users = HostUsers { names: &nobody.0, pending: &nobody.1 };
        if let Verdict::User(user, rule) = settings.rules.verdict(&subject, users) {
            assert!(
                is_clean(&user) && !user.is_empty() && &*user != OTHER && is_clean(&rule),
                "{user:?} by {rule:?}"
            );
        }
    }
}
